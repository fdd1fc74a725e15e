//! A real Consul agent, which is its own server.

use nix::sys::signal::Signal;
use periplus::core::ServiceInstance;
use serde_json::{Value, json};

use super::program::{Program, free_port, free_port_of_both};
use super::tls::Certificates;
use super::{Server, Store, http};

/// The token that may do everything, once there are access lists.
pub const MASTER: &str = "5f1c6f1e-0000-4000-8000-000000000001";

/// An agent that is a server of its own datacenter. It reaps what is critical for too long every second, not every half
/// minute.
#[derive(Debug)]
pub struct Consul {
    program: Program,
    /// Where it serves HTTP.
    pub port: u16,
    /// Where it serves HTTP with TLS, if it does.
    pub tls_port: Option<u16>,
    /// What its configuration says beside the usual.
    more: Value,
    serf_lan: u16,
    serf_wan: u16,
    server: u16,
    datacenter: String,
    node: String,
    acl: bool,
}

/// How agents notice each other's death: in a second or two, not in ten.
fn quick_gossip() -> Value {
    json!({"probe_interval": "300ms", "probe_timeout": "200ms", "gossip_interval": "50ms", "suspicion_mult": 2})
}

impl Consul {
    /// Starts one; nothing, if there is none to start.
    #[must_use]
    pub fn new() -> Option<Self> {
        Self::with_config(json!({}))
    }

    /// Starts one whose configuration says more.
    #[must_use]
    pub fn with_config(more: Value) -> Option<Self> {
        let mut consul = Self::place("dc1")?;
        consul.more = more;
        consul.start();
        Some(consul)
    }

    /// Starts one that also serves with TLS, and there asks its clients for a certificate of the same authority.
    #[must_use]
    pub fn with_tls(certificates: &Certificates) -> Option<Self> {
        let mut consul = Self::place("dc1")?;
        let file = |name: &str, pem: &str| consul.program.write(name, pem).display().to_string();
        let (certificate, key) = &certificates.server;
        consul.more = json!({"tls": {"https": {
            "ca_file": file("root.pem", &certificates.root),
            "cert_file": file("server.pem", certificate),
            "key_file": file("server.key", key),
            "verify_incoming": true,
        }}});
        consul.tls_port = Some(free_port());
        consul.start();
        Some(consul)
    }

    /// Starts two datacenters that know each other, `dc1` and `dc2`.
    #[must_use]
    pub fn two_datacenters() -> Option<[Self; 2]> {
        let (mut first, mut second) = (Self::place("dc1")?, Self::place("dc2")?);
        second.more = json!({"retry_join_wan": [format!("127.0.0.1:{}", first.serf_wan)], "retry_interval_wan": "1s"});
        first.start();
        second.start();
        Some([first, second])
    }

    /// Starts a server, and two agents of its datacenter that are none.
    #[must_use]
    pub fn server_and_agents() -> Option<(Self, [Self; 2])> {
        let mut server = Self::place("dc1")?;
        server.more = json!({"gossip_lan": quick_gossip()});
        server.start();
        let mut agents = [Self::place("dc1")?, Self::place("dc1")?];
        for (at, agent) in agents.iter_mut().enumerate() {
            agent.node = format!("agent-{at}");
            agent.more = json!({
                "server": false, "bootstrap": false, "gossip_lan": quick_gossip(),
                "retry_join": [format!("127.0.0.1:{}", server.serf_lan)], "retry_interval": "1s",
            });
            agent.start();
        }
        Some((server, agents))
    }

    fn place(datacenter: &str) -> Option<Self> {
        let program = Program::new(Server::Consul.binary()?, "consul");
        Some(Self {
            program,
            port: free_port(),
            tls_port: None,
            more: json!({}),
            serf_lan: free_port_of_both(),
            serf_wan: free_port_of_both(),
            server: free_port_of_both(),
            datacenter: datacenter.to_owned(),
            node: format!("node-{datacenter}"),
            acl: false,
        })
    }

    /// Calls its HTTP API as somebody who may do everything, and returns what it answered.
    ///
    /// # Panics
    /// If it does not answer.
    #[must_use]
    pub fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> http::Answer {
        let token = [("x-consul-token", MASTER)];
        let headers = if self.acl { &token[..] } else { &[] };
        let answer = http::ask(self.port, method, &format!("/v1/{path}"), headers, body);
        answer.unwrap_or_else(|error| panic!("Consul does not answer {path}: {error}"))
    }

    /// Calls its HTTP API.
    ///
    /// # Panics
    /// If it refuses.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.try_call(method, path, body).ok()
    }

    /// Which it is, such as `1.20.0`.
    ///
    /// # Panics
    /// If it does not say.
    #[must_use]
    pub fn version(&self) -> String {
        let own = self.call("GET", "agent/self", None);
        own["Config"]["Version"].as_str().expect("it has a version").to_owned()
    }

    /// The passing instances of a service, as its health endpoint lists them.
    #[must_use]
    pub fn passing(&self, service: &str) -> Vec<Value> {
        let list = self.call("GET", &format!("health/service/{service}?passing=1"), None);
        list.as_array().cloned().unwrap_or_default()
    }

    /// What the agent itself holds of an instance; null if it holds none.
    #[must_use]
    pub fn held(&self, id: &str) -> Value {
        self.try_call("GET", &format!("agent/service/{id}"), None).json()
    }

    /// The statuses of an instance's checks, by id.
    #[must_use]
    pub fn checks(&self, id: &str) -> Vec<(String, String)> {
        let all = self.call("GET", "agent/checks", None);
        let all = all.as_object().into_iter().flatten();
        let own = all.filter(|(_, check)| check["ServiceID"] == id);
        own.map(|(name, check)| (name.clone(), check["Status"].as_str().unwrap_or_default().to_owned())).collect()
    }

    /// Starts it again with access lists: without a token nothing may be done. What was registered stays.
    pub fn turn_acls_on(&mut self) {
        self.acl = true;
        self.kill();
        self.start();
    }

    /// Makes a token that may register `service` and read everything, and returns it. Access lists must be on.
    ///
    /// # Panics
    /// If it refuses.
    #[must_use]
    pub fn token_for(&self, service: &str) -> String {
        let rules = format!(
            r#"service "{service}" {{ policy = "write" }} service_prefix "" {{ policy = "read" }} node_prefix "" {{ policy = "read" }}"#
        );
        self.token(&format!("for-{service}"), &rules)
    }

    /// Makes a token that these rules hold for, and returns it.
    ///
    /// # Panics
    /// If it refuses.
    #[must_use]
    pub fn token(&self, name: &str, rules: &str) -> String {
        self.call("PUT", "acl/policy", Some(&json!({"Name": name, "Rules": rules})));
        let token = self.call("PUT", "acl/token", Some(&json!({"Policies": [{"Name": name}]})));
        token["SecretID"].as_str().expect("a token has a secret").to_owned()
    }

    fn config(&self) -> Value {
        let mut config = json!({
            "server": true,
            "bootstrap": true,
            "node_name": self.node,
            "datacenter": self.datacenter,
            "data_dir": self.program.data(),
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "log_level": "warn",
            "disable_update_check": true,
            "enable_debug": false,
            "leave_on_terminate": false,
            "performance": {"raft_multiplier": 1},
            "check_reap_interval": "1s",
            "check_deregister_interval_min": "2s",
            "ports": {
                "http": self.port, "https": self.tls_port.map_or(-1, i32::from), "dns": -1, "grpc": -1, "grpc_tls": -1,
                "serf_lan": self.serf_lan, "serf_wan": self.serf_wan, "server": self.server,
            },
            "connect": {"enabled": false},
        });
        if self.acl {
            config["acl"] = json!({
                "enabled": true,
                "default_policy": "deny",
                "enable_token_persistence": true,
                "tokens": {"initial_management": MASTER, "agent": MASTER},
            });
        }
        for (key, value) in self.more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config
    }
}

impl Store for Consul {
    fn url(&self) -> String {
        format!("consul://127.0.0.1:{}?wait=2s&warm_up=10s", self.port)
    }

    fn kill(&mut self) {
        self.program.kill();
    }

    fn start(&mut self) {
        let file = self.program.write("config.json", &self.config().to_string());
        let port = self.port;
        let token = [("x-consul-token", MASTER)];
        let headers = if self.acl { &token[..] } else { &[] };
        let (name, acl) = (self.node.clone(), self.acl);
        self.program.start(&["agent".into(), format!("-config-file={}", file.display())], || {
            // It has elected itself, and the agent has registered its node: services can be registered and listed.
            let leader = http::ask(port, "GET", "/v1/status/leader", headers, None);
            let led = leader.is_ok_and(|leader| leader.json().as_str().is_some_and(|leader| !leader.is_empty()));
            let node = led && {
                let checks = http::ask(port, "GET", &format!("/v1/health/node/{name}"), headers, None);
                checks.is_ok_and(|checks| checks.json().as_array().is_some_and(|checks| !checks.is_empty()))
            };
            // Tokens can be made once the lists are bootstrapped.
            node && (!acl
                || http::ask(port, "GET", "/v1/acl/token/self", headers, None).is_ok_and(|own| own.status == 200))
        });
    }

    fn wipe(&mut self) {
        self.program.wipe();
    }

    fn freeze(&self) {
        self.program.signal(Signal::SIGSTOP);
    }

    fn thaw(&self) {
        self.program.signal(Signal::SIGCONT);
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn ids(&self, service: &str) -> Vec<String> {
        let passing = self.passing(service);
        let ids = passing.iter().filter_map(|entry| Some(entry["Service"]["ID"].as_str()?.to_owned()));
        let mut ids: Vec<String> = ids.collect();
        ids.sort();
        ids
    }

    /// The service and its checks, apart from what they found.
    fn as_others_see(&self, service: &str, id: &str) -> Value {
        let all = self.call("GET", &format!("health/service/{service}"), None);
        let entry = all.as_array().into_iter().flatten().find(|entry| entry["Service"]["ID"] == id);
        let entry = entry.unwrap_or_else(|| panic!("no instance {id}"));
        let mut own = entry["Service"].clone();
        for key in ["ID", "CreateIndex", "ModifyIndex"] {
            own[key] = Value::Null;
        }
        let checks = entry["Checks"].as_array().into_iter().flatten().filter(|check| check["ServiceID"] == id);
        let checks = checks.map(|check| {
            let name = check["CheckID"].as_str().unwrap_or_default().replace(id, "ID");
            json!([name, check["Name"], check["Type"], check["Interval"], check["Timeout"]])
        });
        let mut checks: Vec<Value> = checks.collect();
        checks.sort_by_key(ToString::to_string);
        json!({"service": own, "checks": checks})
    }

    fn forget(&self, _service: &str, id: &str) {
        self.call("PUT", &format!("agent/service/deregister/{id}"), None);
    }

    fn put_as_kratos(&self, instance: &ServiceInstance) {
        self.call("PUT", "agent/service/register", Some(&as_kratos(instance)));
        let beat = json!({"Status": "passing", "Output": "pass"});
        self.call("PUT", &format!("agent/check/update/service:{}", instance.id), Some(&beat));
    }

    /// A service of Consul is always something.
    fn put_garbage(&self, service: &str) -> u64 {
        self.call("PUT", "agent/service/register", Some(&json!({"ID": "garbage", "Name": service})));
        0
    }
}

/// What Kratos registers: a check by TCP for each endpoint, and one that has to be renewed.
fn as_kratos(instance: &ServiceInstance) -> Value {
    let after = "600s";
    let mut tagged = json!({});
    let mut checks = Vec::new();
    for endpoint in &instance.endpoints {
        let parts = endpoint.parts().expect("it is an endpoint");
        tagged[parts.scheme] = json!({"Address": endpoint.as_str(), "Port": parts.port});
        checks.push(json!({
            "TCP": format!("{}:{}", parts.host, parts.port), "Interval": "10s", "Timeout": "5s",
            "DeregisterCriticalServiceAfter": after,
        }));
    }
    let own = format!("service:{}", instance.id);
    checks.push(json!({"CheckID": own, "TTL": "20s", "DeregisterCriticalServiceAfter": after}));
    let first = instance.endpoints[0].parts().expect("it is an endpoint");
    json!({
        "ID": instance.id, "Name": instance.name, "Tags": [format!("version={}", instance.version)],
        "Port": first.port, "Address": first.host, "TaggedAddresses": tagged, "Meta": instance.metadata,
        "Check": null, "Checks": checks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_as_kratos_does_is_what_a_program_with_kratos_3_was_seen_to_put() {
        let recorded: Value = serde_json::from_str(include_str!("recorded/consul-register.json")).unwrap();
        let instance = serde_json::from_value(json!({
            "id": "p1", "name": "provider", "version": "v1.1.0", "metadata": {"weight": "10", "zone": "a&b<1>"},
            "endpoints": ["grpc://127.0.0.1:29001", "http://127.0.0.1:29011"],
        }));
        assert_eq!(as_kratos(&instance.unwrap()), recorded);
    }
}

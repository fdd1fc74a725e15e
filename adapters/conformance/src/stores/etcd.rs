//! A real etcd.

mod cluster;

use std::fmt::Write as _;

use nix::sys::signal::Signal;
use periplus::core::ServiceInstance;
use serde_json::{Value, json};

use super::program::{Program, free_port};
use super::tls::Certificates;
use super::{Server, Store, http};

pub use cluster::Cluster;

/// The user that may do everything, once there is authentication.
pub const ROOT: &str = "root";

/// An etcd, of one member unless it is one of a [`Cluster`]. Its elections are quick, so that leases may be as short as a
/// second.
#[derive(Debug)]
pub struct Etcd {
    program: Program,
    /// Where it serves clients without TLS.
    pub port: u16,
    /// Where it serves them with TLS, if it does.
    pub tls_port: Option<u16>,
    peer: u16,
    /// What it is called, and by which name and peer address all members know each other.
    name: String,
    members: String,
    flags: Vec<String>,
    /// What the requests of the test itself carry.
    token: Option<String>,
}

impl Etcd {
    /// Starts one; nothing, if there is none to start.
    #[must_use]
    pub fn new(server: Server) -> Option<Self> {
        Self::with_flags(server, &[])
    }

    /// Starts one with further flags.
    #[must_use]
    pub fn with_flags(server: Server, flags: &[&str]) -> Option<Self> {
        let mut etcd = Self::place(server)?;
        etcd.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        etcd.start();
        Some(etcd)
    }

    /// Starts one that also serves with TLS, and there asks its clients for a certificate of the same authority.
    #[must_use]
    pub fn with_tls(server: Server, certificates: &Certificates) -> Option<Self> {
        let mut etcd = Self::place(server)?;
        let file = |name: &str, pem: &str| etcd.program.write(name, pem).display().to_string();
        let (certificate, key) = &certificates.server;
        etcd.flags = vec![
            "--client-cert-auth".into(),
            format!("--trusted-ca-file={}", file("root.pem", &certificates.root)),
            format!("--cert-file={}", file("server.pem", certificate)),
            format!("--key-file={}", file("server.key", key)),
        ];
        etcd.tls_port = Some(free_port());
        etcd.start();
        Some(etcd)
    }

    fn place(server: Server) -> Option<Self> {
        let program = Program::new(server.binary()?, "etcd");
        let (port, peer) = (free_port(), free_port());
        let name = "default".to_owned();
        let members = format!("{name}=http://127.0.0.1:{peer}");
        Some(Self { program, port, tls_port: None, peer, name, members, flags: Vec::new(), token: None })
    }

    /// Whether it answers, and follows a leader or is one.
    #[must_use]
    pub fn is_led(&self) -> bool {
        is_led(self.port)
    }

    /// Calls the gateway, and returns what it answered.
    ///
    /// # Panics
    /// If it does not answer.
    #[must_use]
    pub fn try_call(&self, path: &str, body: &Value) -> http::Answer {
        let headers: Vec<(&str, &str)> = self.token.iter().map(|token| ("authorization", token.as_str())).collect();
        let answer = http::ask(self.port, "POST", &format!("/v3/{path}"), &headers, Some(body));
        answer.unwrap_or_else(|error| panic!("etcd does not answer {path}: {error}"))
    }

    /// Calls the gateway.
    ///
    /// # Panics
    /// If it refuses.
    pub fn call(&self, path: &str, body: &Value) -> Value {
        self.try_call(path, body).ok()
    }

    /// Which it is, such as `3.4.23`.
    ///
    /// # Panics
    /// If it does not say.
    #[must_use]
    pub fn version(&self) -> String {
        let answer = http::ask(self.port, "GET", "/version", &[], None).expect("it answers").ok();
        answer["etcdserver"].as_str().expect("it has a version").to_owned()
    }

    /// The pairs under a prefix: key, value, and the lease as it is told.
    #[must_use]
    pub fn pairs(&self, prefix: &str) -> Vec<(String, String, String)> {
        let answer = self.call("kv/range", &json!({"key": encode(prefix), "range_end": encode_bytes(&end_of(prefix))}));
        let kvs = answer["kvs"].as_array().cloned().unwrap_or_default();
        let text = |kv: &Value, key: &str| kv[key].as_str().unwrap_or_default().to_owned();
        kvs.iter().map(|kv| (decode(&text(kv, "key")), decode(&text(kv, "value")), text(kv, "lease"))).collect()
    }

    /// Puts a pair that lives for ever.
    pub fn put(&self, key: &str, value: &str) {
        self.call("kv/put", &json!({"key": encode(key), "value": encode(value)}));
    }

    /// Deletes a pair.
    pub fn delete(&self, key: &str) {
        self.call("kv/deleterange", &json!({"key": encode(key)}));
    }

    /// Revokes the lease of a key.
    ///
    /// # Panics
    /// If it has none.
    pub fn revoke(&self, key: &str) {
        let pairs = self.pairs(key);
        let (.., lease) = pairs.iter().find(|(name, ..)| name == key).unwrap_or_else(|| panic!("no key {key}"));
        self.call("lease/revoke", &json!({"ID": lease}));
    }

    /// The number of leases that live.
    #[must_use]
    pub fn leases(&self) -> usize {
        self.call("lease/leases", &json!({}))["leases"].as_array().map_or(0, Vec::len)
    }

    /// Forgets all history before now, after some more of it was made.
    ///
    /// # Panics
    /// If it refuses.
    pub fn compact(&self) {
        for number in 0..10 {
            self.put("elsewhere", &number.to_string());
        }
        let answer = self.call("kv/range", &json!({"key": encode("elsewhere")}));
        let revision = answer["header"]["revision"].as_str().expect("a header has a revision").to_owned();
        self.call("kv/compaction", &json!({"revision": revision, "physical": true}));
    }

    /// Has it listen on another port when it is started next, and returns the port that it had.
    pub fn move_to(&mut self, port: u16) -> u16 {
        std::mem::replace(&mut self.port, port)
    }

    /// Turns authentication on: [`ROOT`] with this password may do everything, `reader` and `writer` with the same may
    /// read, and read and write, what is below `/microservices`.
    ///
    /// # Panics
    /// If it refuses.
    pub fn turn_auth_on(&mut self, password: &str) {
        let range = json!({"key": encode("/microservices"), "range_end": encode_bytes(&end_of("/microservices"))});
        for (user, role) in [(ROOT, ROOT), ("reader", "reads"), ("writer", "writes")] {
            self.call("auth/user/add", &json!({"name": user, "password": password}));
            self.call("auth/role/add", &json!({"name": role}));
            if role != ROOT {
                let mut permission = range.clone();
                permission["permType"] = if role == "reads" { json!("READ") } else { json!("READWRITE") };
                self.call("auth/role/grant", &json!({"name": role, "perm": permission}));
            }
            self.call("auth/user/grant", &json!({"user": user, "role": role}));
        }
        self.call("auth/enable", &json!({}));
        self.log_in(password);
    }

    /// Gets the test itself a new token, as [`ROOT`].
    pub fn log_in(&mut self, password: &str) {
        self.token = None;
        let answer = self.call("auth/authenticate", &json!({"name": ROOT, "password": password}));
        self.token = answer["token"].as_str().map(ToOwned::to_owned);
    }

    fn arguments(&self) -> Vec<String> {
        let (port, peer) = (self.port, self.peer);
        let mut clients = format!("http://127.0.0.1:{port}");
        if let Some(port) = self.tls_port {
            let _ = write!(clients, ",https://127.0.0.1:{port}");
        }
        let mut arguments: Vec<String> = vec![
            format!("--data-dir={}", self.program.data().display()),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
            format!("--name={}", self.name),
            format!("--initial-cluster={}", self.members),
            // Not that of another test.
            format!("--initial-cluster-token={}", self.members),
            "--heartbeat-interval=20".into(),
            "--election-timeout=150".into(),
            "--log-level=warn".into(),
            "--unsafe-no-fsync".into(),
        ];
        arguments.extend(self.flags.iter().cloned());
        arguments
    }
}

impl Store for Etcd {
    fn url(&self) -> String {
        format!("etcd://127.0.0.1:{}?warm_up=10s", self.port)
    }

    fn kill(&mut self) {
        self.program.kill();
    }

    fn start(&mut self) {
        let (port, arguments) = (self.port, self.arguments());
        self.program.start(&arguments, || is_led(port));
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
        let pairs = self.pairs(&prefix(service));
        pairs.into_iter().filter_map(|(key, ..)| Some(key.strip_prefix(&prefix(service))?.to_owned())).collect()
    }

    fn as_others_see(&self, service: &str, id: &str) -> Value {
        let key = format!("{}{id}", prefix(service));
        let pairs = self.pairs(&key);
        let (_, value, lease) = pairs.iter().find(|(name, ..)| *name == key).unwrap_or_else(|| panic!("no key {key}"));
        assert!(!lease.is_empty() && lease != "0", "{key} lives for ever");
        let mut value: Value = serde_json::from_str(value).expect("it is JSON");
        assert_eq!(value["id"].take(), id);
        value
    }

    fn forget(&self, service: &str, id: &str) {
        self.revoke(&format!("{}{id}", prefix(service)));
    }

    /// The document has five fields, in this order, even if they are empty.
    fn put_as_kratos(&self, instance: &ServiceInstance) {
        let grant = self.call("lease/grant", &json!({"TTL": "15"}));
        let key = format!("{}{}", prefix(&instance.name), instance.id);
        let value = serde_json::to_string(instance).expect("an instance is plain JSON");
        let pair = json!({"key": encode(&key), "value": encode(&value), "lease": grant["ID"]});
        self.call("kv/put", &pair);
    }

    fn put_garbage(&self, service: &str) -> u64 {
        self.put(&format!("{}garbage", prefix(service)), "{\"id\":1");
        self.put(&format!("{}null", prefix(service)), "null");
        2
    }
}

fn is_led(port: u16) -> bool {
    let health = http::ask(port, "GET", "/health", &[], None);
    health.is_ok_and(|health| health.json()["health"] == "true")
}

/// A port of loopback on which nobody listens.
#[must_use]
pub fn free() -> u16 {
    free_port()
}

/// What the keys of a service begin with.
fn prefix(service: &str) -> String {
    format!("/microservices/{service}/")
}

/// The first key after all that begin so.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(text: &str) -> String {
    encode_bytes(text.as_bytes())
}

/// Base64, as the gateway wants bytes.
fn encode_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, at| word << 8 | u32::from(chunk.get(at).copied().unwrap_or_default()));
        for at in 0..4 {
            let digit = (word >> (18 - 6 * at)) & 63;
            text.push(if at <= chunk.len() { char::from(ALPHABET[digit as usize]) } else { '=' });
        }
    }
    text
}

/// What base64 says, as text; what is no text, as well as text can say it.
fn decode(text: &str) -> String {
    let (mut bytes, mut word, mut bits) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes().filter_map(|b| ALPHABET.iter().position(|&letter| letter == b)) {
        word = (word << 6) | u32::try_from(digit).unwrap_or_default();
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits & 0xff) as u8);
            word &= (1 << bits) - 1;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_as_kratos_does_is_what_a_program_with_kratos_3_was_seen_to_put() {
        let recorded: Value = serde_json::from_str(include_str!("recorded/etcd-value.json")).unwrap();
        let instance: ServiceInstance = serde_json::from_value(recorded.clone()).unwrap();
        assert_eq!(instance.endpoints.len(), 2);
        assert_eq!(serde_json::to_value(instance).unwrap(), recorded);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(encode(text), encoded);
            assert_eq!(decode(encoded), text);
        }
    }
}

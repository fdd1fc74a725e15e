//! What an agent does with services and their checks.

use std::collections::BTreeMap;
use std::time::Duration;

use periplus_core::http::Method;
use periplus_core::{InstanceId, Instant, Namespace, ServiceName};
use serde_json::{Value, json};

use super::address::{Address, span};
use super::{Check, ConsulStore, Service};

impl ConsulStore {
    pub fn register(&mut self, host: &str, namespace: &str, body: Value, replace: bool, now: Instant) -> (u16, String) {
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        let (name, id) = (text("Name"), text("ID"));
        if name.is_empty() {
            return (400, "Missing service name".into());
        }
        if matches!(text("Address").as_str(), "0.0.0.0" | "::" | "[::]") {
            return (400, "Invalid service address".into());
        }
        let plain = |key: &String| key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if let Some(key) = body.get("Meta").and_then(Value::as_object).and_then(|it| it.keys().find(|key| !plain(key)))
        {
            return (
                400,
                format!(
                    "Invalid Service Meta: Couldn't load metadata pair ('{key}', …): Key contains invalid characters"
                ),
            );
        }
        let id = if id.is_empty() { name.clone() } else { id };
        let key = (namespace.to_owned(), id.clone());
        let before = self.agent(host).services.remove(&key);
        let old = before.as_ref().map(|it| it.checks.clone()).unwrap_or_default();
        let mut checks = if replace { BTreeMap::new() } else { old.clone() };
        let defined = body.get("Checks").and_then(Value::as_array).cloned().unwrap_or_default();
        let many = defined.len() > 1;
        for (at, check) in defined.iter().enumerate() {
            let field = |name: &str| check.get(name).and_then(Value::as_str);
            let auto = if many { format!("service:{id}:{}", at + 1) } else { format!("service:{id}") };
            let check_id = field("CheckID").map_or(auto, str::to_owned);
            let ttl = field("TTL").and_then(span);
            let passing = old.get(&check_id).map_or_else(|| field("Status") == Some("passing"), |old| old.passing);
            let since = old.get(&check_id).filter(|old| !old.passing).map_or(now, |old| old.critical_since);
            let due = ttl.or_else(|| (!passing).then_some(Duration::from_secs(5))).map(|span| now.saturating_add(span));
            let reap_after = field("DeregisterCriticalServiceAfter").and_then(span);
            checks.insert(check_id, Check { passing, ttl, due, critical_since: since, reap_after });
        }
        if let Some(before) = before.as_ref().filter(|before| before.name != name) {
            self.touch(host, namespace, &before.name);
        }
        let same = before.as_ref().is_some_and(|it| it.body.get("Meta") == body.get("Meta") && it.body == body);
        self.puts += 1;
        let (index, put) = (self.touch(host, namespace, &name), self.puts);
        let created = before.as_ref().map_or(index, |it| it.created);
        let modified = before.filter(|_| same).map_or(index, |it| it.modified);
        self.agent(host)
            .services
            .insert(key, Service { body, name: name.clone(), checks, created, modified, put, unsynced: None });
        let names = (Namespace::new(namespace), ServiceName::new(name), InstanceId::new(id.clone()));
        if let (Ok(namespace), Ok(service), Ok(id)) = names {
            self.put.push(((namespace, service, id), put.to_string()));
        }
        let key = (namespace.to_owned(), id);
        if self.agents.values().filter(|agent| agent.services.get(&key).is_some_and(Service::is_passing)).count() > 1 {
            self.marks.push("an instance was at two agents");
        }
        (200, String::new())
    }

    pub fn deregister(&mut self, host: &str, namespace: &str, id: &str) -> bool {
        let gone = self.agent(host).services.remove(&(namespace.to_owned(), id.to_owned()));
        if let Some(gone) = &gone {
            self.touch(host, namespace, &gone.name);
        }
        gone.is_some()
    }

    /// Sets a check, and says whether it is there.
    pub fn set_check(&mut self, host: &str, namespace: &str, check_id: &str, passing: bool, now: Instant) -> bool {
        let services = &mut self.agent(host).services;
        let mut changed = None;
        let mut found = false;
        for ((ns, _), service) in services.iter_mut() {
            let Some(check) = service.checks.get_mut(check_id).filter(|_| ns == namespace) else { continue };
            found = true;
            if check.passing != passing {
                check.passing = passing;
                check.critical_since = now;
                changed = Some(service.name.clone());
            }
            check.due = check.ttl.map(|ttl| now.saturating_add(ttl));
        }
        if let Some(name) = changed {
            self.touch(host, namespace, &name);
        }
        found
    }

    pub fn maintain(&mut self, host: &str, namespace: &str, id: &str, enable: bool, now: Instant) -> bool {
        let key = (namespace.to_owned(), id.to_owned());
        let Some(service) = self.agent(host).services.get_mut(&key) else { return false };
        let check_id = format!("_service_maintenance:{id}");
        let check = Check { passing: false, ttl: None, due: None, critical_since: now, reap_after: None };
        let had = service.checks.contains_key(&check_id);
        if enable {
            service.checks.insert(check_id, check);
        } else {
            service.checks.remove(&check_id);
        }
        let name = service.name.clone();
        if had != enable {
            self.touch(host, namespace, &name);
        }
        true
    }

    pub fn call(&mut self, host: &str, at: &Address, method: Method, body: &[u8], now: Instant) -> (u16, String) {
        let ns = at.get("ns").unwrap_or("default").to_owned();
        let path: Vec<&str> = at.path.iter().map(String::as_str).collect();
        match (method, path.as_slice()) {
            (Method::Put, ["v1", "agent", "service", "register"]) => match serde_json::from_slice(body) {
                Ok(body) => self.register(host, &ns, body, at.get("replace-existing-checks") == Some("true"), now),
                Err(error) => (400, format!("Request decode failed: {error}")),
            },
            (Method::Put, ["v1", "agent", "service", "deregister", id]) => {
                if self.deregister(host, &ns, id) {
                    (200, String::new())
                } else {
                    unknown("service", id)
                }
            }
            (Method::Put, ["v1", "agent", "service", "maintenance", id]) => {
                let enable = at.get("enable") == Some("true");
                if self.maintain(host, &ns, id, enable, now) { (200, String::new()) } else { unknown("service", id) }
            }
            (Method::Put, ["v1", "agent", "check", "update", id]) => {
                let update: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
                match update.get("Status").and_then(Value::as_str) {
                    Some(status @ ("passing" | "critical")) => {
                        let found = self.set_check(host, &ns, id, status == "passing", now);
                        if found { (200, String::new()) } else { unknown("check", id) }
                    }
                    status => (400, format!("Invalid check status: '{}'", status.unwrap_or(""))),
                }
            }
            (Method::Get, ["v1", "agent", "service", id]) => {
                match self.agent(host).services.get(&(ns, (*id).to_owned())) {
                    Some(service) => (200, json!({ "ID": id, "Service": service.name }).to_string()),
                    None => (404, format!("unknown service ID: {id}")),
                }
            }
            _ => (404, "page not found".into()),
        }
    }
}

fn unknown(what: &str, id: &str) -> (u16, String) {
    (404, format!("Unknown {what} ID \"{id}\". Ensure that the {what} ID is passed, not the {what} name."))
}

//! Consul as a store: a few agents and their catalog, as one machine in virtual time.
//!
//! What real agents do that matters to clients: a service belongs to the agent that it was put to; a check that was there
//! before keeps its status, a new one is critical unless it says otherwise; TTL checks turn critical by themselves, and
//! what is critical for long enough is reaped, every half minute; queries wait for an index, and up to a sixteenth longer
//! than asked; every change of a check raises the index; errors are plain text.

mod address;
mod agent;

use std::collections::BTreeMap;
use std::time::Duration;

use periplus_core::backend::consul::{Consul, ConsulOptions};
use periplus_core::http::{Head, Method, Request};
use periplus_core::{Endpoint, InstanceId, Instant, Namespace, ServiceInstance, ServiceName};
use serde_json::{Value, json};

use super::kind::{Kind, Laws};
use super::store::{Act, ExchangeId, Part, Place, Reply, Store};
use address::{Address, span};

/// Checks are looked through for what is to be reaped this often.
const REAP: Duration = Duration::from_secs(30);

/// The least time that a service is critical before it is reaped.
const LEAST_CRITICAL: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
struct Check {
    passing: bool,
    ttl: Option<Duration>,
    /// When a TTL check turns critical, or a TCP check is first tried.
    due: Option<Instant>,
    critical_since: Instant,
    reap_after: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Service {
    /// What it says, as it was put.
    body: Value,
    name: String,
    checks: BTreeMap<String, Check>,
    created: u64,
    modified: u64,
    /// Which registration it was: Consul does not tell them apart, but the world does.
    put: u64,
}

impl Service {
    fn is_passing(&self) -> bool {
        self.checks.values().all(|check| check.passing)
    }
}

/// A service at an agent: namespace and id.
type Id = (String, String);

#[derive(Debug, Default)]
struct Agent {
    services: BTreeMap<Id, Service>,
}

/// A query that waits.
#[derive(Debug)]
struct Waiting {
    query: Query,
    index: u64,
    until: Instant,
}

#[derive(Clone, Debug)]
enum Query {
    Names(String),
    Health(String, String),
}

pub struct ConsulStore {
    agents: BTreeMap<String, Agent>,
    /// Whether each address is an agent of its own, and not the same one.
    apart: bool,
    /// How often its memory was lost: nodes have new ids then.
    boot: u32,
    index: u64,
    puts: u64,
    /// When each service last changed, and when any did of a namespace.
    changed: BTreeMap<(String, String), u64>,
    names_changed: BTreeMap<String, u64>,
    waiting: BTreeMap<ExchangeId, Waiting>,
    parts: Vec<(ExchangeId, Part)>,
}

impl ConsulStore {
    pub fn new(apart: bool) -> Self {
        Self {
            apart,
            agents: BTreeMap::new(),
            boot: 0,
            index: 12,
            puts: 0,
            changed: BTreeMap::new(),
            names_changed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            parts: Vec::new(),
        }
    }

    fn agent(&mut self, host: &str) -> &mut Agent {
        self.agents.entry(host.to_owned()).or_default()
    }

    /// Something of a service has changed.
    fn touch(&mut self, namespace: &str, name: &str) -> u64 {
        self.index += 1;
        self.changed.insert((namespace.to_owned(), name.to_owned()), self.index);
        self.names_changed.insert(namespace.to_owned(), self.index);
        self.index
    }

    fn index_of(&self, query: &Query) -> u64 {
        let changed = match query {
            Query::Names(namespace) => self.names_changed.get(namespace),
            Query::Health(namespace, name) => self.changed.get(&(namespace.clone(), name.clone())),
        };
        // What was never there has the index of what was last heard of at all.
        changed.copied().unwrap_or(if matches!(query, Query::Health(..)) { 12 } else { 11 })
    }

    fn services(&self) -> impl Iterator<Item = (&String, &Id, &Service)> {
        self.agents.iter().flat_map(|(host, agent)| agent.services.iter().map(move |(id, it)| (host, id, it)))
    }

    fn answer(&self, query: &Query) -> (Head, Vec<u8>) {
        let body = match query {
            Query::Names(namespace) => {
                let mut names = json!({ "consul": [] });
                for (_, (ns, _), service) in self.services() {
                    if ns == namespace {
                        names[&service.name] = service.body.get("Tags").cloned().unwrap_or(Value::Null);
                    }
                }
                names
            }
            Query::Health(namespace, name) => {
                let found = self.services().filter(|(_, (ns, _), it)| ns == namespace && it.name == *name);
                found.filter(|(.., it)| it.is_passing()).map(|(host, _, it)| self.entry(host, it)).collect()
            }
        };
        let mut head = Head::new(200);
        head.headers.push(("content-type".into(), "application/json".into()));
        head.headers.push(("x-consul-index".into(), self.index_of(query).to_string().into()));
        head.headers.push(("x-consul-knownleader".into(), "false".into()));
        (head, body.to_string().into_bytes())
    }

    fn entry(&self, host: &str, service: &Service) -> Value {
        let field = |name: &str| service.body.get(name).cloned().unwrap_or(Value::Null);
        let mut tagged = field("TaggedAddresses");
        let address = json!({ "Address": field("Address"), "Port": field("Port") });
        if service.body.get("Address").is_some_and(|it| it.as_str().is_some_and(|it| !it.is_empty())) {
            if tagged.is_null() {
                tagged = json!({});
            }
            tagged["lan_ipv4"] = address.clone();
            tagged["wan_ipv4"] = address;
        }
        json!({
            "Node": { "ID": format!("node-{host}-{}", self.boot), "Node": host, "Address": "10.9.9.9", "CreateIndex": 11 },
            "Service": { "ID": field("ID"), "Service": service.name, "Tags": field("Tags"), "Meta": field("Meta"),
                "Address": field("Address"), "Port": field("Port"), "TaggedAddresses": tagged,
                "CreateIndex": service.created, "ModifyIndex": service.modified },
            "Checks": [],
        })
    }

    /// Answers those who wait for what has changed.
    fn wake(&mut self, now: Instant) {
        let due = |it: &Waiting| it.until <= now || self.index_of(&it.query) > it.index;
        let ready: Vec<ExchangeId> = self.waiting.iter().filter(|(_, it)| due(it)).map(|(id, _)| *id).collect();
        for exchange in ready {
            if let Some(waiting) = self.waiting.remove(&exchange) {
                let (head, body) = self.answer(&waiting.query);
                self.parts.push((exchange, Part::Head(head)));
                self.parts.push((exchange, Part::Chunk(body)));
                self.parts.push((exchange, Part::End));
            }
        }
    }
}

impl Store for ConsulStore {
    fn handle_request(&mut self, exchange: ExchangeId, request: &Request, now: Instant) -> Reply {
        let Some((host, at)) = Address::read(&request.url) else {
            return Reply::Whole(Head::new(400), b"bad address".to_vec());
        };
        let host = if self.apart { host } else { "agent".into() };
        let ns = at.get("ns").unwrap_or("default").to_owned();
        let path: Vec<&str> = at.path.iter().map(String::as_str).collect();
        let query = match path.as_slice() {
            ["v1", "catalog", "services"] => Query::Names(ns),
            ["v1", "health", "service", name] => Query::Health(ns, (*name).to_owned()),
            _ => {
                let (status, text) = self.call(&host, &at, request.method, &request.body, now);
                self.wake(now);
                return Reply::Whole(Head::new(status), text.into_bytes());
            }
        };
        let index = at.get("index").and_then(|index| index.parse().ok()).unwrap_or(0);
        if index == 0 || self.index_of(&query) > index {
            let (head, body) = self.answer(&query);
            return Reply::Whole(head, body);
        }
        let wait = at.get("wait").and_then(span).unwrap_or(Duration::from_secs(300));
        let jitter = wait / 16 * u32::try_from(exchange * 7 % 16).unwrap_or(0) / 16;
        self.waiting.insert(exchange, Waiting { query, index, until: now.saturating_add(wait + jitter) });
        Reply::Held
    }

    fn handle_gone(&mut self, exchange: ExchangeId) {
        self.waiting.remove(&exchange);
        self.parts.retain(|(of, _)| *of != exchange);
    }

    fn act(&mut self, act: &Act, now: Instant) {
        match act {
            Act::Forget => {
                let (boot, puts) = (self.boot + 1, self.puts);
                *self = Self { boot, puts, ..Self::new(self.apart) };
            }
            Act::Restart => {
                self.waiting.clear();
                self.parts.clear();
            }
            Act::Compact => {
                self.index += 1_000;
                let names: Vec<_> = self.changed.keys().cloned().collect();
                for (namespace, name) in names {
                    self.touch(&namespace, &name);
                }
            }
            Act::Revoke(namespace, _, id) => {
                for host in self.agents.keys().cloned().collect::<Vec<_>>() {
                    self.set_check(&host, namespace, &format!("service:{id}"), false, now);
                }
            }
            Act::Remove(namespace, _, id) => {
                for host in self.agents.keys().cloned().collect::<Vec<_>>() {
                    self.deregister(&host, namespace, id);
                }
            }
            Act::ForeignPut(namespace, instance) => {
                let tagged: BTreeMap<String, Value> = instance
                    .endpoints
                    .iter()
                    .enumerate()
                    .map(|(at, it)| (format!("e{at}"), json!({ "Address": it.as_str(), "Port": 1 })))
                    .collect();
                let body = json!({ "ID": instance.id, "Name": instance.name, "Meta": instance.metadata,
                    "Tags": [format!("version={}", instance.version)], "TaggedAddresses": tagged });
                self.register("foreign", namespace, body, true, now);
            }
            Act::Garbage(namespace, service, id, _) => {
                // An id that is none.
                let body = json!({ "ID": "\u{1}", "Tags": [id.as_str()] });
                let index = self.touch(namespace, service);
                let name = service.to_string();
                let garbage = Service { body, name, checks: BTreeMap::new(), created: index, modified: index, put: 0 };
                let key = (namespace.to_string(), format!("\u{1}{id}"));
                self.agent("foreign").services.insert(key, garbage);
            }
        }
        self.wake(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        let mut changed = Vec::new();
        for agent in self.agents.values_mut() {
            for ((namespace, _), service) in &mut agent.services {
                for check in service.checks.values_mut() {
                    if check.due.is_none_or(|due| due > now) {
                        continue;
                    }
                    check.due = None;
                    let passing = check.ttl.is_none();
                    if check.passing != passing {
                        (check.passing, check.critical_since) = (passing, now);
                        changed.push((namespace.clone(), service.name.clone()));
                    }
                }
            }
            agent.services.retain(|(namespace, _), service| {
                let reaped = service.checks.values().any(|check| reap(check).is_some_and(|at| at <= now));
                if reaped {
                    changed.push((namespace.clone(), service.name.clone()));
                }
                !reaped
            });
        }
        for (namespace, name) in changed {
            self.touch(&namespace, &name);
        }
        self.wake(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let checks = self.services().flat_map(|(.., service)| service.checks.values());
        let checks = checks.flat_map(|check| [check.due, reap(check)]).flatten();
        checks.chain(self.waiting.values().map(|it| it.until)).min()
    }

    fn poll_part(&mut self) -> Option<(ExchangeId, Part)> {
        if self.parts.is_empty() { None } else { Some(self.parts.remove(0)) }
    }

    fn visible(&self, _now: Instant) -> BTreeMap<Place, ServiceInstance> {
        let mut visible: BTreeMap<Place, (u64, ServiceInstance)> = BTreeMap::new();
        for (_, (namespace, _), service) in self.services().filter(|(.., it)| it.is_passing()) {
            let Some(instance) = decode(service) else { continue };
            let Ok(namespace) = Namespace::new(namespace.clone()) else { continue };
            let place = (namespace, instance.name.clone(), instance.id.clone());
            if visible.get(&place).is_none_or(|(modified, _)| *modified < service.modified) {
                visible.insert(place, (service.modified, instance));
            }
        }
        visible.into_iter().map(|(place, (_, instance))| (place, instance)).collect()
    }

    fn holder(&self, place: &Place) -> Option<(String, Instant)> {
        let (namespace, name, id) = place;
        let found = self.services().filter(|(_, (ns, of), it)| {
            ns.as_str() == namespace.as_str() && of.as_str() == id.as_str() && it.name == name.as_str()
        });
        // Two agents may have it; it is there as long as either says so.
        let found: Vec<_> = found.map(|(.., it)| it).collect();
        let due = |it: &&Service| it.checks.values().filter(|check| check.ttl.is_some()).find_map(|check| check.due);
        let passing = found.iter().filter(|it| it.is_passing()).filter_map(due).max();
        let due = passing.or_else(|| found.iter().filter_map(due).max())?;
        let put = found.iter().max_by_key(|it| (it.is_passing(), it.put))?.put;
        Some((put.to_string(), due))
    }

    fn revision(&self) -> Option<u64> {
        None
    }
}

/// When a service with this check is reaped.
fn reap(check: &Check) -> Option<Instant> {
    let after = check.reap_after.filter(|_| !check.passing)?;
    let at = check.critical_since.saturating_add(after.max(LEAST_CRITICAL)).as_micros();
    let every = u64::try_from(REAP.as_micros()).unwrap_or(1);
    Some(Instant::from_micros(at.div_ceil(every) * every))
}

/// A service as Kratos reads it.
fn decode(service: &Service) -> Option<ServiceInstance> {
    let body = &service.body;
    let id = InstanceId::new(body.get("ID")?.as_str()?).ok()?;
    let mut instance = ServiceInstance::new(ServiceName::new(service.name.as_str()).ok()?, id);
    for tag in body.get("Tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if let Some(version) = tag.strip_prefix("version=") {
            instance.version = version.into();
        }
    }
    for (key, value) in body.get("Meta").and_then(Value::as_object).into_iter().flatten() {
        instance.metadata.insert(key.clone(), value.as_str()?.to_owned());
    }
    let tagged = body.get("TaggedAddresses").and_then(Value::as_object).into_iter().flatten();
    instance.endpoints = tagged.filter_map(|(_, it)| Some(Endpoint::foreign(it.get("Address")?.as_str()?))).collect();
    Some(instance)
}

/// One agent with several addresses: two agents may have two services of one id, for which the world has no word.
pub const CONSUL: Kind = Kind {
    name: "consul",
    endpoints: 3,
    client: |setup| {
        let mut consul = Consul::new(setup.config(), ConsulOptions::default(), setup.seed, setup.now);
        if let Some(cache) = &setup.cache {
            consul.restore(cache, setup.now).expect("what it kept itself");
        }
        Box::new(consul)
    },
    store: |_, _| Box::new(ConsulStore::new(false)),
    is_read: |request| request.method == Method::Get,
    normal: |instance| instance.endpoints.sort(),
    laws: Laws {
        fences: false,
        prefixes: true,
        foreign: true,
        silence: Duration::from_secs(70),
        warm_up: Duration::from_secs(90),
        polls: 8,
        renewals: 1,
        lists: true,
        blank_is_yes: true,
        // A renewal that is as late as the registration that was given up.
        zombie: Duration::from_secs(62),
    },
};

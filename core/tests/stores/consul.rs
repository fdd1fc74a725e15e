//! Consul as a store: a few agents and their catalog, as one machine in virtual time.
//!
//! What real agents do that matters to clients: a service belongs to the agent that it was put to; a check that was there
//! before keeps its status, a new one is critical unless it says otherwise; TTL checks turn critical by themselves, and
//! what is critical for long enough is reaped, every half minute; queries wait for an index, and up to a sixteenth longer
//! than asked; every change of a check raises the index; errors are plain text.

mod address;
mod agent;
mod kinds;
mod trouble;

pub use kinds::{CONSUL, WIDE};

use std::collections::BTreeMap;
use std::time::Duration;

use periplus_core::http::{Head, Request};
use periplus_core::{Endpoint, InstanceId, Instant, Namespace, ServiceInstance, ServiceName};
use serde_json::{Value, json};

use super::plan::Rights;
use super::store::{Act, ExchangeId, Part, Place, Reply, Store};
use address::{Address, span};

/// The agent of those who know no Periplus.
const FOREIGN: &str = "foreign";

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
    /// Its agent has it, and the catalog does not until then.
    unsynced: Option<Instant>,
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
    /// It is dead until then.
    dead: Option<Instant>,
}

/// What the servers of a datacenter know of changes.
#[derive(Debug)]
struct Center {
    index: u64,
    /// When each service last changed, and when any did of a namespace.
    changed: BTreeMap<(String, String), u64>,
    names_changed: BTreeMap<String, u64>,
    /// They answer nothing until then.
    down: Option<Instant>,
}

impl Default for Center {
    fn default() -> Self {
        Self { index: 12, changed: BTreeMap::new(), names_changed: BTreeMap::new(), down: None }
    }
}

/// A query that waits.
#[derive(Debug)]
struct Waiting {
    query: Query,
    index: u64,
    until: Instant,
}

/// What is asked, and of which datacenter.
#[derive(Clone, Debug)]
enum Query {
    Names(usize, String),
    Health(usize, String, String),
}

impl Query {
    const fn center(&self) -> usize {
        match self {
            Self::Names(center, _) | Self::Health(center, ..) => *center,
        }
    }
}

pub struct ConsulStore {
    agents: BTreeMap<String, Agent>,
    /// Whether each address is an agent of its own, and what others put is in another datacenter.
    wide: bool,
    /// How often its memory was lost: nodes have new ids then.
    boot: u32,
    puts: u64,
    centers: [Center; 2],
    /// What tokens are good for, and until when.
    rights: Option<(Rights, Instant)>,
    waiting: BTreeMap<ExchangeId, Waiting>,
    parts: Vec<(ExchangeId, Part)>,
    /// What was put last.
    put: Vec<(Place, String)>,
    marks: Vec<&'static str>,
}

impl ConsulStore {
    pub fn new(wide: bool) -> Self {
        Self {
            agents: BTreeMap::new(),
            wide,
            boot: 0,
            puts: 0,
            centers: Default::default(),
            rights: None,
            waiting: BTreeMap::new(),
            parts: Vec::new(),
            put: Vec::new(),
            marks: Vec::new(),
        }
    }

    fn agent(&mut self, host: &str) -> &mut Agent {
        self.agents.entry(host.to_owned()).or_default()
    }

    /// The datacenter of an agent.
    fn center(&self, host: &str) -> usize {
        usize::from(self.wide && host == FOREIGN)
    }

    /// Something of a service at an agent has changed.
    fn touch(&mut self, host: &str, namespace: &str, name: &str) -> u64 {
        let at = self.center(host);
        let center = &mut self.centers[at];
        center.index += 1;
        center.changed.insert((namespace.to_owned(), name.to_owned()), center.index);
        center.names_changed.insert(namespace.to_owned(), center.index);
        center.index
    }

    fn index_of(&self, query: &Query) -> u64 {
        let center = &self.centers[query.center()];
        let changed = match query {
            Query::Names(_, namespace) => center.names_changed.get(namespace),
            Query::Health(_, namespace, name) => center.changed.get(&(namespace.clone(), name.clone())),
        };
        // What was never there has the index of what was last heard of at all.
        changed.copied().unwrap_or(if matches!(query, Query::Health(..)) { 12 } else { 11 })
    }

    /// What the agents have.
    fn all(&self) -> impl Iterator<Item = (&String, &Id, &Service)> {
        self.agents.iter().flat_map(|(host, agent)| agent.services.iter().map(move |(id, it)| (host, id, it)))
    }

    /// What the catalog has, at nodes that live.
    fn services(&self) -> impl Iterator<Item = (&String, &Id, &Service)> {
        self.all().filter(|(host, _, it)| it.unsynced.is_none() && self.agents[*host].dead.is_none())
    }

    fn answer(&mut self, query: &Query, now: Instant) -> (Head, Vec<u8>) {
        if let Some(denied) = self.denied(Some(query.center()), now) {
            return denied;
        }
        let center = query.center();
        let here = |host: &String| self.center(host) == center;
        let mut hidden = false;
        let body = match query {
            Query::Names(_, namespace) => {
                let mut names = if self.may_read(None, now) { json!({ "consul": [] }) } else { json!({}) };
                for (host, (ns, _), service) in self.services() {
                    if ns == namespace && here(host) {
                        if self.may_read(Some(&service.name), now) {
                            names[&service.name] = service.body.get("Tags").cloned().unwrap_or(Value::Null);
                        } else {
                            hidden = true;
                        }
                    }
                }
                names
            }
            Query::Health(_, namespace, name) => {
                let found =
                    self.services().filter(|(host, (ns, _), it)| ns == namespace && it.name == *name && here(host));
                let found: Vec<Value> =
                    found.filter(|(.., it)| it.is_passing()).map(|(host, _, it)| self.entry(host, it)).collect();
                hidden = !found.is_empty() && !self.may_read(Some(name), now);
                if hidden { json!([]) } else { Value::from(found) }
            }
        };
        let mut head = Head::new(200);
        head.headers.push(("content-type".into(), "application/json".into()));
        head.headers.push(("x-consul-index".into(), self.index_of(query).to_string().into()));
        head.headers.push(("x-consul-knownleader".into(), "false".into()));
        if hidden {
            head.headers.push(("x-consul-results-filtered-by-acls".into(), "true".into()));
            self.marks.push("a list was empty for want of rights");
        }
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
        let due = |it: &Waiting| {
            let down = self.centers[it.query.center()].down.is_some_and(|until| until > now);
            it.until <= now || self.index_of(&it.query) > it.index || down
        };
        let ready = self.waiting.iter().filter(|(_, it)| due(it)).map(|(id, _)| *id).collect();
        self.answer_all(ready, now);
    }

    fn answer_all(&mut self, ready: Vec<ExchangeId>, now: Instant) {
        for exchange in ready {
            if let Some(waiting) = self.waiting.remove(&exchange) {
                let (head, body) = self.answer(&waiting.query, now);
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
        let host = if self.wide { host } else { "agent".into() };
        let center = usize::from(self.wide && at.get("dc") == Some("west"));
        let ns = at.get("ns").unwrap_or("default").to_owned();
        let path: Vec<&str> = at.path.iter().map(String::as_str).collect();
        let query = match path.as_slice() {
            ["v1", "catalog", "services"] => Query::Names(center, ns),
            ["v1", "health", "service", name] => Query::Health(center, ns, (*name).to_owned()),
            _ => {
                if let Some((head, body)) = self.denied(None, now) {
                    return Reply::Whole(head, body);
                }
                let (status, text) = self.call(&host, &at, request.method, &request.body, now);
                self.wake(now);
                return Reply::Whole(Head::new(status), text.into_bytes());
            }
        };
        let index = at.get("index").and_then(|index| index.parse().ok()).unwrap_or(0);
        let refused = self.denied(Some(center), now).is_some();
        if index == 0 || self.index_of(&query) > index || refused {
            let (head, body) = self.answer(&query, now);
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
                *self = Self { boot, puts, ..Self::new(self.wide) };
            }
            Act::Restart => {
                self.waiting.clear();
                self.parts.clear();
            }
            Act::Compact => {
                for (at, host) in ["", FOREIGN].into_iter().enumerate().take(1 + usize::from(self.wide)) {
                    self.centers[at].index += 1_000;
                    let names: Vec<_> = self.centers[at].changed.keys().cloned().collect();
                    for (namespace, name) in names {
                        self.touch(host, &namespace, &name);
                    }
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
                self.register(FOREIGN, namespace, body, true, now);
            }
            Act::Garbage(namespace, service, id, _) => {
                // An id that is none.
                let body = json!({ "ID": "\u{1}", "Tags": [id.as_str()] });
                let index = self.touch(FOREIGN, namespace, service);
                let name = service.to_string();
                let garbage = Service {
                    body,
                    name,
                    checks: BTreeMap::new(),
                    created: index,
                    modified: index,
                    put: 0,
                    unsynced: None,
                };
                let key = (namespace.to_string(), format!("\u{1}{id}"));
                self.agent(FOREIGN).services.insert(key, garbage);
            }
            act => self.ail(act, now),
        }
        self.wake(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        let mut changed = Vec::new();
        for (host, agent) in &mut self.agents {
            let lives = agent.dead.take_if(|until| *until <= now).is_some();
            for ((namespace, _), service) in &mut agent.services {
                if service.unsynced.take_if(|until| *until <= now).is_some() || lives {
                    changed.push((host.clone(), namespace.clone(), service.name.clone()));
                }
                for check in service.checks.values_mut() {
                    if check.due.is_none_or(|due| due > now) {
                        continue;
                    }
                    check.due = None;
                    let passing = check.ttl.is_none();
                    if check.passing != passing {
                        (check.passing, check.critical_since) = (passing, now);
                        changed.push((host.clone(), namespace.clone(), service.name.clone()));
                    }
                }
            }
            agent.services.retain(|(namespace, _), service| {
                let reaped = service.checks.values().any(|check| reap(check).is_some_and(|at| at <= now));
                if reaped {
                    changed.push((host.clone(), namespace.clone(), service.name.clone()));
                }
                !reaped
            });
        }
        for (host, namespace, name) in changed {
            self.touch(&host, &namespace, &name);
        }
        self.wake(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let checks = self.all().flat_map(|(.., service)| service.checks.values());
        let checks = checks.flat_map(|check| [check.due, reap(check)]).flatten();
        let dead = self.agents.values().filter_map(|agent| agent.dead);
        let ails = self.all().filter_map(|(.., it)| it.unsynced).chain(dead);
        checks.chain(self.waiting.values().map(|it| it.until)).chain(ails).min()
    }

    fn poll_put(&mut self) -> Option<(Place, String)> {
        self.put.pop()
    }

    fn poll_mark(&mut self) -> Option<&'static str> {
        self.marks.pop()
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
        let of = |(_, (ns, of), it): &(&String, &Id, &Service)| {
            ns.as_str() == namespace.as_str() && of.as_str() == id.as_str() && it.name == name.as_str()
        };
        // Two agents may have it; it is there as long as either says so, even if nobody hears it.
        let found: Vec<_> = self.all().filter(of).map(|(.., it)| it).collect();
        let due = |it: &&Service| it.checks.values().filter(|check| check.ttl.is_some()).find_map(|check| check.due);
        let passing = found.iter().filter(|it| it.is_passing()).filter_map(due).max();
        let due = passing.or_else(|| found.iter().filter_map(due).max())?;
        let latest = |it: &Service| (it.is_passing(), it.modified, it.put);
        let seen = self.services().filter(of).map(|(.., it)| latest(it)).max();
        let (.., put) = seen.or_else(|| found.iter().map(|it| latest(it)).max())?;
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

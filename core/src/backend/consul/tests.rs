//! The machine, fed by hand: its table of states and inputs, what it writes and reads, and what it makes of it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde_json::{Value, json};

use super::{Consul, ConsulOptions, Token};
use crate::catalog::Selector;
use crate::client::{
    Backend, ClientConfig, ClientEvent, Provenance, Registration, RegistrationId, RegistrationState, SubscriptionId,
};
use crate::endpoint::Endpoint;
use crate::fault::Faults;
use crate::http::{Failure, Head, Method, Request, RequestId, Transmit};
use crate::instance::ServiceInstance;
use crate::name::{InstanceId, Namespace, ServiceKey, ServiceName};
use crate::time::Instant;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod encoding;
#[cfg(feature = "planted-faults")]
#[cfg(not(target_family = "wasm"))] // A panic ends everything there.
mod faults;
mod registering;
mod trust;
mod watching;

/// A machine and the requests that it has sent.
struct Hand {
    consul: Consul,
    now: Instant,
    sent: Vec<(RequestId, Request)>,
    cancelled: Vec<RequestId>,
}

fn service(name: &str) -> Selector {
    Selector::Service(ServiceKey::new(Namespace::default(), ServiceName::new(name).unwrap()))
}

fn instance(id: &str) -> ServiceInstance {
    let instance = ServiceInstance::new(ServiceName::new("web").unwrap(), InstanceId::new(id).unwrap());
    instance.with_endpoint(Endpoint::new("grpc://10.0.0.5:9000").unwrap())
}

/// An entry of a list of healthy instances.
fn entry(id: &str) -> Value {
    entry_of("web", id, "node-1")
}

fn entry_of(service: &str, id: &str, node: &str) -> Value {
    json!({
        "Node": { "ID": node, "Node": "vm", "Address": "10.1.1.1", "CreateIndex": 11 },
        "Service": { "ID": id, "Service": service, "Tags": ["version=v1"], "Address": "10.0.0.5", "Port": 9000, "Meta": null,
            "TaggedAddresses": { "grpc": { "Address": "grpc://10.0.0.5:9000", "Port": 9000 } },
            "CreateIndex": 20, "ModifyIndex": 20 },
        "Checks": [],
    })
}

fn list(ids: &[&str]) -> Value {
    ids.iter().map(|id| entry(id)).collect()
}

impl Hand {
    fn new() -> Self {
        Self::with(&["http://a:8500"], ConsulOptions::default(), Faults::default())
    }

    fn with(origins: &[&str], options: ConsulOptions, faults: Faults) -> Self {
        let origins = origins.iter().map(ToString::to_string).collect();
        let config = ClientConfig { origins, faults, ..ClientConfig::default() };
        let now = Instant::from_millis(5_000);
        Self { consul: Consul::new(config, options, [3; 32], now), now, sent: Vec::new(), cancelled: Vec::new() }
    }

    /// Takes what is to be sent; gives what is new.
    fn drain(&mut self) -> Vec<(RequestId, Request)> {
        let before = self.sent.len();
        while let Some(transmit) = self.consul.poll_transmit() {
            match transmit {
                Transmit::Send(id, request) => self.sent.push((id, request)),
                Transmit::Cancel(id) => self.cancelled.push(id),
            }
        }
        self.sent[before..].to_vec()
    }

    /// The one request that is new, as method, path with query, and body.
    fn next(&mut self) -> (RequestId, String, Value) {
        let mut sent = self.drain();
        assert_eq!(sent.len(), 1, "{sent:?}");
        let (id, request) = sent.remove(0);
        let path = request.url.split_once("8500").map_or("", |(_, path)| path);
        let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        (id, format!("{} {path}", request.method.as_str()), body)
    }

    fn answer(&mut self, id: RequestId, head: &Head, body: &str) {
        self.consul.handle_response(id, head, self.now);
        self.consul.handle_chunk(id, body.as_bytes(), self.now);
        self.consul.handle_end(id, self.now);
    }

    fn say(&mut self, id: RequestId, status: u16, text: &str) {
        self.answer(id, &Head::new(status), text);
    }

    /// Answers the newest request with nothing but success.
    fn done(&mut self) {
        let id = self.next().0;
        self.say(id, 200, "");
    }

    fn list(&mut self, id: RequestId, index: u64, body: &Value) {
        self.answer(id, &at(index), &body.to_string());
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now.saturating_add(span);
        self.consul.handle_timeout(self.now);
    }

    /// Sleeps to the next timeout, and through it.
    fn tick(&mut self) {
        self.now = self.consul.poll_timeout().expect("something is waited for").max(self.now);
        self.consul.handle_timeout(self.now);
        assert!(self.consul.poll_timeout().is_none_or(|next| next > self.now), "no spin");
    }

    /// Sleeps until something is sent.
    fn until_sent(&mut self) -> (RequestId, String, Value) {
        let before = self.sent.len();
        for _ in 0..50 {
            self.drain();
            if self.sent.len() > before {
                let (id, request) = self.sent[before].clone();
                let path = request.url.split_once("8500").map_or("", |(_, path)| path);
                let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
                return (id, format!("{} {path}", request.method.as_str()), body);
            }
            self.tick();
        }
        panic!("nothing is sent");
    }

    fn register(&mut self, instance: ServiceInstance) -> RegistrationId {
        self.consul.register(&Registration::new(instance), self.now).unwrap()
    }

    fn registered(&mut self, instance: ServiceInstance) -> RegistrationId {
        let id = self.register(instance);
        self.done();
        self.done();
        assert_eq!(self.state(id), RegistrationState::Registered);
        id
    }

    fn state(&self, id: RegistrationId) -> RegistrationState {
        self.consul.registration(id).unwrap().state
    }

    fn events(&mut self) -> Vec<ClientEvent> {
        core::iter::from_fn(|| self.consul.poll_event()).collect()
    }

    fn watch(&mut self, selector: &Selector) -> SubscriptionId {
        self.consul.watch(selector, self.now).unwrap()
    }

    fn provenance(&self, id: SubscriptionId) -> Provenance {
        self.consul.view(id).unwrap().provenance
    }

    fn ids(&self, id: SubscriptionId) -> Vec<String> {
        self.consul.view(id).unwrap().instances.iter().map(|it| it.id().into()).collect()
    }
}

fn at(index: u64) -> Head {
    Head { headers: alloc::vec![("x-consul-index".into(), index.to_string().into())], ..Head::new(200) }
}

const STATES: [&str; 4] = ["not ours, or over", "a call", "a query, at once", "a query that waits"];

fn in_state(state: &str) -> (Hand, RequestId) {
    let mut hand = Hand::new();
    if state == "a call" {
        hand.register(instance("a"));
    } else {
        hand.watch(&service("web"));
    }
    let mut id = hand.next().0;
    match state {
        "not ours, or over" => return (hand, RequestId(99)),
        "a query that waits" => {
            hand.list(id, 7, &list(&["a"]));
            id = hand.next().0;
        }
        _ => {}
    }
    hand.events();
    (hand, id)
}

type Trial = (&'static str, fn(&mut Hand, RequestId));

const TRIALS: [Trial; 15] = [
    ("head", |hand, id| hand.consul.handle_response(id, &at(9), hand.now)),
    ("chunk", |hand, id| hand.consul.handle_chunk(id, b"[", hand.now)),
    ("chunk beyond the limit", |hand, id| {
        let limit = hand.consul.config.limits.body;
        hand.consul.handle_chunk(id, &alloc::vec![b'x'; limit + 1], hand.now);
    }),
    ("end without a head", |hand, id| hand.consul.handle_end(id, hand.now)),
    ("answer: nothing", |hand, id| hand.say(id, 200, "")),
    ("answer: a list", |hand, id| hand.list(id, 9, &list(&["a", "b"]))),
    ("answer: the list as before", |hand, id| hand.list(id, 9, &list(&["a"]))),
    ("answer: garbage", |hand, id| hand.answer(id, &at(9), "<html>")),
    ("answer: 400", |hand, id| hand.say(id, 400, "Missing something")),
    ("answer: 403", |hand, id| hand.say(id, 403, "Permission denied")),
    ("answer: 500, no leader", |hand, id| hand.say(id, 500, "No cluster leader")),
    ("failure: not sent", |hand, id| hand.consul.handle_failure(id, &Failure::not_sent("refused"), hand.now)),
    ("failure: unknown", |hand, id| hand.consul.handle_failure(id, &Failure::unknown("reset"), hand.now)),
    ("suspend", |hand, _| hand.consul.suspend(hand.now)),
    ("nothing for 69 s", |hand, _| hand.wait(Duration::from_secs(69))),
];

/// What an input did: to the request, to the way, to what is shown, and to what is registered.
fn effect(hand: &mut Hand, id: RequestId) -> String {
    let mut words: Vec<String> = Vec::new();
    let cancelled = hand.cancelled.len();
    let sent = hand.drain();
    if hand.cancelled[cancelled..].contains(&id) {
        words.push("dropped".into());
    }
    for event in hand.events() {
        words.push(match event {
            ClientEvent::Connected { .. } => "up".into(),
            ClientEvent::Disconnected { .. } => "down".into(),
            ClientEvent::Deferred { .. } => "later".into(),
            ClientEvent::WatchRefused(_) => "told why".into(),
            ClientEvent::Registration(_, RegistrationState::Refused(_)) => "refused".into(),
            ClientEvent::Update(id) => match hand.provenance(id) {
                Provenance::Stale { .. } => "stale".into(),
                Provenance::Live => "told".into(),
                Provenance::Unknown | Provenance::Unconfirmed => continue,
            },
            other => format!("{other:?}"),
        });
    }
    for (_, request) in sent {
        words.push(match request.method {
            Method::Put if request.url.contains("check/update") => "*pass*".into(),
            Method::Get if request.url.contains("index=") => "*wait*".into(),
            Method::Get => "*ask*".into(),
            _ => "*put*".into(),
        });
    }
    if words.is_empty() { "–".into() } else { words.join(", ") }
}

#[test]
fn the_table_in_the_docs_is_what_each_input_does_in_each_state() {
    let mut table = Vec::new();
    for (name, trial) in TRIALS {
        let mut row = format!("//! | {name} |");
        for state in STATES {
            let (mut hand, id) = in_state(state);
            if state == "not ours, or over" && name == "nothing for 69 s" {
                row += " – |";
                continue;
            }
            trial(&mut hand, id);
            row += &format!(" {} |", effect(&mut hand, id));
        }
        table.push(row);
    }
    let docs: Vec<&str> =
        include_str!("../consul.rs").lines().filter(|line| line.starts_with("//! | ")).skip(1).collect();
    assert_eq!(docs, table, "the table should be:\n{}", table.join("\n"));
}

#[test]
fn no_token_is_ever_printed() {
    let options = ConsulOptions { token: Token::new("s3cret"), ..ConsulOptions::default() };
    assert!(!format!("{options:?}").contains("s3cret"));
    let mut hand = Hand::with(&["http://a:8500"], options, Faults::default());
    hand.watch(&service("web"));
    let sent = hand.drain();
    assert!(sent[0].1.headers.iter().any(|(key, value)| key == "x-consul-token" && value == "s3cret"));
    assert!(!format!("{:?}", hand.consul).contains("s3cret"));
    let error = ConsulOptions::from_url(&"consul://a?token=s3c%20ret".parse().unwrap()).unwrap_err();
    assert!(!error.to_string().contains("s3c") && error.to_string().contains("token"), "{error}");
}

#[test]
fn an_address_says_the_options() {
    let read = |text: &str| ConsulOptions::from_url(&text.parse().unwrap());
    assert_eq!(read("consul://a"), Ok(ConsulOptions::default()));
    let options = read(
        "consul://a?dc=x,y&checks=ttl&interval=5s&deregister_after=2m&tags=a,b&partition=p&token=t&reads=stale&\
         wait=30s&long_polls=4&warm_up=0s&maintenance=false&ns=other",
    )
    .unwrap();
    assert_eq!(options.datacenters, ["x", "y"]);
    assert_eq!((options.checks.tcp, options.checks.ttl), (false, true));
    assert_eq!((options.interval.as_secs(), options.ttl.as_secs()), (5, 10));
    assert_eq!((options.deregister_after.as_secs(), options.wait.as_secs()), (120, 30));
    assert_eq!((options.tags.len(), options.partition.as_deref(), options.long_polls), (2, Some("p"), 4));
    assert_eq!((options.reads, options.maintenance), (super::Reads::Stale, false));
    for wrong in ["checks=udp", "interval=1", "interval=0s", "tags=version=1", "reads=x", "long_polls=0", "token="] {
        let key = wrong.split_once('=').unwrap().0;
        let error = read(&format!("consul://a?{wrong}")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{key}` must be ")), "{error}");
    }
}

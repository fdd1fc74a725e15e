//! The machine, fed by hand: its table of states and inputs, and what it writes and reads.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde_json::{Value, json};

use super::Native;
use crate::catalog::Selector;
use crate::client::{
    Backend, Channel, ClientConfig, ClientEvent, Provenance, Registration, RegistrationState, SubscriptionId,
};
use crate::http::{Failure, Head, Method, Request, RequestId, Transmit};
use crate::instance::{Patch, ServiceInstance};
use crate::name::{InstanceId, Namespace, ServiceKey, ServiceName};
use crate::time::Instant;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const LEASE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A machine and the requests that it has sent.
struct Hand {
    native: Native,
    now: Instant,
    sent: Vec<(RequestId, Request)>,
    cancelled: Vec<RequestId>,
}

fn registration() -> Registration {
    let instance = ServiceInstance::new(ServiceName::new("web").unwrap(), InstanceId::new("a b").unwrap());
    Registration { ttl: Some(Duration::from_secs(30)), ..Registration::new(instance.with_metadata("k", "v")) }
}

fn web() -> Selector {
    Selector::Service(ServiceKey::new(Namespace::default(), ServiceName::new("web").unwrap()))
}

fn event_stream() -> Head {
    Head { headers: alloc::vec![("content-type".into(), "text/event-stream".into())], ..Head::new(200) }
}

impl Hand {
    fn new() -> Self {
        Self::at(&["http://a:1"])
    }

    fn at(origins: &[&str]) -> Self {
        let config =
            ClientConfig { origins: origins.iter().map(ToString::to_string).collect(), ..ClientConfig::default() };
        let now = Instant::from_millis(5_000);
        Self { native: Native::new(config, [3; 32], now), now, sent: Vec::new(), cancelled: Vec::new() }
    }

    /// Takes what is to be sent; gives the newest request.
    fn drain(&mut self) -> (RequestId, Request) {
        while let Some(transmit) = self.native.poll_transmit() {
            match transmit {
                Transmit::Send(id, request) => self.sent.push((id, request)),
                Transmit::Cancel(id) => self.cancelled.push(id),
            }
        }
        self.sent.last().cloned().expect("something was sent")
    }

    fn body(&mut self) -> Value {
        serde_json::from_slice(&self.drain().1.body).unwrap()
    }

    /// Answers a request in full.
    fn answer(&mut self, id: RequestId, status: u16, body: &Value) {
        self.native.handle_response(id, &Head::new(status), self.now);
        self.native.handle_chunk(id, body.to_string().as_bytes(), self.now);
        self.native.handle_end(id, self.now);
    }

    fn registered(&mut self) -> RequestId {
        let id = self.drain().0;
        let answer = json!({ "outcome": "registered", "lease": LEASE, "generation": 7, "ttl": "30s",
            "epoch": "e", "revision": 1, "warming": false });
        self.answer(id, 200, &answer);
        id
    }

    /// Sleeps until a report is sent, which says this.
    fn reported(&mut self, applied: &str) -> RequestId {
        let sent = self.sent.len();
        self.tick();
        let (id, request) = self.drain();
        assert_eq!(self.sent.len(), sent + 1, "one request is sent");
        assert_eq!((request.method, request.url.as_str()), (Method::Post, "http://a:1/v1/watches/applied"));
        assert_eq!(self.body(), json!({ "watch": "w-1", "applied": applied }));
        id
    }

    /// Answers a report.
    fn taken(&mut self, id: RequestId) {
        self.answer(id, 200, &json!({ "taken": true, "epoch": "e", "revision": 9 }));
    }

    /// When something is waited for, but for the end of the silence.
    fn waits(&self) -> Option<Duration> {
        let wait = self.native.poll_timeout()?.saturating_since(self.now);
        Some(wait).filter(|wait| *wait < Duration::from_secs(40))
    }

    fn say(&mut self, id: RequestId, text: &str) {
        self.native.handle_chunk(id, text.as_bytes(), self.now);
    }

    /// Sleeps to the next timeout, and through it.
    fn tick(&mut self) {
        self.now = self.native.poll_timeout().expect("something is waited for").max(self.now);
        self.native.handle_timeout(self.now);
    }

    fn events(&mut self) -> Vec<ClientEvent> {
        core::iter::from_fn(|| self.native.poll_event()).collect()
    }

    fn provenance(&self, id: SubscriptionId) -> Provenance {
        self.native.view(id).unwrap().provenance
    }
}

/// What a request is in when an input comes for it, and how a machine gets there.
const STATES: [&str; 5] = ["not ours, or over", "a call", "a stream, opening", "a stream, open", "a report"];

fn in_state(state: &str) -> (Hand, RequestId) {
    let mut hand = Hand::new();
    match state {
        "a call" => drop(hand.native.register(&registration(), hand.now).unwrap()),
        _ => drop(hand.native.watch(&web(), hand.now).unwrap()),
    }
    let id = hand.drain().0;
    match state {
        "not ours, or over" => return (hand, RequestId(99)),
        "a stream, open" => {
            hand.native.handle_response(id, &event_stream(), hand.now);
            hand.say(id, "event: snapshot\ndata: {\"service\":\"web\",\"count\":0}\nid: e.1\n\n");
        }
        "a report" => {
            let (mut hand, _, _) = watching();
            let report = hand.reported("e.1");
            hand.events();
            return (hand, report);
        }
        _ => {}
    }
    hand.events();
    (hand, id)
}

/// A watch whose registry takes reports, and whose holder has taken what there was.
fn watching() -> (Hand, RequestId, SubscriptionId) {
    let mut hand = Hand::new();
    let id = hand.native.watch(&web(), hand.now).unwrap();
    let stream = hand.drain().0;
    hand.native.handle_response(stream, &event_stream(), hand.now);
    hand.say(stream, "event: watch\ndata: {\"watch\":\"w-1\"}\n\n");
    hand.say(stream, "event: snapshot\ndata: {\"service\":\"web\",\"count\":0}\nid: e.1\n\n");
    hand.native.poll_update(id).unwrap();
    (hand, stream, id)
}

type Trial = (&'static str, fn(&mut Hand, RequestId));

const TRIALS: [Trial; 10] = [
    ("head: success", |hand, id| hand.native.handle_response(id, &event_stream(), hand.now)),
    ("head: success, of another type", |hand, id| hand.native.handle_response(id, &Head::new(200), hand.now)),
    ("head: refusal", |hand, id| hand.native.handle_response(id, &Head::new(503), hand.now)),
    ("a chunk", |hand, id| hand.say(id, "event: put\ndata: {\"name\":\"web\",\"id\":\"x\"}\nid: e.2\n\n")),
    ("a chunk beyond the limit", |hand, id| {
        let limit = hand.native.config.limits.body.max(hand.native.config.limits.event);
        hand.native.handle_chunk(id, &alloc::vec![b'x'; limit + 1], hand.now);
    }),
    ("end", |hand, id| hand.native.handle_end(id, hand.now)),
    ("failure: not sent", |hand, id| hand.native.handle_failure(id, &Failure::not_sent("refused"), hand.now)),
    ("failure: unknown", |hand, id| hand.native.handle_failure(id, &Failure::unknown("reset"), hand.now)),
    ("suspend", |hand, _| hand.native.suspend(hand.now)),
    ("nothing for a minute", |hand, _| {
        hand.now = hand.now.saturating_add(Duration::from_secs(60));
        hand.native.handle_timeout(hand.now);
    }),
];

/// What an input did: to the request, to what is shown, and when it is tried again.
fn effect(hand: &mut Hand, id: RequestId) -> String {
    let mut words: Vec<String> = Vec::new();
    let (sent, cancelled) = (hand.sent.len(), hand.cancelled.len());
    hand.drain();
    if hand.cancelled[cancelled..].contains(&id) {
        words.push("dropped".into());
    }
    for event in hand.events() {
        words.push(match event {
            ClientEvent::Connected { .. } => "up".into(),
            ClientEvent::Disconnected { .. } => "down".into(),
            ClientEvent::Update(id) => match hand.provenance(id) {
                Provenance::Stale { .. } => "stale".into(),
                Provenance::Live => "told".into(),
                Provenance::Unknown | Provenance::Unconfirmed => continue,
            },
            other => format!("{other:?}"),
        });
    }
    if hand.sent.len() > sent {
        words.push("sent again".into());
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
            if state == "not ours, or over" && name == "nothing for a minute" {
                row += " – |";
                continue;
            }
            trial(&mut hand, id);
            row += &format!(" {} |", effect(&mut hand, id));
        }
        table.push(row);
    }
    let docs: Vec<&str> =
        include_str!("../native.rs").lines().filter(|line| line.starts_with("//! | ")).skip(1).collect();
    assert_eq!(docs, table, "the table should be:\n{}", table.join("\n"));
}

#[test]
fn a_registration_is_a_put_with_its_operation_and_a_lost_one_names_its_generation() {
    let mut hand = Hand::new();
    let id = hand.native.register(&registration(), hand.now).unwrap();
    let (_, request) = hand.drain();
    assert_eq!(
        (request.method, request.url.as_str()),
        (Method::Put, "http://a:1/v1/services/web/instances/a%20b?ns=default")
    );
    let body = hand.body();
    assert_eq!(body["incarnation"], hand.native.incarnation().to_string());
    assert_eq!((&body["sequence"], &body["ttl"], &body["metadata"]["k"]), (&json!(1), &json!("30s"), &json!("v")));
    assert!(body.get("reclaim").is_none());

    hand.registered();
    assert_eq!(hand.native.registration(id).unwrap().state, RegistrationState::Registered);
    hand.tick();
    let (renewal, request) = hand.drain();
    assert_eq!((request.method, request.url.as_str()), (Method::Post, "http://a:1/v1/leases/renew"));
    assert_eq!(hand.body(), json!({ "number": 1, "leases": [LEASE] }));
    hand.answer(
        renewal,
        200,
        &json!({ "renewed": 0, "failed": [{ "index": 0, "code": "lease_expired" }],
        "number": 1, "epoch": "e", "revision": 2 }),
    );
    let body = hand.body();
    assert_eq!((&body["sequence"], &body["reclaim"]), (&json!(2), &json!(7)));
}

#[test]
fn an_update_says_all_that_is_wanted_and_what_is_not_wanted_any_more() {
    let mut hand = Hand::new();
    let id = hand.native.register(&registration(), hand.now).unwrap();
    hand.registered();
    let patch = Patch::new().with_metadata("k", None).with_metadata("new", Some("1".into()));
    hand.native.update(id, &patch, hand.now).unwrap();
    let (call, request) = hand.drain();
    assert_eq!(request.method, Method::Patch);
    let body = hand.body();
    assert_eq!(body["metadata"], json!({ "k": null, "new": "1" }));
    assert_eq!((&body["lease"], &body["sequence"]), (&json!(LEASE), &json!(2)));
    hand.answer(call, 200, &json!({ "epoch": "e", "revision": 2, "changed": true }));
    assert!(hand.native.registration(id).unwrap().current);
}

#[test]
fn an_acknowledgement_of_another_renewal_proves_nothing() {
    let mut hand = Hand::new();
    let id = hand.native.register(&registration(), hand.now).unwrap();
    hand.registered();
    let covered = hand.native.registration(id).unwrap().until;
    hand.tick();
    let renewal = hand.drain().0;
    hand.answer(renewal, 200, &json!({ "renewed": 1, "number": 0, "epoch": "e", "revision": 2 }));
    assert_eq!(hand.native.registration(id).unwrap().until, covered);
}

#[test]
fn a_deregistration_gives_up_the_registration_that_is_under_way() {
    let mut hand = Hand::new();
    let id = hand.native.register(&registration(), hand.now).unwrap();
    let put = hand.drain().0;
    hand.native.deregister(id, hand.now);
    let (delete, request) = hand.drain();
    assert_eq!((request.method, hand.cancelled.as_slice()), (Method::Delete, &[put][..]));
    assert_eq!(hand.body()["sequence"], 2);
    hand.registered();
    hand.answer(delete, 200, &json!({ "epoch": "e", "revision": 2 }));
    let state = hand.native.registration(id).unwrap().state;
    assert_eq!(state, RegistrationState::Deregistered { confirmed: true });
    hand.native.close(hand.now);
    assert!(hand.native.is_closed());
}

#[test]
fn what_is_followed_is_one_stream_and_a_new_one_takes_over_where_the_old_one_was() {
    let mut hand = Hand::new();
    let first = hand.native.watch(&web(), hand.now).unwrap();
    let (old, request) = hand.drain();
    assert!(request.streaming);
    assert_eq!(hand.body(), json!({ "watch": [{ "ns": "default", "service": "web" }] }));
    hand.native.handle_response(old, &event_stream(), hand.now);
    hand.say(old, "event: snapshot\ndata: {\"service\":\"web\",\"count\":1}\n\nevent: put\ndata: {\"name\":\"web\",\"id\":\"x\",\"ttl\":\"15s\"}\nid: e.4\n\n");
    assert_eq!(hand.native.poll_update(first).unwrap().changes.len(), 1);

    let all = Selector::Prefix { namespace: Namespace::default(), prefix: "p".into() };
    let second = hand.native.watch(&all, hand.now).unwrap();
    hand.tick();
    let new = hand.drain().0;
    assert_eq!(
        hand.body(),
        json!({ "watch": [{ "ns": "default", "service": "web", "since": "e.4" }, { "ns": "default", "prefix": "p" }] })
    );
    assert_eq!(hand.cancelled, [old]);
    // What still comes of the old one is nothing to the new one's cursor.
    hand.say(old, "event: remove\ndata: {\"name\":\"web\",\"id\":\"x\"}\nid: e.5\n\n");
    assert_eq!((hand.native.view(first).unwrap().instances.len(), hand.provenance(first)), (1, Provenance::Live));
    hand.native.handle_response(new, &event_stream(), hand.now);
    hand.say(new, "event: snapshot\ndata: {\"prefix\":\"p\",\"count\":0}\n\nevent: remove\ndata: {\"name\":\"web\",\"id\":\"x\"}\nid: e.5\n\n");
    assert_eq!(hand.native.poll_update(first).unwrap().changes.len(), 1);
    assert_eq!(hand.provenance(second), Provenance::Live);
    assert!(hand.native.view(first).unwrap().instances.is_empty());
}

#[test]
fn a_client_that_is_suspended_holds_no_stream_and_goes_on_where_it_was() {
    let (mut hand, stream, id) = watching();
    hand.native.suspend(hand.now);
    assert!(hand.native.poll_transmit().is_some_and(|it| it == Transmit::Cancel(stream)));
    assert!(matches!(hand.native.poll_update(id).unwrap().provenance, Provenance::Stale { .. }));
    // It waits for nothing, and follows nothing else.
    let other = hand.native.watch(&Selector::all(Namespace::new("other").unwrap()), hand.now).unwrap();
    assert_eq!((hand.native.poll_transmit(), hand.native.poll_timeout()), (None, None));
    hand.native.unwatch(other, hand.now);

    hand.native.resume(hand.now);
    let stream = hand.drain().0;
    let body = hand.body();
    assert_eq!(body["watch"][0], json!({ "ns": "default", "service": "web", "since": "e.1" }));
    hand.native.handle_response(stream, &event_stream(), hand.now);
    hand.say(stream, "event: put\ndata: {\"name\":\"web\",\"id\":\"x\"}\nid: e.9\n\n");
    let update = hand.native.poll_update(id).unwrap();
    assert_eq!((update.changes.len(), update.provenance), (1, Provenance::Live));
}

#[test]
fn what_was_followed_is_stale_if_the_new_stream_is_not_answered() {
    let mut hand = Hand::new();
    let first = hand.native.watch(&web(), hand.now).unwrap();
    let old = hand.drain().0;
    hand.native.handle_response(old, &event_stream(), hand.now);
    hand.say(old, "event: snapshot\ndata: {\"service\":\"web\",\"count\":0}\nid: e.4\n\n");
    hand.native.watch(&Selector::all(Namespace::new("other").unwrap()), hand.now).unwrap();
    hand.tick();
    let new = hand.drain().0;
    hand.native.handle_failure(new, &Failure::not_sent("refused"), hand.now);
    assert!(matches!(hand.provenance(first), Provenance::Stale { .. }));
}

#[test]
fn a_new_stream_that_is_not_answered_does_not_put_off_the_end_of_the_silence() {
    let mut hand = Hand::new();
    let first = hand.native.watch(&web(), hand.now).unwrap();
    let old = hand.drain().0;
    hand.native.handle_response(old, &event_stream(), hand.now);
    hand.say(old, "event: snapshot\ndata: {\"service\":\"web\",\"count\":0}\nid: e.4\n\n");
    let heard = hand.now;
    let silence = hand.native.config.silence;
    // Somebody follows something else every five seconds: each stream replaces one that nothing was heard of.
    let mut others = 0;
    hand.now = heard.saturating_add(silence - Duration::from_secs(20));
    while hand.now < heard.saturating_add(silence) {
        assert_eq!(hand.provenance(first), Provenance::Live);
        others += 1;
        let other = Selector::all(Namespace::new(format!("other-{others}")).unwrap());
        hand.native.watch(&other, hand.now).unwrap();
        hand.tick();
        let _opening = hand.drain();
        hand.now = heard.saturating_add(silence - Duration::from_secs(20) + Duration::from_secs(5) * others);
    }
    assert!(hand.native.poll_timeout().is_some_and(|at| at <= hand.now));
    hand.native.handle_timeout(hand.now);
    assert_eq!(hand.provenance(first), Provenance::Stale { since: heard });
}

#[test]
fn a_stream_that_breaks_off_in_a_delivery_delivers_nothing_of_it() {
    let mut hand = Hand::new();
    let id = hand.native.watch(&web(), hand.now).unwrap();
    let stream = hand.drain().0;
    hand.native.handle_response(stream, &event_stream(), hand.now);
    hand.say(stream, "event: snapshot\ndata: {\"service\":\"web\",\"count\":2}\n\nevent: put\ndata: {\"name\":\"web\",\"id\":\"x\"}\n\n");
    hand.native.handle_failure(stream, &Failure::unknown("reset"), hand.now);
    assert_eq!(hand.native.poll_update(id), None);
    assert_eq!(hand.provenance(id), Provenance::Unknown);
}

#[test]
fn a_removal_has_the_latest_cause_that_was_told_and_one_that_was_never_seen_has_none() {
    let mut hand = Hand::new();
    let id = hand.native.watch(&web(), hand.now).unwrap();
    let stream = hand.drain().0;
    hand.native.handle_response(stream, &event_stream(), hand.now);
    let put = |id: &str| format!("event: put\ndata: {{\"name\":\"web\",\"id\":\"{id}\"}}\n\n");
    let remove = |id: &str, cause: &str| {
        format!("event: remove\ndata: {{\"name\":\"web\",\"id\":\"{id}\",\"cause\":\"{cause}\"}}\n\n")
    };
    let snapshot = "event: snapshot\ndata: {\"service\":\"web\",\"count\":2}\n\n";
    hand.say(stream, &(snapshot.to_string() + &put("x") + &put("y") + "id: e.1\n\n"));
    assert!(hand.native.poll_update(id).unwrap().causes.is_empty());

    hand.say(stream, &(remove("x", "expired") + &remove("y", "expired") + "id: e.2\n\n"));
    hand.say(stream, &(put("x") + &put("y") + &put("z") + "id: e.3\n\n"));
    hand.say(stream, &(remove("x", "evicted") + &remove("z", "expired") + "id: e.4\n\n"));
    let update = hand.native.poll_update(id).unwrap();
    let causes: Vec<_> = update.causes.iter().map(|((_, id), cause)| (id.as_str(), cause.as_str())).collect();
    assert_eq!((update.changes.len(), &causes[..]), (1, &[("x", "evicted")][..]));

    // What a snapshot leaves out went for nobody knows what.
    hand.say(stream, "event: snapshot\ndata: {\"service\":\"web\",\"count\":0}\nid: e.9\n\n");
    let update = hand.native.poll_update(id).unwrap();
    assert_eq!((update.changes.len(), update.causes.len()), (1, 0));
}

#[test]
fn an_alarm_is_told_and_so_is_its_end() {
    let (mut hand, stream) = in_state("a stream, open");
    hand.say(stream, "event: alarm\ndata: {\"namespace\":\"default\",\"expired\":5,\"of\":9,\"window\":\"10s\"}\n\n");
    hand.say(stream, "event: alarm_ended\ndata: {\"namespace\":\"default\"}\n\n");
    let namespace = smol_str::SmolStr::new_static("default");
    let alarm = ClientEvent::Alarm { namespace: namespace.clone(), expired: 5, of: 9 };
    assert_eq!(hand.events(), [alarm, ClientEvent::AlarmEnded { namespace }]);
}

#[test]
fn a_refusal_for_now_is_told_with_what_the_registry_says_and_when_the_next_attempt_comes() {
    let mut hand = Hand::new();
    let id = hand.native.register(&registration(), hand.now).unwrap();
    let put = hand.drain().0;
    hand.answer(put, 409, &json!({ "code": "taken", "message": "somebody has it" }));
    let told = hand.events().into_iter().find_map(|event| match event {
        ClientEvent::Deferred { id: of, problem, retry_in } => Some((of, problem.code, retry_in)),
        _ => None,
    });
    let (of, code, retry_in) = told.expect("it is told");
    assert_eq!((of, code.as_str()), (id, "taken"));
    let before = hand.now;
    hand.tick();
    assert_eq!(hand.now.saturating_since(before), retry_in);
    hand.registered();
    let view = hand.native.registration(id).unwrap();
    assert_eq!((view.generation, view.ttl), (Some(7), Some(Duration::from_secs(30))));
    assert_eq!(view.outcome, Some(crate::registry::Outcome::Registered));
}

#[test]
fn another_address_is_tried_at_once_and_the_first_again_after_a_while() {
    let mut hand = Hand::at(&["http://a:1", "http://b:2"]);
    hand.native.register(&registration(), hand.now).unwrap();
    let id = hand.drain().0;
    hand.native.handle_failure(id, &Failure::not_sent("refused"), hand.now);
    let (id, request) = hand.drain();
    assert!(request.url.starts_with("http://b:2/"), "{}", request.url);
    hand.native.handle_failure(id, &Failure::not_sent("refused"), hand.now);
    assert_eq!(hand.sent.len(), 2);
    let before = hand.now;
    hand.tick();
    assert!(hand.now.saturating_since(before) >= Duration::from_millis(100));
    assert!(hand.drain().1.url.starts_with("http://a:1/"));
}

#[test]
fn as_long_as_nothing_is_answered_one_request_at_a_time_is_sent() {
    let mut hand = Hand::new();
    for n in 0..100 {
        let mut registration = registration();
        registration.instance.id = InstanceId::new(format!("{n}")).unwrap();
        hand.native.register(&registration, hand.now).unwrap();
    }
    hand.drain();
    assert_eq!(hand.sent.len(), 1);
    hand.registered();
    hand.drain();
    assert_eq!(hand.sent.len(), 1 + hand.native.config.in_flight);
}

#[test]
fn a_client_says_once_that_it_is_cut_off_and_once_that_it_is_back() {
    let mut hand = Hand::new();
    hand.native.register(&registration(), hand.now).unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        let id = hand.drain().0;
        hand.native.handle_failure(id, &Failure::not_sent("refused"), hand.now);
        told.extend(hand.events());
        hand.tick();
    }
    assert_eq!(told.len(), 3, "each failure says when it is tried again: {told:?}");
    hand.registered();
    let back = |event: &ClientEvent| matches!(event, ClientEvent::Connected { channel: Channel::Calls, .. });
    assert_eq!(hand.events().iter().filter(|event| back(event)).count(), 1);
}

#[test]
fn a_busy_registry_is_asked_again_when_it_said() {
    let mut hand = Hand::new();
    hand.native.register(&registration(), hand.now).unwrap();
    hand.registered();
    hand.tick();
    let renewal = hand.drain().0;
    let busy = Head { headers: alloc::vec![("retry-after".into(), "4".into())], ..Head::new(429) };
    hand.native.handle_response(renewal, &busy, hand.now);
    hand.say(renewal, r#"{"code":"too_many","message":"slow down"}"#);
    hand.native.handle_end(renewal, hand.now);
    let (before, sent) = (hand.now, hand.sent.len());
    while hand.sent.len() == sent {
        hand.tick();
        hand.drain();
    }
    assert!(hand.now.saturating_since(before) >= Duration::from_secs(4));
}

#[test]
fn a_client_that_closes_does_not_wait_out_its_back_off() {
    let mut hand = Hand::new();
    hand.native.register(&registration(), hand.now).unwrap();
    for _ in 0..8 {
        let id = hand.drain().0;
        hand.native.handle_failure(id, &Failure::unknown("reset"), hand.now);
        hand.tick();
    }
    let id = hand.drain().0;
    hand.native.handle_failure(id, &Failure::unknown("reset"), hand.now);
    hand.native.close(hand.now);
    let before = hand.now;
    hand.tick();
    assert_eq!(hand.drain().1.method, Method::Delete);
    assert!(hand.now.saturating_since(before) <= Duration::from_millis(200));
}

#[test]
fn an_input_that_means_nothing_still_lets_out_what_time_has_brought() {
    let trials: [fn(&mut Hand); 3] = [
        |hand| drop(hand.native.update(crate::client::RegistrationId(99), &Patch::new(), hand.now).unwrap_err()),
        |hand| hand.native.handle_end(RequestId(99), hand.now),
        |hand| hand.native.handle_chunk(RequestId(99), b"x", hand.now),
    ];
    for trial in trials {
        let mut hand = Hand::new();
        hand.native.register(&registration(), hand.now).unwrap();
        hand.registered();
        hand.drain();
        let sent = hand.sent.len();
        hand.now = hand.now.saturating_add(Duration::from_secs(300));
        trial(&mut hand);
        hand.drain();
        assert_eq!(hand.sent.len(), sent + 1, "the registration has lapsed: it is made again");
    }
}

const PUT: &str = "event: put\ndata: {\"name\":\"web\",\"id\":\"x\"}\nid: e.";

fn put(revision: u64) -> String {
    PUT.replace("\"x\"", &format!("\"x{revision}\"")) + &format!("{revision}\n\n")
}

#[test]
fn what_a_holder_has_taken_is_reported_once_and_after_a_moment() {
    let (mut hand, stream, id) = watching();
    assert!(hand.waits().is_some_and(|wait| wait <= Duration::from_millis(250)));
    let first = hand.reported("e.1");
    hand.taken(first);
    assert_eq!(hand.waits(), None, "nothing is owed");
    // A place and nothing else need not be reported.
    hand.say(stream, "id: e.4\n\n");
    assert_eq!(hand.waits(), None);
    hand.now = hand.now.saturating_add(Duration::from_secs(5));
    hand.say(stream, &put(5));
    hand.native.poll_update(id).unwrap();
    assert!(hand.waits().is_some_and(|wait| wait <= Duration::from_millis(250)));
    let report = hand.reported("e.5");
    hand.taken(report);
    assert_eq!(hand.waits(), None);
}

#[test]
fn what_a_holder_has_not_taken_is_not_reported_and_costs_no_time() {
    let (mut hand, stream, id) = watching();
    let first = hand.reported("e.1");
    hand.taken(first);
    hand.say(stream, &put(2));
    let sent = hand.sent.len();
    while hand.waits().is_some() {
        hand.tick();
    }
    hand.drain();
    assert_eq!(hand.sent.len(), sent, "there is nothing to say, and nothing to wait for");
    // Taking it is no input, and brings the time forward all the same.
    hand.native.poll_update(id).unwrap();
    hand.reported("e.2");
}

#[test]
fn who_has_taken_nothing_says_so() {
    let mut hand = Hand::new();
    let id = hand.native.watch(&web(), hand.now).unwrap();
    let stream = hand.drain().0;
    hand.native.handle_response(stream, &event_stream(), hand.now);
    hand.say(stream, "event: watch\ndata: {\"watch\":\"w-1\"}\n\n");
    assert_eq!(hand.waits(), None, "the stream has said nothing yet");
    hand.say(stream, "event: snapshot\ndata: {\"service\":\"web\",\"count\":0}\nid: e.1\n\n");
    let report = hand.reported("e.0");
    hand.taken(report);
    assert_eq!(hand.waits(), None);
    // Whom nobody waits for any more, counts no more.
    hand.native.unwatch(id, hand.now);
    hand.reported("e.1");
}

#[test]
fn reports_are_a_second_apart_and_one_at_a_time() {
    let (mut hand, stream, id) = watching();
    let mut report = hand.reported("e.1");
    let mut sent = hand.now;
    for revision in 2..12 {
        hand.say(stream, &put(revision));
        hand.native.poll_update(id).unwrap();
        assert!(hand.native.poll_timeout().is_some_and(|at| at >= sent.saturating_add(Duration::from_secs(1))));
        hand.taken(report);
        report = hand.reported(&format!("e.{revision}"));
        assert!(hand.now.saturating_since(sent) >= Duration::from_secs(1));
        sent = hand.now;
    }
}

#[test]
fn a_report_that_failed_is_made_up_for_and_nothing_else_minds() {
    let (mut hand, stream, id) = watching();
    let mut report = hand.reported("e.1");
    hand.events();
    let mut waited = Duration::ZERO;
    for attempt in 0..12 {
        match attempt % 3 {
            0 => hand.native.handle_failure(report, &Failure::unknown("reset"), hand.now),
            1 => hand.answer(report, 500, &json!({})),
            _ => hand.answer(report, 200, &json!([])),
        }
        waited = hand.waits().expect("it is made up for");
        assert!(waited <= Duration::from_secs(30));
        // It lives: nothing is said of the silence.
        hand.say(stream, ": alive\n\n");
        report = hand.reported("e.1");
        hand.say(stream, ": alive\n\n");
    }
    assert!(waited >= Duration::from_secs(15), "it backs off: {waited:?}");
    assert_eq!((hand.events(), hand.provenance(id)), (alloc::vec![], Provenance::Live));
    hand.taken(report);
    assert_eq!(hand.waits(), None);
}

#[test]
fn a_registry_that_takes_no_reports_is_sent_no_more() {
    for status in [404, 405, 501] {
        let (mut hand, stream, id) = watching();
        let report = hand.reported("e.1");
        hand.answer(report, status, &json!({ "code": "not_found", "message": "there is nothing here" }));
        hand.say(stream, &put(2));
        hand.native.poll_update(id).unwrap();
        assert_eq!((hand.waits(), hand.provenance(id)), (None, Provenance::Live));
    }
    // Nor is one that has not said what the watch is called, or if nobody wants it.
    let (hand, _) = in_state("a stream, open");
    assert_eq!(hand.waits(), None);
}

#[test]
fn a_report_ends_with_its_stream() {
    let (mut hand, stream, _) = watching();
    let report = hand.reported("e.1");
    hand.native.handle_failure(stream, &Failure::unknown("reset"), hand.now);
    hand.drain();
    assert_eq!(hand.cancelled, [report]);

    let (mut hand, stream, _) = watching();
    let report = hand.reported("e.1");
    hand.native.close(hand.now);
    hand.native.poll_transmit().unwrap();
    hand.native.poll_transmit().unwrap();
    assert_eq!((hand.native.is_closed(), hand.native.poll_timeout()), (true, None), "{stream:?} {report:?}");
}

//! The table of states and inputs, made by trying each, and what a table cannot say.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Delivery, Following, Listed, SubscriptionConfig, Subscriptions, Told};
use crate::catalog::Selector;
use crate::client::{ClientConfig, CommandError, Provenance, SubscriptionId};
use crate::instance::ServiceInstance;
use crate::name::{InstanceId, Namespace, ServiceKey, ServiceName};
use crate::packed::Instance;
use crate::set::Change;
use crate::time::Instant;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const TTL: Duration = Duration::from_secs(10);
const STATES: [&str; 5] = ["unknown", "cached", "live", "unconfirmed", "stale"];

fn service(name: &str) -> ServiceKey {
    ServiceKey::new(Namespace::default(), ServiceName::new(name).unwrap())
}

fn web() -> Selector {
    Selector::Service(service("web"))
}

fn instance(service: &str, id: &str) -> Instance {
    Instance::pack(&ServiceInstance::new(ServiceName::new(service).unwrap(), InstanceId::new(id).unwrap()))
}

/// A snapshot that lists these instances of `web`.
fn snapshot(cursor: &str, ids: &[&str]) -> Delivery {
    let listed: Vec<Listed> = ids.iter().map(|id| (instance("web", id), Some(TTL))).collect();
    Delivery { cursor: cursor.parse().ok(), snapshots: vec![(web(), listed)], ..Delivery::default() }
}

/// `c` came and `b` went.
fn change(cursor: &str) -> Delivery {
    let put = Told::Put(instance("web", "c"), Some(TTL));
    let remove = Told::Remove(InstanceId::new("b").unwrap(), "expired".into());
    let changes = vec![(service("web"), put), (service("web"), remove)];
    Delivery { cursor: cursor.parse().ok(), changes, ..Delivery::default() }
}

fn bookmark(cursor: &str) -> Delivery {
    Delivery { cursor: cursor.parse().ok(), ..Delivery::default() }
}

fn warming(delivery: Delivery) -> Delivery {
    Delivery { warming: true, ..delivery }
}

/// One subscription to `web`, and the stream that follows it.
struct Client {
    subs: Subscriptions,
    id: SubscriptionId,
    stream: Following,
    now: Instant,
    refused: bool,
}

impl Client {
    fn new() -> Self {
        Self::restored(None)
    }

    fn restored(cache: Option<&[u8]>) -> Self {
        let now = Instant::from_millis(1_000_000);
        let mut subs = Subscriptions::new(SubscriptionConfig::from(&ClientConfig::default()));
        assert!(cache.is_none_or(|cache| subs.restore(cache, now) == Ok(1)));
        let id = subs.watch(&web(), now).unwrap();
        Self { subs, id, stream: Following::new(vec![web()]), now, refused: false }
    }

    /// One that holds `a` and `b` at `e1.5`; if it is unconfirmed, `b` is.
    fn in_state(state: &str) -> Self {
        let mut client = Self::new();
        if state == "unknown" {
            return client;
        }
        let epoch = if state == "unconfirmed" { "e0.5" } else { "e1.5" };
        client.hear(&snapshot(epoch, &["a", "b"]));
        match state {
            "cached" => client = Self::restored(Some(&client.subs.cache())),
            "unconfirmed" => client.hear(&warming(snapshot("e1.5", &["a"]))),
            "stale" => client.subs.stale(&mut client.stream, client.now),
            _ => {}
        }
        client
    }

    fn hear(&mut self, delivery: &Delivery) {
        self.refused |= self.subs.deliver(&mut self.stream, delivery, self.now).is_err();
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.saturating_add(span);
        self.subs.handle_timeout(self.now);
    }

    fn settled(&mut self) {
        self.subs.settled(&mut self.stream, self.now);
    }

    /// Which instances it shows.
    fn ids(&self) -> Vec<String> {
        self.subs.view(self.id).unwrap().instances.iter().map(|instance| instance.id().to_string()).collect()
    }

    fn shown(&self) -> String {
        let provenance = match self.subs.view(self.id).unwrap().provenance {
            Provenance::Unknown => "unknown",
            Provenance::Live => "live",
            Provenance::Unconfirmed => "unconfirmed",
            Provenance::Stale { .. } => "stale",
        };
        format!("{provenance}: {}", self.ids().join(" "))
    }
}

/// What can be done to it, by name.
type Trial = (&'static str, fn(&mut Client));

const TRIALS: &[Trial] = &[
    ("snapshot of c", |it| it.hear(&snapshot("e1.6", &["c"]))),
    ("the same, warming", |it| it.hear(&warming(snapshot("e1.6", &["c"])))),
    ("the same, warming, another epoch", |it| it.hear(&warming(snapshot("e2.1", &["c"])))),
    ("the same, another epoch", |it| it.hear(&snapshot("e2.1", &["c"]))),
    ("the same, where it is", |it| it.hear(&snapshot("e1.5", &["c"]))),
    ("the same, older", |it| it.hear(&snapshot("e1.4", &["c"]))),
    ("changes: c came, b went", |it| it.hear(&change("e1.6"))),
    ("the same, warming", |it| it.hear(&warming(change("e1.6")))),
    ("the same, where it is", |it| it.hear(&change("e1.5"))),
    ("the same, older", |it| it.hear(&change("e1.4"))),
    ("the same, another epoch", |it| it.hear(&change("e2.6"))),
    ("a place and nothing else", |it| it.hear(&bookmark("e1.6"))),
    ("the same, warming", |it| it.hear(&warming(bookmark("e1.6")))),
    ("`live`", |it| it.subs.live(&mut it.stream, false, it.now)),
    ("`live`, warming", |it| it.subs.live(&mut it.stream, true, it.now)),
    ("`settled`", Client::settled),
    ("`settled` when b's ttl has passed", |it| {
        it.pass(TTL);
        it.settled();
    }),
    ("b's ttl passes after `settled`", |it| {
        it.settled();
        it.pass(TTL);
    }),
    ("b's ttl passes", |it| it.pass(TTL)),
    ("`stale`", |it| it.subs.stale(&mut it.stream, it.now)),
    ("`suspend`", |it| it.subs.suspend(it.now)),
];

#[test]
fn the_table_in_the_docs_is_what_each_input_does_in_each_state() {
    let mut table = Vec::new();
    for (name, trial) in TRIALS {
        let mut row = format!("//! | {name} |");
        for state in STATES {
            let mut it = Client::in_state(state);
            let before = it.shown();
            trial(&mut it);
            let cell = match it.shown() {
                _ if it.refused => "refused".to_string(),
                shown if shown == before => "–".to_string(),
                shown => shown,
            };
            row += &format!(" {cell} |");
        }
        table.push(row);
    }
    let docs: Vec<&str> =
        include_str!("../subscription.rs").lines().filter(|line| line.starts_with("//! | ")).skip(1).collect();
    assert_eq!(docs, table, "the table should be:\n{}", table.join("\n"));
}

#[test]
fn an_outage_is_seen_as_one_difference_after_it() {
    let mut it = Client::in_state("live");
    let first = it.subs.poll_update(it.id).unwrap();
    assert_eq!((first.changes.len(), first.provenance), (2, Provenance::Live));
    it.subs.stale(&mut it.stream, it.now);
    let stale = it.subs.poll_update(it.id).unwrap();
    assert_eq!((stale.changes, stale.provenance), (vec![], Provenance::Stale { since: it.now }));
    it.hear(&snapshot("e1.9", &["a", "c"]));
    let (b, c) = (instance("web", "b"), instance("web", "c"));
    let after = it.subs.poll_update(it.id).unwrap();
    assert_eq!((after.changes, after.provenance), (vec![Change::Remove(b), Change::Insert(c)], Provenance::Live));
    assert_eq!(it.subs.poll_update(it.id), None);
}

#[test]
fn what_came_and_went_unseen_is_not_told() {
    let mut it = Client::in_state("live");
    assert!(it.subs.poll_update(it.id).is_some());
    it.hear(&Delivery { changes: vec![change("e1.6").changes.remove(0)], ..bookmark("e1.6") });
    assert_eq!(it.subs.pending(it.id), 1);
    let went = (service("web"), Told::Remove(InstanceId::new("c").unwrap(), "expired".into()));
    it.hear(&Delivery { changes: vec![went], ..bookmark("e1.7") });
    assert_eq!((it.subs.pending(it.id), it.subs.poll_update(it.id)), (0, None));
    assert_eq!(it.subs.poll_ready(), None, "who was ready has nothing to see any more");
}

#[test]
fn the_cause_that_was_told_last_is_given_as_long_as_the_instance_is_gone() {
    let mut it = Client::in_state("live");
    assert!(it.subs.poll_update(it.id).is_some());
    it.hear(&change("e1.6"));
    let causes = it.subs.poll_update(it.id).unwrap().causes;
    let b = (service("web").service, InstanceId::new("b").unwrap());
    assert_eq!(causes.into_iter().collect::<Vec<_>>(), [(b, "expired".into())]);
    it.hear(&Delivery { changes: vec![change("e1.7").changes.remove(1)], ..snapshot("e1.7", &["a"]) });
    let after = it.subs.poll_update(it.id).unwrap();
    assert_eq!((after.changes.len(), after.causes.len()), (1, 0), "a snapshot does not say why c is gone");
}

#[test]
fn a_registry_without_cursors_is_followed_too() {
    let mut it = Client::new();
    it.hear(&change("none"));
    assert_eq!(it.shown(), "unknown: ", "a change needs a set");
    it.hear(&snapshot("none", &["a", "b"]));
    it.hear(&change("none"));
    assert_eq!(it.shown(), "live: a c");
    it.hear(&snapshot("none", &["a"]));
    assert_eq!(it.shown(), "live: a", "without a place, each snapshot is news");
    assert!(it.subs.interests().all(|(_, _, cursor)| cursor.is_none()), "there is nothing to resume from");
}

#[test]
fn what_a_held_prefix_covers_is_known_at_once_and_needs_no_stream_of_its_own() {
    let mut it = Client::new();
    let all = Selector::all(Namespace::default());
    let wide = it.subs.watch(&all, it.now).unwrap();
    assert!(it.subs.take_changed_interests());
    it.stream = Following::new(vec![web(), all.clone()]);
    let listed = vec![(instance("api", "a"), None), (instance("web", "a"), None)];
    it.hear(&Delivery { snapshots: vec![(all, listed)], ..bookmark("e1.5") });
    assert_eq!(it.shown(), "live: a", "a snapshot is for all that it covers");
    let narrow = it.subs.watch(&Selector::Service(service("api")), it.now).unwrap();
    assert!(!it.subs.take_changed_interests());
    assert_eq!(it.subs.poll_update(narrow).unwrap().changes, [Change::Insert(instance("api", "a"))]);
    it.subs.unwatch(wide, it.now);
    it.pass(Duration::from_secs(30));
    assert!(it.subs.take_changed_interests(), "what was covered is to be asked for now");
    assert!(it.subs.interests().all(|(_, _, cursor)| cursor.is_some()), "and from where it is");
}

#[test]
fn a_prefix_is_not_resumed_from_where_something_that_it_covers_is_not() {
    let mut it = Client::in_state("live");
    let all = Selector::all(Namespace::default());
    let wide = it.subs.watch(&all, it.now).unwrap();
    // Somebody else's stream brings the prefix to another epoch, without the service.
    it.subs.unwatch(it.id, it.now);
    it.pass(Duration::from_secs(30));
    it.stream = Following::new(vec![all.clone()]);
    it.hear(&Delivery { snapshots: vec![(all.clone(), vec![])], ..bookmark("e2.1") });
    assert_eq!(it.subs.view(wide).unwrap().provenance, Provenance::Live);
    let since = |subs: &Subscriptions| subs.interests().map(|(_, _, cursor)| cursor.is_some()).collect::<Vec<_>>();
    assert_eq!(since(&it.subs), [true]);
    it.subs.watch(&web(), it.now).unwrap();
    it.stream = Following::new(vec![web()]);
    it.hear(&snapshot("e3.1", &["a"]));
    assert_eq!(since(&it.subs), [false, true]);
}

#[test]
fn what_was_remembered_is_shown_to_who_asked_before_it_was_read() {
    let cache = Client::in_state("live").subs.cache();
    let mut it = Client::new();
    assert_eq!(it.subs.poll_ready(), None, "nothing is known");
    assert_eq!(it.subs.restore(&cache, it.now), Ok(1));
    assert_eq!((it.subs.poll_ready(), it.shown()), (Some(it.id), "stale: a b".into()));
    it.hear(&snapshot("e1.5", &["a", "b"]));
    assert_eq!(it.subs.restore(&cache, it.now), Ok(0), "the registry has been heard: what it said counts");
}

#[test]
fn what_is_over_makes_room_and_what_is_asked_for_does_not() {
    let config = SubscriptionConfig { selectors: 1, ..SubscriptionConfig::from(&ClientConfig::default()) };
    let mut subs = Subscriptions::new(config);
    let now = Instant::from_millis(1);
    let first = subs.watch(&web(), now).unwrap();
    let other = Selector::Service(service("api"));
    let full = CommandError::Limit { what: "services and prefixes", limit: 1 };
    assert_eq!(subs.watch(&other, now), Err(full));
    subs.unwatch(first, now);
    assert!(subs.watch(&other, now).is_ok());
    assert_eq!(subs.interests().count(), 1);
}

#[test]
fn the_sets_are_written_two_seconds_after_they_changed() {
    let config = SubscriptionConfig { remember: true, ..SubscriptionConfig::from(&ClientConfig::default()) };
    let mut it = Client::new();
    it.subs = Subscriptions::new(config);
    it.id = it.subs.watch(&web(), it.now).unwrap();
    it.hear(&snapshot("e1.5", &["a"]));
    assert_eq!((it.subs.poll_cache(), it.subs.poll_timeout()), (None, Some(it.now.saturating_add(super::CACHE_DELAY))));
    it.pass(super::CACHE_DELAY);
    assert_eq!(it.subs.poll_cache(), Some(it.subs.cache()));
    assert_eq!((it.subs.poll_cache(), it.subs.poll_timeout()), (None, None));
}

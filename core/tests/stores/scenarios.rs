//! The ways in which clients of registries fail, one by one, against each kind of store. All laws hold meanwhile.

use std::time::Duration;

use periplus_core::client::{Provenance, RegistrationState};
use periplus_core::{Endpoint, Key, Namespace, ServiceInstance};

use super::kind::{KINDS, Kind};
use super::plan::{ClientPlan, Condition, Follow, Hold, Plan, Return, SECOND};
use super::process::{key_of, look};
use super::store::Act;
use super::world::World;

const MILLI: u64 = 1_000;

/// A back-off at its cap, the spread of those who come back at once, and round trips.
const BACK: u64 = 45 * SECOND;

/// A client that registers `web/cN-M` for each ttl, and follows these.
pub fn client(at: usize, ttls: &[u64], follows: &[usize]) -> ClientPlan {
    let hold =
        |(nth, ttl): (usize, &u64)| Hold { service: 0, id: format!("c{at}-{nth}"), ttl: Duration::from_secs(*ttl) };
    ClientPlan {
        present: true,
        starts: 0,
        drift: 0,
        holds: ttls.iter().enumerate().map(hold).collect(),
        follows: follows.iter().map(|&what| Follow { what, pace: 0 }).collect(),
        latency: MILLI,
        in_flight: 64,
        linger: Duration::from_secs(1),
        remember: false,
    }
}

/// A client that registers one instance.
fn holder(at: usize) -> ClientPlan {
    client(at, &[15], &[])
}

/// A client that follows one service.
pub fn watcher(at: usize) -> ClientPlan {
    client(at, &[], &[0])
}

pub fn stage(kind: &'static Kind, clients: Vec<ClientPlan>) -> World {
    let plan = Plan { seed: 7, drift: 0, endpoints: 1, clients, acts: vec![], calm: u64::MAX };
    let mut world = World::new(kind, plan, periplus_core::fault::Faults::default(), true);
    world.pass(0);
    world
}

/// What a test asks of a world.
pub trait Asks {
    fn state(&self, client: usize, nth: usize) -> RegistrationState;
    fn shown(&self, client: usize) -> Vec<String>;
    fn provenance(&self, client: usize) -> Provenance;
    fn is_there(&self, id: &str) -> bool;
    fn until(&mut self, span: u64, what: &str, holds: impl Fn(&World) -> bool) -> u64;
    fn fine(&self);
}

impl Asks for World {
    fn state(&self, client: usize, nth: usize) -> RegistrationState {
        let client = &self.clients[client];
        let machine = client.machine.as_ref().expect("it runs");
        machine.registration(client.regs[nth].id).expect("it was made").state
    }

    fn shown(&self, client: usize) -> Vec<String> {
        self.clients[client].subs[0].copy.keys().map(|(_, id)| id.to_string()).collect()
    }

    fn provenance(&self, client: usize) -> Provenance {
        self.clients[client].subs[0].provenance
    }

    fn is_there(&self, id: &str) -> bool {
        self.past.present.keys().any(|key| key.id.as_str() == id)
    }

    /// Waits for something, and says how long that took.
    fn until(&mut self, span: u64, what: &str, holds: impl Fn(&Self) -> bool) -> u64 {
        let began = self.now;
        while !holds(self) {
            let trace = || self.trace()[self.trace().len().saturating_sub(60)..].join("\n");
            assert!(self.violation.is_none(), "{}: {:?}\n{}", self.kind.name, self.violation, trace());
            assert!(self.now < began + span, "{}: not within {span}us: {what}\n{}", self.kind.name, trace());
            self.pass(10 * MILLI);
        }
        self.now - began
    }

    fn fine(&self) {
        let trace = || self.trace()[self.trace().len().saturating_sub(60)..].join("\n");
        assert!(self.violation.is_none(), "{}: {:?}\n{}", self.kind.name, self.violation, trace());
    }
}

fn registered(world: &World) -> bool {
    world.state(0, 0) == RegistrationState::Registered && world.is_there("c0-0")
}

pub fn each(scenario: impl Fn(&'static Kind)) {
    for kind in KINDS {
        scenario(kind);
    }
}

#[test]
fn s01_a_store_that_is_down_at_the_start_is_found_when_it_is_there() {
    each(|kind| {
        for silent in [false, true] {
            let mut world = stage(kind, vec![client(0, &[15], &[0])]);
            world.kill(0);
            world.clients[0].cache = None;
            world.go_down(120 * SECOND, silent, Return::Untouched);
            world.start_client(0);
            world.pass(119 * SECOND);
            assert_eq!(world.state(0, 0), RegistrationState::Registering);
            assert_eq!(world.provenance(0), Provenance::Unknown);
            world.until(SECOND + BACK, "registered", registered);
            world.until(BACK, "followed", |world| world.shown(0) == ["c0-0"]);
            world.fine();
        }
    });
}

#[test]
fn s02_after_ten_minutes_without_a_store_all_is_as_it_was() {
    each(|kind| {
        let mut world = stage(kind, vec![holder(0), watcher(1)]);
        world.until(10 * SECOND, "followed", |world| world.shown(1) == ["c0-0"]);
        world.go_down(600 * SECOND, true, Return::Restarted);
        world.pass(599 * SECOND);
        assert!(matches!(world.state(0, 0), RegistrationState::Lost(_)), "{:?}", world.state(0, 0));
        assert!(matches!(world.provenance(1), Provenance::Stale { .. }));
        assert_eq!(world.shown(1), ["c0-0"], "an outage empties nothing");
        world.until(SECOND + BACK, "registered", registered);
        world.until(2 * BACK, "live", |world| world.provenance(1) == Provenance::Live);
        assert_eq!(world.shown(1), ["c0-0"]);
        world.fine();
    });
}

#[test]
fn s03_lost_again_while_coming_back_it_comes_back() {
    each(|kind| {
        let mut world = stage(kind, vec![holder(0)]);
        world.until(5 * SECOND, "registered", registered);
        for down in [40, 20, 3] {
            world.go_down(down * SECOND, false, Return::Empty);
            world.pass(down * SECOND + SECOND / 2);
        }
        world.until(BACK, "registered", registered);
        world.fine();
    });
}

#[test]
fn s04_what_is_taken_out_while_it_is_registered_stays_gone() {
    each(|kind| {
        for after in [0, 500, 1_500, 2_500, 4_500, 100_000] {
            let mut world = stage(kind, vec![holder(0)]);
            world.pass(after);
            world.deregister(0, 0);
            world.until(30 * SECOND, "confirmed", |world| {
                world.state(0, 0) == RegistrationState::Deregistered { confirmed: true }
            });
            world.pass(60 * SECOND);
            assert!(!world.is_there("c0-0"), "{}: gone after {after}us, and back", kind.name);
            world.fine();
        }
    });
}

#[test]
fn s05_registered_twice_it_is_registered_once() {
    each(|kind| {
        let mut world = stage(kind, vec![holder(0)]);
        world.register(0, 0);
        world.until(5 * SECOND, "registered", registered);
        world.register(0, 0);
        world.pass(5 * SECOND);
        let before = world.tally.requests;
        world.pass(60 * SECOND);
        let renewals = world.tally.requests - before;
        // Some look after the way on which they would be told of a rival, too.
        let most = 60 / 5 + 2 + kind.laws.polls;
        assert!(renewals <= most, "{}: {renewals} renewals in a minute", kind.name);
        assert_eq!(world.past.present.len(), 1);
        world.fine();
    });
}

#[test]
fn s06_a_process_that_starts_again_is_there_within_a_second() {
    each(|kind| {
        let mut world = stage(kind, vec![holder(0), watcher(1)]);
        world.until(5 * SECOND, "registered", registered);
        world.kill(0);
        world.pass(SECOND);
        world.start_client(0);
        world.until(SECOND, "registered", registered);
        world.pass(60 * SECOND);
        assert!(registered(&world));
        assert_eq!(world.shown(1), ["c0-0"]);
        world.fine();
    });
}

#[test]
fn s07_when_the_last_instance_leaves_the_set_is_empty_and_live() {
    each(|kind| {
        let mut world = stage(kind, vec![holder(0), watcher(1)]);
        world.until(10 * SECOND, "followed", |world| world.shown(1) == ["c0-0"]);
        world.deregister(0, 0);
        world.until(10 * SECOND, "empty", |world| world.shown(1).is_empty());
        assert_eq!(world.provenance(1), Provenance::Live);
        world.fine();
    });
}

#[test]
fn s08_errors_garbage_and_silence_keep_the_set_and_mark_it_stale() {
    each(|kind| {
        let bad = [
            Condition::ServerError(100),
            Condition::Garbage(100),
            Condition::Partition,
            Condition::Refuse,
            Condition::Empty(100),
        ];
        for condition in bad {
            let mut world = stage(kind, vec![holder(0), watcher(1)]);
            world.until(10 * SECOND, "followed", |world| world.shown(1) == ["c0-0"]);
            world.afflict(1, 0, condition, 260 * SECOND);
            let open = world.under_way(1);
            open.into_iter().for_each(|number| world.break_off(number, "connection reset"));
            world.until(150 * SECOND, "stale", |world| matches!(world.provenance(1), Provenance::Stale { .. }));
            world.pass(60 * SECOND);
            assert_eq!(world.shown(1), ["c0-0"], "{}: {condition:?}", kind.name);
            world.until(260 * SECOND + 2 * BACK, "live", |world| world.provenance(1) == Provenance::Live);
            assert_eq!(world.shown(1), ["c0-0"], "{}: {condition:?}", kind.name);
            world.fine();
        }
    });
}

#[test]
fn s09_when_the_first_listing_fails_the_next_is_delivered() {
    each(|kind| {
        let mut world = stage(kind, vec![holder(0), watcher(1)]);
        world.kill(1);
        world.afflict(1, 0, Condition::ServerError(100), 5 * SECOND);
        world.start_client(1);
        world.pass(4 * SECOND);
        assert_eq!(world.provenance(1), Provenance::Unknown);
        world.until(20 * SECOND, "followed", |world| world.shown(1) == ["c0-0"]);
        assert_eq!(world.provenance(1), Provenance::Live);
        world.fine();
    });
}

#[test]
fn s10_after_a_compaction_what_changed_comes_at_once() {
    each(|kind| {
        let mut world = stage(kind, vec![client(0, &[60, 60, 60], &[]), watcher(1)]);
        world.until(10 * SECOND, "followed", |world| world.shown(1).len() == 3);
        world.afflict(1, 0, Condition::Partition, 30 * SECOND);
        world.pass(SECOND);
        world.deregister(0, 0);
        world.update(0, 1, 133);
        world.pass(5 * SECOND);
        world.store_act(&Act::Compact);
        world.until(60 * SECOND + 2 * BACK, "followed", |world| world.shown(1) == ["c0-1", "c0-2"]);
        let after = world.clients[1].subs[0].copy.values().next().map(|it| it.version.clone());
        assert_eq!(after, world.clients[0].wants[1].instance.version.clone().into(), "{}", kind.name);
        world.fine();
    });
}

#[test]
fn s11_a_change_between_listing_and_watching_is_not_lost() {
    each(|kind| {
        for offset in 0..24 {
            let mut late = holder(0);
            late.starts = offset * 500;
            let mut world = stage(kind, vec![late, watcher(1)]);
            world.until(20 * SECOND, "followed", |world| {
                !world.clients[1].subs.is_empty() && world.shown(1) == ["c0-0"]
            });
            world.fine();
        }
    });
}

#[test]
fn s12_an_entry_that_is_none_is_skipped_and_the_others_are_delivered() {
    each(|kind| {
        let mut world = stage(kind, vec![holder(0), watcher(1)]);
        let (namespace, service, id) = World::place(&key_of(0, "bad"));
        world.until(10 * SECOND, "followed", |world| world.shown(1) == ["c0-0"]);
        world.store_act(&Act::Garbage(namespace, service, id, b"garbage".to_vec()));
        let foreign = look(&key_of(0, "foreign-0"), 0);
        world.store_act(&Act::ForeignPut(Namespace::default(), foreign));
        world.until(10 * SECOND, "followed", |world| world.shown(1) == ["c0-0", "foreign-0"]);
        world.fine();
    });
}

#[test]
fn s13_a_service_whose_name_begins_anothers_sees_its_own() {
    each(|kind| {
        let mut other = holder(0);
        other.holds[0].service = 1;
        let mut world = stage(kind, vec![other, watcher(1), client(2, &[], &[1])]);
        world.until(10 * SECOND, "followed", |world| world.shown(2) == ["c0-0"]);
        world.pass(10 * SECOND);
        assert!(world.shown(1).is_empty(), "{}: {:?}", kind.name, world.shown(1));
        assert_eq!(world.provenance(1), Provenance::Live);
        world.fine();
    });
}

#[test]
fn s14_of_two_who_follow_one_service_one_may_go() {
    each(|kind| {
        let mut world = stage(kind, vec![holder(0), client(1, &[], &[0, 0])]);
        world.until(10 * SECOND, "followed", |world| world.shown(1) == ["c0-0"]);
        world.unwatch(1, 1);
        world.pass(10 * SECOND);
        world.deregister(0, 0);
        world.until(10 * SECOND, "empty", |world| world.shown(1).is_empty());
        world.fine();
    });
}

#[test]
fn s15_who_looks_late_gets_the_latest() {
    each(|kind| {
        let mut slow = watcher(1);
        slow.follows[0].pace = 60 * SECOND;
        let mut world = stage(kind, vec![holder(0), slow]);
        world.until(5 * SECOND, "registered", registered);
        for nth in 0..30 {
            world.update(0, 0, 37 + nth * 128);
            world.pass(SECOND);
        }
        world.until(150 * SECOND, "followed", |world| {
            let wanted = world.kind.normalized(world.clients[0].wants[0].instance.clone());
            world.clients[1].subs[0].copy.values().eq([&wanted])
        });
        world.fine();
    });
}

#[test]
fn s22_endpoints_of_every_kind_survive() {
    each(|kind| {
        let mut world = stage(kind, vec![holder(0), watcher(1)]);
        world.kill(0);
        world.pass(60 * SECOND);
        let endpoints = [
            "http://10.0.0.1:80",
            "http://10.0.0.2:8080",
            "grpcs://10.0.0.1:9000",
            "http://[fd00::1]:80",
            "https://host.example:443/path?key=value",
        ];
        let key = key_of(0, "c0-0");
        let mut instance = ServiceInstance::new(key.service.clone(), key.id);
        instance.endpoints = endpoints.iter().map(|it| Endpoint::new(*it).expect("an endpoint")).collect();
        let mut wanted: Vec<&str> = endpoints.to_vec();
        wanted.sort_unstable();
        world.clients[0].wants[0].instance = instance;
        world.start_client(0);
        let seen = |world: &World| {
            let shown = world.clients[1].subs.first().and_then(|sub| sub.copy.values().next().cloned());
            let mut shown: Vec<String> =
                shown.iter().flat_map(|it| &it.endpoints).map(|it| it.as_str().to_owned()).collect();
            shown.sort_unstable();
            shown
        };
        world.until(10 * SECOND, "followed", |world| !seen(world).is_empty());
        assert_eq!(seen(&world), wanted, "{}", kind.name);
        world.fine();
    });
}

#[test]
fn s27_of_many_registrations_each_is_its_own() {
    each(|kind| {
        let mut world = stage(kind, vec![client(0, &[30; 40], &[]), watcher(1)]);
        world.until(20 * SECOND, "followed", |world| world.shown(1).len() == 40);
        world.deregister(0, 17);
        world.pass(5 * SECOND);
        assert!(!world.is_there("c0-17"));
        world.pass(120 * SECOND);
        assert_eq!(world.past.present.len(), 39, "{}", kind.name);
        assert_eq!(world.shown(1).len(), 39, "{}", kind.name);
        world.fine();
    });
}

#[test]
fn s28_when_a_store_forgets_nobody_alive_is_lost_and_the_dead_go_at_once() {
    each(|kind| {
        let mut world = stage(kind, vec![client(0, &[15, 15], &[]), client(1, &[15, 15], &[]), watcher(2)]);
        world.until(20 * SECOND, "followed", |world| world.shown(2).len() == 4);
        world.kill(1);
        world.go_down(SECOND, false, Return::Empty);
        let dead: Vec<Key> = vec![key_of(0, "c1-0"), key_of(0, "c1-1")];
        let alive = |world: &World| ["c0-0", "c0-1"].iter().all(|id| world.shown(2).iter().any(|it| it == id));
        let forgot = world.now;
        while world.now < forgot + 300 * SECOND {
            world.pass(SECOND / 2);
            assert!(alive(&world), "{}: {:?} at {}us", kind.name, world.shown(2), world.now - forgot);
            let left = dead.iter().filter(|key| world.shown(2).iter().any(|id| *id == key.id.as_str())).count();
            assert!(left == 0 || left == 2, "{}: those who do not come back go at once", kind.name);
        }
        assert_eq!(world.shown(2), ["c0-0", "c0-1"], "{}", kind.name);
        assert_eq!(world.provenance(2), Provenance::Live);
        world.fine();
    });
}

//! Many instances, and what one change among them costs: counted, not timed.

use periplus_core::Namespace;
use periplus_core::client::Provenance;

use super::kind::Kind;
use super::past::Cause;
use super::plan::{ClientPlan, Condition, SECOND};
use super::process::{key_of, look};
use super::scenarios::{Asks, client, each, stage, watcher};
use super::store::Act;
use super::world::World;

const MANY: u64 = 5_000;

/// A store with many instances of `web`, put there at once, so that it is not the world that takes long; then clients.
fn filled(kind: &'static Kind, mut clients: Vec<ClientPlan>) -> World {
    clients.iter_mut().for_each(|client| client.starts = SECOND);
    let mut world = stage(kind, clients);
    let now = world.store_clock.read(world.now);
    for nth in 0..MANY {
        let instance = look(&key_of(0, &format!("foreign-{nth}")), nth);
        world.store.act(&Act::ForeignPut(Namespace::default(), instance), now);
    }
    world.store_done(Cause::Act);
    world.pass(2 * SECOND);
    world
}

#[test]
fn s19_one_change_among_five_thousand_costs_what_one_change_costs() {
    each(|kind| {
        let mut world = filled(kind, vec![watcher(0), client(1, &[], &[2])]);
        world.until(20 * SECOND, "followed", |world| {
            world.shown(0).len() as u64 == MANY && world.provenance(0) == Provenance::Live
        });
        let costs = |world: &World| {
            let (followed, other) = (&world.clients[0], &world.clients[1]);
            (followed.subs[0].updates, followed.subs[0].changes, followed.received, other.subs[0].updates)
        };
        let before = costs(&world);
        let requests = world.tally.requests;
        let changed = look(&key_of(0, "foreign-77"), 5 * 16);
        world.store_act(&Act::ForeignPut(Namespace::default(), changed.clone()));
        let wanted = kind.normalized(changed);
        world.until(10 * SECOND, "seen", |world| world.clients[0].subs[0].copy.values().any(|it| *it == wanted));
        let after = costs(&world);
        let name = kind.name;
        assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1), "{name}: one delivery of one change");
        assert_eq!(after.3, before.3, "{name}: who follows another service hears of nothing");
        assert!(world.tally.requests - requests <= 2, "{name}: {} requests", world.tally.requests - requests);
        // Consul lists all there is whenever anything changes.
        let bytes = after.2 - before.2;
        assert!(kind.laws.lists || bytes < 4_000, "{name}: {bytes} bytes for one change");
        world.fine();
    });
}

#[test]
fn what_is_listed_again_as_it_was_is_not_delivered_again() {
    each(|kind| {
        let mut world = filled(kind, vec![watcher(0)]);
        world.until(20 * SECOND, "followed", |world| world.shown(0).len() as u64 == MANY);
        let changes = world.clients[0].subs[0].changes;
        for _ in 0..3 {
            world.afflict(0, 0, Condition::Refuse, 5 * SECOND);
            let open = world.under_way(0);
            open.into_iter().for_each(|number| world.break_off(number, "connection reset"));
            world.pass(15 * SECOND);
        }
        world.until(60 * SECOND, "live", |world| world.provenance(0) == Provenance::Live);
        assert_eq!(world.clients[0].subs[0].changes, changes, "{}", kind.name);
        world.fine();
    });
}

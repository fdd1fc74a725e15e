//! The registry is down, dead, frozen, back, or somewhere else.

use std::time::Duration;

use periplus::Runtime;
use periplus::core::client::{ClientConfig, Provenance, RegistrationState};
use serde_json::json;

use super::stage::{LONG, SHORT, Stage, ids, instance};

fn is_stale(provenance: Provenance) -> bool {
    matches!(provenance, Provenance::Stale { .. })
}

/// Registry down at start: the client builds, calls wait, and it recovers by itself.
pub async fn a_client_waits_for_a_registry_that_is_down_at_start<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    arena.command("kill").await;
    let client = stage.client(&[&arena.server]);
    let mut watcher = client.watch("web").expect("it can be watched");
    let mut held = client.register(instance("web", "a")).in_background().expect("it can be registered");
    let asked = client.get_service("web").timeout(Duration::from_millis(200)).await;
    assert!(asked.is_err(), "nobody has said what there is: {asked:?}");
    assert_eq!(held.state(), RegistrationState::Registering);
    assert_eq!(watcher.current().expect("it is open").provenance, Provenance::Unknown);

    arena.command("start").await;
    stage.registered(&mut held).await;
    let list = stage.list("it is seen", &mut watcher, |list| ids(list) == ["a"]).await;
    assert!(list.is_live());
    assert_eq!(arena.ids("web").await, ["a"]);
    arena.end(client).await;
}

/// The registry is killed and comes back with its memory gone: everything is there again, and the client never showed
/// an empty set.
pub async fn what_was_registered_is_registered_again_after_a_kill<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("warm-up=3s").await;
    let client = stage.client(&[&arena.server]);
    let (mut held, mut watcher) = stage.watched(&client, SHORT).await;

    arena.command("kill").await;
    let list = stage.list("the outage is noticed", &mut watcher, |list| !list.is_live()).await;
    assert_eq!(ids(&list), ["a"], "an outage empties nothing");
    assert!(is_stale(list.provenance), "{:?}", list.provenance);
    assert!(list.age.is_some());
    stage.state("it is lost", &mut held, |state| matches!(state, RegistrationState::Lost(_))).await;

    arena.command("start").await;
    stage.registered(&mut held).await;
    assert_eq!(arena.ids("web").await, ["a"]);
    let back = stage.list("it is live again", &mut watcher, |list| !is_stale(list.provenance)).await;
    assert_eq!(ids(&back), ["a"]);
    assert!(client.counters().losses >= 1);
    arena.end(client).await;
}

/// Lost again during the retry, twice in a row.
pub async fn a_registration_lost_twice_in_a_row_is_made_again<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let mut held = stage.register(&client, instance("web", "a"), SHORT).await;
    for _ in 0..3 {
        arena.command("kill").await;
        arena.command("start").await;
        // It comes back while the client is at its retry, and goes again before or after that succeeds.
        stage.within(Duration::from_millis(150), held.changed()).await;
    }
    let before = held.view().expect("it is held").registered;
    stage.until("it is listed", async || arena.ids("web").await == ["a"]).await;
    stage.registered(&mut held).await;
    assert!(held.view().expect("it is held").registered >= before);
    stage.soon("closing", client.close()).await;
    assert!(arena.ids("web").await.is_empty());
    arena.close().await;
}

/// The registry is frozen for longer than the ttl: the client says that it is lost and that what it shows is stale, and
/// recovers when the registry goes on.
pub async fn a_frozen_registry_makes_the_client_say_so_and_recover<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let (mut held, mut watcher) = stage.watched(&client, SHORT).await;

    arena.command("stop").await;
    stage.state("it is lost", &mut held, |state| matches!(state, RegistrationState::Lost(_))).await;
    let list = stage.list("it is stale", &mut watcher, |list| is_stale(list.provenance)).await;
    assert_eq!(ids(&list), ["a"]);
    arena.command("cont").await;
    stage.registered(&mut held).await;
    stage.list("it is live", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;
    assert_eq!(arena.ids("web").await, ["a"]);
    arena.end(client).await;
}

/// Two addresses: when the first fails, the second takes over, and nothing is lost on the way.
pub async fn a_second_address_takes_over_when_the_first_fails<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.proxy, &arena.server]);
    let (mut held, mut watcher) = stage.watched(&client, LONG).await;
    assert_ne!(arena.command("connects").await, json!([]), "the first address is asked first");

    arena.command("proxy?mode=refuse").await;
    arena.put("web", "b", json!({"ttl": "60s"})).await;
    stage.list("it is heard elsewhere", &mut watcher, |list| list.is_live() && ids(list) == ["a", "b"]).await;
    held.set_status(periplus::core::Status::Draining).expect("it is held");
    stage.soon("the change", held.acknowledged()).await.expect("it is held");
    assert_eq!(held.view().expect("it is held").registered, 1, "the same registry has it still");
    stage.registered(&mut held).await;
    arena.end(client).await;
}

/// The registry restarts with its memory gone: no watcher loses an instance that is alive.
pub async fn a_restart_without_memory_takes_nobody_who_is_alive<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("warm-up=3s").await;
    let holder = stage.client(&[&arena.server]);
    let reader = stage.client(&[&arena.server]);
    let mut watcher = reader.watch("web").expect("it can be watched");
    let mut held = Vec::new();
    for id in ["a", "b", "c"] {
        held.push(stage.register(&holder, instance("web", id), SHORT).await);
    }
    stage.list("all are seen", &mut watcher, |list| ids(list) == ["a", "b", "c"]).await;

    arena.command("kill").await;
    arena.command("start").await;
    let settled = async {
        let mut disturbed = false;
        loop {
            let list = watcher.next().await.expect("it is open");
            assert_eq!(ids(&list), ["a", "b", "c"], "{:?}", list.provenance);
            disturbed |= !list.is_live();
            if list.is_live() && disturbed {
                return;
            }
        }
    };
    stage.soon("the registry has settled", settled).await;
    for held in &mut held {
        stage.registered(held).await;
    }
    stage.soon("closing", holder.close()).await;
    arena.end(reader).await;
}

/// After the warm-up those that did not come back go, in one difference.
pub async fn what_died_during_a_restart_goes_in_one_difference<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("warm-up=2s").await;
    let holder = stage.client(&[&arena.server]);
    let reader = stage.client(&[&arena.server]);
    let mut held = stage.register(&holder, instance("web", "a"), SHORT).await;
    for id in ["x", "y", "z"] {
        arena.put("web", id, json!({"ttl": "1s"})).await;
    }
    let mut watcher = reader.watch("web").expect("it can be watched");
    stage.list("all are seen", &mut watcher, |list| ids(list) == ["a", "x", "y", "z"]).await;

    arena.command("kill").await;
    arena.command("start").await;
    let gone = async {
        loop {
            let changed = watcher.next_changes().await.expect("it is open");
            if !changed.changes.is_empty() {
                return changed;
            }
        }
    };
    let gone = stage.soon("the dead go", gone).await;
    let gone: Vec<&str> = gone.changes.iter().map(|change| change.id()).collect();
    assert_eq!(gone, ["x", "y", "z"]);
    stage.registered(&mut held).await;
    stage.soon("closing", holder.close()).await;
    arena.end(reader).await;
}

/// A client that starts while the registry is down shows what an earlier one has known, as far as the runtime stores
/// anything.
pub async fn the_last_known_sets_are_there_at_a_cold_start<R: Runtime>(stage: Stage<R>) {
    stage.runtime.store("periplus-conformance", b"probe".to_vec());
    if stage.runtime.load("periplus-conformance").is_none() {
        return;
    }
    let arena = stage.arena("").await;
    arena.put("web", "a", json!({"ttl": "60s"})).await;
    let remembering = || {
        let config = ClientConfig { remember: true, ..Stage::<R>::config() };
        stage.client_with(&[&arena.server], config)
    };
    let client = remembering();
    let mut watcher = client.watch("web").expect("it can be watched");
    stage.list("it is seen", &mut watcher, |list| ids(list) == ["a"]).await;
    stage.until("it is stored", async || stage.remembered(&[&arena.server]).is_some()).await;
    stage.soon("closing", client.close()).await;
    drop(watcher);

    arena.command("kill").await;
    let client = remembering();
    let mut watcher = client.watch("web").expect("it can be watched");
    let list = stage.list("it is remembered", &mut watcher, |list| ids(list) == ["a"]).await;
    assert!(is_stale(list.provenance), "{:?}", list.provenance);
    let asked = client.get_service("web").await.expect("it is known");
    assert_eq!(ids(&asked), ["a"]);
    arena.command("start").await;
    arena.put("web", "b", json!({"ttl": "60s"})).await;
    stage.list("the registry's word counts", &mut watcher, |list| list.is_live() && list.find("b").is_some()).await;
    arena.end(client).await;
}

//! What the network, and what stands in it, does to the words of the registry.

use std::time::Duration;

use periplus::Runtime;
use periplus::core::client::{ClientConfig, ClientEvent, Provenance, RegistrationState};
use serde_json::json;

use super::stage::{LONG, SHORT, Stage, ids, instance};

/// Noise, JSON that breaks off, a gateway's page, silence: the set is kept and marked stale with its age, and all is well
/// again afterwards.
pub async fn garbage_never_changes_what_is_known<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.proxy]);
    let (mut held, mut watcher) = stage.watched(&client, SHORT).await;
    for mode in ["noise", "json", "html", "hole"] {
        arena.command(&format!("proxy?mode={mode}")).await;
        let kept = async {
            loop {
                let list = watcher.next().await.expect("it is open");
                assert_eq!(ids(&list), ["a"], "{mode}");
                if matches!(list.provenance, Provenance::Stale { .. }) {
                    return list;
                }
            }
        };
        let stale = stage.soon(&format!("{mode} is noticed"), kept).await;
        assert!(stale.age.is_some());
        stage
            .state(&format!("it is lost under {mode}"), &mut held, |state| matches!(state, RegistrationState::Lost(_)))
            .await;
        arena.command("proxy?mode=pass").await;
        stage.registered(&mut held).await;
        stage.list("it is live", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;
        stage.until("the registry has it", async || arena.ids("web").await == ["a"]).await;
    }
    assert!(client.counters().failures >= 4);
    arena.end(client).await;
}

/// An entry that is no instance is skipped, counted and reported; the others are delivered.
pub async fn a_foreign_entry_is_skipped_and_the_others_are_delivered<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    // The proxy makes of this id what is none.
    arena.put("web", "odd", json!({"ttl": "60s"})).await;
    arena.put("web", "plain", json!({"ttl": "60s"})).await;
    arena.command("proxy?mode=spoil").await;
    let client = stage.client(&[&arena.proxy]);
    let mut events = client.events();
    let mut watcher = client.watch("web").expect("it can be watched");
    let list = stage.list("the other is seen", &mut watcher, |list| !list.is_empty()).await;
    assert_eq!(ids(&list), ["plain"]);
    assert!(client.counters().skipped >= 1);
    let reported = async { while !matches!(events.next().await, Some(ClientEvent::Skipped { .. })) {} };
    stage.soon("it is reported", reported).await;
    arena.put("web", "more", json!({"ttl": "60s"})).await;
    stage.list("what follows is seen", &mut watcher, |list| ids(list) == ["more", "plain"]).await;
    arena.end(client).await;
}

/// Every word of the registry takes its time, in pieces of a few bytes.
pub async fn a_slow_network_is_no_outage<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    arena.command("proxy?mode=slow&n=20").await;
    let long = Duration::from_secs(10);
    let config = ClientConfig { call_timeout: long, silence: long, ..Stage::<R>::config() };
    let client = stage.client_with(&[&arena.proxy], config);
    let mut watcher = client.watch("web").expect("it can be watched");
    let held = stage.register(&client, instance("web", "a"), LONG).await;
    for id in ["b", "c", "d"] {
        arena.put("web", id, json!({"ttl": "60s"})).await;
    }
    stage.list("all are seen", &mut watcher, |list| ids(list) == ["a", "b", "c", "d"] && list.is_live()).await;
    assert_eq!(held.view().expect("it is held").registered, 1);
    assert_eq!(client.counters().failures, 0);
    arena.end(client).await;
}

/// Connections are cut in the middle of heads, events and answers: nothing is lost, and nothing half is believed.
pub async fn connections_cut_in_the_middle_lose_nothing<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let names: Vec<String> = (0..8).map(|at| format!("i{at}")).collect();
    let client = stage.client(&[&arena.proxy]);
    let mut watcher = client.watch("web").expect("it can be watched");
    stage.list("the first word", &mut watcher, |list| list.is_live()).await;
    let mut seen: Vec<String> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        // Somewhere in a head, between events, within an event.
        arena.command(&format!("proxy?mode=cut&n={}", 90 + 70 * at)).await;
        arena.put("web", name, json!({"ttl": "60s"})).await;
        while let Some(list) = stage.within(Duration::from_millis(300), watcher.next()).await {
            let list = list.expect("it is open");
            let now: Vec<String> = ids(&list).into_iter().map(str::to_owned).collect();
            assert!(seen.iter().all(|id| now.contains(id)), "{seen:?} became {now:?}");
            seen = now;
        }
    }
    arena.command("proxy?mode=pass").await;
    stage.list("all are seen", &mut watcher, |list| list.is_live() && ids(list) == names).await;
    arena.end(client).await;
}

/// A connection is open at both ends and nothing passes: the silence is noticed, and another is made.
pub async fn a_connection_that_died_silently_is_noticed<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.proxy]);
    let (mut held, mut watcher) = stage.watched(&client, LONG).await;
    arena.command("proxy?mode=pass&existing=freeze").await;
    arena.put("web", "b", json!({"ttl": "60s"})).await;
    stage.list("the silence ends", &mut watcher, |list| list.is_live() && ids(list) == ["a", "b"]).await;
    held.set_status(periplus::core::Status::Draining).expect("it is held");
    stage.soon("the change", held.acknowledged()).await.expect("it is held");
    stage.registered(&mut held).await;
    arena.end(client).await;
}

//! What is followed.

use std::time::Duration;

use periplus::Runtime;
use periplus::core::client::Provenance;
use periplus::core::http::Method;
use periplus::core::{Change, Status};
use serde_json::{Value, json};

use super::stage::{LONG, Stage, ids, instance};

/// The last instance leaves: an empty set is delivered, marked as the registry's own word; so is that of a service that
/// nobody has ever registered.
pub async fn an_empty_set_is_the_registrys_own_word<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let mut watcher = client.watch("web").expect("it can be watched");
    let first = stage.soon("the first word", watcher.next()).await.expect("it is open");
    assert_eq!((first.len(), first.provenance), (0, Provenance::Live));
    let held = stage.register(&client, instance("web", "a"), LONG).await;
    stage.list("it is seen", &mut watcher, |list| ids(list) == ["a"]).await;
    drop(held);
    let last = stage.list("it is gone", &mut watcher, |list| list.is_empty()).await;
    assert_eq!(last.provenance, Provenance::Live);
    let asked = stage.soon("asking", client.get_service("nobody")).await.expect("the registry has answered");
    assert_eq!((asked.len(), asked.provenance), (0, Provenance::Live));
    arena.end(client).await;
}

/// The first listing fails: the next success delivers the snapshot.
pub async fn a_first_listing_that_fails_is_made_up_for<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    arena.put("web", "a", json!({"ttl": "60s"})).await;
    arena.command("proxy?mode=html").await;
    let client = stage.client(&[&arena.proxy]);
    let mut watcher = client.watch("web").expect("it can be watched");
    stage.until("it has failed", async || client.counters().failures >= 2).await;
    assert_eq!(watcher.current().expect("it is open").provenance, Provenance::Unknown);
    arena.command("proxy?mode=pass").await;
    let list = stage.soon("the first word", watcher.next()).await.expect("it is open");
    assert_eq!((ids(&list), list.provenance), (vec!["a"], Provenance::Live));
    arena.end(client).await;
}

/// Changes go on while the watch begins, and while it is opened again: none is lost.
pub async fn nothing_is_lost_between_listing_and_watching<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.proxy]);
    let watching = async {
        let mut watcher = client.watch("web").expect("it can be watched");
        let mut known: Vec<String> = Vec::new();
        while known.len() < 40 {
            for change in watcher.next_changes().await.expect("it is open").changes {
                match change {
                    Change::Insert(instance) => known.push(instance.id().to_owned()),
                    other => panic!("nothing else has happened: {other:?}"),
                }
            }
        }
        known
    };
    let changing = async {
        for at in 0..40 {
            arena.put("web", &format!("i{at:02}"), json!({"ttl": "60s"})).await;
            if at % 10 == 5 {
                // The streams break, and are opened again while it goes on.
                arena.command("proxy?mode=pass").await;
            }
        }
    };
    let (mut known, ()) = stage.soon("all are seen", futures_util::future::join(watching, changing)).await;
    known.sort();
    assert_eq!(known, (0..40).map(|at| format!("i{at:02}")).collect::<Vec<_>>());
    arena.end(client).await;
}

/// A service whose name is a prefix of another's sees only its own; who watches a prefix sees both.
pub async fn a_name_that_begins_alike_is_another_service<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let mut short = client.watch("web").expect("it can be watched");
    let mut prefix = client.watch_prefix("web").expect("it can be watched");
    arena.put("web-admin", "x", json!({"ttl": "60s"})).await;
    arena.put("web", "a", json!({"ttl": "60s"})).await;
    arena.put("other", "o", json!({"ttl": "60s"})).await;
    let alone = async {
        loop {
            let list = short.next().await.expect("it is open");
            assert!(list.iter().all(|instance| instance.service() == "web"), "{list:?}");
            if !list.is_empty() {
                return;
            }
        }
    };
    stage.soon("it is seen", alone).await;
    stage.list("both are seen", &mut prefix, |list| ids(list) == ["a", "x"]).await;
    let asked = stage.soon("asking", client.get_service("web")).await.expect("it is known");
    assert_eq!(ids(&asked), ["a"]);
    arena.end(client).await;
}

/// Two watchers of one service; stopping one leaves the other, and stopping both ends the watch.
pub async fn one_of_two_watchers_ends_and_the_other_goes_on<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let mut one = client.watch("web").expect("it can be watched");
    let mut two = client.watch("web").expect("it can be watched");
    arena.put("web", "a", json!({"ttl": "60s"})).await;
    stage.list("one sees it", &mut one, |list| ids(list) == ["a"]).await;
    stage.list("two sees it", &mut two, |list| ids(list) == ["a"]).await;
    drop(one);
    arena.put("web", "b", json!({"ttl": "60s"})).await;
    stage.list("two goes on", &mut two, |list| ids(list) == ["a", "b"]).await;
    let mut late = client.watch("web").expect("it can be watched");
    let list = stage.soon("one who comes late", late.next()).await.expect("it is open");
    assert_eq!(ids(&list), ["a", "b"]);
    drop((two, late));
    let unwatched = async || {
        let watches = arena.act(Method::Get, "/v1/watches", Value::Null).await.ok();
        watches["watches"].as_array().is_some_and(Vec::is_empty)
    };
    stage.until("nobody is left", unwatched).await;
    arena.end(client).await;
}

/// A reader that does not read gets the latest in one step.
pub async fn a_slow_reader_gets_the_latest_in_one_step<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let mut slow = client.watch("web").expect("it can be watched");
    let mut quick = client.watch("web").expect("it can be watched");
    stage.soon("the first word", slow.next()).await;
    for version in 0..50 {
        arena.put("web", "a", json!({"ttl": "60s", "version": version.to_string()})).await;
    }
    arena.put("web", "b", json!({"ttl": "60s"})).await;
    let latest =
        |list: &periplus::Listing| list.len() == 2 && list.find("a").is_some_and(|it| it.decode().version == "49");
    stage.list("the quick one sees all", &mut quick, latest).await;
    let changed = stage.soon("one step", slow.next_changes()).await.expect("it is open");
    let latest: Vec<_> = changed.changes.iter().filter_map(Change::after).map(|it| it.decode().version).collect();
    assert_eq!(latest, ["49", ""]);
    assert!(stage.within(Duration::from_millis(100), slow.next_changes()).await.is_none(), "there is nothing else");
    arena.end(client).await;
}

/// What an operator lays over an instance is seen by those who watch it, until it is cleared.
pub async fn an_overlay_is_seen_and_cleared<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let mut held = stage.register(&client, instance("web", "a"), LONG).await;
    let mut watcher = client.watch("web").expect("it can be watched");
    stage.list("it is seen", &mut watcher, |list| ids(list) == ["a"]).await;
    let path = "/v1/services/web/instances/a/overlay";
    let body = json!({"status": "draining", "weight": 7, "reason": "a test"});
    assert_eq!(arena.act(Method::Patch, path, body).await.ok()["changed"], true);
    let drained = |list: &periplus::Listing| {
        list.find("a").is_some_and(|it| it.status() == Status::Draining && it.decode().weight() == Some(7))
    };
    stage.list("it is draining", &mut watcher, drained).await;
    assert_eq!(held.state(), periplus::core::client::RegistrationState::Registered);
    assert_eq!(arena.act(Method::Delete, path, Value::Null).await.ok()["changed"], true);
    stage.list("it is up", &mut watcher, |list| list.find("a").is_some_and(|it| it.status() == Status::Up)).await;
    stage.registered(&mut held).await;
    arena.end(client).await;
}

/// Whoever waits for a word may give that up and begin again, and misses nothing.
pub async fn waiting_may_be_given_up_and_begun_again<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let mut watcher = client.watch("web").expect("it can be watched");
    let mut seen = 0;
    for at in 0..20 {
        arena.put("web", &format!("i{at:02}"), json!({"ttl": "60s"})).await;
        let waited = stage.within(Duration::from_micros(200 * at), watcher.next_changes()).await;
        seen += waited.flatten().map_or(0, |changed| changed.changes.len());
    }
    let rest = async {
        while seen < 20 {
            seen += watcher.next_changes().await.expect("it is open").changes.len();
        }
    };
    stage.soon("all are seen", rest).await;
    assert_eq!(seen, 20);
    for _ in 0..20 {
        // Asking is given up at once, and leaves no watch of its own behind.
        let _ = stage.within(Duration::ZERO, client.get_service("nobody")).await;
    }
    drop(watcher);
    let unwatched = async || {
        let watches = arena.act(Method::Get, "/v1/watches", Value::Null).await.ok();
        watches["watches"].as_array().is_some_and(Vec::is_empty)
    };
    stage.until("nothing is left behind", unwatched).await;
    arena.end(client).await;
}

/// A client that is suspended holds no watch, and keeps what it knew; later it is told the one difference.
pub async fn who_is_suspended_holds_no_watch_and_is_told_the_one_difference_later<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let mut watcher = client.watch("web").expect("it can be watched");
    for id in ["a", "b"] {
        arena.put("web", id, json!({"ttl": "60s"})).await;
    }
    stage.list("both are seen", &mut watcher, |list| list.is_live() && ids(list) == ["a", "b"]).await;

    client.suspend();
    let list = stage.list("it knows that it hears nothing", &mut watcher, |list| !list.is_live()).await;
    assert_eq!(ids(&list), ["a", "b"]);
    let unwatched = async || {
        let watches = arena.act(Method::Get, "/v1/watches", Value::Null).await.ok();
        watches["watches"].as_array().is_some_and(Vec::is_empty)
    };
    stage.until("no watch is held", unwatched).await;
    let evicted = arena.act(Method::Post, "/v1/services/web/instances/a/evict", json!({"reason": "a test"})).await;
    drop(evicted.ok());
    for version in ["1", "2"] {
        arena.put("web", "c", json!({"ttl": "60s", "version": version})).await;
    }
    assert!(stage.within(Duration::from_millis(100), watcher.next_changes()).await.is_none(), "nothing is heard");

    client.resume();
    let changed = stage.soon("the difference", watcher.next_changes()).await.expect("it is open");
    assert_eq!((changed.changes.len(), changed.provenance), (2, Provenance::Live));
    let list = watcher.current().expect("it is open");
    assert_eq!((ids(&list), list.find("c").map(|it| it.decode().version)), (vec!["b", "c"], Some("2".into())));
    arena.end(client).await;
}

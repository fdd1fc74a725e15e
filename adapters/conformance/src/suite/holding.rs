//! Registrations, and their ends.

use periplus::core::client::RegistrationState;
use periplus::core::http::Method;
use periplus::core::{Endpoint, Status};
use periplus::{RegisterError, Runtime};
use serde_json::{Value, json};

use super::stage::{LONG, SHORT, Stage, ids, instance};

/// A re-register races a deregister: the instance stays gone.
pub async fn a_deregistration_that_races_a_registration_wins<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.proxy]);
    let held = stage.register(&client, instance("web", "a"), SHORT).await;
    // The registry forgets it, so that it is being registered anew while it is taken out.
    arena.command("proxy?mode=hole").await;
    arena.command("kill").await;
    arena.command("start").await;
    let closing = held.close();
    arena.command("proxy?mode=pass").await;
    stage.soon("deregistering", closing).await;
    // Whatever the client would still do, it does before this is answered.
    let other = stage.register(&client, instance("web", "b"), LONG).await;
    assert_eq!(arena.ids("web").await, ["b"]);
    drop(other);
    stage.soon("closing", client.close()).await;
    assert!(arena.ids("web").await.is_empty());
    arena.close().await;
}

/// Registered twice through one client: one lease, one heartbeat, and it lives as long as one handle does.
pub async fn registering_twice_is_one_registration<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let one = stage.register(&client, instance("web", "a"), LONG).await;
    let again = instance("web", "a").with_version("2");
    let two = stage.register(&client, again, LONG).await;
    assert_eq!(one.id(), two.id());
    assert_eq!(one.state(), RegistrationState::Registered);
    let listed = arena.listed("web").await;
    assert_eq!((listed.len(), &listed[0]["version"]), (1, &json!("2")));
    drop(one);
    assert_eq!(two.state(), RegistrationState::Registered);
    assert!(stage.soon("deregistering", two.close()).await.confirmed);
    assert!(arena.ids("web").await.is_empty());
    arena.end(client).await;
}

/// A process dies and comes back under the same id before its old lease ends: it is live at once.
pub async fn a_new_life_takes_over_its_old_lease_at_once<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    // The old life has left a lease, and is no more.
    arena.put("web", "a", json!({"ttl": "60s", "version": "old"})).await;
    let client = stage.client(&[&arena.server]);
    let new = instance("web", "a").with_version("new");
    let held = stage.register(&client, new, LONG).await;
    let listed = arena.listed("web").await;
    assert_eq!((listed.len(), &listed[0]["version"]), (1, &json!("new")));
    drop(held);
    arena.end(client).await;
}

/// Another holder registers the id: the first is told, and does not take it back.
pub async fn another_holder_supersedes_and_is_not_fought<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let one = stage.client(&[&arena.server]);
    let two = stage.client(&[&arena.server]);
    let mut first = stage.register(&one, instance("web", "a"), SHORT).await;
    let newer = instance("web", "a").with_version("2");
    let second = stage.register(&two, newer, SHORT).await;
    stage.state("the first is told", &mut first, |state| *state == RegistrationState::Superseded).await;
    drop(first);
    stage.soon("closing", one.close()).await;
    assert_eq!(second.state(), RegistrationState::Registered);
    let listed = arena.listed("web").await;
    assert_eq!((listed.len(), &listed[0]["version"]), (1, &json!("2")));
    arena.end(two).await;
}

/// A status is seen by others, and is there again when the registry has forgotten everything.
pub async fn a_status_is_set_and_survives_the_registry<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let mut watcher = client.watch("web").expect("it can be watched");
    let mut held = stage.register(&client, instance("web", "a"), SHORT).await;
    let has = |status| move |list: &periplus::Listing| list.find("a").is_some_and(|it| it.status() == status);
    stage.list("it is up", &mut watcher, has(Status::Up)).await;
    held.set_status(Status::Draining).expect("it is held");
    stage.soon("the status", held.acknowledged()).await.expect("it is held");
    assert_eq!(arena.listed("web").await[0]["metadata"]["status"], "draining");
    stage.list("it is draining", &mut watcher, has(Status::Draining)).await;

    arena.command("kill").await;
    arena.command("start").await;
    stage.until("it is lost", async || client.counters().losses > 0).await;
    stage.registered(&mut held).await;
    assert_eq!(arena.listed("web").await[0]["metadata"]["status"], "draining");
    held.set_status(Status::Up).expect("it is held");
    stage.list("it is up again", &mut watcher, has(Status::Up)).await;
    arena.end(client).await;
}

/// Many registrations in one process: ending one leaves the others.
pub async fn every_registration_has_a_lease_of_its_own<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let mut held = Vec::new();
    for at in 0..50 {
        let instance = instance("web", &format!("i{at:02}"));
        held.push(client.register(instance).ttl(SHORT).in_background().expect("it can be registered"));
    }
    for held in &mut held {
        stage.registered(held).await;
    }
    assert_eq!(arena.ids("web").await.len(), 50);
    let gone = held.remove(7);
    assert!(stage.soon("deregistering", gone.close()).await.confirmed);
    let renewals = client.counters().renewals;
    stage.until("all were renewed", async || client.counters().renewals >= renewals + 98).await;
    let ids = arena.ids("web").await;
    assert_eq!(ids.len(), 49);
    assert!(!ids.contains(&"i07".to_owned()));
    assert_eq!(client.counters().losses, 0);
    stage.soon("closing", client.close()).await;
    assert!(arena.ids("web").await.is_empty());
    arena.close().await;
}

/// An operator takes an instance out: its holder notices, and registers it again when it may.
pub async fn an_eviction_is_noticed_and_made_good<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let (mut held, mut watcher) = stage.watched(&client, SHORT).await;
    // Long enough for a busy machine to look on.
    let body = json!({"reason": "a test", "block_for": "2s"});
    assert_eq!(arena.act(Method::Post, "/v1/services/web/instances/a/evict", body).await.ok()["evicted"], true);
    stage.list("it is gone", &mut watcher, |list| list.is_empty() && list.is_live()).await;
    stage.until("it is lost", async || client.counters().losses > 0).await;
    stage.registered(&mut held).await;
    stage.list("it is back", &mut watcher, |list| ids(list) == ["a"]).await;
    arena.end(client).await;
}

/// Dropping a registration, a future that makes one, or a whole client leaves nothing behind.
pub async fn what_is_dropped_is_taken_out<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let watcher = client.watch("web").expect("it can be watched");
    let held = stage.register(&client, instance("web", "a"), LONG).await;
    drop(held);
    stage.until("a dropped registration is gone", async || arena.ids("web").await.is_empty()).await;

    // A registration is given up while it is being made, at whatever point that is.
    for at in 0..5 {
        let mut making = Box::pin(client.register(instance("web", &format!("r{at}"))).ttl(LONG));
        let span = std::time::Duration::from_micros(300 * at);
        let made = stage.within(span, &mut making).await;
        drop((made, making));
    }
    let last = stage.register(&client, instance("web", "z"), LONG).await;
    stage.until("what was given up is gone", async || arena.ids("web").await == ["z"]).await;

    // All handles go, without a word.
    let watches = async || {
        let watches = arena.act(Method::Get, "/v1/watches", Value::Null).await.ok();
        watches["watches"].as_array().map_or(usize::MAX, Vec::len)
    };
    stage.until("it is watched", async || watches().await == 1).await;
    drop((client, watcher, last));
    stage.until("a dropped client has nothing", async || arena.ids("web").await.is_empty()).await;
    stage.until("a dropped client watches nothing", async || watches().await == 0).await;
    arena.close().await;
}

/// Closing deregisters, ends every handle, and nothing registers after it.
pub async fn closing_is_the_last_word<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let mut watcher = client.watch("web").expect("it can be watched");
    let mut held = Vec::new();
    for id in ["a", "b", "c"] {
        held.push(stage.register(&client, instance("web", id), SHORT).await);
    }
    let clone = client.clone();
    stage.soon("closing", client.close()).await;
    assert!(arena.ids("web").await.is_empty());
    assert!(clone.is_closed());
    let refused = clone.register(instance("web", "d")).await;
    assert!(matches!(refused, Err(RegisterError::Command(_))), "{refused:?}");
    assert!(clone.watch("web").is_err());
    stage.soon("the watcher ends", async { while watcher.next().await.is_some() {} }).await;
    for held in &held {
        assert!(held.state().is_final(), "{:?}", held.state());
    }
    drop(held);
    let causes = arena.history("web").await;
    assert_eq!(causes.iter().filter(|cause| *cause == "registered").count(), 3, "{causes:?}");
    assert_eq!(causes.iter().filter(|cause| *cause == "deregistered").count(), 3, "{causes:?}");
    arena.close().await;
}

/// A registry that is gone keeps nobody from closing: it is given up after a time, and the client does not say that the
/// registry has confirmed anything.
pub async fn a_registry_that_is_gone_does_not_keep_a_client_from_closing<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    for (id, failure) in [("a", "kill"), ("b", "proxy?mode=hole")] {
        let client = stage.client(&[&arena.proxy]);
        let held = stage.register(&client, instance("web", id), LONG).await;
        arena.command(failure).await;
        stage.soon("closing", client.close()).await;
        assert_eq!(held.state(), RegistrationState::Deregistered { confirmed: false });
        arena.command("proxy?mode=pass").await;
        arena.command("start").await;
    }
    arena.close().await;
}

/// Two endpoints with one scheme, IPv6, secure ones, a path or a query: all survive the round trip.
pub async fn all_kinds_of_endpoints_come_back_as_they_were<R: Runtime>(stage: Stage<R>) {
    let arena = stage.arena("").await;
    let client = stage.client(&[&arena.server]);
    let texts = [
        "http://10.0.0.1:8000",
        "http://10.0.0.2:8000",
        "grpc://[2001:db8::1]:9000",
        "https://api.example:443",
        "grpc://10.0.0.1:9000?isSecure=true",
        "http://10.0.0.1:8000/base/path?key=value&other=a%20b",
    ];
    let mut wanted = instance("web", "a").with_metadata("näme", "wört \"quoted\" \\ \u{1f6a2}").with_version("1.2.3-β");
    wanted.endpoints = texts.iter().map(|&text| Endpoint::new(text).expect("it is an endpoint")).collect();
    let held = stage.register(&client, wanted.clone(), LONG).await;
    let mut watcher = client.watch("web").expect("it can be watched");
    let list = stage.list("it is seen", &mut watcher, |list| list.len() == 1).await;
    assert_eq!(list.decode(), [wanted.clone()]);
    let asked = stage.soon("asking", client.get_service("web")).await.expect("it is known");
    assert_eq!(asked.decode(), [wanted]);
    drop(held);
    arena.end(client).await;
}

/// Advertising a loopback or unspecified address to a registry on another machine is refused, with an error that names
/// the fix; to one on this machine it is not.
pub async fn what_leads_others_to_themselves_is_refused<R: Runtime>(stage: Stage<R>) {
    let far = stage.client(&["http://registry.invalid:7171"]);
    let near_arena = stage.arena("").await;
    let near = stage.client(&[&near_arena.server]);
    for text in ["http://127.0.0.1:8000", "http://localhost:8000", "http://0.0.0.0:8000", "grpc://[::1]:9000"] {
        let mut wanted = instance("web", "a");
        wanted.endpoints.push(Endpoint::new(text).expect("it is an endpoint"));
        let refused = stage.soon("refusing", far.register(wanted.clone())).await.expect_err(text);
        assert!(matches!(refused, RegisterError::Advertise(_)), "{refused:?}");
        let says = refused.to_string();
        assert!(says.contains(text) && says.contains("advertise"), "{says}");
        drop(stage.soon("registering", near.register(wanted)).await.expect(text));
    }
    stage.soon("closing", far.close()).await;
    near_arena.end(near).await;
}

//! What a registration does for whoever holds it.

mod common;

use std::time::Duration;

use common::{connect, eventually, instance, listed, memory, poll_once};
use periplus::core::client::{CommandError, Loss, RegistrationState};
use periplus::core::{Endpoint, Key, Namespace, Patch, Status};
use periplus::{Client, ConnectOptions, RegisterError, UpdateError};

fn key(service: &str, id: &str) -> Key {
    let instance = instance(service, id);
    Key::new(Namespace::default(), instance.name, instance.id)
}

#[tokio::test]
async fn an_instance_is_listed_as_long_as_its_registration_is_held() {
    let client = memory();
    let registration = client.register(instance("web", "a")).await.unwrap();
    assert_eq!(registration.state(), RegistrationState::Registered);
    assert_eq!(client.get_service("web").await.unwrap().instances[0].decode(), instance("web", "a"));
    drop(registration);
    assert_eq!(listed(&client), 0);
    assert!(client.get_service("web").await.unwrap().is_empty());
}

#[tokio::test]
async fn clones_and_later_registrations_of_the_same_instance_share_one() {
    let client = memory();
    let one = client.register(instance("web", "a")).await.unwrap();
    let two = client.register(instance("web", "a").with_version("2")).await.unwrap();
    let three = two.clone();
    assert_eq!((one.id(), two.id()), (two.id(), three.id()));
    assert_eq!(one.view().unwrap().instance.version, "2");
    drop((one, three));
    assert_eq!(listed(&client), 1);
    drop(two);
    assert_eq!(listed(&client), 0);
}

#[tokio::test]
async fn closing_says_that_it_is_out_and_other_handles_see_it() {
    let client = memory();
    let registration = client.register(instance("web", "a")).await.unwrap();
    let mut other = registration.clone();
    assert!(registration.close().await.confirmed);
    assert_eq!(other.changed().await, Some(RegistrationState::Deregistered { confirmed: true }));
    assert_eq!(other.changed().await, None);
    assert_eq!(other.update(&Patch::new()), Err(UpdateError::Command(CommandError::Ended)));
    assert_eq!(other.acknowledged().await, Err(UpdateError::Deregistered));
    let again = client.register(instance("web", "a")).await.unwrap();
    assert_ne!(again.id(), other.id());
    drop(other);
    assert_eq!(again.state(), RegistrationState::Registered);
    assert_eq!(listed(&client), 1);
}

#[tokio::test]
async fn status_and_metadata_change_in_place() {
    let client = memory();
    let registration = client.register(instance("web", "a")).await.unwrap();
    registration.set_status(Status::Draining).unwrap();
    registration.update(&Patch::new().with_weight(7)).unwrap();
    registration.acknowledged().await.unwrap();
    let shown = client.get_service("web").await.unwrap().instances[0].decode();
    assert_eq!((shown.status(), shown.weight()), (Status::Draining, Some(7)));
    client.update(instance("web", "a").with_version("3")).await.unwrap();
    let shown = client.get_service("web").await.unwrap().instances[0].decode();
    assert_eq!((shown.status(), shown.version.as_str()), (Status::Up, "3"));
    let unknown = client.update(instance("web", "b")).await;
    assert_eq!(unknown, Err(UpdateError::NotRegistered(key("web", "b"))));
}

#[tokio::test]
async fn an_instance_can_be_taken_out_by_its_name() {
    let client = memory();
    let mut registration = client.register(instance("web", "a")).await.unwrap();
    assert!(client.deregister(&instance("web", "a")).await.unwrap().confirmed);
    assert_eq!(registration.changed().await, Some(RegistrationState::Deregistered { confirmed: true }));
    let again = client.deregister(&instance("web", "a")).await;
    assert_eq!(again, Err(UpdateError::NotRegistered(key("web", "a"))));
}

#[tokio::test(start_paused = true)]
async fn what_was_evicted_comes_back_and_says_so() {
    let client = memory();
    let mut registration = client.register(instance("web", "a")).await.unwrap();
    let caller = std::sync::Arc::default();
    client
        .with_registry(|registry, now| registry.evict(&key("web", "a"), "".into(), None, &caller, now))
        .unwrap()
        .unwrap();
    assert_eq!(registration.changed().await, Some(RegistrationState::Lost(Loss::Told("lease_evicted".into()))));
    assert_eq!(registration.changed().await, Some(RegistrationState::Registered));
    assert_eq!(registration.view().unwrap().registered, 2);
    assert_eq!((client.counters().losses, listed(&client)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_expires_while_the_client_lives() {
    let client = memory();
    let registration = client.register(instance("web", "a")).ttl(Duration::from_secs(3)).await.unwrap();
    let mut watcher = client.watch("web").unwrap();
    assert_eq!(watcher.next().await.unwrap().len(), 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(poll_once(&mut Box::pin(watcher.next())).await.is_pending());
    assert_eq!(registration.state(), RegistrationState::Registered);
    assert!(client.counters().renewals >= 59);
}

#[tokio::test]
async fn another_client_that_takes_the_id_supersedes() {
    let (one, two) = (connect("memory:supersede"), connect("memory:supersede"));
    let mut mine = one.register(instance("web", "a")).await.unwrap();
    let theirs = two.register(instance("web", "a")).await.unwrap();
    assert_eq!(mine.changed().await, Some(RegistrationState::Superseded));
    assert_eq!(mine.acknowledged().await, Err(UpdateError::Superseded));
    drop(mine);
    assert_eq!(theirs.state(), RegistrationState::Registered);
    assert_eq!(listed(&two), 1);
}

#[tokio::test]
async fn a_loopback_endpoint_is_refused_where_the_registry_is_remote() {
    let url = "periplus://registry.example:7171";
    let own = instance("web", "a").with_endpoint(Endpoint::new("http://127.0.0.1:80").unwrap());
    let strict = connect(url);
    let error = strict.register(own.clone()).await.unwrap_err();
    assert!(matches!(&error, RegisterError::Advertise(error) if error.at == 1), "{error}");
    let options = ConnectOptions { advertise_loopback: true, ..ConnectOptions::default() };
    let lax = periplus::connect_with(common::Local::default(), url, options).unwrap();
    let registration = lax.register(own.clone()).in_background().unwrap();
    assert_eq!(registration.state(), RegistrationState::Registering);
    let endpoints = Some(own.endpoints);
    let strict_one = strict.register(instance("web", "a")).in_background().unwrap();
    let patch = Patch { endpoints, ..Patch::new() };
    assert!(matches!(strict_one.update(&patch), Err(UpdateError::Advertise(_))));
}

#[tokio::test(start_paused = true)]
async fn a_registration_waits_for_a_registry_that_is_down() {
    let client = connect("periplus://registry.example:7171,other.example");
    let mut register = client.register(instance("web", "a"));
    let waited = tokio::time::timeout(Duration::from_secs(600), &mut register).await;
    assert!(waited.is_err(), "nobody could have answered");
    assert!(client.counters().failures > 10);
    drop(register);
    let started = tokio::time::Instant::now();
    client.close().await;
    assert!(started.elapsed() < Duration::from_secs(30), "the last word is bounded");
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_a_registry_that_is_silent_and_is_tried_on() {
    let local = common::Local { hole: true, ..common::Local::default() };
    let client = periplus::connect_with(local, "periplus://registry.example", ConnectOptions::default()).unwrap();
    let registration = client.register(instance("web", "a")).in_background().unwrap();
    let mut other = registration.clone();
    // It was sent, and may have arrived.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = tokio::time::Instant::now();
    assert!(!registration.close().await.confirmed);
    let waited = started.elapsed();
    assert!(Duration::from_secs(3) <= waited && waited < Duration::from_millis(3_100), "{waited:?}");
    assert_eq!(other.state(), RegistrationState::Deregistering);
    let tried = client.counters().requests;
    assert_eq!(other.changed().await, Some(RegistrationState::Deregistering));
    assert_eq!(other.changed().await, Some(RegistrationState::Deregistered { confirmed: false }));
    assert!(started.elapsed() >= Duration::from_secs(60), "{:?}", started.elapsed());
    assert!(client.counters().requests > tried + 2);
}

#[tokio::test]
async fn what_is_wrong_is_said_and_nothing_is_left_behind() {
    let client = memory();
    let wrong = instance("web", "a").with_metadata("", "x");
    assert!(matches!(client.register(wrong).await, Err(RegisterError::Command(CommandError::Instance(_)))));
    let short = client.register(instance("web", "a")).ttl(Duration::from_micros(1)).await;
    assert!(matches!(short, Err(RegisterError::Command(CommandError::Ttl { .. }))));
    assert_eq!(listed(&client), 0);
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_is_cancelled_at_any_point_leaves_nothing_behind() {
    for polls in 0.. {
        let client = memory();
        let work = async {
            let point = tokio::task::yield_now;
            let mut watcher = client.watch("web").unwrap();
            point().await;
            watcher.next().await.unwrap();
            point().await;
            let registration = client.register(instance("web", "a")).await.unwrap();
            point().await;
            registration.set_status(Status::Draining).unwrap();
            point().await;
            registration.acknowledged().await.unwrap();
            client.get_service("api").await.unwrap();
            point().await;
            watcher.next().await.unwrap();
            // Until somebody lets it in, this waits.
            block(&client, "b");
            let other = client.register(instance("web", "b")).await.unwrap();
            point().await;
            other.close().await;
            point().await;
            registration.close().await;
        };
        let done = cancel_after(polls, work).await;
        assert_eq!(listed(&client), 0, "after {polls} polls");
        client.clone().close().await;
        assert_eq!(common::watches(&client), 0, "after {polls} polls");
        if done {
            assert!(polls > 8, "there are points to cancel at");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_is_cancelled_while_the_registry_is_down_is_forgotten() {
    for polls in 0..20 {
        let client = connect("periplus://registry.example");
        let register = client.register(instance("web", "a"));
        assert!(!cancel_after(polls, async { drop(register.await) }).await);
        let web = instance("web", "a");
        let again = client.deregister(&web);
        let again = tokio::time::timeout(Duration::from_secs(60), again).await.unwrap();
        assert!(again.is_err() || again.is_ok_and(|out| out.confirmed), "after {polls} polls");
    }
}

/// Keeps an instance from registering for a while.
fn block(client: &Client, id: &str) {
    let caller = std::sync::Arc::default();
    let span = Some(Duration::from_millis(300));
    let blocked = client.with_registry(|registry, now| registry.evict(&key("web", id), "".into(), span, &caller, now));
    assert_eq!(blocked, Some(Ok(false)));
}

/// Polls a future so often, letting others run in between, and drops it. Says whether it was done before.
async fn cancel_after(polls: usize, work: impl Future<Output = ()>) -> bool {
    let mut work = Box::pin(work);
    for _ in 0..polls {
        if poll_once(&mut work).await.is_ready() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn ten_thousand_instances_in_one_process_have_a_registration_each() {
    let client = memory();
    let mut held = Vec::new();
    for n in 0..10_000 {
        held.push(client.register(instance("web", &format!("i{n}"))).in_background().unwrap());
    }
    for registration in &held {
        registration.acknowledged().await.unwrap();
    }
    assert_eq!(listed(&client), 10_000);
    held.truncate(9_999);
    assert_eq!(listed(&client), 9_999);
    client.close().await;
    assert!(held.iter().all(|one| one.state() == RegistrationState::Deregistered { confirmed: true }));
    let gone = held.pop().unwrap();
    eventually(|| gone.view().is_none()).await;
}

//! When the driver lives, and whom it wakes.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Local, eventually, instance, poll_once};
use periplus::core::client::{ClientEvent, RegistrationState};
use periplus::core::{Key, Namespace};
use periplus::driver::Driver;
use periplus::{
    Changes, Client, ConnectError, ConnectOptions, Events, GetService, OnlineSignal, Register, Registration, Watcher,
};

fn open(url: &str) -> (Local, Client) {
    let runtime = Local::default();
    let client = periplus::connect_with(runtime.clone(), url, ConnectOptions::default()).unwrap();
    (runtime, client)
}

#[test]
fn handles_can_be_sent_and_shared() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    fn sent<T: Send>(_: T) {}
    check::<Client>();
    check::<Registration>();
    check::<Watcher>();
    check::<Changes>();
    check::<Events>();
    check::<OnlineSignal>();
    check::<GetService>();
    fn future<T: Send + Unpin + 'static>() {}
    future::<Register>();
    future::<Driver<Local>>();
    let _ = |client: Client, registration: Registration, mut watcher: Watcher, mut other: Registration| {
        sent(async move { watcher.next().await });
        sent(async move { other.changed().await });
        sent(registration.close());
        sent(client.close());
    };
}

#[tokio::test]
async fn the_driver_ends_when_the_last_handle_is_gone_and_not_before() {
    let (runtime, client) = open("memory:");
    let registration = client.register(instance("web", "a")).await.unwrap();
    let watcher = client.watch("web").unwrap();
    let mut events = client.events();
    drop((client, watcher));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(runtime.drivers.load(Ordering::SeqCst), 1);
    assert_eq!(registration.state(), RegistrationState::Registered);
    drop(registration);
    eventually(|| runtime.drivers.load(Ordering::SeqCst) == 0).await;
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    assert_eq!(last, Some(ClientEvent::Closed));
}

#[tokio::test(start_paused = true)]
async fn the_driver_ends_although_the_registry_is_down() {
    let (runtime, client) = open("periplus://registry.example");
    let registration = client.register(instance("web", "a")).in_background().unwrap();
    let watcher = client.watch("web").unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    drop((client, watcher, registration));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(runtime.drivers.load(Ordering::SeqCst), 0);
}

#[test]
fn whoever_waits_is_let_go_when_the_runtime_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (client, registration, mut watcher) = runtime.block_on(async {
        let (_, client) = open("memory:deserted");
        let registration = client.register(instance("web", "a")).await.unwrap();
        let mut watcher = client.watch("web").unwrap();
        watcher.next().await.unwrap();
        assert!(poll_once(&mut Box::pin(watcher.next())).await.is_pending());
        (client, registration, watcher)
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    other.block_on(async {
        assert_eq!(watcher.next().await, None);
        assert!(registration.close().await.confirmed, "a registry in this process can still be told");
        assert!(client.register(instance("web", "b")).await.is_err());
        client.close().await;
    });
}

#[tokio::test]
async fn an_observer_that_is_late_knows_what_it_missed() {
    let (_, client) = open("memory:");
    let mut events = client.events();
    for n in 0..2_000 {
        let registration = client.register(instance("web", &n.to_string())).await.unwrap();
        registration.close().await;
        tokio::task::yield_now().await;
    }
    let mut seen = 0;
    while poll_once(&mut Box::pin(events.next())).await.is_ready() {
        seen += 1;
    }
    assert_eq!(seen, 1_024);
    assert!(events.missed() > 0);
}

#[tokio::test(start_paused = true)]
async fn news_of_the_network_makes_the_client_try_at_once() {
    let (_, client) = open("periplus://registry.example");
    let registration = client.register(instance("web", "a")).in_background().unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    let signal = client.online_signal();
    let tried_within = async |span: Duration| {
        let (before, until) = (client.counters().requests, tokio::time::Instant::now() + span);
        while client.counters().requests == before {
            if tokio::time::Instant::now() > until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    };
    // By now it waits 15 s at least after each attempt.
    assert!(tried_within(Duration::from_secs(31)).await);
    assert!(!tried_within(Duration::from_secs(10)).await);
    signal.notify();
    assert!(tried_within(Duration::from_secs(4)).await);
    drop((client, registration));
    tokio::time::sleep(Duration::from_secs(30)).await;
    signal.notify();
}

#[tokio::test]
async fn handles_work_from_many_threads_at_once() {
    let client = Arc::new(open("memory:").1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let client = Arc::clone(&client);
            runtime.spawn(async move {
                for n in 0..100 {
                    let name = format!("service-{}", n % 3);
                    let mut watcher = client.watch(&name).unwrap();
                    let registration = client.register(instance(&name, &format!("{task}"))).await.unwrap();
                    while watcher.next().await.unwrap().find(&task.to_string()).is_none() {}
                    registration.close().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(common::listed(&client), 0);
    runtime.shutdown_background();
}

#[tokio::test]
async fn an_address_that_makes_no_sense_is_refused() {
    let refused = |url: &str| {
        periplus::connect_with(Local::default(), url, ConnectOptions::default()).map(drop).unwrap_err().to_string()
    };
    let error = periplus::connect_with(Local::default(), "zookeeper://a", ConnectOptions::default());
    assert!(matches!(error, Err(ConnectError::Scheme { .. })));
    for url in
        ["", "memory://x", "periplus://", "periplus://a?nonsense=1", "memory:?tls=true", "memory:?ns=", "a?ttl=1"]
    {
        assert!(!refused(url).is_empty(), "{url}");
    }
    assert_eq!(refused("a?caller=%C3%A4"), "the caller must be visible ASCII characters and spaces");
    let (_, client) = open("memory:?ns=prod&ttl=7s");
    let _held = client.register(instance("web", "a")).await.unwrap();
    assert_eq!(client.namespace_name().as_str(), "prod");
    let web = instance("web", "a");
    let key = Key::new(Namespace::new("prod").unwrap(), web.name, web.id);
    let view = client.with_registry(|registry, _| registry.instance(&key)).flatten().unwrap();
    assert_eq!(view.listed.ttl_ms, 7_000);
}

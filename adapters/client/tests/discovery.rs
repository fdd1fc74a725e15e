//! What those find who look for services.

mod common;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use common::{connect, eventually, instance, memory, poll_once, watches};
use futures_core::Stream;
use periplus::core::Change;
use periplus::core::client::{CommandError, Provenance};
use periplus::{Discovery, GetError, Registrar, WatchError};

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

#[tokio::test]
async fn a_watcher_is_told_of_what_comes_changes_and_goes() {
    let client = memory();
    let mut watcher = client.watch("web").unwrap();
    let first = watcher.next().await.unwrap();
    assert!(first.is_empty() && first.is_live(), "an empty list is the registry's word");
    let registration = client.register(instance("web", "a")).await.unwrap();
    assert_eq!(next(&mut watcher).await.unwrap().decode(), [instance("web", "a")]);
    client.update(instance("web", "a").with_version("2")).await.unwrap();
    let changed = watcher.next_changes().await.unwrap();
    assert!(matches!(&changed.changes[..], [Change::Update { after, .. }] if after.decode().version == "2"));
    let mut changes = watcher.into_changes();
    registration.close().await;
    let changed = next(&mut changes).await.unwrap();
    assert!(matches!(&changed.changes[..], [Change::Remove(_)]));
    assert_eq!(changed.causes.values().collect::<Vec<_>>(), ["deregistered"]);
    let mut watcher = changes.into_watcher();
    assert!(poll_once(&mut Box::pin(watcher.next())).await.is_pending());
}

#[tokio::test]
async fn of_two_watchers_one_can_stop() {
    let client = memory();
    let (mut one, mut two) = (client.watch("web").unwrap(), client.watch("web").unwrap());
    assert!(one.next().await.unwrap().is_empty() && two.next().await.unwrap().is_empty());
    drop(one);
    let _held = client.register(instance("web", "a")).await.unwrap();
    assert_eq!(two.next().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_watcher_that_is_late_gets_the_latest_in_one_step() {
    let client = memory();
    let mut watcher = client.watch("web").unwrap();
    assert!(watcher.next().await.unwrap().is_empty());
    let held = client.register(instance("web", "a")).await.unwrap();
    for version in 0..100 {
        client.update(instance("web", "a").with_version(version.to_string())).await.unwrap();
    }
    drop(client.register(instance("web", "b")).await.unwrap());
    let changed = watcher.next_changes().await.unwrap().changes;
    assert!(matches!(&changed[..], [Change::Insert(after)] if after.decode().version == "99"), "{changed:?}");
    assert!(poll_once(&mut Box::pin(watcher.next())).await.is_pending());
    drop(held);
    assert!(watcher.next().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_watcher_of_another_task_is_woken() {
    let client = memory();
    let mut watcher = client.watch("web").unwrap();
    let told = tokio::spawn(async move {
        while watcher.next().await.is_some_and(|listing| listing.is_empty()) {}
        watcher
    });
    tokio::task::yield_now().await;
    let _held = client.register(instance("web", "a")).await.unwrap();
    assert_eq!(told.await.unwrap().current().unwrap().len(), 1);
}

#[tokio::test]
async fn namespaces_and_prefixes_keep_services_apart() {
    let client = memory();
    let prod = client.namespace("prod").unwrap();
    assert!(client.namespace("").is_err());
    let _one = client.register(instance("web", "a")).await.unwrap();
    let _two = prod.register(instance("web-admin", "b")).await.unwrap();
    let _three = prod.register(instance("api", "c")).await.unwrap();
    let ids = async |mut watcher: periplus::Watcher| -> Vec<String> {
        watcher.next().await.unwrap().iter().map(|instance| instance.id().to_owned()).collect()
    };
    assert_eq!(ids(client.watch_all().unwrap()).await, ["a"]);
    assert_eq!(ids(prod.watch_all().unwrap()).await, ["c", "b"]);
    assert_eq!(ids(prod.watch_prefix("web").unwrap()).await, ["b"]);
    assert_eq!(ids(prod.watch("web").unwrap()).await, [""; 0]);
    assert!(prod.get_service("web").await.unwrap().is_empty());
}

#[tokio::test]
async fn those_who_ask_share_what_is_followed() {
    let client = memory();
    let _held = client.register(instance("web", "a")).await.unwrap();
    let (one, two) = tokio::join!(client.get_service("web"), client.get_service("web"));
    assert_eq!(one.unwrap(), two.unwrap());
    for _ in 0..10 {
        assert_eq!(client.get_service("web").await.unwrap().len(), 1);
    }
    assert_eq!((client.counters().snapshots, watches(&client)), (1, 1));
    let invalid = client.get_service("").await;
    assert!(matches!(invalid, Err(GetError::Name(_))));
    assert!(matches!(client.watch(""), Err(WatchError::Name(_))));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_once_is_followed_no_longer_than_it_lingers() {
    let client = memory();
    client.get_service("web").await.unwrap();
    assert_eq!(watches(&client), 1);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(watches(&client), 0);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_never_heard_is_no_empty_list() {
    let client = connect("periplus://registry.example");
    let started = tokio::time::Instant::now();
    let waited = Duration::from_secs(5);
    assert_eq!(client.get_service("web").await, Err(GetError::NotHeard { waited }));
    assert!(started.elapsed() >= waited && started.elapsed() < waited + Duration::from_secs(1));
    let waited = Duration::from_secs(1);
    assert_eq!(client.get_service("web").timeout(waited).await, Err(GetError::NotHeard { waited }));
    let mut watcher = client.watch("web").unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(60), watcher.next()).await.is_err(), "nothing is to be said");
    assert_eq!(watcher.current().unwrap().provenance, Provenance::Unknown);
}

#[tokio::test]
async fn clients_of_one_named_registry_see_each_other() {
    let (provider, consumer) = (connect("memory:town"), connect("memory:town"));
    let stranger = connect("memory:elsewhere");
    let mut watcher = consumer.watch("web").unwrap();
    assert!(watcher.next().await.unwrap().is_empty());
    let held = provider.register(instance("web", "a")).await.unwrap();
    assert_eq!(watcher.next().await.unwrap().len(), 1);
    assert!(stranger.get_service("web").await.unwrap().is_empty());
    drop(held);
    assert!(watcher.next().await.unwrap().is_empty());
    let held = provider.register(instance("web", "a")).await.unwrap();
    provider.close().await;
    drop((watcher, held));
    eventually(|| common::listed(&consumer) == 0).await;
}

#[tokio::test]
async fn a_program_takes_any_registry() {
    let client = Arc::new(memory());
    let (registrar, discovery): (Arc<dyn Registrar>, Arc<dyn Discovery>) = (client.clone(), client);
    let registration = registrar.register(instance("web", "a")).await.unwrap();
    registrar.update(instance("web", "a").with_version("2")).await.unwrap();
    assert_eq!(discovery.get_service("web").await.unwrap().decode()[0].version, "2");
    let mut watcher = discovery.watch("web").unwrap();
    assert_eq!(watcher.next().await.unwrap().len(), 1);
    assert!(registrar.deregister(&instance("web", "a")).await.unwrap().confirmed);
    assert!(watcher.next().await.unwrap().is_empty());
    drop(registration);
}

#[tokio::test]
async fn a_closed_client_says_so() {
    let client = memory();
    let mut watcher = client.watch("web").unwrap();
    assert!(watcher.next().await.unwrap().is_empty());
    let waiting = tokio::spawn(async move { watcher.next().await });
    tokio::task::yield_now().await;
    client.clone().close().await;
    assert_eq!(waiting.await.unwrap(), None);
    assert!(client.is_closed());
    assert!(matches!(client.watch("web"), Err(WatchError::Command(CommandError::Closed))));
    assert_eq!(client.get_service("web").await, Err(GetError::Command(CommandError::Closed)));
    assert!(client.register(instance("web", "a")).await.is_err());
}

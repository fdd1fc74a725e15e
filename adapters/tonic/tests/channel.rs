//! What a channel promises, with real sockets.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::helloworld::{GreeterClient, HelloRequest};
use common::{Provider, TARGET, call, instance, registry, round_robin, tally, until};
use periplus_tokio::app::Stage;
use periplus_tokio::core::Patch;
use periplus_tokio::core::balance::Filter;
use periplus_tokio::core::dial::EmptyPolicy;
use periplus_tonic::{Channel, Picked};
use tonic::Code;

#[tokio::test]
async fn calls_are_spread_smoothly_by_weight() {
    let registry = registry().await;
    let providers = [Provider::start("a").await, Provider::start("b").await, Provider::start("c").await];
    let mut registrations = Vec::new();
    for (provider, weight) in providers.iter().zip(["5", "1", "1"]) {
        registrations.push(provider.register_with(&registry, "weight", weight).await);
    }
    let channel = Channel::builder(TARGET).balance(round_robin()).connect(&registry).unwrap();
    let mut order = String::new();
    for _ in 0..14 {
        order += &call(&channel).await.unwrap();
    }
    assert_eq!(order, "aabacaaaabacaa");
    let expected = BTreeMap::from([("a".to_owned(), 500), ("b".to_owned(), 100), ("c".to_owned(), 100)]);
    assert_eq!(tally(&channel, 700).await, expected);
    assert!(providers.iter().all(|provider| provider.connections() == 1));
}

#[tokio::test]
async fn a_change_of_weight_or_metadata_reconnects_nothing() {
    let registry = registry().await;
    let providers = [Provider::start("a").await, Provider::start("b").await];
    let a = providers[0].register_with(&registry, "weight", "1").await;
    let _b = providers[1].register_with(&registry, "weight", "1").await;
    let channel = Channel::builder(TARGET).balance(round_robin()).connect(&registry).unwrap();
    assert_eq!(tally(&channel, 10).await["a"], 5);
    for weight in [3, 7, 4] {
        a.update(&Patch::new().with_weight(weight)).unwrap();
    }
    until("the weights are applied", async || tally(&channel, 5).await["a"] == 4).await;
    assert_eq!(tally(&channel, 50).await["a"], 40);
    assert!(providers.iter().all(|provider| provider.connections() == 1));
}

#[tokio::test]
async fn a_killed_provider_costs_no_call_that_has_not_begun_and_is_called_again_when_it_is_back() {
    let registry = registry().await;
    let (a, b) = (Provider::start("a").await, Provider::start("b").await);
    let _registrations = (a.register(&registry).await, b.register(&registry).await);
    let channel = Channel::builder(TARGET).balance(round_robin()).connect(&registry).unwrap();
    assert_eq!(tally(&channel, 10).await.len(), 2);
    let at = b.kill().await;
    // It is still listed.
    assert_eq!(tally(&channel, 200).await, BTreeMap::from([("a".to_owned(), 200)]));
    let back = Provider::at("b", at, Duration::ZERO).await;
    until("it is called again", async || tally(&channel, 2).await.contains_key("b")).await;
    assert_eq!(tally(&channel, 10).await["b"], 5);
    assert_eq!(back.connections(), 1);
}

#[tokio::test]
async fn nobody_to_call_is_said_at_once() {
    let registry = registry().await;
    let channel = Channel::builder(TARGET).wait(Duration::from_secs(60)).connect(&registry).unwrap();
    let began = Instant::now();
    let status = call(&channel).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "discovery:///provider: no instance is registered")
    );
    let _other = registry.register(instance("a", "http://127.0.0.1:1")).await.unwrap();
    until("its endpoint is seen", async || {
        let status = call(&channel).await.unwrap_err();
        status.message() == "discovery:///provider: no instance has an endpoint of the scheme `grpc`"
    })
    .await;
    // Nobody listens there.
    let _deaf = registry.register(instance("b", "grpc://127.0.0.1:1")).await.unwrap();
    until("it is refused", async || {
        let status = call(&channel).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        status.message().contains("at 127.0.0.1:1: ")
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn calls_wait_for_the_first_word_and_for_an_instance_if_they_are_to_but_not_for_ever() {
    // There is no registry there.
    let down = periplus_tokio::connect("periplus://127.0.0.1:1").await.unwrap();
    let limit = Duration::from_millis(100);
    let channel = Channel::builder(TARGET).wait(limit).connect(&down).unwrap();
    let began = Instant::now();
    let status = call(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("the registry has not said yet who is there"), "{status}");
    assert!(began.elapsed() >= limit && began.elapsed() < Duration::from_secs(5));

    let registry = registry().await;
    let channel = Channel::builder(TARGET).empty(EmptyPolicy::Wait).wait(Duration::from_secs(20)).connect(&registry);
    let channel = channel.unwrap();
    let waiting = tokio::spawn(async move { call(&channel).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    let provider = Provider::start("a").await;
    let _registration = provider.register(&registry).await;
    assert_eq!(waiting.await.unwrap().unwrap(), "a");
}

#[tokio::test]
async fn those_who_were_there_last_are_kept_for_as_long_as_chosen() {
    let registry = registry().await;
    let provider = Provider::start("a").await;
    let registration = provider.register(&registry).await;
    let kept = EmptyPolicy::KeepLast(Duration::from_millis(300));
    let channel = Channel::builder(TARGET).empty(kept).connect(&registry).unwrap();
    assert_eq!(call(&channel).await.unwrap(), "a");
    registration.close().await;
    let gone = Instant::now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(call(&channel).await.unwrap(), "a");
    until("it is given up", async || call(&channel).await.is_err()).await;
    assert!(gone.elapsed() >= Duration::from_millis(250));
    assert_eq!(call(&channel).await.unwrap_err().message(), "discovery:///provider: no instance is registered");
}

#[tokio::test]
async fn one_who_does_not_serve_is_not_called() {
    let registry = registry().await;
    let (a, b) = (Provider::start("a").await, Provider::start("b").await);
    let _registrations = (a.register(&registry).await, b.register(&registry).await);
    let channel = Channel::builder(TARGET).balance(round_robin()).connect(&registry).unwrap();
    assert_eq!(tally(&channel, 10).await.len(), 2);
    b.control.stop(Stage::Drain);
    until("it is passed over", async || tally(&channel, 4).await.len() == 1).await;
    assert_eq!(tally(&channel, 50).await, BTreeMap::from([("a".to_owned(), 50)]));
    assert_eq!(b.connections(), 1, "its connection is kept");
}

#[tokio::test]
async fn a_call_goes_on_at_an_instance_that_leaves() {
    let registry = registry().await;
    let slow = Provider::slow("slow", Duration::from_millis(500)).await;
    let registration = slow.register(&registry).await;
    let channel = Channel::connect(&registry, TARGET).unwrap();
    let other = channel.clone();
    let under_way = tokio::spawn(async move { call(&other).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    registration.close().await;
    until("it has left", async || call(&channel).await.is_err()).await;
    slow.stop().await;
    assert_eq!(under_way.await.unwrap().unwrap(), "slow");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_fails_no_call() {
    let registry = registry().await;
    let mut running = Vec::new();
    for id in ["a0", "b0", "c0"] {
        let provider = Provider::slow(id, Duration::from_millis(2)).await;
        let registration = provider.register(&registry).await;
        running.push((provider, registration));
    }
    let channel = Channel::connect(&registry, TARGET).unwrap();
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (channel, over, calls) = (channel.clone(), Arc::clone(&over), Arc::clone(&calls));
            tokio::spawn(async move {
                let mut seen = BTreeSet::new();
                while !over.load(Ordering::Relaxed) {
                    seen.insert(call(&channel).await.expect("no call fails"));
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                seen
            })
        })
        .collect();
    for round in 1..=3 {
        for place in 0..3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let id = format!("{}{round}", ["a", "b", "c"][place]);
            let provider = Provider::slow(&id, Duration::from_millis(2)).await;
            let registration = provider.register(&registry).await;
            let (old, gone) = std::mem::replace(&mut running[place], (provider, registration));
            gone.close().await;
            // No time for a drain: those who have not heard yet are told by the connection.
            old.stop().await;
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    over.store(true, Ordering::Relaxed);
    let mut seen = BTreeSet::new();
    for caller in callers {
        seen.extend(caller.await.unwrap());
    }
    assert_eq!(seen.len(), 12, "{seen:?}");
    assert!(calls.load(Ordering::Relaxed) > 500);
}

#[tokio::test]
async fn middleware_sees_who_was_picked_and_a_filter_narrows_the_choice() {
    let registry = registry().await;
    let (a, b) = (Provider::start("a").await, Provider::start("b").await);
    let _a = registry.register(a.instance().with_version("1")).await.unwrap();
    let _b = registry.register(b.instance().with_version("2")).await.unwrap();
    let channel = Channel::connect(&registry, TARGET).unwrap();
    let second = channel.clone().with_filter(Filter::version("2"));
    assert_eq!(tally(&second, 20).await, BTreeMap::from([("b".to_owned(), 20)]));
    // For one call.
    let mut client = GreeterClient::new(channel.clone());
    for _ in 0..10 {
        let mut request = tonic::Request::new(HelloRequest::default());
        request.extensions_mut().insert(Filter::version("1"));
        let response = client.say_hello(request).await.unwrap();
        let picked = response.extensions().get::<Picked>().unwrap();
        assert_eq!((picked.instance().id.as_str(), picked.instance().version.as_str()), ("a", "1"));
        assert_eq!(picked.node().stats().in_flight, 0);
    }
    let nobody = call(&channel.with_filter(Filter::version("3"))).await.unwrap_err();
    assert!(nobody.message().contains("no instance passes the filter"), "{nobody}");
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[tokio::test]
async fn addresses_are_dialled_without_a_registry() {
    let registry = registry().await;
    let (a, b) = (Provider::start("a").await, Provider::start("b").await);
    let target = format!("direct:///{},{}", a.at, b.at);
    let channel = Channel::builder(target).balance(round_robin()).connect(&registry).unwrap();
    assert_eq!(tally(&channel, 10).await.values().copied().collect::<Vec<_>>(), [5, 5]);
}

#[tokio::test]
async fn a_deadline_covers_the_wait_and_the_call() {
    let registry = registry().await;
    let slow = Provider::slow("slow", Duration::from_secs(30)).await;
    let _registration = slow.register(&registry).await;
    let mut client = GreeterClient::new(Channel::connect(&registry, TARGET).unwrap());
    let mut request = tonic::Request::new(HelloRequest::default());
    request.set_timeout(Duration::from_millis(200));
    let began = Instant::now();
    assert_eq!(client.say_hello(request).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn connections_end_with_the_last_channel() {
    let registry = registry().await;
    let provider = Provider::start("a").await;
    let _registration = provider.register(&registry).await;
    let channel = Channel::connect(&registry, TARGET).unwrap();
    assert_eq!(call(&channel).await.unwrap(), "a");
    drop(channel);
    // It waits for connections to end.
    provider.stop().await;
}

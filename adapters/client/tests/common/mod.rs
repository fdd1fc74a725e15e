//! What the tests share.

#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

mod local;

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

pub use local::Local;
use periplus::core::{Endpoint, InstanceId, ServiceInstance, ServiceName};
use periplus::{Client, ConnectOptions};

/// A client with a registry of its own.
pub fn memory() -> Client {
    connect("memory:")
}

pub fn connect(url: &str) -> Client {
    periplus::connect_with(Local::default(), url, ConnectOptions::default()).unwrap()
}

pub fn instance(service: &str, id: &str) -> ServiceInstance {
    ServiceInstance::new(ServiceName::new(service).unwrap(), InstanceId::new(id).unwrap())
        .with_endpoint(Endpoint::new("http://10.0.0.5:8000").unwrap())
}

/// Who is listed in the registry itself.
pub fn listed(client: &Client) -> usize {
    client.with_registry(|registry, _| registry.usage().instances).unwrap()
}

/// Watches that the registry itself holds.
pub fn watches(client: &Client) -> usize {
    client.with_registry(|registry, _| registry.usage().watches).unwrap()
}

/// Polls a future once.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// Lets others run until something holds.
pub async fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it does not come about");
}

//! A runtime for tests: tokio's timers and tasks, and no network.

#![allow(dead_code, reason = "each test uses some of it")]

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use periplus::core::http::{Failure, Input, Request};
use periplus::core::{Endpoint, InstanceId, Instant, ServiceInstance, ServiceName};
use periplus::driver::Driver;
use periplus::{Client, ConnectOptions, Runtime};

static ORIGIN: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);
static SEED: AtomicU64 = AtomicU64::new(1);

/// Drivers that a test has started and that have not ended.
#[derive(Clone, Debug, Default)]
pub struct Local {
    pub drivers: Arc<AtomicUsize>,
}

/// A network on which nobody is.
#[derive(Debug)]
pub struct Nobody(bool);

impl futures_core::Stream for Nobody {
    type Item = Input;
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Input>> {
        let first = !std::mem::replace(&mut self.0, true);
        Poll::Ready(first.then(|| Input::Failure(Failure::not_sent("there is no network"))))
    }
}

impl Runtime for Local {
    type Sleep = Pin<Box<tokio::time::Sleep>>;
    type Exchange = Nobody;

    fn now(&self) -> Instant {
        let since = tokio::time::Instant::now().saturating_duration_since(*ORIGIN);
        Instant::from_micros(u64::try_from(since.as_micros()).unwrap())
    }

    fn sleep_until(&self, at: Instant) -> Self::Sleep {
        let at = *ORIGIN + std::time::Duration::from_micros(at.as_micros());
        Box::pin(tokio::time::sleep_until(at))
    }

    fn request(&self, _: Request) -> Nobody {
        Nobody(false)
    }

    fn spawn(&self, driver: Driver<Self>) {
        let drivers = Arc::clone(&self.drivers);
        drivers.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            driver.await;
            drivers.fetch_sub(1, Ordering::SeqCst);
        });
    }

    fn entropy(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let next = SEED.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
    }
}

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

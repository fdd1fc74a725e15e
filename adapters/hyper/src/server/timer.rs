//! A runtime's timers, as hyper wants them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::Sleep;

use super::Listen;
use crate::net::Task;

#[derive(Clone)]
pub(super) struct Timer(pub(super) Arc<dyn Listen>);

impl hyper::rt::Timer for Timer {
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap(Mutex::new(self.0.sleep(span))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(Instant::now()))
    }
}

/// One timer. The lock is never contended: it makes the timer one that may be shared, which hyper asks for.
struct Nap(Mutex<Task<()>>);

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(cx)
    }
}

impl Sleep for Nap {}

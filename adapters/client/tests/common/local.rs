// A runtime for tests and for the examples in the documentation: tokio's timers and tasks, and no network.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use periplus::Runtime;
use periplus::core::Instant;
use periplus::core::http::{Failure, Input, Request};
use periplus::driver::Driver;

static ORIGIN: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);
static SEED: AtomicU64 = AtomicU64::new(1);

/// Drivers that a test has started and that have not ended.
#[derive(Clone, Debug, Default)]
pub struct Local {
    pub drivers: Arc<AtomicUsize>,
    /// Whether requests vanish, instead of failing at once.
    pub hole: bool,
}

/// A network on which nobody is.
#[derive(Debug)]
pub struct Nobody {
    silent: bool,
    ended: bool,
}

impl futures_core::Stream for Nobody {
    type Item = Input;
    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Input>> {
        if self.silent {
            return Poll::Pending;
        }
        let first = !std::mem::replace(&mut self.ended, true);
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
        Nobody { silent: self.hole, ended: false }
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

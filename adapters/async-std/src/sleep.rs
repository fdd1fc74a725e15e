//! A timer on a clock that counts suspend.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::Timer;
use periplus::core::Instant;
use periplus_hyper::host;

/// How long async-io's timer is trusted at a time: it stands still while the machine is suspended.
const SLICE: Duration = Duration::from_secs(5);

/// A timer that rings at an instant of [`host::now`]'s clock, after a suspend at most five seconds late.
#[derive(Debug)]
pub struct Sleep {
    at: Instant,
    /// `None` before the first poll: a timer that is never polled costs nothing.
    slice: Option<Timer>,
}

impl Sleep {
    pub(crate) const fn until(at: Instant) -> Self {
        Self { at, slice: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(slice) = &mut self.slice {
                ready!(Pin::new(slice).poll(cx));
            }
            let left = self.at.saturating_since(host::now());
            if left.is_zero() {
                self.slice = None;
                return Poll::Ready(());
            }
            self.slice = Some(Timer::after(left.min(SLICE)));
        }
    }
}

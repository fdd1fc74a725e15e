//! The clocks of this machine, as the registry sees them.

use std::time::{SystemTime, UNIX_EPOCH};

use periplus_core::{Instant, WallTime};
use periplus_hyper::host;

/// The clock of the clients, [`host::now`], but that its origin is when it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { origin: host::now() }
    }

    /// Microseconds since the clock was made.
    pub(super) fn now(&self) -> Instant {
        Instant::default().saturating_add(host::now().saturating_since(self.origin))
    }
}

/// The wall clock.
pub(super) fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

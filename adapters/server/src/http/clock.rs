//! The clocks of this machine, as the registry sees them.

use std::time::{SystemTime, UNIX_EPOCH};

use periplus_core::{Instant, WallTime};

/// A clock that goes on while the machine sleeps, where the platform has one: its origin is when it was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: u64,
    #[cfg_attr(target_os = "linux", allow(dead_code))]
    started: std::time::Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { origin: boot_micros().unwrap_or_default(), started: std::time::Instant::now() }
    }

    /// Microseconds since the clock was made. No system call on Linux.
    pub(super) fn now(&self) -> Instant {
        let micros = boot_micros().map_or_else(
            || u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            |now| now.saturating_sub(self.origin),
        );
        Instant::from_micros(micros)
    }
}

/// The wall clock.
pub(super) fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(target_os = "linux")]
fn boot_micros() -> Option<u64> {
    use nix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?;
    let seconds = u64::try_from(now.tv_sec()).ok()?;
    Some(seconds * 1_000_000 + u64::try_from(now.tv_nsec()).ok()? / 1_000)
}

#[cfg(not(target_os = "linux"))]
const fn boot_micros() -> Option<u64> {
    None
}

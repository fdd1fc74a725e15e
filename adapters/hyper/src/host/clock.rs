//! A clock that counts suspend where the platform can.

use periplus_core::Instant;

/// The time: monotonic, and the same for everybody in the process.
///
/// It counts the time that the machine is suspended on Linux and Android (`CLOCK_BOOTTIME`), on Apple's systems
/// (`CLOCK_MONOTONIC`, which there is another clock than the one of [`std::time::Instant`]) and on Windows (where
/// [`std::time::Instant`] counts it). Elsewhere it is [`std::time::Instant`], which may not.
#[must_use]
pub fn now() -> Instant {
    platform::now()
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod platform {
    use std::time::Duration;

    use periplus_core::Instant;
    use rustix::time::{ClockId, clock_gettime};

    pub(super) fn now() -> Instant {
        #[cfg(not(target_vendor = "apple"))]
        const CLOCK: ClockId = ClockId::Boottime;
        #[cfg(target_vendor = "apple")]
        const CLOCK: ClockId = ClockId::Monotonic;

        // It counts from the boot, and so is never negative.
        let time = clock_gettime(CLOCK);
        let since_boot = Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default());
        Instant::default().saturating_add(since_boot)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod platform {
    use std::sync::OnceLock;

    use periplus_core::Instant;

    pub(super) fn now() -> Instant {
        static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
        Instant::default().saturating_add(ORIGIN.get_or_init(std::time::Instant::now).elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_as_the_one_of_the_standard_library_does_while_nothing_is_suspended() {
        let (began, std_began) = (now(), std::time::Instant::now());
        while std_began.elapsed().as_millis() < 5 {
            assert!(now() >= began);
        }
        // Both count whole microseconds only.
        assert!(now().saturating_since(began).as_millis() >= 4);
    }
}

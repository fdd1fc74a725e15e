//! Times of sending, carried by the instances themselves.

use std::time::{Duration, Instant};

/// How many digits a time has in an instance's metadata.
pub const DIGITS: usize = 16;

/// Nanoseconds since the start of the run.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Now, as an instance carries it. Never all zeros: those mean that nothing was sent yet.
    #[must_use]
    pub fn stamp(&self) -> String {
        format!("{:0DIGITS$}", self.0.elapsed().as_nanos().max(1))
    }

    /// How long ago a stamp was made; nothing, if it is no stamp or all zeros.
    #[must_use]
    pub fn since(&self, stamp: &[u8]) -> Option<Duration> {
        let nanos = stamp
            .iter()
            .try_fold(0_u64, |nanos, digit| digit.is_ascii_digit().then(|| nanos * 10 + u64::from(digit - b'0')))?;
        (nanos > 0).then(|| self.0.elapsed().saturating_sub(Duration::from_nanos(nanos)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_says_when_it_was_made() {
        let clock = Clock::start();
        let stamp = clock.stamp();
        assert_eq!(stamp.len(), DIGITS);
        assert!(clock.since(stamp.as_bytes()).is_some_and(|age| age < Duration::from_secs(5)));
        assert_eq!(clock.since(&[b'0'; DIGITS]), None);
        assert_eq!(clock.since(b"123456789012345x"), None);
    }
}

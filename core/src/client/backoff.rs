//! How long to wait before trying again.

use core::time::Duration;

use crate::rng::Rng;
use crate::time::Instant;

/// Exponential back-off with jitter: the nth delay lies between half and all of 200 ms · 2ⁿ, and never above the cap.
/// Every method is O(1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    failed: Option<Instant>,
}

impl Backoff {
    /// The longest first delay.
    pub const BASE: Duration = Duration::from_millis(200);
    /// The longest delay of all.
    pub const CAP: Duration = Duration::from_secs(30);
    /// What has worked this long is no longer held against anybody.
    pub const STABLE: Duration = Duration::from_secs(60);

    /// The delay after one more failure, for a cap of [`CAP`](Self::CAP) or less; not below `hint`, what the server's
    /// `Retry-After` asks for.
    pub fn next(&mut self, rng: &mut Rng, cap: Duration, hint: Option<Duration>, now: Instant) -> Duration {
        let full = Self::BASE.saturating_mul(1 << self.failures.min(16)).min(cap).min(Self::CAP);
        self.failures = self.failures.saturating_add(1);
        self.failed = Some(now);
        let delay = full / 2 + rng.time_below(full / 2);
        // Everybody got the same hint; the jitter goes on top of it.
        hint.map_or(delay, |hint| if hint > delay { hint.saturating_add(delay) } else { delay })
    }

    /// The delay before the first attempt after something live was lost: anywhere up to `spread`, so that not all who
    /// lost it come back in one instant.
    pub fn spread(&mut self, rng: &mut Rng, spread: Duration, now: Instant) -> Duration {
        self.failures = self.failures.max(1);
        self.failed = Some(now);
        rng.time_below(spread)
    }

    /// Something has worked. That it did once proves nothing: only a minute without a failure forgets them.
    pub fn worked(&mut self, now: Instant) {
        if self.failed.is_some_and(|failed| now.saturating_since(failed) >= Self::STABLE) {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn rng(seed: u8) -> Rng {
        Rng::new([seed; 32])
    }

    #[test]
    fn delays_double_up_to_the_cap_with_jitter_in_the_upper_half() {
        for cap in [Backoff::CAP, Duration::from_secs(5), Duration::from_millis(10)] {
            for seed in 0..50 {
                let (mut backoff, mut rng) = (Backoff::default(), rng(seed));
                for n in 0..20_u32 {
                    let full = (Backoff::BASE * 2_u32.pow(n.min(16))).min(cap);
                    let delay = backoff.next(&mut rng, cap, None, Instant::default());
                    assert!(full / 2 <= delay && delay <= full, "delay {n} is {delay:?}");
                }
            }
        }
    }

    #[test]
    fn a_hint_of_the_server_is_honoured() {
        let hint = Duration::from_secs(7);
        let delay = Backoff::default().next(&mut rng(1), Backoff::CAP, Some(hint), Instant::default());
        assert!(hint <= delay && delay <= hint + Backoff::BASE, "{delay:?}");
    }

    #[test]
    fn only_a_minute_without_a_failure_forgets_them() {
        let (mut backoff, mut rng) = (Backoff::default(), rng(1));
        for _ in 0..10 {
            let _ = backoff.next(&mut rng, Backoff::CAP, None, Instant::from_millis(1_000));
        }
        backoff.worked(Instant::from_millis(60_999));
        assert!(backoff.next(&mut rng, Backoff::CAP, None, Instant::from_millis(60_999)) > Backoff::BASE);
        backoff.worked(Instant::from_millis(120_999));
        assert!(backoff.next(&mut rng, Backoff::CAP, None, Instant::from_millis(120_999)) <= Backoff::BASE);
    }

    #[test]
    fn the_first_attempt_after_a_loss_is_anywhere_in_the_spread() {
        let (spread, mut rng) = (Duration::from_secs(1), rng(3));
        let mut delay = || Backoff::default().spread(&mut rng, spread, Instant::default());
        let delays: alloc::vec::Vec<Duration> = (0..100).map(|_| delay()).collect();
        assert!(delays.iter().all(|delay| *delay < spread));
        assert!(delays.iter().any(|delay| *delay < spread / 4) && delays.iter().any(|delay| *delay > spread / 4 * 3));
    }
}

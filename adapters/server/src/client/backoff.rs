//! How long to wait before trying again.

use std::time::Duration;

use crate::random::Random;

/// The longest first delay.
const BASE: Duration = Duration::from_millis(200);
/// The longest delay of all.
const CAP: Duration = Duration::from_secs(30);
/// What has worked this long is no longer held against anybody.
const STABLE: Duration = Duration::from_secs(60);

/// Exponential back-off with jitter: the nth delay lies between half and all of 200 ms · 2ⁿ, and never above 30 s.
#[derive(Clone, Debug)]
pub struct Backoff {
    failures: u32,
    random: Random,
}

impl Backoff {
    /// A back-off that has seen no failure.
    #[must_use]
    pub const fn new(random: Random) -> Self {
        Self { failures: 0, random }
    }

    /// The delay after one more failure; not below `hint`, what the server's `Retry-After` asks for.
    pub fn next(&mut self, hint: Option<Duration>) -> Duration {
        let full = BASE.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        let delay = full / 2 + self.random.time_below(full / 2);
        // Everybody got the same hint; the jitter goes on top of it.
        hint.map_or(delay, |hint| if hint > delay { hint + delay } else { delay })
    }

    /// The delay before the first attempt after something live was lost: anywhere up to `spread`, so that not all who lost
    /// it come back in one instant.
    pub fn spread(&mut self, spread: Duration, hint: Option<Duration>) -> Duration {
        self.failures = self.failures.max(1);
        self.random.time_below(spread) + hint.unwrap_or_default()
    }

    /// Says how long things have worked. Connecting alone proves nothing, so that only a minute forgets the failures.
    pub fn worked_for(&mut self, time: Duration) {
        if time >= STABLE {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_with_jitter_in_the_upper_half() {
        for seed in 0..50 {
            let mut backoff = Backoff::new(Random::seeded(seed));
            for n in 0..20_u32 {
                let full = (BASE * 2_u32.pow(n.min(16))).min(CAP);
                let delay = backoff.next(None);
                assert!(full / 2 <= delay && delay <= full, "delay {n} is {delay:?}");
            }
        }
    }

    #[test]
    fn a_hint_of_the_server_is_honoured() {
        let mut backoff = Backoff::new(Random::seeded(1));
        let hint = Duration::from_secs(7);
        let delay = backoff.next(Some(hint));
        assert!(hint <= delay && delay <= hint + BASE, "{delay:?}");
    }

    #[test]
    fn only_a_minute_of_work_forgets_the_failures() {
        let mut backoff = Backoff::new(Random::seeded(1));
        for _ in 0..10 {
            let _ = backoff.next(None);
        }
        backoff.worked_for(Duration::from_secs(59));
        assert!(backoff.next(None) > BASE);
        backoff.worked_for(Duration::from_secs(60));
        assert!(backoff.next(None) <= BASE);
    }

    #[test]
    fn the_first_attempt_after_a_loss_is_spread() {
        let spread = Duration::from_secs(1);
        let delays: Vec<Duration> =
            (0..100).map(|seed| Backoff::new(Random::seeded(seed)).spread(spread, None)).collect();
        assert!(delays.iter().all(|delay| *delay < spread));
        assert!(delays.iter().any(|delay| *delay < spread / 4) && delays.iter().any(|delay| *delay > spread / 4 * 3));
    }
}

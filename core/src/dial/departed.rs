//! What is remembered of addresses that are no longer listed.

use alloc::collections::BTreeMap;

use crate::client::Backoff;
use crate::dial::Address;
use crate::time::Instant;

/// Addresses that are remembered.
const LIMIT: usize = 256;

/// Addresses that had failed and went, with how often: who comes back is not trusted more for having been away.
#[derive(Debug, Default)]
pub(super) struct Departed(BTreeMap<Address, (Instant, Backoff)>);

impl Departed {
    /// O(limit) if too many are remembered, otherwise O(log n).
    pub(super) fn keep(&mut self, address: Address, backoff: Backoff, now: Instant) {
        if backoff == Backoff::default() {
            return;
        }
        self.0.insert(address, (now, backoff));
        if self.0.len() > LIMIT {
            self.0.retain(|_, (left, _)| now.saturating_since(*left) < Backoff::STABLE);
            let oldest = self.0.iter().min_by_key(|(_, (left, _))| *left).map(|(address, _)| address.clone());
            if let Some(oldest) = oldest.filter(|_| self.0.len() > LIMIT) {
                self.0.remove(&oldest);
            }
        }
    }

    /// What is held against an address, if anything still is.
    pub(super) fn take(&mut self, address: &Address, now: Instant) -> Option<Backoff> {
        let (_, mut backoff) = self.0.remove(address)?;
        backoff.worked(now);
        (backoff != Backoff::default()).then_some(backoff)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::rng::Rng;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn failed(now: Instant) -> Backoff {
        let mut backoff = Backoff::default();
        let _ = backoff.next(&mut Rng::new([1; 32]), Backoff::CAP, None, now);
        backoff
    }

    fn address(port: u16) -> Address {
        Address { host: "h".into(), port }
    }

    #[test]
    fn the_latest_failures_are_remembered_for_a_minute() {
        let mut departed = Departed::default();
        for port in 1..=300 {
            let now = Instant::from_millis(u64::from(port));
            departed.keep(address(port), failed(now), now);
        }
        departed.keep(address(400), Backoff::default(), Instant::from_millis(400));
        let now = Instant::from_millis(400);
        assert_eq!(departed.take(&address(44), now), None, "forgotten for those that came later");
        assert!(departed.take(&address(45), now).is_some());
        assert_eq!(departed.take(&address(45), now), None, "taken");
        assert_eq!(departed.take(&address(400), now), None, "nothing to hold against it");
        assert_eq!(departed.take(&address(300), now.saturating_add(Duration::from_secs(60))), None, "long ago");
    }
}

//! The machine's limit: renewals as bare memory traffic, one 64-byte slot each, in random order.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::fleet::{Micros, TTL};

/// What a renewal needs to know, one cache line of it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Slot {
    deadline: Micros,
    secret: [u64; 2],
    /// The slot to renew after this one, where each renewal depends on the last.
    next: u32,
}

/// Which slot, and its secret.
#[derive(Clone, Copy, Debug)]
pub struct Handle {
    slot: u32,
    secret: [u64; 2],
}

/// A vector of slots.
#[derive(Debug)]
pub struct Slab(Vec<Slot>);

impl Slab {
    /// `size` slots that form one random ring.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(3);
        let mut ring: Vec<u32> = (0..u32::try_from(size).expect("a slab has fewer than 2^32 slots")).collect();
        // Sattolo's shuffle: one cycle through all.
        for at in (1..ring.len()).rev() {
            ring.swap(at, rng.random_range(0..at));
        }
        Self(ring.into_iter().map(|next| Slot { deadline: 0, secret: rng.random(), next }).collect())
    }

    /// Handles of the slots with these numbers.
    #[must_use]
    pub fn handles(&self, numbers: &[usize]) -> Vec<Handle> {
        let handle = |&number: &usize| Handle { slot: number as u32, secret: self.0[number].secret };
        numbers.iter().map(handle).collect()
    }

    /// Renews slots whose handles are known ahead, as those of a batch are. Returns how many secrets were right.
    pub fn renew_batch(&mut self, handles: &[Handle], now: Micros) -> usize {
        let mut renewed = 0;
        for handle in handles {
            let slot = &mut self.0[handle.slot as usize];
            if slot.secret == handle.secret {
                slot.deadline = slot.deadline.max(now + TTL);
                renewed += 1;
            }
        }
        renewed
    }

    /// Renews `count` slots, each of which names the next.
    pub fn renew_chain(&mut self, count: usize, now: Micros) -> usize {
        let mut at = 0;
        for _ in 0..count {
            let slot = &mut self.0[at];
            slot.deadline = slot.deadline.max(now + TTL);
            at = slot.next as usize;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::shuffled;

    #[test]
    fn renewing_reaches_every_slot() {
        let mut slab = Slab::new(100);
        assert_eq!(slab.renew_batch(&slab.handles(&shuffled(100, 1)), 5), 100);
        assert_eq!(slab.renew_chain(100, 7), 0, "the ring is one cycle");
        assert!(slab.0.iter().all(|slot| slot.deadline == TTL + 7));
    }
}

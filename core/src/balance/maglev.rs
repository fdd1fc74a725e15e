//! Consistent hashing by the table of Google's Maglev load balancer.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::hash::{hash_key, mix};
use super::schedule::smooth;

/// Primes, so that every step width visits the whole table. The second is for sets so large that the first would give
/// an instance few entries.
const SIZES: [usize; 2] = [65_537, 655_373];
/// How many instances the first size is for.
const MANY: usize = 4_096;
const FREE: u32 = u32::MAX;

/// A table in which each place has entries in proportion to its weight.
#[derive(Debug)]
pub(super) struct Maglev {
    entries: Box<[u32]>,
}

impl Maglev {
    /// The table of these ids and weights: in turns, as often as a smooth schedule says, each place takes the next entry
    /// of its own preference that is free. O(table · log table) on average.
    pub(super) fn new<'a>(ids: impl Iterator<Item = &'a str>, weights: &[u64], bound: usize) -> Self {
        let size = SIZES[usize::from(weights.len() > MANY)];
        let mut preferences: Vec<(usize, usize)> = ids.map(|id| preference(id, size)).collect();
        let mut entries = vec![FREE; size];
        let turns = smooth(weights, bound.min(size / 2));
        for &place in turns.iter().cycle().take(if turns.is_empty() { 0 } else { size }) {
            let (at, step) = &mut preferences[place as usize];
            while entries[*at] != FREE {
                *at = (*at + *step) % size;
            }
            entries[*at] = place;
        }
        Self { entries: if turns.is_empty() { Box::default() } else { entries.into() } }
    }

    /// The places from a key's own one on, in the order in which they stand in for each other. O(1) to begin.
    pub(super) fn from(&self, key: u64) -> impl Iterator<Item = usize> {
        let first = ((u128::from(key) * self.entries.len() as u128) >> 64) as usize;
        self.entries[first..].iter().chain(&self.entries[..first]).map(|&place| place as usize)
    }
}

/// Where a place looks first, and the width of its steps.
fn preference(id: &str, size: usize) -> (usize, usize) {
    let hash = hash_key(id.as_bytes());
    let below = |hash: u64, limit: usize| ((u128::from(hash) * limit as u128) >> 64) as usize;
    (below(hash, size), 1 + below(mix(!hash), size - 1))
}

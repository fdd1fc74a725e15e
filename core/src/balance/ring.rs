//! Consistent hashing on a ring.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::hash::{hash_key, nth};
use crate::ordered::sort;

/// The points of an instance that has the default weight.
const POINTS: u128 = 160;

/// Points on a circle of 2³², each of one place; a key belongs to the first point after it.
#[derive(Debug)]
pub(super) struct Ring {
    points: Box<[(u32, u32)]>,
}

impl Ring {
    /// The ring of these ids and weights, where `unit` is the default weight. O(points · log points).
    ///
    /// How many points a place has depends on its own weight only, so that who comes or goes moves its own keys only.
    /// They are halved until they are at most `bound`, but for one that each place keeps.
    pub(super) fn new<'a>(places: impl Iterator<Item = (&'a str, u64)> + Clone, unit: u64, bound: usize) -> Self {
        let wanted = |weight: u64| (u128::from(weight) * POINTS / u128::from(unit.max(1))).clamp(1, 1 << 40) as u64;
        let total: u64 = places.clone().map(|(_, weight)| wanted(weight)).sum();
        let halvings = (0..64).find(|&halvings| total >> halvings <= bound as u64).unwrap_or(63);
        let mut points = Vec::new();
        for (place, (id, weight)) in places.enumerate() {
            let seed = hash_key(id.as_bytes());
            let count = (wanted(weight) >> halvings).max(1);
            points.extend((0..count).map(|point| ((nth(seed, point) >> 32) as u32, place as u32)));
        }
        sort(&mut points);
        Self { points: points.into() }
    }

    /// The places from a key's own one on, in the order in which they stand in for each other. O(log points) to begin.
    pub(super) fn from(&self, key: u64) -> impl Iterator<Item = usize> {
        let key = (key >> 32) as u32;
        let first = self.points.partition_point(|&(point, _)| point < key);
        self.points[first..].iter().chain(&self.points[..first]).map(|&(_, place)| place as usize)
    }
}

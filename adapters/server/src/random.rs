//! Random numbers: seeded where a run must repeat, from the system where it must not.

use periplus_core::{Incarnation, Rng};
use periplus_hyper::host;

/// A small generator (splitmix64); one seed gives one sequence.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator that nobody can foresee.
    #[must_use]
    pub fn from_system() -> Self {
        Self(u64::from_le_bytes(bytes()))
    }

    /// The next number, any of all.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to but without `end`; 0 if there is none.
    pub const fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() % end as u64) as usize }
    }

    /// A number from 0 up to but without 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of them.
    pub const fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { Some(&from[self.below(from.len())]) }
    }
}

/// What a holder calls itself for one life: nobody else comes upon it.
#[must_use]
pub fn incarnation() -> Incarnation {
    Incarnation(u128::from_le_bytes(bytes()))
}

/// The core's generator, with a seed that nobody can foresee.
#[must_use]
pub fn rng() -> Rng {
    Rng::new(bytes())
}

/// Bytes that nobody can foresee.
///
/// # Panics
/// If the system has none.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    host::entropy(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let sequence = |seed| {
            let mut random = Random::seeded(seed);
            [random.next(), random.next(), random.next()]
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut random = Random::seeded(7);
        for _ in 0..1000 {
            assert!(random.below(3) < 3);
            assert!((0.0..1.0).contains(&random.unit()));
        }
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u8>(&[]), None);
    }
}

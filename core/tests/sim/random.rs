//! The only randomness there is: one seed decides everything.

/// SplitMix64: small, fast, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed ^ 0x9e37_79b9_7f4a_7c15);
        random.next();
        random
    }

    /// A stream of its own: what is drawn from it does not depend on how much is drawn elsewhere.
    pub fn fork(seed: u64, tag: u64) -> Self {
        let mut random = Self::new(seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(tag));
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 if there is nothing below it.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next() % n }
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// From `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// From `low` to `high`, small ones as often as large ones.
    pub fn spread(&mut self, low: u64, high: u64) -> u64 {
        let (low, high) = (low.max(1), high.max(2));
        let doublings = u64::from(63 - (high / low).max(1).leading_zeros());
        let shift = self.below(doublings + 1);
        let from = low << shift;
        self.between(from, (from * 2).min(high).max(from))
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.index(from.len())]
    }

    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        for word in seed.as_chunks_mut::<8>().0 {
            *word = self.next().to_le_bytes();
        }
        seed
    }
}

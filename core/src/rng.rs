//! Randomness as the machines see it: a generator whose seed the driver hands in.

use core::fmt;
use core::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::time::micros;

/// Thirty-two bytes from the system, or from a test. Whoever knows them knows every secret drawn from them.
pub type Seed = [u8; 32];

/// A generator fit for secrets, the same sequence for the same seed on every platform.
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// The generator of this seed.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(crate) fn next_u128(&mut self) -> u128 {
        u128::from(self.next_u64()) << 64 | u128::from(self.next_u64())
    }

    /// A time from zero up to this one, in whole microseconds.
    pub fn time_below(&mut self, limit: Duration) -> Duration {
        let product = u128::from(micros(limit)) * u128::from(self.next_u64());
        Duration::from_micros((product >> 64) as u64)
    }
}

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng")
    }
}

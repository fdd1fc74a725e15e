//! A registry that has no say: it shows what another one holds, of which it is told.

use crate::catalog::{CommitError, Edit, Notice};
use crate::config::Config;
use crate::rng::Seed;
use crate::set::{Epoch, Revision};
use crate::time::{Instant, WallTime};

use super::Registry;

/// The lease of an instance that is held elsewhere.
pub(super) const MIRRORED: u32 = u32::MAX;

/// Nothing but a word ends it.
const FOR_EVER: Instant = Instant::from_micros(u64::MAX);

impl Registry {
    /// A mirror of another registry, in an epoch of that one. It warms up until it is [settled](Self::settle): what it
    /// does not list may be there all the same.
    ///
    /// It gives no leases out: nobody registers here, and no operator does anything. Who reads and watches sees no
    /// difference.
    #[must_use]
    pub fn mirror(config: Config, seed: Seed, epoch: Epoch, now: Instant, wall: WallTime) -> Self {
        let mut registry = Self::empty(config, seed, epoch, Revision(0), now, wall);
        registry.unsettle(now);
        registry
    }

    /// Takes over what the other registry holds by now; see [`Catalog::commit_joined`](crate::Catalog::commit_joined).
    /// Says how many instances changed.
    ///
    /// # Errors
    /// If the revision does not rise; nothing was changed.
    pub fn reflect(
        &mut self,
        revision: Revision,
        edits: impl IntoIterator<Item = Edit>,
        now: Instant,
    ) -> Result<usize, CommitError> {
        self.advance(now);
        self.catalog.commit_joined(revision, self.wall(), edits)
    }

    /// What is not listed may be there all the same, from now on until it is [settled](Self::settle).
    pub fn unsettle(&mut self, now: Instant) {
        self.advance(now);
        if self.warming_until.replace(FOR_EVER).is_none() {
            self.catalog.announce(None, Notice::Warming);
        }
    }
}

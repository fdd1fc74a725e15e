//! Commands that were given up, or that ended with their lease: what arrives of them later takes no effect.

use alloc::collections::VecDeque;

use foldhash::quality::FixedState;
use hashbrown::HashMap;

use crate::registry::{Incarnation, Operation};

/// Which commands of a holder are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    /// Up to this sequence.
    pub(super) sequence: u64,
    /// The last of them had taken effect, and then another holder took the instance.
    pub(super) superseded: bool,
}

/// For each holder of each instance that has ended lately, which of its commands are over.
pub(super) struct Ended {
    latest: HashMap<u128, Over, FixedState>,
    /// In the order in which they ended: the longest ago is forgotten first.
    order: VecDeque<u128>,
    limit: usize,
}

impl Ended {
    pub(super) fn new(limit: usize, hash_seed: u64) -> Self {
        Self { latest: HashMap::with_hasher(FixedState::with_seed(hash_seed)), order: VecDeque::new(), limit }
    }

    /// Everything that this holder sent for this instance up to the sequence is over, because it was superseded or for
    /// another reason. O(1).
    pub(super) fn record(&mut self, instance: [&[u8]; 3], operation: Operation, superseded: bool) {
        if operation.is_anonymous() || self.limit == 0 {
            return;
        }
        let holder = holder(instance, operation.incarnation.0);
        self.insert(holder, Over { sequence: operation.sequence, superseded });
    }

    fn insert(&mut self, holder: u128, over: Over) {
        if let Some(latest) = self.latest.get_mut(&holder) {
            if over.sequence > latest.sequence {
                *latest = over;
            }
            return;
        }
        if self.order.len() >= self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.latest.remove(&oldest);
        }
        self.latest.insert(holder, over);
        self.order.push_back(holder);
    }

    /// Which commands of this holder for this instance are over, if any. O(1).
    pub(super) fn find(&self, instance: [&[u8]; 3], incarnation: Incarnation) -> Option<Over> {
        if incarnation.0 == 0 || self.latest.is_empty() {
            return None;
        }
        self.latest.get(&holder(instance, incarnation.0)).copied()
    }

    /// As plain data, the longest ago first.
    pub(super) fn export(&self) -> impl Iterator<Item = (u128, Over)> {
        self.order.iter().map(|holder| (*holder, self.latest[holder]))
    }

    pub(super) fn restore(&mut self, ended: impl Iterator<Item = (u128, Over)>) {
        for (holder, over) in ended {
            self.insert(holder, over);
        }
    }
}

/// The incarnation is 128 random bits, so the names need no more than be told apart for the same holder.
fn holder(instance: [&[u8]; 3], incarnation: u128) -> u128 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for name in instance {
        for chunk in name.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        hash = (hash ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    incarnation ^ u128::from(hash).wrapping_mul(0x0001_0000_0000_0001_0000_0000_0000_0001)
}

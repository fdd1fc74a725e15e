//! When leases come due: a queue that costs nothing while they are renewed.

use alloc::vec::Vec;
use core::array;

/// What is due at a time: an opaque handle with a generation, so that an old entry is told from a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Armed {
    pub(crate) at: u64,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

struct Bucket {
    /// The earliest of the entries; `u64::MAX` if there are none.
    earliest: u64,
    entries: Vec<Armed>,
}

/// A queue of due times that is told of a new deadline only when the old one has come.
///
/// An entry lies in the bucket of the highest bit in which its time differs from the time the queue was last
/// asked: a bucket covers a span twice as long as the one below. Taking what is due looks at the buckets that
/// begin in the past; each entry there is due, or gone, or has a later deadline by now, and then moves to the
/// bucket where that belongs, at least one bit lower or, if renewed, back up. So an entry is looked at about
/// once in each of its lease's spans, in order of memory, and arming is a push. Times earlier than the last
/// one asked are due at once.
pub(crate) struct ExpiryQueue {
    buckets: [Bucket; 65],
    /// Bit n: bucket n has entries.
    filled: u128,
    asked: u64,
    len: usize,
}

impl ExpiryQueue {
    pub(crate) fn new() -> Self {
        let buckets = array::from_fn(|_| Bucket { earliest: u64::MAX, entries: Vec::new() });
        Self { buckets, filled: 0, asked: 0, len: 0 }
    }

    /// O(1).
    pub(crate) fn arm(&mut self, armed: Armed) {
        let at = (64 - (armed.at ^ self.asked).leading_zeros()) as usize;
        let bucket = &mut self.buckets[at];
        bucket.earliest = bucket.earliest.min(armed.at);
        bucket.entries.push(armed);
        self.filled |= 1 << at;
        self.len += 1;
    }

    /// Takes every entry whose armed time has come, and asks of each for its present deadline: `None` if there is
    /// nothing to expire any more. Entries not due are armed again. Appends the due ones in no particular order.
    pub(crate) fn take_due(&mut self, now: u64, deadline: impl Fn(&Armed) -> Option<u64>, due: &mut Vec<Armed>) {
        let mut begun = Vec::new();
        for at in ones(self.filled) {
            let bucket = &mut self.buckets[at];
            if bucket.earliest <= now {
                bucket.earliest = u64::MAX;
                let entries = core::mem::take(&mut bucket.entries);
                self.len -= entries.len();
                begun.push(entries);
                self.filled &= !(1 << at);
            }
        }
        self.asked = now;
        for armed in begun.into_iter().flatten() {
            match deadline(&armed) {
                Some(at) if at <= now => due.push(Armed { at, ..armed }),
                Some(at) => self.arm(Armed { at, ..armed }),
                None => {}
            }
        }
    }

    /// Drops the entries that nothing depends on any more. O(entries).
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Armed) -> bool) {
        self.len = 0;
        for at in ones(self.filled) {
            let bucket = &mut self.buckets[at];
            bucket.entries.retain(&mut keep);
            bucket.entries.shrink_to_fit();
            self.len += bucket.entries.len();
            bucket.earliest = bucket.entries.iter().map(|armed| armed.at).min().unwrap_or(u64::MAX);
            if bucket.entries.is_empty() {
                self.filled &= !(1 << at);
            }
        }
    }

    /// No entry comes due before this. O(number of buckets in use), at most 65.
    pub(crate) fn next(&self) -> Option<u64> {
        ones(self.filled).map(|at| self.buckets[at].earliest).min()
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

fn ones(mut bits: u128) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let at = bits.trailing_zeros() as usize;
        (bits != 0).then(|| {
            bits &= bits - 1;
            at
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn armed(at: u64, slot: u32) -> Armed {
        Armed { at, slot, generation: 0 }
    }

    #[test]
    fn everything_due_is_taken_and_nothing_else() {
        let mut queue = ExpiryQueue::new();
        let times = [5, 1, 9, 1_000_000, 3, u64::MAX, 9];
        for (slot, at) in times.into_iter().enumerate() {
            queue.arm(armed(at, slot as u32));
        }
        for now in [0, 1, 4, 9, 999_999, 1_000_000, u64::MAX] {
            let mut due = vec![];
            queue.take_due(now, |a| Some(a.at), &mut due);
            assert!(due.iter().all(|a| a.at <= now), "{now}: {due:?}");
            assert!(queue.next().is_none_or(|next| next > now), "{now}: {:?}", queue.next());
        }
        assert_eq!((queue.len(), queue.next()), (0, None));
    }

    #[test]
    fn a_deadline_that_moved_is_met_where_it_moved_to() {
        let mut queue = ExpiryQueue::new();
        queue.arm(armed(10, 0));
        let mut due = vec![];
        queue.take_due(10, |_| Some(25), &mut due);
        assert!(due.is_empty());
        assert_eq!(queue.next(), Some(25));
        queue.take_due(30, |_| Some(25), &mut due);
        assert_eq!(due, vec![armed(25, 0)]);
    }

    #[test]
    fn what_is_gone_is_dropped() {
        let mut queue = ExpiryQueue::new();
        for slot in 0..10 {
            queue.arm(armed(100 + u64::from(slot), slot));
        }
        queue.retain(|a| a.slot % 2 == 0);
        assert_eq!((queue.len(), queue.next()), (5, Some(100)));
        let mut due = vec![];
        queue.take_due(104, |a| (a.slot != 2).then_some(a.at), &mut due);
        due.sort();
        assert_eq!(due, vec![armed(100, 0), armed(104, 4)]);
        assert_eq!(queue.len(), 2);
    }
}

//! One subscription: what its holder has been given, as the difference from what is held.

use alloc::vec::Vec;

use smol_str::SmolStr;

use super::InterestId;
use super::interest::{InstanceKey, Interest};
use crate::client::{Causes, Provenance, Update};
use crate::fault::{Fault, Faults};
use crate::ordered::{Entry, OrderedMap};
use crate::packed::Instance;
use crate::set::{Change, Cursor};

/// A holder's place in an interest.
///
/// Of what was given and is still so, nothing is kept: an entry is an instance that was given and is not so any more,
/// or is there and was not given.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) interest: InterestId,
    /// The provenance that was given last; `None` before the first update.
    told: Option<Provenance>,
    /// How the instances looked that look different now.
    before: OrderedMap<InstanceKey, Option<Instance>>,
    /// Why those went that were given and are not there, as far as that is known.
    causes: Causes,
    /// Where the last update was.
    taken: Option<Cursor>,
}

impl Place {
    pub(super) const fn new(interest: InterestId) -> Self {
        Self { interest, told: None, before: OrderedMap::new(), causes: Causes::new(), taken: None }
    }

    /// An instance has changed. O(log n).
    pub(super) fn note(
        &mut self,
        key: &InstanceKey,
        before: Option<&Instance>,
        after: Option<&Instance>,
        cause: &SmolStr,
        faults: Faults,
    ) {
        if self.told.is_none() {
            return;
        }
        match self.before.entry(key.clone()) {
            Entry::Vacant(entry) => drop(entry.insert(before.cloned())),
            Entry::Occupied(entry) if entry.get().as_ref() == after => drop(entry.remove()),
            Entry::Occupied(entry) if after.is_none() && faults.has(Fault::CoalescingLosesRemoval) => {
                drop(entry.remove())
            }
            Entry::Occupied(_) => {}
        }
        // What came and goes in between was never there.
        let was_there = self.before.get(key).is_some_and(Option::is_some);
        if was_there && after.is_none() && !cause.is_empty() {
            self.causes.insert(key.clone(), cause.clone());
        } else {
            self.causes.remove(key);
        }
    }

    /// Whether there is something to give.
    pub(super) fn has_news(&self, interest: &Interest) -> bool {
        interest.is_known() && (self.told != Some(interest.provenance) || !self.before.is_empty())
    }

    /// How many instances wait to be given.
    pub(super) fn pending(&self) -> usize {
        self.before.len()
    }

    /// Up to where what is held was given; nothing before the first update. May be too early while something waits, and
    /// is never too late.
    pub(super) fn applied<'a>(&'a self, interest: &'a Interest) -> Option<&'a Cursor> {
        match self.told {
            Some(_) if self.before.is_empty() => interest.cursor.as_ref(),
            _ => self.taken.as_ref(),
        }
    }

    /// What was not given yet. O(changes).
    pub(super) fn take(&mut self, interest: &Interest) -> Option<Update> {
        if !self.has_news(interest) {
            return None;
        }
        let causes = core::mem::take(&mut self.causes);
        let now = |key: &InstanceKey| interest.instances.get(key).map(|held| held.instance.clone());
        let changes: Vec<Change> = match self.told.replace(interest.provenance) {
            None => interest.instances.values().map(|held| Change::Insert(held.instance.clone())).collect(),
            Some(_) => {
                let before = core::mem::take(&mut self.before);
                before.into_iter().filter_map(|(key, before)| Change::between(before, now(&key))).collect()
            }
        };
        self.taken.clone_from(&interest.cursor);
        Some(Update { changes, causes, provenance: interest.provenance, cursor: interest.cursor.clone() })
    }
}

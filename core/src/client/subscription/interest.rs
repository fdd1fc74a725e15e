//! One interest: what is held of a selector, and what a snapshot does to it.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::time::Duration;

use crate::catalog::Selector;
use crate::client::{Provenance, SubscriptionId};
use crate::fault::{Fault, Faults};
use crate::name::{InstanceId, ServiceName};
use crate::ordered::{OrderedMap, OrderedSet};
use crate::packed::Instance;
use crate::set::Cursor;
use crate::time::Instant;

/// How many epochs that were left an interest remembers.
const EPOCHS: usize = 8;

/// How long an unconfirmed instance stays whose ttl is not known.
const TTL: Duration = Duration::from_secs(30);

/// What an instance is told apart by within an interest.
pub(super) type InstanceKey = (ServiceName, InstanceId);

/// What happens to one instance: how it is held from now on.
pub(super) type Edit = (InstanceKey, Option<Held>);

/// An instance as it is held.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) instance: Instance,
    pub(super) ttl: Option<Duration>,
    /// It was not seen in the present epoch, and goes at this time at the earliest.
    pub(super) unconfirmed: Option<Instant>,
}

impl Held {
    pub(super) const fn confirmed(instance: Instance, ttl: Option<Duration>) -> Self {
        Self { instance, ttl, unconfirmed: None }
    }
}

/// What is held of a selector.
#[derive(Clone, Debug)]
pub(super) struct Interest {
    pub(super) selector: Selector,
    pub(super) instances: OrderedMap<InstanceKey, Held>,
    pub(super) provenance: Provenance,
    /// Whether changes can be applied: there was a snapshot in this life of the client.
    pub(super) based: bool,
    pub(super) cursor: Option<Cursor>,
    /// The last place in each epoch that was left, the latest last.
    pub(super) left: Vec<Cursor>,
    /// Whether unconfirmed ones wait for the registry to settle.
    pub(super) unsettled: bool,
    /// When the first of the unconfirmed ones goes, once the registry has settled. May be early.
    pub(super) due: Option<Instant>,
    pub(super) subscribers: OrderedSet<SubscriptionId>,
    /// Until when it is followed although nobody asks.
    pub(super) lingers: Option<Instant>,
    /// What the alarm is set to.
    pub(super) alarm: Option<Instant>,
}

impl Interest {
    pub(super) const fn new(selector: Selector) -> Self {
        Self {
            selector,
            instances: OrderedMap::new(),
            provenance: Provenance::Unknown,
            based: false,
            cursor: None,
            left: Vec::new(),
            unsettled: false,
            due: None,
            subscribers: OrderedSet::new(),
            lingers: None,
            alarm: None,
        }
    }

    /// Takes over what another interest holds of the same, if that covers this one. O(what it holds).
    pub(super) fn seed(&mut self, wider: &Self) {
        let namespace = self.selector.namespace();
        let within = |(key, _): &(&InstanceKey, &Held)| self.selector.names(namespace, &key.0);
        self.instances = wider.instances.iter().filter(within).map(|(key, held)| (key.clone(), held.clone())).collect();
        (self.provenance, self.based) = (wider.provenance, wider.based);
        (self.cursor, self.left) = (wider.cursor.clone(), wider.left.clone());
        (self.unsettled, self.due) = (wider.unsettled, wider.due);
    }

    pub(super) fn is_known(&self) -> bool {
        self.provenance != Provenance::Unknown
    }

    /// How a delivery lies to what is held: newer, the same or older; `None` if it leads elsewhere.
    pub(super) fn place(&self, delivered: Option<&Cursor>, faults: Faults) -> Option<Ordering> {
        match (&self.cursor, delivered) {
            _ if !self.based => None,
            (Some(held), Some(delivered)) if held.epoch != delivered.epoch => None,
            (Some(held), Some(delivered)) if !faults.has(Fault::OldDeliveryTaken) => {
                Some(delivered.revision.cmp(&held.revision))
            }
            _ => Some(Ordering::Greater),
        }
    }

    /// A place in the epoch of the delivery that is later than it, and was shown.
    pub(super) fn later_than(&self, delivered: &Cursor) -> Option<&Cursor> {
        let mut seen = self.cursor.iter().chain(&self.left);
        seen.find(|seen| seen.epoch == delivered.epoch && seen.revision > delivered.revision)
    }

    /// What a snapshot does to the instances. Dates the interest. O(listed + held).
    pub(super) fn snapshot(
        &mut self,
        listed: OrderedMap<InstanceKey, Held>,
        cursor: Option<&Cursor>,
        keep: bool,
        now: Instant,
    ) -> Vec<Edit> {
        let elsewhere = self.place(cursor, Faults::default()).is_none();
        let mut edits = Vec::new();
        self.unsettled = false;
        for (key, held) in self.instances.iter().filter(|(key, _)| !listed.contains_key(key)) {
            let kept = keep && (elsewhere || held.unconfirmed.is_some());
            self.unsettled |= kept;
            let due = if elsewhere { Some(now.saturating_add(held.ttl.unwrap_or(TTL))) } else { held.unconfirmed };
            edits.push((key.clone(), kept.then(|| Held { unconfirmed: due, ..held.clone() })));
        }
        edits.extend(listed.into_iter().map(|(key, held)| (key, Some(held))));
        (self.based, self.due) = (true, None);
        self.date(cursor);
        edits
    }

    /// Says where in the registry's history the set is.
    pub(super) fn date(&mut self, cursor: Option<&Cursor>) {
        match (&mut self.cursor, cursor) {
            (Some(held), Some(cursor)) if held.epoch == cursor.epoch => held.revision = cursor.revision,
            (_, Some(cursor)) => {
                self.left.retain(|left| left.epoch != cursor.epoch);
                self.left.extend(self.cursor.replace(cursor.clone()));
                let excess = self.left.len().saturating_sub(EPOCHS);
                self.left.drain(..excess);
            }
            (_, None) => {}
        }
    }

    /// Those whose time has come, and when the next one's comes. O(held).
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Edit> {
        let due = |held: &Held| held.unconfirmed.filter(|_| !self.unsettled);
        let gone = self.instances.iter().filter(|(_, held)| due(held).is_some_and(|due| due <= now));
        let gone = gone.map(|(key, _)| (key.clone(), None)).collect();
        self.due = self.instances.values().filter_map(due).filter(|due| *due > now).min();
        gone
    }

    /// Whether hearing of it changes nothing but its place.
    pub(super) fn is_quiet(&self, warming: bool, now: Instant) -> bool {
        match self.provenance {
            Provenance::Live => !warming && !self.unsettled && self.due.is_none_or(|due| due > now),
            Provenance::Unconfirmed => warming,
            _ => false,
        }
    }

    /// When it wants to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        let due = self.due.filter(|_| self.provenance == Provenance::Live);
        self.lingers.into_iter().chain(due).min()
    }
}

//! What a stream of the registry says, and what that makes of the sets.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::time::Duration;

use smol_str::SmolStr;

use super::interest::Held;
use super::{InterestId, Subscriptions, UNKNOWN};
use crate::catalog::Selector;
use crate::fault::Fault;
use crate::name::{InstanceId, ServiceKey};
use crate::ordered::OrderedSet;
use crate::packed::Instance;
use crate::set::Cursor;
use crate::time::Instant;

/// What one stream follows: what it was opened with, and all that this covers.
///
/// Whatever the registry says on a stream is about this and nothing else. Make one when a stream is opened, and keep it
/// as long as the stream. Two streams may follow the same while the newer has said nothing yet; from then on nothing of
/// the older may be delivered.
#[derive(Clone, Debug, Default)]
pub struct Following {
    selectors: Vec<Selector>,
    /// The interests that are covered, ascending, as of a version of the set of interests.
    interests: Vec<InterestId>,
    version: Option<u64>,
    /// When it said something first, as the client counts its suspensions: it has missed whatever came later.
    since: Option<u64>,
    /// Whether it is about these interests alone, and not about those that they cover.
    only: bool,
}

impl Following {
    /// What is asked for by itself: what it covers is followed apart.
    pub(crate) fn only(selector: Selector) -> Self {
        Self { selectors: alloc::vec![selector], only: true, ..Self::default() }
    }

    /// A stream that was opened with these selectors.
    #[must_use]
    pub const fn new(selectors: Vec<Selector>) -> Self {
        Self { selectors, interests: Vec::new(), version: None, since: None, only: false }
    }

    /// The interests that are covered, as of when it was last looked at.
    pub(super) fn interests(&self) -> &[InterestId] {
        &self.interests
    }

    /// What it was opened with.
    #[must_use]
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }
}

/// What a stream says at once, up to one place in the registry's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The place; `None` if the registry has no such thing.
    pub cursor: Option<Cursor>,
    /// What is told from scratch: what is not listed is not there.
    pub snapshots: Vec<(Selector, Vec<Listed>)>,
    /// What changed of the rest, oldest first.
    pub changes: Vec<(ServiceKey, Told)>,
    /// Whether what is not listed may be there all the same. If not, the registry has settled.
    pub warming: bool,
}

/// An instance of a snapshot, and its ttl if that is known.
pub type Listed = (Instance, Option<Duration>);

/// A change as a stream says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The instance is there, and so it looks; with its ttl, if that is known.
    Put(Instance, Option<Duration>),
    /// The instance is not there, and why it went, as [`Update::causes`](crate::client::Update::causes) says it.
    Remove(InstanceId, SmolStr),
}

/// A snapshot is older than what was shown of the same epoch: the stream comes from a registry that lags, or has lost
/// history without saying so. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry is at {given}, but {seen} was seen before: wait for it, or ask another one")]
pub struct OlderSnapshot {
    /// What was shown.
    pub seen: Cursor,
    /// What the snapshot is of.
    pub given: Cursor,
}

impl Subscriptions {
    /// A stream has said something. A snapshot costs O(listed + held) for each interest it covers; a change O(its
    /// interests, their subscriptions, and all prefixes); every delivery O(interests of the stream) to be dated.
    ///
    /// # Errors
    /// [`OlderSnapshot`] if a snapshot goes back in time for an interest; nothing was changed, and the stream is no good.
    pub fn deliver(&mut self, stream: &mut Following, delivery: &Delivery, now: Instant) -> Result<(), OlderSnapshot> {
        self.clock(now);
        self.resolve(stream);
        let cursor = delivery.cursor.as_ref();
        for (selector, _) in &delivery.snapshots {
            for id in self.covered(selector, stream) {
                let later = cursor.and_then(|given| Some((given, self.interests[&id].later_than(given)?)));
                if let Some((given, seen)) = later.filter(|_| !self.config.faults.has(Fault::EpochsForgotten)) {
                    return Err(OlderSnapshot { seen: seen.clone(), given: given.clone() });
                }
            }
        }
        self.counters.deliveries += 1;
        self.moved += 1;
        for (selector, listed) in &delivery.snapshots {
            self.snapshot(stream, selector, listed, delivery);
        }
        for (service, told) in &delivery.changes {
            self.change(stream, service, told, cursor);
        }
        for &id in &stream.interests {
            let interest = self.interests.get_mut(&id).expect("the stream was resolved");
            if interest.place(cursor, self.config.faults).is_some_and(Ordering::is_ge) {
                interest.date(cursor);
                if !interest.is_quiet(delivery.warming, self.now) {
                    self.heard(id, delivery.warming);
                }
            }
        }
        Ok(())
    }

    /// A stream was resumed or has shown that it lives, and what is held of it is up to date. What needs a snapshot stays
    /// as it is. O(interests of the stream).
    pub fn live(&mut self, stream: &mut Following, warming: bool, now: Instant) {
        self.clock(now);
        self.resolve(stream);
        for &id in &stream.interests {
            if self.interests[&id].based {
                self.heard(id, warming);
            }
        }
    }

    /// The registry has settled: what it does not list is not there. What did not come back goes, in one difference, but
    /// nothing before its own ttl. Deliver first what came with it: it may list some of them. O(interests of the stream),
    /// and O(instances) of those that were unsettled.
    pub fn settled(&mut self, stream: &mut Following, now: Instant) {
        self.live(stream, false, now);
    }

    /// A stream is lost. What is known stays, and is stale since the registry was last `heard` of. O(interests of the
    /// stream).
    pub fn stale(&mut self, stream: &mut Following, heard: Instant) {
        self.resolve(stream);
        for &id in &stream.interests {
            self.lose(id, heard);
        }
    }

    /// Whether what a stream says is taken: it has not missed anything.
    pub(crate) fn hears(&self, stream: &Following) -> bool {
        !self.is_suspended() && stream.since.is_none_or(|since| since == self.suspensions)
    }

    /// Finds the interests of a stream, if others are held than when it was done last.
    pub(super) fn resolve(&self, stream: &mut Following) {
        if stream.version == Some(self.version) {
            return;
        }
        stream.version = Some(self.version);
        stream.since.get_or_insert(self.suspensions);
        if !self.hears(stream) && !self.config.faults.has(Fault::SuspensionForgotten) {
            stream.interests.clear();
            return;
        }
        let named: OrderedSet<&Selector> = stream.selectors.iter().collect();
        let is_wide = |s: &&Selector| !stream.only && matches!(s, Selector::Prefix { .. });
        let wide: Vec<&Selector> = named.iter().copied().filter(is_wide).collect();
        let follows = |s: &Selector| named.contains(s) || wide.iter().any(|wide| wide.covers(s));
        let followed = self.interests.iter().filter(|(_, interest)| follows(&interest.selector));
        stream.interests = followed.map(|(id, _)| *id).collect();
    }

    /// The interests of a stream that a selector covers.
    fn covered(&self, selector: &Selector, stream: &Following) -> Vec<InterestId> {
        let followed = |id: &InterestId| stream.interests.binary_search(id).is_ok();
        if let Selector::Service(_) = selector {
            return self.by_selector.get(selector).copied().filter(followed).into_iter().collect();
        }
        let covered = stream.interests.iter().filter(|id| selector.covers(&self.interests[id].selector));
        covered.copied().collect()
    }

    fn snapshot(&mut self, stream: &Following, selector: &Selector, listed: &[Listed], delivery: &Delivery) {
        let cursor = delivery.cursor.as_ref();
        let keep = delivery.warming && !self.config.faults.has(Fault::UnconfirmedGoes);
        self.counters.snapshots += 1;
        self.cached.clear();
        for id in self.covered(selector, stream) {
            let interest = self.interests.get_mut(&id).expect("the stream was resolved");
            // Without a cursor, every snapshot is news.
            if cursor.is_some() && interest.place(cursor, self.config.faults) == Some(Ordering::Equal) {
                continue;
            }
            let named = listed.iter().filter(|(i, _)| interest.selector.names(selector.namespace(), i.service()));
            let key = |instance: &Instance| (instance.service_name(), instance.instance_id());
            let listed = named.map(|(i, ttl)| (key(i), Held::confirmed(i.clone(), *ttl))).collect();
            let edits = interest.snapshot(listed, cursor, keep, self.now);
            self.edit(id, edits, &UNKNOWN);
            self.dirty();
        }
    }

    fn change(&mut self, stream: &Following, service: &ServiceKey, told: &Told, cursor: Option<&Cursor>) {
        let leaks = self.config.faults.has(Fault::PrefixLeaks);
        let exact = self.by_selector.get(&Selector::Service(service.clone()));
        let named = |id: &&InterestId| leaks || self.interests[id].selector.contains(service);
        let concerned: Vec<InterestId> = exact.into_iter().chain(self.wide.iter().filter(named)).copied().collect();
        for id in concerned {
            let interest = &self.interests[&id];
            let newer = interest.place(cursor, self.config.faults) == Some(Ordering::Greater);
            if !newer || stream.interests.binary_search(&id).is_err() {
                continue;
            }
            let (instance, held) = match told {
                Told::Put(instance, ttl) => (instance.instance_id(), Some(Held::confirmed(instance.clone(), *ttl))),
                Told::Remove(id, _) => (id.clone(), None),
            };
            let cause = if let Told::Remove(_, cause) = told { cause } else { &UNKNOWN };
            self.edit(id, [((service.service.clone(), instance), held)], cause);
        }
    }
}

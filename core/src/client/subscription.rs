//! What is followed: the part of every client that holds sets, whatever the registry speaks.
//!
//! An *interest* is one [`Selector`] that somebody follows. A *subscription* is one holder's place in an interest: many
//! share one set. The backend hears the registry and says what it heard; [`Subscriptions`] decides what that means.
//!
//! # States and inputs
//!
//! An interest is in one of five states: *unknown*, *cached* (known from a former life of the client), *live*,
//! *unconfirmed* and *stale*. Its [`Provenance`] says which; a cached one is stale too. The table says what each input
//! makes of an interest that holds a and b at some place in the registry's history, of which b is not confirmed in the
//! column *unconfirmed*. A *newer* place is meant if nothing else is said.
//!
//! | input | unknown | cached | live | unconfirmed | stale |
//! |---|---|---|---|---|---|
//! | snapshot of c | live: c | live: c | live: c | live: c | live: c |
//! | the same, warming | unconfirmed: c | unconfirmed: a b c | unconfirmed: c | unconfirmed: b c | unconfirmed: c |
//! | the same, warming, another epoch | unconfirmed: c | unconfirmed: a b c | unconfirmed: a b c | unconfirmed: a b c | unconfirmed: a b c |
//! | the same, another epoch | live: c | live: c | live: c | live: c | live: c |
//! | the same, where it is | live: c | live: c | – | live: a b | live: a b |
//! | the same, older | live: c | refused | refused | refused | refused |
//! | changes: c came, b went | – | – | live: a c | live: a c | live: a c |
//! | the same, warming | – | – | unconfirmed: a c | unconfirmed: a c | unconfirmed: a c |
//! | the same, where it is | – | – | – | live: a b | live: a b |
//! | the same, older | – | – | – | – | – |
//! | the same, another epoch | – | – | – | – | – |
//! | a place and nothing else | – | – | – | live: a b | live: a b |
//! | the same, warming | – | – | unconfirmed: a b | – | unconfirmed: a b |
//! | `live` | – | – | – | live: a b | live: a b |
//! | `live`, warming | – | – | unconfirmed: a b | – | unconfirmed: a b |
//! | `settled` | – | – | – | live: a b | live: a b |
//! | `settled` when b's ttl has passed | – | – | – | live: a | live: a b |
//! | b's ttl passes after `settled` | – | – | – | live: a | live: a b |
//! | b's ttl passes | – | – | – | – | – |
//! | `stale` | – | – | stale: a b | stale: a b | – |
//! | `suspend` | – | – | stale: a b | stale: a b | – |
//!
//! An unconfirmed instance was known in an epoch that is over and has not been listed since. It goes when the registry
//! says so, or once the registry has settled and the instance's own ttl has passed since the epoch began for the client,
//! unless nothing can be heard then. From a [`suspend`](Subscriptions::suspend) to the
//! [`resume`](Subscriptions::resume) no input from a stream does anything, nor does any later one from a stream that said
//! something before. A delivery that is not warming says that the registry has settled, like
//! [`settled`](Subscriptions::settled). A snapshot that an interest refuses is refused for all, and so is the rest of the
//! delivery.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::time::Duration;

use smol_str::SmolStr;

use super::{CommandError, Provenance, SubscriptionId, Update, View};
use crate::catalog::Selector;
use crate::fault::{Fault, Faults};
use crate::name::{InstanceId, ServiceName};
use crate::ordered::{OrderedMap, OrderedSet};
use crate::set::{Cursor, Epoch, Revision};
use crate::time::Instant;
use interest::{Edit, Interest};
use place::Place;

pub use cache::CacheError;
pub use stream::{Delivery, Following, Listed, OlderSnapshot, Told};

mod cache;
mod interest;
mod place;
mod stream;
#[cfg(test)]
mod tests;

/// The cause of what nobody told, but a snapshot left out.
const UNKNOWN: SmolStr = SmolStr::new_static("");

/// How long changes are gathered before the sets are written anew.
const CACHE_DELAY: Duration = Duration::from_secs(2);

/// Names an interest within one client. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterestId(pub u64);

/// How subscriptions behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionConfig {
    /// How long something is followed after the last who asked.
    pub linger: Duration,
    /// The most interests.
    pub selectors: usize,
    /// The most subscriptions.
    pub subscriptions: usize,
    /// Whether [`Subscriptions::poll_cache`] gives the sets when they have changed.
    pub remember: bool,
    /// Planted bugs, for tests of the tests.
    pub faults: Faults,
}

impl From<&super::ClientConfig> for SubscriptionConfig {
    fn from(config: &super::ClientConfig) -> Self {
        Self {
            linger: config.linger,
            selectors: config.limits.selectors,
            subscriptions: config.limits.subscriptions,
            remember: config.remember,
            faults: config.faults,
        }
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionCounters {
    /// Snapshots taken.
    pub snapshots: u64,
    /// Deliveries taken.
    pub deliveries: u64,
    /// Changes of sets.
    pub changes: u64,
    /// Times that an interest became stale.
    pub stale: u64,
}

/// All that a client follows. See the [module](self) for what each input does.
///
/// Memory is bounded by the sets, and by two states of each instance a subscription. Time that runs backwards stands
/// still.
#[derive(Debug)]
pub struct Subscriptions {
    config: SubscriptionConfig,
    now: Instant,
    interests: OrderedMap<InterestId, Interest>,
    by_selector: OrderedMap<Selector, InterestId>,
    /// Those that are prefixes.
    wide: OrderedSet<InterestId>,
    places: OrderedMap<SubscriptionId, Place>,
    ready: OrderedSet<SubscriptionId>,
    /// When an interest wants to be looked at.
    alarms: OrderedSet<(Instant, InterestId)>,
    last_interest: u64,
    last_subscription: u64,
    /// Rises with every interest that comes or goes, and when all are suspended or not any more.
    version: u64,
    /// Rises with whatever may change what is applied.
    moved: u64,
    /// Whether the backend should follow other things than when it asked last.
    changed: bool,
    /// Rises with every suspension and with the end of every one: odd while there is one.
    suspensions: u64,
    /// What was known in a former life of the client; dropped when the registry is heard.
    cached: Vec<Interest>,
    /// When the sets are to be written; `Some(None)`: as soon as they are asked for.
    save: Option<Option<Instant>>,
    counters: SubscriptionCounters,
}

impl Subscriptions {
    /// Nothing is followed.
    #[must_use]
    pub const fn new(config: SubscriptionConfig) -> Self {
        Self {
            config,
            now: Instant::from_micros(0),
            interests: OrderedMap::new(),
            by_selector: OrderedMap::new(),
            wide: OrderedSet::new(),
            places: OrderedMap::new(),
            ready: OrderedSet::new(),
            alarms: OrderedSet::new(),
            last_interest: 0,
            last_subscription: 0,
            version: 0,
            moved: 0,
            changed: false,
            suspensions: 0,
            cached: Vec::new(),
            save: None,
            counters: SubscriptionCounters { snapshots: 0, deliveries: 0, changes: 0, stale: 0 },
        }
    }

    // Commands.

    /// Follows something. What is followed already, or covered by it, is known at once. O(log n), and O(instances) for a
    /// new interest that is covered.
    ///
    /// An interest that nobody asks for makes room for a new one.
    ///
    /// # Errors
    /// [`CommandError::Limit`] if there are too many subscriptions or interests; nothing was changed.
    pub fn watch(&mut self, selector: &Selector, now: Instant) -> Result<SubscriptionId, CommandError> {
        self.clock(now);
        let limit = self.config.subscriptions;
        if self.places.len() >= limit {
            return Err(CommandError::Limit { what: "subscriptions", limit });
        }
        let id = match self.by_selector.get(selector) {
            Some(id) => *id,
            None => self.begin(selector)?,
        };
        self.last_subscription += 1;
        let subscription = SubscriptionId(self.last_subscription);
        let interest = self.interests.get_mut(&id).expect("it is followed");
        interest.subscribers.insert(subscription);
        interest.lingers = None;
        self.places.insert(subscription, Place::new(id));
        self.ready.insert(subscription);
        self.rearm(id);
        Ok(subscription)
    }

    /// Ends a subscription; one that is unknown is ended already. What it followed lingers. O(log n).
    pub fn unwatch(&mut self, id: SubscriptionId, now: Instant) {
        self.clock(now);
        let Some(place) = self.places.remove(&id) else { return };
        self.ready.remove(&id);
        self.moved += 1;
        let interest = self.interests.get_mut(&place.interest).expect("it is followed while somebody asks");
        interest.subscribers.remove(&id);
        if interest.subscribers.is_empty() {
            interest.lingers = Some(self.now.saturating_add(self.config.linger));
            self.rearm(place.interest);
        }
    }

    /// Nothing is to be heard for a while: the backend has nothing to follow, and what streams say that are still open is
    /// not taken, now or later. What is known stays, and is stale since now. O(interests · log n).
    pub fn suspend(&mut self, now: Instant) {
        self.clock(now);
        if self.is_suspended() {
            return;
        }
        let all: Vec<InterestId> = self.interests.keys().copied().collect();
        for id in all {
            self.lose(id, self.now);
        }
        self.turn();
    }

    /// Everything is to be heard again, from where it was left.
    pub const fn resume(&mut self) {
        if self.is_suspended() {
            self.turn();
        }
    }

    /// Whether nothing is to be heard.
    pub(crate) const fn is_suspended(&self) -> bool {
        self.suspensions % 2 == 1
    }

    const fn turn(&mut self) {
        self.suspensions += 1;
        self.version += 1;
        self.changed = true;
    }

    fn begin(&mut self, selector: &Selector) -> Result<InterestId, CommandError> {
        let limit = self.config.selectors;
        let full = self.interests.len() >= limit;
        let lingering = self.interests.iter().filter_map(|(id, interest)| Some((interest.lingers?, *id)));
        let spare = if full { lingering.min() } else { None };
        if full && spare.is_none() {
            return Err(CommandError::Limit { what: "services and prefixes", limit });
        }
        let mut interest = Interest::new(selector.clone());
        // What a registry is not asked for again must come from one that it has told.
        let held = self.cached.iter().chain(self.wide.iter().map(|id| &self.interests[id]));
        let covering = held.filter(|wide| wide.is_known() && wide.selector.covers(selector));
        let seed = covering.max_by_key(|wide| wide.based);
        if let Some(wide) = seed.filter(|_| !self.config.faults.has(Fault::CoveredUnseeded)) {
            interest.seed(wide);
        }
        if let Some((_, spare)) = spare {
            self.end(spare);
        }
        self.last_interest += 1;
        let id = InterestId(self.last_interest);
        self.changed |= !self.is_covered(selector);
        self.version += 1;
        self.by_selector.insert(selector.clone(), id);
        if matches!(selector, Selector::Prefix { .. }) {
            self.wide.insert(id);
        }
        self.interests.insert(id, interest);
        Ok(id)
    }

    fn end(&mut self, id: InterestId) {
        let interest = self.interests.remove(&id).expect("it is ended once");
        if let Some(at) = interest.alarm {
            self.alarms.remove(&(at, id));
        }
        self.by_selector.remove(&interest.selector);
        self.wide.remove(&id);
        self.version += 1;
        self.changed |= !self.is_covered(&interest.selector);
    }

    /// Whether another interest covers it, so that a registry need not be asked for it.
    fn is_covered(&self, selector: &Selector) -> bool {
        let others = self.wide.iter().map(|id| &self.interests[id].selector).filter(|other| *other != selector);
        others.into_iter().any(|other| other.covers(selector))
    }

    // What the backend asks.

    /// Whether something is held, and confirmed or from a former life, that a list of this does not have. O(held).
    pub(crate) fn lacks(&self, selector: &Selector, listed: &OrderedSet<(ServiceName, InstanceId)>) -> bool {
        let namespace = selector.namespace();
        let held = self.interests.values().filter(|it| it.selector.namespace() == namespace);
        let held = held.flat_map(|it| &it.instances).filter(|(_, held)| held.unconfirmed.is_none());
        held.map(|(key, _)| key).any(|key| selector.names(namespace, &key.0) && !listed.contains(key))
    }

    /// Everything that is followed now, with the place to resume from; `None`: a snapshot is needed. Nothing, while the
    /// client is suspended. O(interests · prefixes).
    pub fn interests(&self) -> impl Iterator<Item = (InterestId, &Selector, Option<&Cursor>)> {
        let followed = self.interests.iter().filter(|_| !self.is_suspended());
        followed.map(|(id, interest)| (*id, &interest.selector, self.resume_from(*id, interest)))
    }

    /// From where nothing is missed: neither by the interest nor by one that it covers, which a registry leaves out.
    fn resume_from<'a>(&self, id: InterestId, interest: &'a Interest) -> Option<&'a Cursor> {
        let cursor = interest.cursor.as_ref();
        let resumes = |other: &Interest| {
            other.place(cursor, Faults::default()).is_some_and(Ordering::is_le)
                || self.config.faults.has(Fault::CacheResumed)
        };
        let covered = |other: &&Interest| self.wide.contains(&id) && interest.selector.covers(&other.selector);
        cursor.filter(|_| resumes(interest) && self.interests.values().filter(covered).all(resumes))
    }

    /// Whether other things are to be followed than when this was asked last. What is covered by something else does
    /// not count.
    #[must_use]
    pub const fn take_changed_interests(&mut self) -> bool {
        core::mem::replace(&mut self.changed, false)
    }

    /// Rises with every interest that comes or goes, covered or not, and when all are suspended or not any more.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// Rises with whatever may change what [`applied`](Self::applied) says.
    pub(crate) const fn moved(&self) -> u64 {
        self.moved
    }

    /// Up to which revision of an epoch everything that a stream has told is with all who follow it. What nobody follows
    /// any more is with them when it is held. Zero: somebody has nothing of this epoch. O(interests of the stream and
    /// their subscriptions).
    pub(crate) fn applied(&self, stream: &mut Following, epoch: &Epoch) -> Revision {
        self.resolve(stream);
        let here = |cursor: Option<&Cursor>| {
            cursor.filter(|cursor| cursor.epoch == *epoch).map_or(Revision(0), |cursor| cursor.revision)
        };
        let followed = stream.interests().iter().map(|id| &self.interests[id]);
        let applied = followed.map(|interest| {
            let held = here(interest.cursor.as_ref());
            let taken = interest.subscribers.iter().map(|id| here(self.places[id].applied(interest)));
            taken.min().filter(|_| !self.config.faults.has(Fault::AppliedUntaken)).unwrap_or(held)
        });
        applied.min().unwrap_or_default()
    }

    // The sets.

    /// Changes the set of an interest, and tells whoever follows it. What goes, goes for this cause.
    fn edit(&mut self, id: InterestId, edits: impl IntoIterator<Item = Edit>, cause: &SmolStr) {
        let interest = self.interests.get_mut(&id).expect("it is followed");
        let mut changed = false;
        for (key, mut after) in edits {
            let before = match &mut after {
                Some(held) => {
                    let before = interest.instances.get(&key);
                    if self.config.faults.has(Fault::PutConfirmsNothing) {
                        held.unconfirmed = held.unconfirmed.or_else(|| before.and_then(|before| before.unconfirmed));
                    }
                    interest.instances.insert(key.clone(), held.clone())
                }
                None => interest.instances.remove(&key),
            };
            let (before, after) = (before.map(|held| held.instance), after.map(|held| held.instance));
            if before == after {
                continue;
            }
            changed = true;
            self.counters.changes += 1;
            for subscription in &interest.subscribers {
                let place = self.places.get_mut(subscription).expect("a subscriber has a place");
                place.note(&key, before.as_ref(), after.as_ref(), cause, self.config.faults);
                self.ready.insert(*subscription);
            }
        }
        if changed {
            self.moved += 1;
            self.dirty();
        }
    }

    fn believe(&mut self, id: InterestId, provenance: Provenance) {
        let interest = self.interests.get_mut(&id).expect("it is followed");
        if interest.provenance != provenance {
            interest.provenance = provenance;
            if !self.config.faults.has(Fault::ProvenanceUntold) {
                self.ready.extend(&interest.subscribers);
            }
        }
    }

    /// The registry cannot be heard of an interest any more.
    fn lose(&mut self, id: InterestId, heard: Instant) {
        if !matches!(self.interests[&id].provenance, Provenance::Live | Provenance::Unconfirmed) {
            return;
        }
        self.counters.stale += 1;
        self.believe(id, Provenance::Stale { since: heard });
        if self.config.faults.has(Fault::StaleEmpties) {
            let all: Vec<Edit> = self.interests[&id].instances.keys().map(|key| (key.clone(), None)).collect();
            self.edit(id, all, &UNKNOWN);
        }
        self.rearm(id);
    }

    /// The registry has been heard of an interest that is up to date.
    fn heard(&mut self, id: InterestId, warming: bool) {
        self.believe(id, if warming { Provenance::Unconfirmed } else { Provenance::Live });
        let interest = self.interests.get_mut(&id).expect("it is followed");
        if !warming && interest.unsettled && !self.config.faults.has(Fault::SettlingForgotten) {
            interest.unsettled = false;
            interest.due = Some(self.now);
        }
        self.sweep(id);
    }

    /// Takes out what is due and was not confirmed.
    fn sweep(&mut self, id: InterestId) {
        let interest = self.interests.get_mut(&id).expect("it is followed");
        if interest.provenance == Provenance::Live && interest.due.is_some_and(|due| due <= self.now) {
            let gone = interest.overdue(self.now);
            self.edit(id, gone, &UNKNOWN);
        }
        self.rearm(id);
    }

    // Outputs.

    /// The next subscription that has something to be told: each once until it changes again.
    #[must_use]
    pub fn poll_ready(&mut self) -> Option<SubscriptionId> {
        loop {
            let id = self.ready.pop_first()?;
            let place = &self.places[&id];
            if place.has_news(&self.interests[&place.interest]) {
                return Some(id);
            }
        }
    }

    /// What a subscription has not seen, as one difference. `None`: nothing, or there is no such subscription.
    /// O(changes · log n).
    #[must_use]
    pub fn poll_update(&mut self, id: SubscriptionId) -> Option<Update> {
        let place = self.places.get_mut(&id)?;
        self.ready.remove(&id);
        let update = place.take(&self.interests[&place.interest])?;
        self.moved += 1;
        Some(update)
    }

    /// The sets as bytes to keep, if they are to be remembered, have changed, and it is time. O(instances).
    #[must_use]
    pub fn poll_cache(&mut self) -> Option<Vec<u8>> {
        self.save.take_if(|save| save.is_none()).map(|_| self.cache())
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called. O(log n).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        alarm.into_iter().chain(self.save.flatten()).min()
    }

    /// Time has passed: what lingered ends, what was not confirmed goes, and it may be time to write the sets.
    /// O(interests that are due), and O(instances) for one with unconfirmed ones.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.clock(now);
        while let Some((_, id)) = self.alarms.first().copied().filter(|(at, _)| *at <= self.now) {
            if self.interests[&id].lingers.is_some_and(|end| end <= self.now) {
                self.end(id);
            } else {
                self.sweep(id);
            }
        }
        if self.save.flatten().is_some_and(|at| at <= self.now) {
            self.save = Some(None);
        }
    }

    // Getters.

    /// What a subscription shows. `None`: there is no such subscription. O(instances).
    #[must_use]
    pub fn view(&self, id: SubscriptionId) -> Option<View> {
        let interest = &self.interests[&self.places.get(&id)?.interest];
        Some(View {
            instances: interest.instances.values().map(|held| held.instance.clone()).collect(),
            provenance: interest.provenance,
            cursor: interest.cursor.clone(),
        })
    }

    /// How many instances a subscription waits to be given: at most those it was given and those that are there.
    #[must_use]
    pub fn pending(&self, id: SubscriptionId) -> usize {
        self.places.get(&id).map_or(0, Place::pending)
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> SubscriptionCounters {
        self.counters
    }

    // The cache.

    /// All that is known, as bytes. O(instances).
    #[must_use]
    pub fn cache(&self) -> Vec<u8> {
        cache::write(self.interests.values().filter(|interest| interest.is_known()))
    }

    /// Takes what a former life of the client knew, and says how many sets that is. Before the registry is heard, whoever
    /// watches one of them is shown it, stale since now. O(bytes).
    ///
    /// # Errors
    /// [`CacheError`] if it is not what [`cache`](Self::cache) gives; nothing was changed.
    pub fn restore(&mut self, bytes: &[u8], now: Instant) -> Result<usize, CacheError> {
        let mut sets = cache::read(bytes)?;
        self.clock(now);
        if self.counters.deliveries > 0 {
            return Ok(0);
        }
        sets.iter_mut().for_each(|set| set.provenance = Provenance::Stale { since: self.now });
        for interest in self.interests.values_mut().filter(|interest| !interest.is_known()) {
            if let Some(set) = sets.iter().find(|set| set.selector.covers(&interest.selector)) {
                interest.seed(set);
                self.ready.extend(&interest.subscribers);
            }
        }
        self.cached = sets;
        Ok(self.cached.len())
    }

    fn dirty(&mut self) {
        if self.config.remember && self.save.is_none() {
            self.save = Some(Some(self.now.saturating_add(CACHE_DELAY)));
        }
    }

    fn clock(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Sets the alarm of an interest to when it wants to be looked at.
    fn rearm(&mut self, id: InterestId) {
        let lingers = !self.config.faults.has(Fault::LingersForever);
        let interest = self.interests.get_mut(&id).expect("it is followed");
        let next = interest.next().filter(|_| lingers || interest.lingers.is_none());
        if let Some(at) = interest.alarm.filter(|at| next != Some(*at)) {
            self.alarms.remove(&(at, id));
        }
        interest.alarm = next;
        self.alarms.extend(next.map(|at| (at, id)));
    }
}

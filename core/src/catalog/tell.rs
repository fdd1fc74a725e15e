//! Telling watchers what they have not seen: snapshots, and changes coalesced from the log.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use super::watch::{
    Delivered, Delivery, Notice, Selector, SelectorSnapshot, WatchError, WatchId, WatchInfo, WatchStart, distinct,
};
use super::watches::{Place, Target};
use super::{Catalog, Found, Service};
use crate::event::Caller;
use crate::fault::Fault;
use crate::log::{Listed, Logged};
use crate::name::{Namespace, ServiceKey};
use crate::packed::Instance;
use crate::set::{Cursor, Revision};
use crate::time::Instant;

/// What watchers are told who have seen a service to any revision from `since` on but not to `until`.
pub(super) struct Told {
    since: Revision,
    until: Revision,
    changes: Arc<[Delivered]>,
}

impl Catalog {
    /// Opens a watch. Its first delivery is ready at once: a snapshot, even an empty one, or what changed since a
    /// cursor. O(selectors).
    ///
    /// # Errors
    /// If there are too many; nothing was changed.
    pub fn watch(&mut self, start: &WatchStart, caller: Arc<Caller>, now: Instant) -> Result<WatchId, WatchError> {
        self.watches.check(start)?;
        let targets = distinct(start).map(|(selector, since)| {
            let place = match selector {
                Selector::Service(key) => Place::Service(self.service_or_new(key)),
                Selector::Prefix { namespace, prefix } => Place::Prefix(Box::new((namespace.clone(), prefix.clone()))),
            };
            let since = since.filter(|cursor| cursor.epoch == self.epoch).map(|cursor| cursor.revision);
            let since = since.filter(|since| !self.gaps.has(*since));
            (place, since)
        });
        let targets: Vec<_> = targets.collect();
        let id = self.watches.open(targets, caller, self.revision, now);
        for (at, service) in self.watches.services_of(id.slot()) {
            let named = &mut self.services[service as usize];
            named.watched = true;
            let watchers = &mut named.watchers;
            self.watches.set_position(id.slot(), at, watchers.len() as u32);
            watchers.push(Target { watch: id.slot(), at });
        }
        Ok(id)
    }

    /// Closes a watch. O(selectors). Closing one that is closed does nothing.
    pub fn unwatch(&mut self, id: WatchId) {
        let Some(places) = self.watches.close(id) else {
            return;
        };
        for (service, position) in places {
            let watchers = &mut self.services[service as usize].watchers;
            watchers.swap_remove(position as usize);
            if let Some(moved) = watchers.get(position as usize) {
                self.watches.set_position(moved.watch, moved.at, position);
            }
            self.release(service);
        }
    }

    /// The next watch that has something to deliver and was not named before. O(1).
    #[must_use]
    pub fn poll_ready(&mut self) -> Option<WatchId> {
        self.watches.poll_ready()
    }

    /// What a watch has not seen yet, coalesced; nothing if there is nothing, or no such watch.
    /// O(changes since its cursor), or O(n log n) in the instances of a snapshot.
    #[must_use]
    pub fn poll_watch(&mut self, id: WatchId) -> Option<Delivery> {
        let services = &self.services;
        let namespace_of = |service: u32| &services[service as usize].key.namespace;
        let turn = self.watches.take_turn(id, self.revision, namespace_of)?;
        let mut delivery = Delivery {
            cursor: self.cursor(),
            from: turn.seen,
            snapshots: Vec::new(),
            changes: Arc::from([]),
            notices: turn.notices,
        };
        if turn.ended {
            return Some(delivery);
        }
        if let (Some(seen), Some(service)) = (turn.seen, self.watches.only_service(id)) {
            if let Some(told) = self.told(service, seen) {
                delivery.changes = told;
            } else {
                let (selector, instances) = self.snapshot_of(&Place::Service(service));
                delivery.snapshots.push(SelectorSnapshot { selector, instances });
            }
        } else {
            let mut changes = Vec::new();
            for (place, since) in self.watches.targets(id) {
                match since.and_then(|since| self.changes_of(place, since)) {
                    Some(more) => changes.extend(more),
                    None => {
                        let (selector, instances) = self.snapshot_of(place);
                        delivery.snapshots.push(SelectorSnapshot { selector, instances });
                    }
                }
            }
            changes.sort_by_key(|change| change.revision);
            delivery.changes = changes.into();
        }
        if delivery.snapshots.is_empty() {
            if delivery.changes.is_empty() && delivery.notices.is_empty() {
                // What came and went again is not told, so the watcher still is where it was.
                return None;
            }
            // Dated with the last change that it covers, the same delivery to many watchers is the same bytes. What was
            // seen of several selectors to different revisions is seen of all to the present one from now on.
            if let Some(seen) = turn.seen {
                delivery.cursor.revision = if delivery.changes.is_empty() { seen } else { self.newest_of(id) };
            }
        }
        let tells = turn.seen.is_none() || !delivery.snapshots.is_empty() || !delivery.changes.is_empty();
        self.watches.advance(id, delivery.cursor.revision, tells);
        Some(delivery)
    }

    /// The revision of the last change of anything that a watch covers.
    fn newest_of(&self, id: WatchId) -> Revision {
        let newest = self.watches.targets(id).map(|(place, _)| match place {
            Place::Service(at) => self.services[*at as usize].last.revision,
            Place::Prefix(_) => self.revision,
        });
        newest.max().unwrap_or(self.revision)
    }

    /// What a watcher is told who has seen a service to a revision, or nothing if that is forgotten. The same for all
    /// who have not seen the same changes.
    fn told(&mut self, at: u32, seen: Revision) -> Option<Arc<[Delivered]>> {
        if let Some(told) = &self.services[at as usize].told
            && (told.since..told.until).contains(&seen)
        {
            return Some(Arc::clone(&told.changes));
        }
        let from = Revision(seen.0 + u64::from(self.faults.has(Fault::DeltaOffByOne)));
        let (changes, since, until) = self.changes_of_service(at, from)?;
        let service = &mut self.services[at as usize];
        if service.watchers.len() > 1 {
            service.told = Some(Box::new(Told { since, until, changes: Arc::clone(&changes) }));
        }
        Some(changes)
    }

    /// A cursor to remember for a watch that has seen everything, so that a quiet one does not fall behind what the
    /// log remembers; nothing if something waits to be delivered. O(1).
    #[must_use]
    pub fn poll_bookmark(&mut self, id: WatchId) -> Option<Cursor> {
        self.watches.bookmark(id, self.revision).then(|| self.cursor())
    }

    /// A watcher says up to where it has applied what it was handed. Says whether that was taken: not from a watch that
    /// there is not, nor of what it was not handed, nor of less than it has said before. Changes nothing but
    /// [`WatchInfo::applied`]. O(1).
    pub fn applied(&mut self, id: WatchId, revision: Revision, now: Instant) -> bool {
        self.watches.applied(id, revision, self.faults, now)
    }

    /// Whether a watcher has applied all that there is for it up to a revision; see [`WatchInfo::has_applied`]. `None`: it
    /// does not say, or there is no such watch. O(1).
    #[must_use]
    pub fn has_applied(&self, id: WatchId, revision: Revision) -> Option<bool> {
        self.watches.has_applied(id, revision)
    }

    /// Tells the watchers of a namespace, or all, something that is no change. O(watches).
    pub(crate) fn announce(&mut self, namespace: Option<&Namespace>, notice: Notice) {
        let services = &self.services;
        let namespace_of = |service: u32| &services[service as usize].key.namespace;
        self.watches.announce(namespace, notice, namespace_of);
    }

    /// Ends the wait of watches that are ahead of this catalog. O(those that are due).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.watches.handle_timeout(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.watches.poll_timeout()
    }

    /// Whether a watch is ahead of this catalog and waits for it. O(1).
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.watches.poll_timeout().is_some()
    }

    /// What is known of a watch.
    #[must_use]
    pub fn watch_info(&self, id: WatchId) -> Option<WatchInfo> {
        self.watches.info(id, |service| Arc::clone(&self.services[service as usize].key))
    }

    /// The watches that see a service, by its name or by a prefix of it, each once. O(its watches + prefixes).
    #[must_use]
    pub fn watches_of(&self, key: &ServiceKey) -> Vec<WatchId> {
        let service = self.find_service(&key.namespace, key.service.as_bytes());
        let by_name = service.into_iter().flat_map(|at| &self.services[at as usize].watchers);
        by_name.map(|target| self.watches.id_of(*target)).chain(self.watches.prefixes_of(key)).collect()
    }

    /// The watches there are.
    pub fn watch_ids(&self) -> impl Iterator<Item = WatchId> {
        self.watches.ids()
    }

    /// How many watches there are.
    #[must_use]
    pub const fn watch_count(&self) -> usize {
        self.watches.len()
    }

    fn snapshot_of(&self, place: &Place) -> (Selector, Vec<Delivered>) {
        let delivered = |service: &Service, found: Found<'_>| Delivered {
            revision: found.revision,
            service: Arc::clone(&service.key),
            instance: found.listed.instance.clone(),
            ttl_ms: Some(found.listed.ttl_ms),
            cause: None,
        };
        let by_id = |a: &Delivered, b: &Delivered| a.instance.id_bytes().cmp(b.instance.id_bytes());
        match place {
            Place::Service(at) => {
                let service = &self.services[*at as usize];
                let mut instances: Vec<_> = self.found(*at).map(|found| delivered(service, found)).collect();
                instances.sort_unstable_by(by_id);
                (Selector::Service((*service.key).clone()), instances)
            }
            Place::Prefix(prefix) => {
                let (namespace, prefix) = &**prefix;
                let mut instances = Vec::new();
                let from = Bound::Included((namespace.clone(), prefix.clone()));
                for ((ns, name), &at) in self.order.range((from, Bound::Unbounded)) {
                    if ns != namespace || !name.starts_with(prefix.as_str()) {
                        break;
                    }
                    let begun = instances.len();
                    instances.extend(self.found(at).map(|found| delivered(&self.services[at as usize], found)));
                    instances[begun..].sort_unstable_by(by_id);
                }
                (Selector::Prefix { namespace: namespace.clone(), prefix: prefix.clone() }, instances)
            }
        }
    }

    /// What changed at a place after a revision, or nothing if that is forgotten.
    fn changes_of(&self, place: &Place, since: Revision) -> Option<Vec<Delivered>> {
        let since = Revision(since.0 + u64::from(self.faults.has(Fault::DeltaOffByOne)));
        let prefix = match place {
            Place::Service(at) => return self.changes_of_service(*at, since).map(|(told, ..)| told.to_vec()),
            Place::Prefix(prefix) => prefix,
        };
        let (namespace, prefix) = &**prefix;
        let forgive = self.faults.has(Fault::CompactedServesDelta);
        let since = if forgive { since.max(self.log.compacted()) } else { since };
        let within = |entry: &&Logged| {
            let key = &self.services[entry.place as usize].key;
            let named = key.service.starts_with(prefix.as_str()) || self.faults.has(Fault::PrefixIgnored);
            key.namespace == *namespace && named
        };
        let mut changes = Coalescing::default();
        self.log.after(since)?.rev().filter(within).for_each(|entry| changes.add_older(entry));
        Some(changes.newest_last().filter_map(|(entry, before)| self.delivered(entry, before)).collect())
    }

    /// What changed of a service after a revision, or nothing if that is forgotten; and for which other revisions it would
    /// be the same: from the one of the last change that is not told, up to before the one of the first that is.
    fn changes_of_service(&self, at: u32, since: Revision) -> Option<(Arc<[Delivered]>, Revision, Revision)> {
        let mut link = self.services[at as usize].last;
        // Most watchers are one change behind.
        if let Some(entry) = self.log.entry(link)
            && link.revision > since
            && entry.previous.revision <= since
        {
            let told = self.delivered(entry, entry.before.as_ref());
            let changes = told.map_or_else(|| Arc::from([]), |told| Arc::from([told]) as Arc<[_]>);
            return Some((changes, entry.previous.revision, entry.revision));
        }
        let mut changes = Coalescing::default();
        let mut until = Revision(u64::MAX);
        while link.revision > since {
            match self.log.entry(link) {
                Some(entry) => {
                    changes.add_older(entry);
                    until = entry.revision;
                    link = entry.previous;
                }
                None if self.faults.has(Fault::CompactedServesDelta) => break,
                None => return None,
            }
        }
        let told = changes.newest_last().filter_map(|(entry, before)| self.delivered(entry, before));
        Some((told.collect::<Vec<_>>().into(), link.revision, until))
    }

    /// What a watcher is told of an instance that changed, if it makes a difference.
    fn delivered(&self, entry: &Logged, before: Option<&Listed>) -> Option<Delivered> {
        let after = entry.after.as_ref();
        if after == before || (self.faults.has(Fault::DeltaLosesRemoval) && after.is_none()) {
            return None;
        }
        let shown: Option<&Instance> = after.or(before).map(|listed| &listed.instance);
        Some(Delivered {
            revision: entry.revision,
            service: Arc::clone(&self.services[entry.place as usize].key),
            instance: shown?.clone(),
            ttl_ms: after.map(|listed| listed.ttl_ms),
            cause: Some(entry.cause),
        })
    }
}

/// Changes met newest first, of which the newest of each instance counts, unless the instance is as it was before
/// the oldest.
#[derive(Default)]
struct Coalescing<'a> {
    /// The newest change of each instance, and how it looked before the oldest.
    met: Vec<(&'a Logged, Option<&'a Listed>)>,
    /// Where each instance is in the list, once the list is too long to search.
    places: BTreeMap<(u32, &'a [u8]), usize>,
}

impl<'a> Coalescing<'a> {
    const SEARCHED: usize = 8;

    fn add_older(&mut self, entry: &'a Logged) {
        let key = |entry: &'a Logged| (entry.place, entry.id_bytes());
        let known = if self.met.len() <= Self::SEARCHED {
            self.met.iter().position(|(newest, _)| key(newest) == key(entry))
        } else {
            if self.places.is_empty() {
                let met = self.met.iter().enumerate();
                self.places = met.map(|(at, (newest, _))| (key(newest), at)).collect();
            }
            self.places.get(&key(entry)).copied()
        };
        match known {
            Some(at) => self.met[at].1 = entry.before.as_ref(),
            None => {
                if !self.places.is_empty() {
                    self.places.insert(key(entry), self.met.len());
                }
                self.met.push((entry, entry.before.as_ref()));
            }
        }
    }

    fn newest_last(&self) -> impl Iterator<Item = (&'a Logged, Option<&'a Listed>)> {
        self.met.iter().rev().copied()
    }
}

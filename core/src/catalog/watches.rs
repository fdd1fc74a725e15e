//! Who watches what, what they have seen, and who has something to be told.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use smol_str::SmolStr;

use super::CatalogConfig;
use super::watch::{Applied, Notice, Selector, WatchError, WatchId, WatchInfo, WatchStart, has_applied};
use crate::event::{Alarm, Caller};
use crate::fault::{Fault, Faults};
use crate::name::{Namespace, ServiceKey};
use crate::set::Revision;
use crate::time::Instant;

/// What a target of a watch is, once the catalog has looked it up.
pub(super) enum Place {
    Service(u32),
    Prefix(Box<(Namespace, SmolStr)>),
}

/// A target of a watch, as the watched service names it.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) watch: u32,
    pub(super) at: u32,
}

struct Targeted {
    place: Place,
    /// Where the service's list of watchers names this target.
    position: u32,
}

enum Seen {
    /// Each target was seen up to another revision, or not at all: before the first delivery.
    Each(Box<[Option<Revision>]>),
    All(Revision),
    /// A cursor lies ahead of the catalog: how far, and how long it waits.
    Ahead {
        each: Box<[Option<Revision>]>,
        revision: Revision,
        until: Instant,
    },
    /// It waited in vain, and is yet to be told.
    Behind,
    /// It was told.
    Over,
}

struct Watch {
    generation: u32,
    open: bool,
    /// Something is to be told.
    dirty: bool,
    /// It is in the queue of those to be named.
    queued: bool,
    seen: Seen,
    /// The number of the next notice it has not seen.
    notices: u64,
    targets: Box<[Targeted]>,
    caller: Arc<Caller>,
    opened: Instant,
    /// Where it was told something last.
    handed: Option<Revision>,
    applied: Option<Applied>,
}

impl Watch {
    fn concerns<'a>(&self, namespace: &Namespace, namespace_of: impl Fn(u32) -> &'a Namespace) -> bool {
        self.targets.iter().any(|target| match &target.place {
            Place::Service(service) => namespace_of(*service) == namespace,
            Place::Prefix(prefix) => prefix.0 == *namespace,
        })
    }
}

/// What a watch may take now.
pub(super) struct Turn {
    pub(super) seen: Option<Revision>,
    pub(super) notices: Vec<Notice>,
    pub(super) ended: bool,
}

/// The notices that a late watcher can still be given; those that stand are given to every new one.
const NOTICES_KEPT: usize = 64;

pub(super) struct Watches {
    slots: Vec<Watch>,
    free: Vec<u32>,
    ready: VecDeque<u32>,
    prefixes: BTreeSet<(u32, u32)>,
    ahead: BTreeSet<(Revision, u32)>,
    waits: BTreeSet<(Instant, u32)>,
    notices: VecDeque<(Option<Namespace>, Notice)>,
    first_notice: u64,
    warming: bool,
    alarms: BTreeMap<Namespace, Alarm>,
    limit: usize,
    selectors: usize,
    behind_wait: Duration,
}

impl Watches {
    pub(super) fn new(config: &CatalogConfig) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            prefixes: BTreeSet::new(),
            ahead: BTreeSet::new(),
            waits: BTreeSet::new(),
            notices: VecDeque::new(),
            first_notice: 0,
            warming: false,
            alarms: BTreeMap::new(),
            limit: config.watches,
            selectors: config.selectors_per_watch,
            behind_wait: config.behind_wait,
        }
    }

    pub(super) fn check(&self, start: &WatchStart) -> Result<(), WatchError> {
        let given = start.selectors.len();
        if given == 0 || given > self.selectors {
            return Err(WatchError::Selectors { given, limit: self.selectors });
        }
        if self.len() >= self.limit {
            return Err(WatchError::Watches { limit: self.limit });
        }
        Ok(())
    }

    pub(super) fn open(
        &mut self,
        targets: Vec<(Place, Option<Revision>)>,
        caller: Arc<Caller>,
        revision: Revision,
        now: Instant,
    ) -> WatchId {
        let since: Box<[Option<Revision>]> = targets.iter().map(|(_, since)| *since).collect();
        let ahead = since.iter().flatten().max().copied().filter(|&since| since > revision);
        let seen = match ahead {
            Some(revision) => Seen::Ahead { each: since, revision, until: now.saturating_add(self.behind_wait) },
            None => Seen::Each(since),
        };
        let targets = targets.into_iter().map(|(place, _)| Targeted { place, position: 0 }).collect();
        let watch = Watch {
            generation: 0,
            open: true,
            dirty: false,
            queued: false,
            seen,
            notices: self.first_notice + self.notices.len() as u64,
            targets,
            caller,
            opened: now,
            handed: None,
            applied: None,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                let place = &mut self.slots[slot as usize];
                *place = Watch { generation: place.generation + 1, queued: place.queued, ..watch };
                slot
            }
            None => {
                self.slots.push(watch);
                u32::try_from(self.slots.len() - 1).expect("the limits keep watches below 2^32")
            }
        };
        let watch = &self.slots[slot as usize];
        for (at, target) in watch.targets.iter().enumerate() {
            if matches!(target.place, Place::Prefix(_)) {
                self.prefixes.insert((slot, at as u32));
            }
        }
        if let Seen::Ahead { revision, until, .. } = watch.seen {
            self.ahead.insert((revision, slot));
            self.waits.insert((until, slot));
        }
        let id = WatchId { slot, generation: watch.generation };
        self.mark(slot);
        id
    }

    /// Closes a watch and says where the lists of its services name it: service and position. No list names it twice.
    pub(super) fn close(&mut self, id: WatchId) -> Option<Vec<(u32, u32)>> {
        let watch = self.get_mut(id)?;
        watch.open = false;
        watch.dirty = false;
        let seen = core::mem::replace(&mut watch.seen, Seen::Over);
        let targets = core::mem::take(&mut watch.targets);
        if let Seen::Ahead { revision, until, .. } = seen {
            self.ahead.remove(&(revision, id.slot));
            self.waits.remove(&(until, id.slot));
        }
        let mut places = Vec::new();
        for (at, target) in targets.iter().enumerate() {
            match target.place {
                Place::Service(service) => places.push((service, target.position)),
                Place::Prefix(_) => drop(self.prefixes.remove(&(id.slot, at as u32))),
            }
        }
        if self.slots[id.slot as usize].generation < u32::MAX {
            self.free.push(id.slot);
        }
        Some(places)
    }

    pub(super) fn services_of(&self, slot: u32) -> Vec<(u32, u32)> {
        let targets = self.slots[slot as usize].targets.iter().enumerate();
        targets
            .filter_map(|(at, target)| match target.place {
                Place::Service(service) => Some((at as u32, service)),
                Place::Prefix(_) => None,
            })
            .collect()
    }

    pub(super) fn set_position(&mut self, slot: u32, at: u32, position: u32) {
        self.slots[slot as usize].targets[at as usize].position = position;
    }

    /// Something is to be told: the watch is named once until it takes its turn.
    #[inline]
    pub(super) fn mark(&mut self, slot: u32) {
        let watch = &mut self.slots[slot as usize];
        if watch.dirty || matches!(watch.seen, Seen::Ahead { .. } | Seen::Over) {
            return;
        }
        watch.dirty = true;
        if !watch.queued {
            watch.queued = true;
            self.ready.push_back(slot);
        }
    }

    pub(super) fn mark_prefixes(&mut self, key: &ServiceKey, every: bool) {
        if self.prefixes.is_empty() {
            return;
        }
        let prefixes = core::mem::take(&mut self.prefixes);
        for &(slot, at) in &prefixes {
            if let Place::Prefix(prefix) = &self.slots[slot as usize].targets[at as usize].place {
                let (namespace, prefix) = &**prefix;
                if every || (*namespace == key.namespace && key.service.starts_with(prefix.as_str())) {
                    self.mark(slot);
                }
            }
        }
        self.prefixes = prefixes;
    }

    /// The catalog has come to a revision that some watches may have waited for.
    #[inline]
    pub(super) fn on_revision(&mut self, revision: Revision) {
        while self.ahead.first().is_some_and(|(ahead, _)| *ahead <= revision) {
            let Some((_, slot)) = self.ahead.pop_first() else {
                break;
            };
            let seen = &mut self.slots[slot as usize].seen;
            if let Seen::Ahead { each, until, .. } = seen {
                self.waits.remove(&(*until, slot));
                *seen = Seen::Each(core::mem::take(each));
            }
            self.mark(slot);
        }
    }

    /// The catalog is about to come to a revision without knowing those in between: whoever waits there for it will have
    /// to be told everything.
    pub(super) fn on_gap(&mut self, to: Revision) {
        for (_, slot) in self.ahead.range(..=(to, u32::MAX)) {
            if let Seen::Ahead { each, .. } = &mut self.slots[*slot as usize].seen {
                each.iter_mut().for_each(|seen| *seen = seen.filter(|seen| *seen >= to));
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while self.waits.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, slot)) = self.waits.pop_first() else {
                break;
            };
            if let Seen::Ahead { revision, .. } = self.slots[slot as usize].seen {
                self.ahead.remove(&(revision, slot));
            }
            self.slots[slot as usize].seen = Seen::Behind;
            self.mark(slot);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waits.first().map(|(until, _)| *until)
    }

    pub(super) fn poll_ready(&mut self) -> Option<WatchId> {
        while let Some(slot) = self.ready.pop_front() {
            let watch = &mut self.slots[slot as usize];
            watch.queued = false;
            if watch.open && watch.dirty {
                return Some(WatchId { slot, generation: watch.generation });
            }
        }
        None
    }

    pub(super) fn take_turn<'a>(
        &mut self,
        id: WatchId,
        revision: Revision,
        namespace_of: impl Fn(u32) -> &'a Namespace,
    ) -> Option<Turn> {
        let next_notice = self.first_notice + self.notices.len() as u64;
        let watch = self.get_mut(id)?;
        if !watch.dirty {
            return None;
        }
        watch.dirty = false;
        let from = core::mem::replace(&mut watch.notices, next_notice);
        let (seen, fresh, ended) = match watch.seen {
            Seen::Each(_) => (None, true, false),
            Seen::All(seen) => (Some(seen), false, false),
            Seen::Ahead { .. } | Seen::Over => return None,
            Seen::Behind => {
                watch.seen = Seen::Over;
                (None, false, true)
            }
        };
        let watch = &self.slots[id.slot as usize];
        let concerns = |namespace: &Namespace| watch.concerns(namespace, &namespace_of);
        let mut notices = Vec::new();
        if ended {
            notices.push(Notice::Behind { revision });
        } else if fresh {
            // What holds now may have been announced before the watch was opened.
            notices.extend(self.warming.then_some(Notice::Warming));
            let alarms = self.alarms.values().filter(|alarm| concerns(&alarm.namespace));
            notices.extend(alarms.cloned().map(Notice::Alarm));
        } else if next_notice > from {
            let skip = usize::try_from(from.saturating_sub(self.first_notice)).unwrap_or(usize::MAX);
            let news = self.notices.iter().skip(skip);
            let news = news.filter(|(namespace, _)| namespace.as_ref().is_none_or(concerns));
            notices.extend(news.map(|(_, notice)| notice.clone()));
        }
        Some(Turn { seen, notices, ended })
    }

    pub(super) fn targets(&self, id: WatchId) -> impl Iterator<Item = (&Place, Option<Revision>)> {
        let watch = &self.slots[id.slot as usize];
        watch.targets.iter().enumerate().map(|(at, target)| {
            let since = match &watch.seen {
                Seen::Each(since) => since[at],
                Seen::All(seen) => Some(*seen),
                Seen::Ahead { .. } | Seen::Behind | Seen::Over => None,
            };
            (&target.place, since)
        })
    }

    /// The service that a watch covers, if it covers one and no more.
    pub(super) fn only_service(&self, id: WatchId) -> Option<u32> {
        match &*self.slots[id.slot as usize].targets {
            [Targeted { place: Place::Service(at), .. }] => Some(*at),
            _ => None,
        }
    }

    /// A watch takes a delivery up to a revision, which tells something or only gives notice.
    pub(super) fn advance(&mut self, id: WatchId, revision: Revision, tells: bool) {
        if let Some(watch) = self.get_mut(id)
            && matches!(watch.seen, Seen::Each(_) | Seen::All(_))
        {
            watch.seen = Seen::All(revision);
            if tells {
                watch.handed = Some(revision);
            }
        }
    }

    /// Takes a watcher's word, if it can be true.
    pub(super) fn applied(&mut self, id: WatchId, revision: Revision, faults: Faults, now: Instant) -> bool {
        let Some(watch) = self.get_mut(id) else {
            return false;
        };
        let handed = matches!(watch.seen, Seen::All(seen) if revision <= seen);
        let back = watch.applied.is_some_and(|applied| revision < applied.revision);
        if (!handed && !faults.has(Fault::AppliedUnhanded)) || (back && !faults.has(Fault::AppliedGoesBack)) {
            return false;
        }
        if watch.applied.is_none_or(|applied| applied.revision != revision) {
            watch.applied = Some(Applied { revision, since: now });
        }
        true
    }

    pub(super) fn bookmark(&mut self, id: WatchId, revision: Revision) -> bool {
        match self.get_mut(id) {
            Some(watch) if !watch.dirty && matches!(watch.seen, Seen::Each(_) | Seen::All(_)) => {
                watch.seen = Seen::All(revision);
                true
            }
            _ => false,
        }
    }

    pub(super) fn announce<'a>(
        &mut self,
        namespace: Option<&Namespace>,
        notice: Notice,
        namespace_of: impl Fn(u32) -> &'a Namespace,
    ) {
        match &notice {
            Notice::Warming => self.warming = true,
            Notice::Settled => self.warming = false,
            Notice::Alarm(alarm) => drop(self.alarms.insert(alarm.namespace.clone(), alarm.clone())),
            Notice::AlarmEnded(namespace) => drop(self.alarms.remove(namespace)),
            Notice::Behind { .. } => {}
        }
        self.notices.push_back((namespace.cloned(), notice));
        if self.notices.len() > NOTICES_KEPT {
            self.notices.pop_front();
            self.first_notice += 1;
        }
        let concerned =
            |watch: &Watch| watch.open && namespace.is_none_or(|namespace| watch.concerns(namespace, &namespace_of));
        let slots = (0..self.slots.len() as u32).filter(|&slot| concerned(&self.slots[slot as usize]));
        for slot in slots.collect::<Vec<_>>() {
            self.mark(slot);
        }
    }

    pub(super) fn info(&self, id: WatchId, key_of: impl Fn(u32) -> Arc<ServiceKey>) -> Option<WatchInfo> {
        let watch = self.get(id)?;
        let selector = |target: &Targeted| match &target.place {
            Place::Service(service) => Selector::Service((*key_of(*service)).clone()),
            Place::Prefix(prefix) => Selector::Prefix { namespace: prefix.0.clone(), prefix: prefix.1.clone() },
        };
        Some(WatchInfo {
            selectors: watch.targets.iter().map(selector).collect(),
            caller: Arc::clone(&watch.caller),
            opened: watch.opened,
            seen: match watch.seen {
                Seen::All(seen) => Some(seen),
                _ => None,
            },
            handed: watch.handed,
            pending: watch.dirty,
            applied: watch.applied,
        })
    }

    pub(super) fn has_applied(&self, id: WatchId, revision: Revision) -> Option<bool> {
        let Watch { applied, handed, dirty, .. } = self.get(id)?;
        has_applied(*applied, *handed, *dirty, revision)
    }

    /// The watch of a target.
    pub(super) fn id_of(&self, target: Target) -> WatchId {
        WatchId { slot: target.watch, generation: self.slots[target.watch as usize].generation }
    }

    /// The watches with a prefix that names a service. O(prefixes).
    pub(super) fn prefixes_of<'a>(&'a self, key: &'a ServiceKey) -> impl Iterator<Item = WatchId> + 'a {
        let named = |(slot, at): &&(u32, u32)| match &self.slots[*slot as usize].targets[*at as usize].place {
            Place::Prefix(prefix) => prefix.0 == key.namespace && key.service.starts_with(prefix.1.as_str()),
            Place::Service(_) => false,
        };
        self.prefixes.iter().filter(named).map(|(watch, at)| self.id_of(Target { watch: *watch, at: *at }))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = WatchId> {
        let open = self.slots.iter().enumerate().filter(|(_, watch)| watch.open);
        open.map(|(slot, watch)| WatchId { slot: slot as u32, generation: watch.generation })
    }

    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn get(&self, id: WatchId) -> Option<&Watch> {
        self.slots.get(id.slot as usize).filter(|watch| watch.open && watch.generation == id.generation)
    }

    fn get_mut(&mut self, id: WatchId) -> Option<&mut Watch> {
        self.slots.get_mut(id.slot as usize).filter(|watch| watch.open && watch.generation == id.generation)
    }

    /// Whoever has something to be told is in the queue, or was named and has not taken its turn.
    pub(super) fn assert_consistent(&self) {
        for (slot, watch) in self.slots.iter().enumerate() {
            let in_queue = self.ready.iter().filter(|&&queued| queued as usize == slot).count();
            assert_eq!(in_queue, usize::from(watch.queued), "a watch is in the queue as it says");
            assert!(watch.open || !watch.dirty, "a closed watch waits for nothing");
        }
        assert_eq!(self.ahead.len(), self.waits.len(), "who is ahead waits");
    }
}

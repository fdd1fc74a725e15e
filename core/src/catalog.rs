//! The catalog: instance sets, who watches them, and what changed. Revisions come from whoever has the authority.

mod gaps;
mod read;
mod tell;
mod watch;
mod watches;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;
use hashbrown::HashTable;
use smol_str::SmolStr;

pub use read::{Compacted, Found, ServiceSummary};
pub use watch::{
    Applied, Delivered, Delivery, Notice, Selector, SelectorSnapshot, WatchError, WatchId, WatchInfo, WatchStart,
};

use crate::event::{Caller, Cause};
use crate::fault::{Fault, Faults};
use crate::log::{Link, Listed, Log, Logged};
use crate::name::{Key, Namespace, ServiceKey};
use crate::set::{Epoch, Revision};
use crate::time::WallTime;
use gaps::Gaps;
use watches::Watches;

/// Instance sets of many services, their watchers and their recent past.
///
/// Its revisions come from outside and rise strictly: from a [`Registry`](crate::Registry) that owns it, or from
/// another registry that it mirrors. A change costs O(watchers of that service + prefix watches), a watcher O(1)
/// memory.
pub struct Catalog {
    epoch: Epoch,
    revision: Revision,
    hash: FixedState,
    entries: Vec<Entry>,
    free_entries: Vec<u32>,
    services: Vec<Service>,
    free_services: Vec<u32>,
    /// The services by name, for finding one.
    index: HashTable<u32>,
    /// The services in order, for listing them.
    order: BTreeMap<(Namespace, SmolStr), u32>,
    namespaces: BTreeMap<Namespace, u32>,
    usage: Vec<NamespacePlace>,
    free_usage: Vec<u32>,
    /// Services that have instances.
    inhabited: usize,
    bytes: usize,
    log: Log,
    watches: Watches,
    gaps: Gaps,
    faults: Faults,
}

/// An instance in its place.
struct Entry {
    listed: Option<Listed>,
    service: u32,
    hash: u32,
    /// Whatever the owner of the catalog wants to know of the instance.
    tag: u32,
    revision: Revision,
}

struct Service {
    key: Arc<ServiceKey>,
    namespace: u32,
    by_id: HashTable<u32>,
    by_status: [u32; 4],
    last: Link,
    watchers: Vec<watches::Target>,
    /// Whether a watch has ever named it.
    watched: bool,
    /// What the last of its watchers was told, for the next, who will mostly be told the same.
    told: Option<Box<tell::Told>>,
}

struct NamespacePlace {
    usage: NamespaceUsage,
    /// Services that have a place, with instances or without.
    places: usize,
}

/// How much there is in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamespaceUsage {
    /// Services that have instances.
    pub services: usize,
    /// Instances.
    pub instances: usize,
}

/// Bounds of a catalog.
#[derive(Clone, Copy, Debug)]
pub struct CatalogConfig {
    /// The bytes of the change log, about.
    pub log_bytes: usize,
    /// The entries of the change log.
    pub log_entries: usize,
    /// Watches.
    pub watches: usize,
    /// Services and prefixes of one watch.
    pub selectors_per_watch: usize,
    /// How long a watch that is ahead of this catalog waits for it.
    pub behind_wait: core::time::Duration,
    /// A number that others cannot guess, so that they cannot choose names that collide.
    pub hash_seed: u64,
    /// Planted bugs, for tests of the tests.
    pub faults: Faults,
}

/// How a change is told.
pub(crate) struct Why {
    pub(crate) revision: Revision,
    pub(crate) time: WallTime,
    pub(crate) cause: Cause,
    pub(crate) caller: Option<Arc<Caller>>,
}

/// One change of a transaction that comes from another registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The instance is there.
    Put {
        /// In which namespace.
        namespace: Namespace,
        /// The instance.
        listed: Listed,
    },
    /// The instance is not there.
    Remove(Key),
}

/// The revision does not lie after the one held. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {given} does not come after {held}")]
pub struct CommitError {
    /// What was given.
    pub given: Revision,
    /// What is held.
    pub held: Revision,
}

impl Catalog {
    /// An empty catalog.
    #[must_use]
    pub fn new(config: &CatalogConfig, epoch: Epoch, revision: Revision) -> Self {
        Self {
            epoch,
            revision,
            hash: FixedState::with_seed(config.hash_seed),
            entries: Vec::new(),
            free_entries: Vec::new(),
            services: Vec::new(),
            free_services: Vec::new(),
            index: HashTable::new(),
            order: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            usage: Vec::new(),
            free_usage: Vec::new(),
            inhabited: 0,
            bytes: 0,
            log: Log::new(revision, config.log_bytes, config.log_entries),
            watches: Watches::new(config),
            gaps: Gaps::default(),
            faults: config.faults,
        }
    }

    /// Applies one transaction of the registry that this catalog mirrors. Says how many instances changed.
    ///
    /// # Errors
    /// If the revision does not rise; nothing was changed.
    pub fn commit(
        &mut self,
        revision: Revision,
        time: WallTime,
        edits: impl IntoIterator<Item = Edit>,
    ) -> Result<usize, CommitError> {
        if revision <= self.revision {
            return Err(CommitError { given: revision, held: self.revision });
        }
        let why = || Why { revision, time, cause: Cause::Mirrored, caller: None };
        let mut changed = 0;
        for edit in edits {
            match edit {
                Edit::Put { namespace, listed } => {
                    let key = ServiceKey::new(namespace, listed.instance.service_name());
                    let service = self.service_or_new(&key);
                    match self.entry(service, listed.instance.id_bytes()) {
                        Some(entry) if self.entries[entry as usize].listed.as_ref() == Some(&listed) => {
                            continue;
                        }
                        Some(entry) => self.replace(entry, listed, why()),
                        None => drop(self.insert(service, listed, why())),
                    }
                    changed += 1;
                }
                Edit::Remove(key) => {
                    let Some(entry) = self.find(&key.namespace, &key.service, &key.id) else {
                        continue;
                    };
                    self.remove(entry, why());
                    changed += 1;
                }
            }
        }
        self.revision = revision;
        self.watches.on_revision(revision);
        Ok(changed)
    }

    /// Applies the result of several transactions, of which nobody knows what each of them did: what came and went again
    /// in between is not among it. A watch that has seen the other registry up to one of those is told everything anew.
    ///
    /// # Errors
    /// If the revision does not rise; nothing was changed.
    pub fn commit_joined(
        &mut self,
        revision: Revision,
        time: WallTime,
        edits: impl IntoIterator<Item = Edit>,
    ) -> Result<usize, CommitError> {
        if revision > self.revision {
            self.gaps.add(self.revision, revision);
            self.watches.on_gap(revision);
        }
        self.commit(revision, time, edits)
    }

    // Writing, for the registry that owns the catalog.

    /// Adds an instance that is not there. O(watchers).
    pub(crate) fn insert(&mut self, service: u32, listed: Listed, why: Why) -> u32 {
        let hash = self.hash_of(listed.instance.id_bytes());
        self.bytes += listed.size();
        let entry = Entry { listed: Some(listed.clone()), service, hash, tag: u32::MAX, revision: why.revision };
        let at = put(&mut self.entries, &mut self.free_entries, entry);
        let slot = &mut self.services[service as usize];
        slot.by_status[listed.instance.status() as usize] += 1;
        let usage = &mut self.usage[slot.namespace as usize].usage;
        usage.instances += 1;
        if slot.by_id.is_empty() {
            usage.services += 1;
            self.inhabited += 1;
        }
        let entries = &self.entries;
        slot.by_id.insert_unique(spread(hash), at, |&at| spread(entries[at as usize].hash));
        self.record(service, None, Some(listed), why);
        at
    }

    /// Changes how an instance looks. O(watchers).
    pub(crate) fn replace(&mut self, at: u32, listed: Listed, why: Why) {
        let entry = &mut self.entries[at as usize];
        entry.revision = why.revision;
        let service = entry.service;
        let before = entry.listed.replace(listed.clone());
        self.bytes += listed.size();
        let by_status = &mut self.services[service as usize].by_status;
        if let Some(before) = &before {
            by_status[before.instance.status() as usize] -= 1;
            if !self.faults.has(Fault::BytesLeak) {
                self.bytes -= before.size();
            }
        }
        by_status[listed.instance.status() as usize] += 1;
        self.record(service, before, Some(listed), why);
    }

    /// Takes an instance out. O(watchers).
    pub(crate) fn remove(&mut self, at: u32, why: Why) {
        let entry = &mut self.entries[at as usize];
        let (service, hash) = (entry.service, entry.hash);
        let Some(before) = entry.listed.take() else { return };
        self.bytes -= before.size();
        let slot = &mut self.services[service as usize];
        slot.by_status[before.instance.status() as usize] -= 1;
        if let Ok(place) = slot.by_id.find_entry(spread(hash), |&other| other == at) {
            place.remove();
        }
        let usage = &mut self.usage[slot.namespace as usize].usage;
        usage.instances -= 1;
        if slot.by_id.is_empty() {
            slot.by_id = HashTable::new();
            usage.services -= 1;
            self.inhabited -= 1;
        }
        self.free_entries.push(at);
        self.record(service, Some(before), None, why);
    }

    fn record(&mut self, at: u32, before: Option<Listed>, after: Option<Listed>, why: Why) {
        self.revision = self.revision.max(why.revision);
        let service = &mut self.services[at as usize];
        let entry = Logged {
            revision: why.revision,
            time: why.time,
            before,
            after,
            cause: why.cause,
            caller: why.caller,
            previous: service.last,
            place: at,
        };
        service.last = self.log.push(entry);
        service.told = None;
        if !(self.faults.has(Fault::WakeUpLost) && why.cause == Cause::Expired) {
            for target in &service.watchers {
                self.watches.mark(target.watch);
            }
            self.watches.mark_prefixes(&service.key, self.faults.has(Fault::PrefixIgnored));
        }
        self.watches.on_revision(self.revision);
        while let Some(forgotten) = self.log.forget() {
            self.release(forgotten.place);
        }
    }

    /// Finds a service, or makes room for it. O(1).
    pub(crate) fn service_or_new(&mut self, key: &ServiceKey) -> u32 {
        if let Some(service) = self.find_service(&key.namespace, key.service.as_bytes()) {
            return service;
        }
        let namespace = self.namespace_or_new(&key.namespace);
        self.usage[namespace as usize].places += 1;
        // Whatever happened to a service of this name before is forgotten, or it would still have its place.
        let last = Link { revision: self.log.compacted(), number: u64::MAX };
        let service = Service {
            key: Arc::new(key.clone()),
            namespace,
            by_id: HashTable::new(),
            by_status: [0; 4],
            last,
            watchers: Vec::new(),
            watched: false,
            told: None,
        };
        let at = put(&mut self.services, &mut self.free_services, service);
        let hash = service_hash(&self.hash, &key.namespace, key.service.as_bytes());
        let (services, state) = (&self.services, &self.hash);
        self.index.insert_unique(hash, at, |&at| {
            let key = &services[at as usize].key;
            service_hash(state, &key.namespace, key.service.as_bytes())
        });
        self.order.insert((key.namespace.clone(), SmolStr::new(&*key.service)), at);
        at
    }

    fn namespace_or_new(&mut self, namespace: &Namespace) -> u32 {
        if let Some(&at) = self.namespaces.get(namespace) {
            return at;
        }
        let place = NamespacePlace { usage: NamespaceUsage::default(), places: 0 };
        let at = put(&mut self.usage, &mut self.free_usage, place);
        self.namespaces.insert(namespace.clone(), at);
        at
    }

    /// Gives a service's place back if nothing needs it: no instances, no watchers, no changes that are kept.
    fn release(&mut self, at: u32) {
        let service = &self.services[at as usize];
        let needed = !service.by_id.is_empty() || !service.watchers.is_empty();
        if needed || self.log.entry(service.last).is_some() {
            return;
        }
        let (key, namespace) = (Arc::clone(&service.key), service.namespace);
        let hash = service_hash(&self.hash, &key.namespace, key.service.as_bytes());
        let Ok(place) = self.index.find_entry(hash, |&other| other == at) else { return };
        place.remove();
        self.order.remove(&(key.namespace.clone(), SmolStr::new(&*key.service)));
        self.free_services.push(at);
        let place = &mut self.usage[namespace as usize];
        place.places -= 1;
        if place.places == 0 {
            self.namespaces.remove(&key.namespace);
            self.free_usage.push(namespace);
        }
    }

    // Finding.

    fn hash_of(&self, bytes: &[u8]) -> u32 {
        let mut hasher = self.hash.build_hasher();
        hasher.write(bytes);
        hasher.finish() as u32
    }

    pub(crate) fn find_service(&self, namespace: &str, service: &[u8]) -> Option<u32> {
        let same = |&at: &u32| {
            let key = &self.services[at as usize].key;
            key.service.as_bytes() == service && *key.namespace == *namespace
        };
        self.index.find(service_hash(&self.hash, namespace, service), same).copied()
    }

    /// The entry of an instance of a service. O(1).
    pub(crate) fn entry(&self, service: u32, id: &[u8]) -> Option<u32> {
        let hash = self.hash_of(id);
        let same = |&at: &u32| {
            let entry = &self.entries[at as usize];
            entry.hash == hash && entry.listed.as_ref().is_some_and(|listed| listed.instance.id_bytes() == id)
        };
        self.services[service as usize].by_id.find(spread(hash), same).copied()
    }

    /// The entry of an instance. O(1).
    pub(crate) fn find(&self, namespace: &str, service: &str, id: &str) -> Option<u32> {
        self.entry(self.find_service(namespace, service.as_bytes())?, id.as_bytes())
    }

    pub(crate) fn listed(&self, at: u32) -> &Listed {
        self.entries[at as usize].listed.as_ref().expect("a lease holds an entry that is there")
    }

    pub(crate) fn service_key(&self, at: u32) -> &Arc<ServiceKey> {
        &self.services[self.entries[at as usize].service as usize].key
    }

    /// Reads what removing an entry will need.
    pub(crate) fn look_at(&self, at: u32) -> usize {
        let entry = &self.entries[at as usize];
        let service = &self.services[entry.service as usize];
        let id = entry.listed.as_ref().map_or(0, |listed| listed.instance.id_bytes().len());
        let place = service.by_id.find(spread(entry.hash), |&other| other == at);
        id ^ service.key.service.len() ^ place.map_or(0, |&at| at as usize)
    }

    /// The namespace of an entry, as a number below how many there were at once.
    pub(crate) fn namespace_at(&self, at: u32) -> u32 {
        self.services[self.entries[at as usize].service as usize].namespace
    }

    pub(crate) fn set_tag(&mut self, at: u32, tag: u32) {
        self.entries[at as usize].tag = tag;
    }

    pub(crate) fn tag(&self, at: u32) -> u32 {
        self.entries[at as usize].tag
    }

    pub(crate) fn instances_of(&self, service: u32) -> usize {
        self.services[service as usize].by_id.len()
    }

    /// Every instance that is there, in no particular order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Arc<ServiceKey>, Found<'_>)> {
        self.entries.iter().filter_map(|entry| {
            let listed = entry.listed.as_ref()?;
            let found = Found { listed, revision: entry.revision, tag: entry.tag };
            Some((&self.services[entry.service as usize].key, found))
        })
    }

    /// Checks what must always hold within the catalog, by counting everything anew. O(everything).
    ///
    /// # Panics
    /// If it does not hold.
    pub fn assert_consistent(&self) {
        let listed = || self.entries.iter().filter_map(|entry| Some((entry, entry.listed.as_ref()?)));
        assert_eq!(listed().map(|(_, listed)| listed.size()).sum::<usize>(), self.bytes, "bytes of instances");
        assert_eq!(listed().count(), self.len(), "instances");
        assert_eq!(self.log.recount(), self.log.bytes(), "bytes of the log");
        let places: usize = self.order.values().map(|&at| self.services[at as usize].by_id.len()).sum();
        assert_eq!(places, self.len(), "every instance is in its service");
        for (entry, listed) in listed() {
            assert!(entry.revision <= self.revision, "no change lies ahead");
            let service = &self.services[entry.service as usize];
            assert_eq!(service.key.service.as_str(), listed.instance.service(), "an instance is in its own service");
        }
        for &at in self.order.values() {
            let service = &self.services[at as usize];
            let total: u32 = service.by_status.iter().sum();
            assert_eq!(total as usize, service.by_id.len(), "instances by status");
        }
        let by_namespace: usize = self.namespaces().map(|(_, usage)| usage.instances).sum();
        assert_eq!(by_namespace, self.len(), "instances by namespace");
        let by_namespace: usize = self.namespaces().map(|(_, usage)| usage.services).sum();
        assert_eq!(by_namespace, self.inhabited, "services by namespace");
        self.watches.assert_consistent();
    }

    pub(crate) fn restore_log(&mut self, compacted: Revision, entries: impl IntoIterator<Item = (ServiceKey, Logged)>) {
        self.log = self.log.emptied(compacted);
        for service in self.order.values() {
            self.services[*service as usize].last = Link { revision: compacted, number: u64::MAX };
        }
        for (key, mut entry) in entries {
            entry.place = self.service_or_new(&key);
            let service = &mut self.services[entry.place as usize];
            entry.previous = service.last;
            service.last = self.log.push(entry);
        }
    }
}

/// Puts something into a free slot, or into a new one, and says which.
fn put<T>(slots: &mut Vec<T>, free: &mut Vec<u32>, value: T) -> u32 {
    if let Some(at) = free.pop() {
        slots[at as usize] = value;
        return at;
    }
    slots.push(value);
    u32::try_from(slots.len() - 1).expect("the limits keep everything below 2^32")
}

/// The hash table takes some bits of a hash from the top and some from the bottom; half a hash is kept.
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn service_hash(state: &FixedState, namespace: &str, service: &[u8]) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write(namespace.as_bytes());
    hasher.write_u8(0xff);
    hasher.write(service);
    hasher.finish()
}

impl core::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Catalog")
            .field("cursor", &self.cursor())
            .field("instances", &self.len())
            .field("services", &self.inhabited)
            .finish_non_exhaustive()
    }
}

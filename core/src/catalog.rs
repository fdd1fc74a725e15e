//! The catalog: instance sets, who watches them, and what changed. Revisions come from whoever has the authority.

mod watch;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{BuildHasher, Hasher};
use core::ops::Bound;

use foldhash::quality::FixedState;
use hashbrown::HashTable;
use smol_str::SmolStr;

pub use watch::{Delivered, Delivery, Notice, Selector, SelectorSnapshot, WatchError, WatchId, WatchInfo, WatchStart};

use crate::event::{Caller, Cause};
use crate::fault::{Fault, Faults};
use crate::log::{Link, Listed, Log, LogEntry, Logged};
use crate::name::{InstanceId, Key, Namespace, ServiceKey};
use crate::packed::Instance;
use crate::set::{Cursor, Epoch, Revision};
use crate::time::{Instant, WallTime};
use watch::Watches;

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
    watchers: Vec<watch::Target>,
    /// What the last of its watchers was told, for the next, who will mostly be told the same.
    told: Option<Box<Told>>,
}

/// What watchers are told who have seen a service to any revision from `since` on but not to `until`.
struct Told {
    since: Revision,
    until: Revision,
    changes: Arc<[Delivered]>,
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

/// The revision lies before the change log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("revision {asked} is forgotten: the oldest that can be rebuilt is {first}")]
pub struct Compacted {
    /// What was asked for.
    pub asked: Revision,
    /// The oldest that can be rebuilt.
    pub first: Revision,
}

/// An instance as a reading finds it.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The instance and its ttl.
    pub listed: &'a Listed,
    /// The revision of its last change.
    pub revision: Revision,
    pub(crate) tag: u32,
}

/// A service as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSummary {
    /// Its name.
    pub key: Arc<ServiceKey>,
    /// Its instances by status, in the order of [`Status::ALL`](crate::Status::ALL).
    pub by_status: [usize; 4],
    /// The revision of its last change, as far as it is remembered.
    pub revision: Revision,
    /// How many watches name it. Prefix watches are not counted.
    pub watchers: usize,
}

impl ServiceSummary {
    /// How many instances it has.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.by_status.iter().sum()
    }
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

    // Writing, for the registry that owns the catalog.

    /// Adds an instance that is not there. O(watchers).
    pub(crate) fn insert(&mut self, service: u32, listed: Listed, why: Why) -> u32 {
        let hash = self.hash_of(listed.instance.id_bytes());
        self.bytes += listed.size();
        let entry = Entry { listed: Some(listed.clone()), service, hash, tag: u32::MAX, revision: why.revision };
        let at = match self.free_entries.pop() {
            Some(at) => {
                self.entries[at as usize] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("the limits keep instances below 2^32")
            }
        };
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
            told: None,
        };
        let at = match self.free_services.pop() {
            Some(at) => {
                self.services[at as usize] = service;
                at
            }
            None => {
                self.services.push(service);
                u32::try_from(self.services.len() - 1).expect("the limits keep services below 2^32")
            }
        };
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
        let at = match self.free_usage.pop() {
            Some(at) => {
                self.usage[at as usize] = place;
                at
            }
            None => {
                self.usage.push(place);
                u32::try_from(self.usage.len() - 1).expect("the limits keep namespaces below 2^32")
            }
        };
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

    // Reading.

    /// Where the catalog is: what every answer is dated with.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch.clone(), revision: self.revision }
    }

    /// The epoch.
    #[must_use]
    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// The revision.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The instance with this id. O(1).
    #[must_use]
    pub fn get(&self, namespace: &str, service: &str, id: &str) -> Option<Found<'_>> {
        let entry = &self.entries[self.find(namespace, service, id)? as usize];
        Some(Found { listed: entry.listed.as_ref()?, revision: entry.revision, tag: entry.tag })
    }

    /// The instances of a service after an id, ordered by id, at most `limit`. O(n log n) in the service's instances.
    #[must_use]
    pub fn instances(&self, namespace: &str, service: &str, after: &str, limit: usize) -> Vec<Found<'_>> {
        let Some(service) = self.find_service(namespace, service.as_bytes()) else {
            return Vec::new();
        };
        let mut found: Vec<Found<'_>> = self.found(service).collect();
        if !after.is_empty() {
            found.retain(|found| found.listed.instance.id_bytes() > after.as_bytes());
        }
        found.sort_unstable_by(|a, b| a.listed.instance.id_bytes().cmp(b.listed.instance.id_bytes()));
        found.truncate(limit);
        found
    }

    fn found(&self, service: u32) -> impl Iterator<Item = Found<'_>> {
        self.services[service as usize].by_id.iter().filter_map(|&at| {
            let entry = &self.entries[at as usize];
            Some(Found { listed: entry.listed.as_ref()?, revision: entry.revision, tag: entry.tag })
        })
    }

    /// The services of a namespace that have instances and this prefix, after a name, ordered by name, at most `limit`.
    /// O(log n + services passed).
    #[must_use]
    pub fn services(&self, namespace: &Namespace, prefix: &str, after: &str, limit: usize) -> Vec<ServiceSummary> {
        let from = if after >= prefix && !after.is_empty() {
            Bound::Excluded((namespace.clone(), SmolStr::new(after)))
        } else {
            Bound::Included((namespace.clone(), SmolStr::new(prefix)))
        };
        self.order
            .range((from, Bound::Unbounded))
            .take_while(|((ns, name), _)| ns == namespace && name.starts_with(prefix))
            .map(|(_, &at)| &self.services[at as usize])
            .filter(|service| !service.by_id.is_empty())
            .take(limit)
            .map(Service::summary)
            .collect()
    }

    /// What is known of a service, even if it has no instances but watchers or a past. O(1).
    #[must_use]
    pub fn service(&self, namespace: &str, service: &str) -> Option<ServiceSummary> {
        Some(self.services[self.find_service(namespace, service.as_bytes())? as usize].summary())
    }

    /// The namespaces that have services, and how much is in each, ordered by name.
    pub fn namespaces(&self) -> impl Iterator<Item = (&Namespace, NamespaceUsage)> {
        let usage = self.namespaces.iter().map(|(namespace, &at)| (namespace, self.usage[at as usize].usage));
        usage.filter(|(_, usage)| usage.services > 0)
    }

    /// How much is in a namespace.
    #[must_use]
    pub fn namespace(&self, namespace: &str) -> NamespaceUsage {
        self.namespaces.get(namespace).map_or_else(NamespaceUsage::default, |&at| self.usage[at as usize].usage)
    }

    /// How many instances there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.free_entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many services have instances.
    #[must_use]
    pub const fn service_count(&self) -> usize {
        self.inhabited
    }

    /// The bytes of all instances.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes of the change log, about.
    #[must_use]
    pub const fn log_bytes(&self) -> usize {
        self.log.bytes()
    }

    /// How many changes the log holds.
    #[must_use]
    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    // The past.

    /// The oldest revision that can be rebuilt.
    #[must_use]
    pub const fn first_revision(&self) -> Revision {
        self.log.compacted()
    }

    /// Every change after a revision, oldest first. O(log n) to find, then O(1) each.
    ///
    /// # Errors
    /// If some of them are forgotten.
    pub fn history(&self, after: Revision) -> Result<impl DoubleEndedIterator<Item = LogEntry<'_>>, Compacted> {
        let entries = self.log.after(after).ok_or(Compacted { asked: after, first: self.log.compacted() })?;
        Ok(entries.map(|entry| entry.told(&self.services[entry.place as usize].key)))
    }

    /// The instances as they were at a revision: those of one service, or of one namespace, or all.
    /// O(n log n + changes since).
    ///
    /// # Errors
    /// If the revision is forgotten. One that is yet to come gives the present.
    pub fn at(
        &self,
        revision: Revision,
        namespace: Option<&str>,
        service: Option<&str>,
    ) -> Result<BTreeMap<Key, Listed>, Compacted> {
        let wanted = |key: &ServiceKey| {
            namespace.is_none_or(|ns| *key.namespace == *ns) && service.is_none_or(|name| *key.service == *name)
        };
        let place = |key: &ServiceKey, id: InstanceId| Key::new(key.namespace.clone(), key.service.clone(), id);
        let since = self.history(revision)?;
        let mut state: BTreeMap<Key, Listed> = self
            .all()
            .filter(|(key, _)| wanted(key))
            .map(|(key, found)| (place(key, found.listed.instance.instance_id()), found.listed.clone()))
            .collect();
        for entry in since.rev().filter(|entry| wanted(entry.service)) {
            let key = place(entry.service, InstanceId::trusted(entry.id()));
            match entry.before {
                Some(before) => drop(state.insert(key, before.clone())),
                None => drop(state.remove(&key)),
            }
        }
        Ok(state)
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

impl Service {
    fn summary(&self) -> ServiceSummary {
        ServiceSummary {
            key: Arc::clone(&self.key),
            by_status: self.by_status.map(|n| n as usize),
            revision: self.last.revision,
            watchers: self.watchers.len(),
        }
    }
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

// What follows joins the watches with the sets they watch.

impl Catalog {
    /// Opens a watch. Its first delivery is ready at once: a snapshot, even an empty one, or what changed since a
    /// cursor. O(selectors).
    ///
    /// # Errors
    /// If there are too many; nothing was changed.
    pub fn watch(&mut self, start: &WatchStart, caller: Arc<Caller>, now: Instant) -> Result<WatchId, WatchError> {
        self.watches.check(start)?;
        let targets = watch::distinct(start).map(|(selector, since)| {
            let place = match selector {
                Selector::Service(key) => watch::Place::Service(self.service_or_new(key)),
                Selector::Prefix { namespace, prefix } => {
                    watch::Place::Prefix(Box::new((namespace.clone(), prefix.clone())))
                }
            };
            let since = since.filter(|cursor| cursor.epoch == self.epoch).map(|cursor| cursor.revision);
            (place, since)
        });
        let targets: Vec<_> = targets.collect();
        let id = self.watches.open(targets, caller, self.revision, now);
        for (at, service) in self.watches.services_of(id.slot()) {
            let watchers = &mut self.services[service as usize].watchers;
            self.watches.set_position(id.slot(), at, watchers.len() as u32);
            watchers.push(watch::Target { watch: id.slot(), at });
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
                let (selector, instances) = self.snapshot_of(&watch::Place::Service(service));
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
        self.watches.advance(id, delivery.cursor.revision);
        Some(delivery)
    }

    /// The revision of the last change of anything that a watch covers.
    fn newest_of(&self, id: WatchId) -> Revision {
        let newest = self.watches.targets(id).map(|(place, _)| match place {
            watch::Place::Service(at) => self.services[*at as usize].last.revision,
            watch::Place::Prefix(_) => self.revision,
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

    /// What is known of a watch.
    #[must_use]
    pub fn watch_info(&self, id: WatchId) -> Option<WatchInfo> {
        self.watches.info(id, |service| Arc::clone(&self.services[service as usize].key))
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

    fn snapshot_of(&self, place: &watch::Place) -> (Selector, Vec<Delivered>) {
        let delivered = |service: &Service, found: Found<'_>| Delivered {
            revision: found.revision,
            service: Arc::clone(&service.key),
            instance: found.listed.instance.clone(),
            ttl_ms: Some(found.listed.ttl_ms),
            cause: None,
        };
        let by_id = |a: &Delivered, b: &Delivered| a.instance.id_bytes().cmp(b.instance.id_bytes());
        match place {
            watch::Place::Service(at) => {
                let service = &self.services[*at as usize];
                let mut instances: Vec<_> = self.found(*at).map(|found| delivered(service, found)).collect();
                instances.sort_unstable_by(by_id);
                (Selector::Service((*service.key).clone()), instances)
            }
            watch::Place::Prefix(prefix) => {
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
    fn changes_of(&self, place: &watch::Place, since: Revision) -> Option<Vec<Delivered>> {
        let since = Revision(since.0 + u64::from(self.faults.has(Fault::DeltaOffByOne)));
        let prefix = match place {
            watch::Place::Service(at) => return self.changes_of_service(*at, since).map(|(told, ..)| told.to_vec()),
            watch::Place::Prefix(prefix) => prefix,
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

//! Reading a catalog: its present, and its past as far as the log goes back.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

use smol_str::SmolStr;

use super::{Catalog, NamespaceUsage, Service};
use crate::log::{Listed, LogEntry};
use crate::name::{InstanceId, Key, Namespace, ServiceKey};
use crate::set::{Cursor, Epoch, Revision};

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
    /// Whether a watch has ever named it, as far as it is remembered.
    pub watched: bool,
}

impl ServiceSummary {
    /// How many instances it has.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.by_status.iter().sum()
    }
}

impl Catalog {
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

    pub(super) fn found(&self, service: u32) -> impl Iterator<Item = Found<'_>> {
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
        let compacted = Compacted { asked: after, first: self.log.compacted() };
        let entries = self.log.after(after).ok_or(compacted)?;
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
}

impl Service {
    fn summary(&self) -> ServiceSummary {
        ServiceSummary {
            key: Arc::clone(&self.key),
            by_status: self.by_status.map(|n| n as usize),
            revision: self.last.revision,
            watchers: self.watchers.len(),
            watched: self.watched,
        }
    }
}

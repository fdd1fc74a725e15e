//! What is behind the gateway: keys with a history, and leases.

use std::collections::BTreeMap;
use std::time::Duration;

use periplus_core::Instant;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    pub value: Vec<u8>,
    pub create: u64,
    pub modified: u64,
    pub version: u64,
    pub lease: i64,
}

/// A change of a key; `None`: it went.
#[derive(Clone, Debug)]
pub struct Change {
    pub revision: u64,
    pub key: Vec<u8>,
    pub value: Option<Value>,
}

#[derive(Clone, Copy, Debug)]
pub struct Lease {
    pub ttl: u64,
    pub end: Instant,
}

#[derive(Debug)]
pub struct Mvcc {
    pub revision: u64,
    pub compacted: u64,
    pub keys: BTreeMap<Vec<u8>, Value>,
    pub history: Vec<Change>,
    pub leases: BTreeMap<i64, Lease>,
}

pub fn within(key: &[u8], from: &[u8], end: Option<&[u8]>) -> bool {
    match end {
        None => key == from,
        Some([0]) => key >= from,
        Some(end) => key >= from && key < end,
    }
}

impl Mvcc {
    /// An etcd begins at revision 1, with nothing.
    pub fn new() -> Self {
        Self { revision: 1, compacted: 0, keys: BTreeMap::new(), history: vec![], leases: BTreeMap::new() }
    }

    pub fn range(&self, from: &[u8], end: Option<&[u8]>) -> Vec<(&Vec<u8>, &Value)> {
        self.keys.iter().filter(|(key, _)| within(key, from, end)).collect()
    }

    /// What a key is, or what one that is not there counts as.
    pub fn at(&self, key: &[u8]) -> Value {
        self.keys.get(key).cloned().unwrap_or_default()
    }

    pub fn put(&mut self, key: &[u8], value: Vec<u8>, lease: i64, revision: u64) -> Option<Value> {
        let before = self.keys.get(key).cloned();
        let value = Value {
            value,
            create: before.as_ref().map_or(revision, |before| before.create),
            modified: revision,
            version: before.as_ref().map_or(1, |before| before.version + 1),
            lease,
        };
        self.keys.insert(key.to_vec(), value.clone());
        self.history.push(Change { revision, key: key.to_vec(), value: Some(value) });
        self.revision = self.revision.max(revision);
        before
    }

    pub fn delete(&mut self, from: &[u8], end: Option<&[u8]>, revision: u64) -> Vec<(Vec<u8>, Value)> {
        let gone: Vec<(Vec<u8>, Value)> =
            self.range(from, end).into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        for (key, _) in &gone {
            self.keys.remove(key);
            self.history.push(Change { revision, key: key.clone(), value: None });
            self.revision = self.revision.max(revision);
        }
        gone
    }

    /// A lease ends, and all that hangs on it in one revision.
    pub fn revoke(&mut self, lease: i64) -> bool {
        let known = self.leases.remove(&lease).is_some();
        let on_it: Vec<Vec<u8>> =
            self.keys.iter().filter(|(_, it)| it.lease == lease).map(|(key, _)| key.clone()).collect();
        let revision = self.revision + 1;
        for key in on_it.iter().filter(|_| known) {
            self.delete(key, None, revision);
        }
        known
    }

    pub fn keep_alive(&mut self, lease: i64, now: Instant) -> u64 {
        self.leases.get_mut(&lease).map_or(0, |lease| {
            lease.end = now.saturating_add(Duration::from_secs(lease.ttl));
            lease.ttl
        })
    }

    /// A new leader gives all leases their whole time again.
    pub fn promote(&mut self, now: Instant) {
        for lease in self.leases.values_mut() {
            lease.end = now.saturating_add(Duration::from_secs(lease.ttl));
        }
    }

    pub fn expire(&mut self, now: Instant) {
        while let Some(lease) = self.leases.iter().find(|(_, lease)| lease.end <= now).map(|(id, _)| *id) {
            self.revoke(lease);
        }
    }

    pub fn compact(&mut self) {
        self.compacted = self.revision;
        self.history.clear();
    }
}

//! The last known sets as bytes, for a cold start while the registry is down.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::interest::{Held, Interest};
use crate::catalog::Selector;
use crate::name::{Namespace, ServiceKey, ServiceName};
use crate::ordered::OrderedMap;
use crate::packed::Instance;
use crate::set::{Cursor, Epoch, Revision};

/// The format that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// Why bytes were not taken for a cache. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Another version wrote it.
    #[error("the cache has format {found}, this version reads {known}: start without it")]
    Format {
        /// What it has.
        found: u32,
        /// What is read.
        known: u32,
    },
    /// It is no cache, or not whole.
    #[error("the cache is corrupt, start without it: {problem}")]
    Corrupt {
        /// What is wrong.
        problem: String,
    },
}

#[derive(Deserialize)]
struct Header {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Cache {
    format: u32,
    sets: Vec<Set>,
}

#[derive(Serialize, Deserialize)]
struct Set {
    ns: Namespace,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<ServiceName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<SmolStr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<Epoch>,
    #[serde(default)]
    revision: Revision,
    instances: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    instance: Instance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
}

/// Writes what is known of the interests. O(instances).
pub(super) fn write<'a>(interests: impl Iterator<Item = &'a Interest>) -> Vec<u8> {
    let entry = |held: &Held| Entry {
        instance: held.instance.clone(),
        ttl_ms: held.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
    };
    let set = |interest: &Interest| {
        let (service, prefix) = match &interest.selector {
            Selector::Service(key) => (Some(key.service.clone()), None),
            Selector::Prefix { prefix, .. } => (None, Some(prefix.clone())),
        };
        Set {
            ns: interest.selector.namespace().clone(),
            service,
            prefix,
            epoch: interest.cursor.as_ref().map(|cursor| cursor.epoch.clone()),
            revision: interest.cursor.as_ref().map_or(Revision(0), |cursor| cursor.revision),
            instances: interest.instances.values().map(entry).collect(),
        }
    };
    let cache = Cache { format: FORMAT, sets: interests.map(set).collect() };
    serde_json::to_vec(&cache).expect("names and instances are JSON")
}

/// Reads what was written. O(bytes).
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Interest>, CacheError> {
    let corrupt = |problem: &dyn ToString| CacheError::Corrupt { problem: problem.to_string() };
    let header: Header = serde_json::from_slice(bytes).map_err(|error| corrupt(&error))?;
    if header.format != FORMAT {
        return Err(CacheError::Format { found: header.format, known: FORMAT });
    }
    let cache: Cache = serde_json::from_slice(bytes).map_err(|error| corrupt(&error))?;
    let interest = |set: Set| {
        let namespace = set.ns;
        let selector = match (set.service, set.prefix) {
            (Some(service), None) => Selector::Service(ServiceKey::new(namespace, service)),
            (None, Some(prefix)) => Selector::Prefix { namespace, prefix },
            _ => return Err(corrupt(&"a set names a service or a prefix")),
        };
        let mut instances = OrderedMap::new();
        for Entry { instance, ttl_ms } in set.instances {
            if !selector.names(selector.namespace(), instance.service()) {
                return Err(corrupt(&"an instance is in a set that does not name its service"));
            }
            let key = (instance.service_name(), instance.instance_id());
            instances.insert(key, Held::confirmed(instance, ttl_ms.map(Duration::from_millis)));
        }
        let cursor = set.epoch.map(|epoch| Cursor { epoch, revision: set.revision });
        Ok(Interest { instances, cursor, ..Interest::new(selector) })
    };
    cache.sets.into_iter().map(interest).collect()
}

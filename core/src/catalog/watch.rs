//! The vocabulary of watching: what to watch, and what a watcher is told.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use smol_str::SmolStr;

use crate::event::{Alarm, Caller, Cause};
use crate::name::{InstanceId, Namespace, ServiceKey};
use crate::packed::Instance;
use crate::set::{Cursor, Mutation, Revision};
use crate::time::Instant;

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Selector {
    /// One service, whether it exists or not.
    Service(ServiceKey),
    /// Every service of a namespace whose name begins so; with the empty prefix, every one.
    Prefix {
        /// The namespace.
        namespace: Namespace,
        /// What the names begin with.
        prefix: SmolStr,
    },
}

impl Selector {
    /// Everything in a namespace.
    #[must_use]
    pub const fn all(namespace: Namespace) -> Self {
        Self::Prefix { namespace, prefix: SmolStr::new_static("") }
    }

    /// The namespace.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        match self {
            Self::Service(key) => &key.namespace,
            Self::Prefix { namespace, .. } => namespace,
        }
    }

    /// Whether it names the service.
    #[must_use]
    pub fn contains(&self, service: &ServiceKey) -> bool {
        self.names(&service.namespace, &service.service)
    }

    pub(crate) fn names(&self, namespace: &Namespace, service: &str) -> bool {
        match self {
            Self::Service(key) => key.namespace == *namespace && key.service.as_str() == service,
            Self::Prefix { namespace: ns, prefix } => ns == namespace && service.starts_with(prefix.as_str()),
        }
    }

    /// Whether everything that the other names is named by this one too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (_, Self::Service(key)) => self.contains(key),
            (Self::Prefix { namespace, prefix }, Self::Prefix { namespace: ns, prefix: longer }) => {
                namespace == ns && longer.starts_with(prefix.as_str())
            }
            (Self::Service(_), Self::Prefix { .. }) => false,
        }
    }
}

/// What a new watch covers, and what its watcher has seen of each.
///
/// A selector that another one covers adds nothing and is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchStart {
    /// The selectors, with the cursor to resume from if there is one.
    pub selectors: Vec<(Selector, Option<Cursor>)>,
}

impl WatchStart {
    /// A watch of one thing, from its snapshot on.
    #[must_use]
    pub fn fresh(selector: Selector) -> Self {
        Self { selectors: alloc::vec![(selector, None)] }
    }

    /// A watch of one thing, from a cursor on.
    #[must_use]
    pub fn resumed(selector: Selector, cursor: Cursor) -> Self {
        Self { selectors: alloc::vec![(selector, Some(cursor))] }
    }
}

/// The selectors that count: none twice, and none that another covers.
pub(super) fn distinct(start: &WatchStart) -> impl Iterator<Item = (&Selector, Option<&Cursor>)> {
    let selectors = || start.selectors.iter().map(|(selector, _)| selector);
    let wide: Vec<&Selector> = selectors().filter(|selector| matches!(selector, Selector::Prefix { .. })).collect();
    let mut met = BTreeSet::new();
    start.selectors.iter().filter_map(move |(selector, since)| {
        let covered = wide.iter().any(|wide| *wide != selector && wide.covers(selector));
        (met.insert(selector) && !covered).then_some((selector, since.as_ref()))
    })
}

/// A watch: a place and how often it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl WatchId {
    pub(super) const fn slot(self) -> u32 {
        self.slot
    }

    /// A number below the number of watches there were at once: an index for what the driver keeps beside it.
    #[must_use]
    pub const fn index(self) -> usize {
        self.slot as usize
    }
}

/// Why a watch was not opened. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// There are as many watches as there may be.
    #[error("there are {limit} watches already: close some, or raise the limit of watches")]
    Watches {
        /// How many there may be.
        limit: usize,
    },
    /// One watch names too many services and prefixes, or none.
    #[error("a watch names 1 to {limit} services and prefixes, not {given}")]
    Selectors {
        /// How many were given.
        given: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// Everything that a watch has not seen, up to one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// What the watcher has seen once it has applied all of it.
    pub cursor: Cursor,
    /// What the watcher had seen before, if it was the same for all it watches.
    pub from: Option<Revision>,
    /// The selectors that are told from scratch: what they do not list is not there.
    pub snapshots: Vec<SelectorSnapshot>,
    /// What changed of the other selectors, oldest first, one change an instance.
    pub changes: Arc<[Delivered]>,
    /// What the watcher should know besides.
    pub notices: Vec<Notice>,
}

/// All instances that a selector names, ordered by service and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorSnapshot {
    /// The selector.
    pub selector: Selector,
    /// The instances.
    pub instances: Vec<Delivered>,
}

/// An instance as a watcher is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The revision of the change.
    pub revision: Revision,
    /// The service.
    pub service: Arc<ServiceKey>,
    /// How the instance looks, or if it went, looked last.
    pub instance: Instance,
    /// Its ttl in milliseconds; nothing if it went.
    pub ttl_ms: Option<u32>,
    /// Why it changed; nothing in a snapshot.
    pub cause: Option<Cause>,
}

impl Delivered {
    /// Whether the instance is there.
    #[must_use]
    pub const fn present(&self) -> bool {
        self.ttl_ms.is_some()
    }

    /// The change as an [`InstanceSet`](crate::InstanceSet) takes it.
    #[must_use]
    pub fn mutation(&self) -> Mutation {
        if self.present() {
            Mutation::Put(self.instance.clone())
        } else {
            Mutation::Remove(InstanceId::trusted(self.instance.id()))
        }
    }
}

/// Something a watcher should know that is no change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// What is not listed may be there all the same: the registry began anew and waits for its holders.
    Warming,
    /// What is not listed is not there.
    Settled,
    /// Too many instances of a namespace expired at once.
    Alarm(Alarm),
    /// No longer.
    AlarmEnded(Namespace),
    /// The watch's cursor lies ahead of this registry, and waiting did not help. The watch delivers nothing more.
    Behind {
        /// Where the registry is.
        revision: Revision,
    },
}

/// What a watcher has said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Up to which revision it has applied what it was handed; zero, if it has applied nothing yet.
    pub revision: Revision,
    /// When it first said so.
    pub since: Instant,
}

/// What is known of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchInfo {
    /// What it covers.
    pub selectors: Vec<Selector>,
    /// Who opened it.
    pub caller: Arc<Caller>,
    /// When it was opened.
    pub opened: Instant,
    /// Up to which revision it was handed everything; nothing before the first delivery.
    pub seen: Option<Revision>,
    /// Where it was told something last, bookmarks and notices apart.
    pub handed: Option<Revision>,
    /// Whether something waits to be taken.
    pub pending: bool,
    /// What its watcher reports; nothing, if it does not.
    pub applied: Option<Applied>,
}

impl WatchInfo {
    /// Whether its watcher has applied all that there is for it up to a revision. `None`: it does not say.
    ///
    /// What came and went again is never handed out: who has applied all that was handed, and has nothing to take, has
    /// applied that too.
    #[must_use]
    pub fn has_applied(&self, revision: Revision) -> Option<bool> {
        has_applied(self.applied, self.handed, self.pending, revision)
    }
}

pub(super) fn has_applied(
    applied: Option<Applied>,
    handed: Option<Revision>,
    pending: bool,
    revision: Revision,
) -> Option<bool> {
    let applied = applied?.revision;
    Some(applied >= revision || (!pending && handed <= Some(applied)))
}

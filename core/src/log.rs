//! The change log: every change, not coalesced, bounded.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use crate::event::{Caller, Cause};
use crate::name::ServiceKey;
use crate::packed::Instance;
use crate::set::Revision;
use crate::time::WallTime;

/// An instance as a registry lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The instance.
    pub instance: Instance,
    /// Its lease's time to live in milliseconds: how long the instance may be believed without a word of it.
    pub ttl_ms: u32,
}

impl Listed {
    /// The bytes it is charged with.
    pub(crate) fn size(&self) -> usize {
        self.instance.size()
    }
}

/// One change of one instance, as the log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// The revision that it made. Changes of one transaction share theirs.
    pub revision: Revision,
    /// When, by the wall clock.
    pub time: WallTime,
    /// The service.
    pub service: &'a Arc<ServiceKey>,
    /// The instance before, if it was there.
    pub before: Option<&'a Listed>,
    /// The instance after, if it is there.
    pub after: Option<&'a Listed>,
    /// Why.
    pub cause: Cause,
    /// By whom, if by anybody.
    pub caller: Option<&'a Arc<Caller>>,
}

impl LogEntry<'_> {
    /// The id of the instance.
    #[must_use]
    pub fn id(&self) -> &str {
        self.after.or(self.before).map_or("", |listed| listed.instance.id())
    }
}

/// A change as the log keeps it.
#[derive(Debug)]
pub(crate) struct Logged {
    pub(crate) revision: Revision,
    pub(crate) time: WallTime,
    pub(crate) before: Option<Listed>,
    pub(crate) after: Option<Listed>,
    pub(crate) cause: Cause,
    pub(crate) caller: Option<Arc<Caller>>,
    /// The change of the same service before this one.
    pub(crate) previous: Link,
    /// The place of the service in the catalog; it keeps its place as long as the log keeps a change of it.
    pub(crate) place: u32,
}

impl Logged {
    pub(crate) const fn told<'a>(&'a self, service: &'a Arc<ServiceKey>) -> LogEntry<'a> {
        LogEntry {
            revision: self.revision,
            time: self.time,
            service,
            before: self.before.as_ref(),
            after: self.after.as_ref(),
            cause: self.cause,
            caller: self.caller.as_ref(),
        }
    }

    pub(crate) fn id_bytes(&self) -> &[u8] {
        let shown = self.after.as_ref().or(self.before.as_ref());
        shown.map_or(&[], |listed| listed.instance.id_bytes())
    }

    fn cost(&self) -> usize {
        let size = |listed: &Option<Listed>| listed.as_ref().map_or(0, Listed::size);
        ENTRY + size(&self.before) + size(&self.after)
    }
}

/// What an entry is charged with beside its instances: the same on every platform, so that the same is forgotten.
const ENTRY: usize = 128;

/// Where a service's latest change is, or was before it was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) revision: Revision,
    /// The entry's number, counted from the first one ever.
    pub(crate) number: u64,
}

/// The latest changes, oldest first.
#[derive(Debug)]
pub(crate) struct Log {
    entries: VecDeque<Logged>,
    /// The number of the first entry that is kept.
    first: u64,
    /// Everything up to this revision is forgotten.
    compacted: Revision,
    bytes: usize,
    max_bytes: usize,
    max_entries: usize,
}

impl Log {
    pub(crate) const fn new(compacted: Revision, max_bytes: usize, max_entries: usize) -> Self {
        Self { entries: VecDeque::new(), first: 0, compacted, bytes: 0, max_bytes, max_entries }
    }

    /// An empty log of the same size.
    pub(crate) const fn emptied(&self, compacted: Revision) -> Self {
        Self::new(compacted, self.max_bytes, self.max_entries)
    }

    /// Appends a change and says where it is. O(1).
    pub(crate) fn push(&mut self, entry: Logged) -> Link {
        let link = Link { revision: entry.revision, number: self.first + self.entries.len() as u64 };
        self.bytes += entry.cost();
        self.entries.push_back(entry);
        link
    }

    /// Forgets one of the oldest changes if there are too many. Changes of one transaction are forgotten together
    /// as far as readers can see: `compacted` covers them all at once.
    pub(crate) fn forget(&mut self) -> Option<Logged> {
        let newest = self.entries.back()?.revision;
        let oldest = self.entries.front()?;
        let half_gone = oldest.revision == self.compacted;
        let full = self.bytes > self.max_bytes || self.entries.len() > self.max_entries;
        if !half_gone && (!full || oldest.revision == newest) {
            return None;
        }
        let entry = self.entries.pop_front()?;
        self.first += 1;
        self.bytes -= entry.cost();
        self.compacted = entry.revision;
        Some(entry)
    }

    /// The entry a link names, if it is still kept. O(1).
    pub(crate) fn entry(&self, link: Link) -> Option<&Logged> {
        let at = link.number.checked_sub(self.first)?;
        self.entries.get(usize::try_from(at).ok()?).filter(|entry| entry.revision > self.compacted)
    }

    /// The entries after a revision, oldest first; none if some of them are forgotten. O(log n) to find.
    pub(crate) fn after(&self, revision: Revision) -> Option<impl DoubleEndedIterator<Item = &Logged>> {
        if revision < self.compacted {
            return None;
        }
        let from = self.entries.partition_point(|entry| entry.revision <= revision);
        Some(self.entries.range(from..))
    }

    /// Everything up to this revision is forgotten.
    pub(crate) const fn compacted(&self) -> Revision {
        self.compacted
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The bytes counted anew, to check the running count.
    pub(crate) fn recount(&self) -> usize {
        self.entries.iter().map(Logged::cost).sum()
    }
}

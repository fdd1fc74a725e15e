//! One service's instances as a value: sets, and the differences between them.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::name::InstanceId;
use crate::packed::Instance;

/// How many visible changes a registry had seen: the coordinate in which everything is dated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The life of a registry within which revisions can be compared. A new one begins whenever history may have been lost.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub SmolStr);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A place in a registry's history: what a watcher has seen, and what every answer is dated with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The life of the registry.
    pub epoch: Epoch,
    /// The change within it.
    pub revision: Revision,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.revision)
    }
}

/// The text is not `EPOCH.REVISION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is EPOCH.REVISION, as an answer or an event gave it")]
pub struct CursorError;

impl core::str::FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (epoch, revision) = text.rsplit_once('.').ok_or(CursorError)?;
        if epoch.is_empty() || epoch.len() > 128 || !revision.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CursorError);
        }
        let revision = Revision(revision.parse().map_err(|_| CursorError)?);
        Ok(Self { epoch: Epoch(epoch.into()), revision })
    }
}

/// A change as it travels: the receiver's set knows whether it is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// The instance is there, and so it looks.
    Put(Instance),
    /// The instance is not there.
    Remove(InstanceId),
}

/// A change that happened to a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An instance came.
    Insert(Instance),
    /// An instance that was there looks different.
    Update {
        /// How it looked.
        before: Instance,
        /// How it looks.
        after: Instance,
    },
    /// An instance went.
    Remove(Instance),
}

impl Change {
    /// The id of the instance that changed.
    #[must_use]
    pub fn id(&self) -> &str {
        self.after().or_else(|| self.before()).map_or("", Instance::id)
    }

    /// How the instance looked, if it was there.
    #[must_use]
    pub const fn before(&self) -> Option<&Instance> {
        match self {
            Self::Insert(_) => None,
            Self::Update { before, .. } | Self::Remove(before) => Some(before),
        }
    }

    /// How the instance looks, if it is there.
    #[must_use]
    pub const fn after(&self) -> Option<&Instance> {
        match self {
            Self::Insert(after) | Self::Update { after, .. } => Some(after),
            Self::Remove(_) => None,
        }
    }

    /// The change from one state of an instance to another, if there is one.
    #[must_use]
    pub fn between(before: Option<Instance>, after: Option<Instance>) -> Option<Self> {
        match (before, after) {
            (None, Some(after)) => Some(Self::Insert(after)),
            (Some(before), None) => Some(Self::Remove(before)),
            (Some(before), Some(after)) if before != after => Some(Self::Update { before, after }),
            _ => None,
        }
    }

    /// The change that undoes this one.
    #[must_use]
    pub fn inverted(self) -> Self {
        match self {
            Self::Insert(instance) => Self::Remove(instance),
            Self::Remove(instance) => Self::Insert(instance),
            Self::Update { before, after } => Self::Update { before: after, after: before },
        }
    }
}

/// All instances of one service at one revision, by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// When.
    pub revision: Revision,
    /// Who.
    pub instances: BTreeMap<InstanceId, Instance>,
}

/// What happened to a set between two revisions: at most one change an instance, ordered by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The revision of the set it applies to.
    pub from: Revision,
    /// The revision of the set it leads to.
    pub to: Revision,
    /// What happened.
    pub changes: Vec<Change>,
}

/// Why a delta does not fit. The set, or both deltas, are as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The delta starts at another revision than the one held.
    #[error("the delta starts at revision {from}, but revision {held} is held: ask for a snapshot")]
    Gap {
        /// What is held.
        held: Revision,
        /// Where the delta starts.
        from: Revision,
    },
    /// The delta speaks of an instance that is not as it says.
    #[error("the delta does not describe this set: ask for a snapshot")]
    Mismatch,
}

impl Delta {
    /// This delta and then the next, as one. O(changes).
    ///
    /// # Errors
    /// [`ApplyError::Gap`] if the next does not start where this one ends, [`ApplyError::Mismatch`] if it
    /// speaks of an instance that this one left otherwise.
    pub fn compose(&self, next: &Self) -> Result<Self, ApplyError> {
        if next.from != self.to {
            return Err(ApplyError::Gap { held: self.to, from: next.from });
        }
        let mut composed: BTreeMap<&str, (Option<&Instance>, Option<&Instance>)> =
            self.changes.iter().map(|c| (c.id(), (c.before(), c.after()))).collect();
        for change in &next.changes {
            match composed.entry(change.id()) {
                Entry::Vacant(entry) => drop(entry.insert((change.before(), change.after()))),
                Entry::Occupied(entry) if entry.get().1 != change.before() => {
                    return Err(ApplyError::Mismatch);
                }
                Entry::Occupied(mut entry) => entry.get_mut().1 = change.after(),
            }
        }
        let between =
            |(before, after): (Option<&Instance>, Option<&Instance>)| Change::between(before.cloned(), after.cloned());
        Ok(Self { from: self.from, to: next.to, changes: composed.into_values().filter_map(between).collect() })
    }

    /// The delta that leads back.
    #[must_use]
    pub fn inverted(self) -> Self {
        Self { from: self.to, to: self.from, changes: self.changes.into_iter().map(Change::inverted).collect() }
    }
}

/// One service's instances at a revision, held by somebody who follows the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceSet {
    revision: Revision,
    instances: BTreeMap<InstanceId, Instance>,
}

impl InstanceSet {
    /// The empty set at revision 0.
    #[must_use]
    pub const fn new() -> Self {
        Self { revision: Revision(0), instances: BTreeMap::new() }
    }

    /// Applies a delta, whole or not at all. O(changes · log n).
    ///
    /// # Errors
    /// If the delta starts elsewhere or speaks of other instances; the set is as before.
    pub fn apply(&mut self, delta: &Delta) -> Result<(), ApplyError> {
        if delta.from != self.revision {
            return Err(ApplyError::Gap { held: self.revision, from: delta.from });
        }
        if delta.changes.iter().any(|change| self.instances.get(change.id()) != change.before()) {
            return Err(ApplyError::Mismatch);
        }
        for change in &delta.changes {
            match change.after() {
                Some(after) => drop(self.instances.insert(after.instance_id(), after.clone())),
                None => drop(self.instances.remove(change.id())),
            }
        }
        self.revision = delta.to;
        Ok(())
    }

    /// Takes mutations as they travel and says what they changed. The last word on an instance counts; removing
    /// what is not there and putting what is there already are no changes. O(mutations · log n).
    ///
    /// # Errors
    /// [`ApplyError::Gap`] if they start at another revision than the one held; the set is as before.
    pub fn receive(
        &mut self,
        from: Revision,
        to: Revision,
        mutations: impl IntoIterator<Item = Mutation>,
    ) -> Result<Delta, ApplyError> {
        if from != self.revision {
            return Err(ApplyError::Gap { held: self.revision, from });
        }
        let mut before: BTreeMap<InstanceId, Option<Instance>> = BTreeMap::new();
        for mutation in mutations {
            let (id, was) = match mutation {
                Mutation::Put(instance) => {
                    let id = instance.instance_id();
                    let was = self.instances.insert(id.clone(), instance);
                    (id, was)
                }
                Mutation::Remove(id) => {
                    let was = self.instances.remove(&id);
                    (id, was)
                }
            };
            before.entry(id).or_insert(was);
        }
        self.revision = to;
        let between = |(id, was)| Change::between(was, self.instances.get::<InstanceId>(&id).cloned());
        Ok(Delta { from, to, changes: before.into_iter().filter_map(between).collect() })
    }

    /// Takes a snapshot and says what it changed: the one difference that really happened. O(n).
    pub fn reset(&mut self, snapshot: Snapshot) -> Delta {
        let next = Self { revision: snapshot.revision, instances: snapshot.instances };
        let delta = self.diff(&next);
        *self = next;
        delta
    }

    /// What happened between this set and another: `a.apply(&a.diff(&b))` makes `a` equal to `b`. O(n).
    #[must_use]
    pub fn diff(&self, other: &Self) -> Delta {
        let mut changes = Vec::new();
        let (mut ours, mut theirs) = (self.instances.iter().peekable(), other.instances.iter().peekable());
        loop {
            let (before, after) = match (ours.peek(), theirs.peek()) {
                (None, None) => break,
                (Some((a, _)), Some((b, _))) if a == b => (ours.next(), theirs.next()),
                (Some((a, _)), Some((b, _))) if a > b => (None, theirs.next()),
                (None, Some(_)) => (None, theirs.next()),
                (Some(_), _) => (ours.next(), None),
            };
            let instance = |entry: Option<(&InstanceId, &Instance)>| entry.map(|(_, instance)| instance.clone());
            changes.extend(Change::between(instance(before), instance(after)));
        }
        Delta { from: self.revision, to: other.revision, changes }
    }

    /// The set as plain data.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { revision: self.revision, instances: self.instances.clone() }
    }

    /// The revision it is at.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// The instance with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Instance> {
        self.instances.get(id)
    }

    /// The instances, ordered by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Instance> {
        self.instances.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }
}

impl From<Snapshot> for InstanceSet {
    fn from(snapshot: Snapshot) -> Self {
        Self { revision: snapshot.revision, instances: snapshot.instances }
    }
}

//! Which history revisions belong to.

use core::fmt::Write as _;
use core::time::Duration;

use smol_str::SmolStrBuilder;

use super::message::Header;
use crate::set::{Cursor, Epoch, Revision};
use crate::time::Instant;

/// The cluster that was heard last, and how far its history was seen.
///
/// etcd has no word for a history that is lost: a cluster that was made anew under the same names has the same id, and
/// its revisions begin again. So a revision that goes back begins a new epoch, and so does a raft term: a new cluster
/// counts both from the start.
///
/// Answers may overtake each other, so one is compared with what had been seen when it was asked for.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    id: u64,
    /// How many epochs came before this one.
    turn: u32,
    revision: u64,
    term: u64,
    /// Until when what is not listed proves nothing.
    warm: Option<Instant>,
}

/// How far a history had been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Floor {
    id: u64,
    revision: u64,
    term: u64,
}

impl Floor {
    /// Whether an answer is of another cluster, or of an older term.
    pub(super) const fn is_other(&self, header: &Header) -> bool {
        self.id != 0 && (header.cluster_id != self.id || header.raft_term < self.term)
    }
}

impl Cluster {
    /// How far the history was seen by now: an answer to what is asked from now on is not behind this.
    pub(super) const fn floor(&self) -> Floor {
        Floor { id: self.id, revision: self.revision, term: self.term }
    }

    /// An answer has come that says what was true when it was asked for. Whether a new epoch begins with it.
    pub(super) fn heard(&mut self, header: &Header, floor: Floor, warm_up: Duration, now: Instant) -> bool {
        let first = self.id == 0;
        let lost = floor.is_other(header) || header.revision < floor.revision;
        if first || lost {
            let turn = self.turn + u32::from(lost);
            let warm = lost.then(|| now.saturating_add(warm_up));
            *self = Self { id: header.cluster_id, turn, revision: 0, term: 0, warm };
        }
        self.revision = self.revision.max(header.revision);
        self.term = self.term.max(header.raft_term);
        lost
    }

    /// Which cluster it is, if that was not known.
    pub(super) fn meet(&mut self, header: &Header) {
        if self.id == 0 {
            (self.id, self.term) = (header.cluster_id, header.raft_term);
        }
    }

    /// Something was seen at this revision.
    pub(super) fn seen(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    pub(super) fn cursor(&self, revision: u64) -> Cursor {
        Cursor { epoch: self.epoch(), revision: Revision(revision) }
    }

    pub(super) fn epoch(&self) -> Epoch {
        let mut text = SmolStrBuilder::new();
        // Writing to a text does not fail.
        let _ = match self.turn {
            0 => write!(text, "{}", self.id),
            turn => write!(text, "{}.{turn}", self.id),
        };
        Epoch(text.finish())
    }

    /// Whether what is not listed proves nothing.
    pub(super) fn is_warming(&self, now: Instant) -> bool {
        self.warm.is_some_and(|warm| warm > now)
    }

    /// When that ends.
    pub(super) const fn warm(&self) -> Option<Instant> {
        self.warm
    }

    /// Whether it has just ended.
    pub(super) fn take_settled(&mut self, now: Instant) -> bool {
        self.warm.take_if(|warm| *warm <= now).is_some()
    }
}

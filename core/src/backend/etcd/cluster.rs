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
/// counts both from the start. A member may lag behind another one, but never behind itself: it serves nobody before it
/// has applied what it had.
///
/// Answers may overtake each other, so one is compared with what had been seen when it was asked for.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    seen: Floor,
    /// What tells this epoch from the one before, of which a former life of the client may know: drawn.
    turn: Option<u32>,
    /// Until when what is not listed proves nothing.
    warm: Option<Instant>,
}

/// How far a history had been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Floor {
    id: u64,
    revision: u64,
    term: u64,
    /// The member that was last heard of watches and listings, and how far it was.
    member: (u64, u64),
}

/// How an answer lies to what had been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// It goes on from there.
    Kept,
    /// It is of a member that lags, or of one without the history.
    Doubtful,
    /// It is of another history.
    Lost,
}

impl Floor {
    /// What the first word of a watch that starts at a revision says of the past.
    pub(super) const fn past(&self, header: &Header, from: u64) -> Past {
        if self.id == 0 {
            return Past::Kept;
        }
        let older = header.raft_term < self.term;
        let same = header.member_id == self.member.0;
        if header.cluster_id != self.id || (same && (older || header.revision < self.member.1)) {
            Past::Lost
        } else if older || header.revision < from {
            Past::Doubtful
        } else {
            Past::Kept
        }
    }
}

impl Cluster {
    /// How far the history was seen by now: an answer to what is asked from now on is not behind this.
    pub(super) const fn floor(&self) -> Floor {
        self.seen
    }

    /// A listing has come: it says what was true when it was asked for, whichever member answers. Whether a new epoch
    /// has begun before it.
    pub(super) const fn goes_on(header: &Header, floor: Floor) -> bool {
        let other = header.cluster_id != floor.id || header.raft_term < floor.term;
        (floor.id == 0 || !other) && header.revision >= floor.revision
    }

    /// A new epoch begins, under a name that was never used.
    pub(super) fn begin(&mut self, header: &Header, drawn: u64, warm_up: Duration, now: Instant) {
        *self = Self {
            seen: Floor::default(),
            turn: u32::try_from(drawn >> 32).ok(),
            warm: Some(now.saturating_add(warm_up)),
        };
        self.heard(header);
    }

    /// A watch or a listing was heard.
    pub(super) fn heard(&mut self, header: &Header) {
        let seen = &mut self.seen;
        if seen.id == 0 {
            seen.id = header.cluster_id;
        }
        seen.term = seen.term.max(header.raft_term);
        let before = if seen.member.0 == header.member_id { seen.member.1 } else { 0 };
        seen.member = (header.member_id, before.max(header.revision));
    }

    /// Something was seen at this revision.
    pub(super) fn seen(&mut self, revision: u64) {
        self.seen.revision = self.seen.revision.max(revision);
    }

    pub(super) fn cursor(&self, revision: u64) -> Cursor {
        Cursor { epoch: self.epoch(), revision: Revision(revision) }
    }

    pub(super) fn epoch(&self) -> Epoch {
        let mut text = SmolStrBuilder::new();
        // Writing to a text does not fail.
        let _ = match self.turn {
            None => write!(text, "{}", self.seen.id),
            Some(turn) => write!(text, "{}.{turn:x}", self.seen.id),
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

//! Where a mirror cannot say what happened one after the other.

use alloc::collections::VecDeque;

use crate::set::Revision;

/// How many gaps are remembered.
const KEPT: usize = 4_096;

/// The stretches of a history that a mirror was told only the result of.
///
/// Something may have come and gone within one. Whoever has seen the other registry up to a place inside of it may hold
/// what this catalog never heard of, and has to be told everything anew. At both of its ends, all is known.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// Both ends, which do not belong to it; ordered.
    gaps: VecDeque<(Revision, Revision)>,
    /// All that lies before it counts as one gap.
    floor: Revision,
}

impl Gaps {
    pub(super) fn add(&mut self, from: Revision, to: Revision) {
        if to.0.saturating_sub(from.0) < 2 {
            return;
        }
        self.gaps.push_back((from, to));
        if self.gaps.len() > KEPT
            && let Some((_, to)) = self.gaps.pop_front()
        {
            self.floor = to;
        }
    }

    /// Whether it is not known what happened after this revision. O(log gaps).
    pub(super) fn has(&self, revision: Revision) -> bool {
        let at = self.gaps.partition_point(|(_, to)| *to <= revision);
        revision < self.floor || self.gaps.get(at).is_some_and(|(from, _)| *from < revision)
    }
}

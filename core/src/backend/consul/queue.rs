//! Queries that are not under way, by when they are due: those that will wait for a change, and those that ask at once.

use alloc::collections::BTreeSet;
use core::time::Duration;

use super::poll::Query;
use crate::time::Instant;

/// What waits for a place longer than this asks at once instead.
pub(super) const ROUND: Duration = Duration::from_secs(15);

/// Queries that have their turn.
#[derive(Debug, Default)]
pub(super) struct Queue {
    asks: BTreeSet<(Instant, Query)>,
    waits: BTreeSet<(Instant, Query)>,
}

impl Queue {
    pub(super) fn put(&mut self, due: Instant, query: Query, waits: bool) {
        let queue = if waits { &mut self.waits } else { &mut self.asks };
        queue.insert((due, query));
    }

    pub(super) fn take(&mut self, due: Instant, query: &Query) {
        let entry = (due, query.clone());
        if !self.waits.remove(&entry) {
            self.asks.remove(&entry);
        }
    }

    /// Which is next, and when. If there is no place to wait, one that wants to goes a round later, and asks at once.
    /// O(log n).
    pub(super) fn next(&self, places: bool) -> Option<(Instant, &Query)> {
        let later = if places { Duration::ZERO } else { ROUND };
        let waits = self.waits.first().map(|(due, query)| (due.saturating_add(later), query));
        let asks = self.asks.first().map(|(due, query)| (*due, query));
        asks.into_iter().chain(waits).min()
    }

    /// Those that were due so long ago.
    pub(super) fn overdue(&self, by: Duration, now: Instant) -> impl Iterator<Item = &Query> {
        let overdue = move |entry: &&(Instant, Query)| now.saturating_since(entry.0) >= by;
        let (asks, waits) = (self.asks.iter().take_while(overdue), self.waits.iter().take_while(overdue));
        asks.chain(waits).map(|(_, query)| query)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Query> {
        self.asks.iter().chain(&self.waits).map(|(_, query)| query)
    }
}

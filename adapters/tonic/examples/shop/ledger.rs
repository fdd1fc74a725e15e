//! What the services have begun with.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Knows each call that a service has begun with, by the customer's request and the step. O(1) a call, and memory for
/// each.
#[derive(Default)]
pub(crate) struct Ledger {
    next: AtomicU64,
    begun: Mutex<HashSet<(&'static str, u64)>>,
    twice: AtomicU64,
}

impl Ledger {
    /// The number of the next request.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A service begins with a step of a request.
    pub(crate) fn begin(&self, step: &'static str, number: u64) {
        if !self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert((step, number)) {
            self.twice.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many calls were begun, each counted once.
    pub(crate) fn calls(&self) -> usize {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many were begun once more.
    pub(crate) fn twice(&self) -> u64 {
        self.twice.load(Ordering::Relaxed)
    }
}

//! One pick: what is asked, what comes of it, and how it ends.

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use super::node::Node;
use crate::fault::Fault;
use crate::name::InstanceId;
use crate::time::Instant;

/// What a pick is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickRequest<'a> {
    /// Sixty-four random bits, fresh for each pick.
    pub random: u64,
    /// The hash of what is to stay at one node, by [`hash_key`](super::hash_key). Only the hashing policies look at it;
    /// without it they take the random bits.
    pub key: Option<u64>,
    /// Instances that are not to be picked: those that were tried before.
    pub exclude: &'a [InstanceId],
}

impl<'a> PickRequest<'a> {
    /// A request with these random bits, and nothing more.
    #[must_use]
    pub const fn new(random: u64) -> Self {
        Self { random, key: None, exclude: &[] }
    }

    /// Sets the hash of what is to stay at one node.
    #[must_use]
    pub const fn with_key(mut self, key: u64) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the instances that are not to be picked.
    #[must_use]
    pub const fn without(mut self, exclude: &'a [InstanceId]) -> Self {
        self.exclude = exclude;
        self
    }

    pub(super) fn excludes(&self, node: &Node) -> bool {
        !self.exclude.is_empty() && self.exclude.contains(node.id())
    }
}

/// Why nobody was picked. Nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// The service has no instances.
    #[error("no instance is registered: wait for one, or check the service's name")]
    Empty,
    /// There are instances, and none of them is up.
    #[error("no instance is up: all are starting, draining or down")]
    NoneUp,
    /// The weights of all instances that are up are zero.
    #[error("every instance has weight 0: give at least one a weight")]
    ZeroWeight,
    /// There are instances that are up, and the view's filter lets none of them pass.
    #[error("no instance passes the filter: loosen it, or end it with a fallback")]
    Filtered,
    /// The request excludes every instance there is.
    #[error("every instance is excluded: try one again, or give up")]
    Excluded,
}

/// How a call ended, as far as it says something of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallOutcome {
    /// The node answered. An answer that blames the caller is one.
    Success,
    /// The node did not answer in time, could not be reached, or said that it cannot serve.
    Failure,
    /// The caller gave up for reasons of its own. It says nothing of the node.
    Cancelled,
}

/// A node that was picked. The call counts as in flight at the node while this lives.
///
/// End it by [`Pick::done`]. Dropped, it counts as neither a success nor a failure.
#[derive(Debug)]
#[must_use = "a pick that is dropped has told nothing of its node"]
pub struct Pick {
    node: Arc<Node>,
    since: Instant,
}

impl Pick {
    pub(super) fn new(node: Arc<Node>, since: Instant) -> Self {
        node.learned.in_flight.fetch_add(1, Relaxed);
        Self { node, since }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// When it was picked.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Ends the call. O(1), without a lock.
    ///
    /// Returns whether the balancer now has something to decide: then its
    /// [`handle_timeout`](super::Balancer::handle_timeout) wants to be called with the present time, soon.
    pub fn done(self, outcome: CallOutcome, now: Instant) -> bool {
        let took = now.saturating_since(self.since);
        let shared = &self.node.shared;
        let streak = self.node.learned.record(outcome, took, now, shared.half_life, &shared.config);
        shared.ended(outcome, streak)
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        if self.node.shared.config.faults.has(Fault::BalancerLeaksCalls) {
            return;
        }
        self.node.learned.in_flight.fetch_sub(1, Relaxed);
    }
}

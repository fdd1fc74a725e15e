//! Which of two nodes is the better one for the next call.

use core::sync::atomic::Ordering::Relaxed;

use super::node::{Learned, ONE, age, left, ticks};
use crate::fault::{Fault, Faults};
use crate::time::Instant;

/// The least share of successes that is reckoned with, of [`ONE`].
const LEAST_SUCCESS: u32 = ONE / 1_024;

/// A node that is compared with another.
pub(super) struct Candidate<'a> {
    pub(super) learned: &'a Learned,
    /// What a call weighs here.
    pub(super) call: u32,
}

impl Candidate<'_> {
    /// What a call weighs at a node of mean weight.
    pub(super) const CALL: u32 = 256;

    /// The load of the node with one more call.
    ///
    /// Of the node that was drawn by weight, that call weighs the same whatever the weight: it has its share by having
    /// been drawn. Of the rival it weighs at least as much as at a mean node, and more at a light one, so that light
    /// nodes do not take what heavy ones can carry.
    fn load(&self, rival: bool) -> u64 {
        let next = if rival { self.call.max(Self::CALL) } else { Self::CALL };
        let in_flight = self.learned.in_flight.load(Relaxed);
        (u64::from(next) + u64::from(in_flight) * u64::from(self.call)).min(1 << 31)
    }

    /// Whether the rival has fewer calls in flight, for its weight.
    pub(super) fn busier_than(&self, rival: &Self) -> bool {
        self.load(false) > rival.load(true)
    }

    /// Whether the rival is cheaper by more than a quarter. Averages are no more exact than that, and what is not
    /// better should not take calls that the weights meant for another.
    pub(super) fn dearer_than(&self, rival: &Self, now: Instant, half_life: u32, faults: Faults) -> bool {
        let (mine, its) = (self.seen(now, half_life), rival.seen(now, half_life));
        let (my_latency, its_latency) = latencies(&mine, &its, faults);
        let mine_cost = u128::from(my_latency * self.load(false)) * u128::from(its.success);
        let its_cost = u128::from(its_latency * rival.load(true)) * u128::from(mine.success);
        its_cost * 5 < mine_cost * 4
    }

    /// What is known of the node.
    fn seen(&self, now: Instant, half_life: u32) -> Seen {
        let latency = u64::from(self.learned.latency.load(Relaxed));
        let failing = self.learned.failing.load(Relaxed);
        let left = left(age(ticks(now), self.learned.stamp.load(Relaxed)), half_life);
        let failing = (u64::from(failing) * u64::from(left) / u64::from(ONE)) as u32;
        Seen { latency, left: u64::from(left), success: ONE.saturating_sub(failing).max(LEAST_SUCCESS) }
    }
}

struct Seen {
    latency: u64,
    /// What of it still counts, of [`ONE`].
    left: u64,
    success: u32,
}

/// The latencies to compare. Nothing is known against a node whose latency is not known; and that a node was the slower
/// one fades with time.
fn latencies(mine: &Seen, its: &Seen, faults: Faults) -> (u64, u64) {
    if mine.latency == 0 || its.latency == 0 {
        return (1, 1);
    }
    let faded = |slow: &Seen, fast: &Seen| {
        let left = if faults.has(Fault::BalancerNeverRetries) { u64::from(ONE) } else { slow.left };
        fast.latency + (slow.latency - fast.latency) * left / u64::from(ONE)
    };
    if mine.latency > its.latency { (faded(mine, its), its.latency) } else { (mine.latency, faded(its, mine)) }
}

//! What the balancer, its pickers and its nodes share.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicU32};

use super::config::BalanceConfig;
use super::node::ticks_of;
use super::pick::CallOutcome;

/// What the balancer tells its nodes, and they it. Read often and written seldom.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: BalanceConfig,
    pub(super) half_life: u32,
    /// Something is to be decided.
    attention: AtomicBool,
    /// No interval runs, because no call has ended for one.
    resting: AtomicBool,
}

impl Shared {
    pub(super) fn new(config: BalanceConfig) -> Self {
        let resting = AtomicBool::new(config.outlier.failure_share > 0);
        Self { half_life: ticks_of(config.half_life), config, attention: AtomicBool::new(false), resting }
    }

    /// A call has ended. Returns whether the balancer should look.
    pub(super) fn ended(&self, outcome: CallOutcome, streak: u32) -> bool {
        let limit = self.config.outlier.consecutive;
        let ejects = limit > 0 && streak > 0 && streak.is_multiple_of(limit);
        let wakes =
            outcome != CallOutcome::Cancelled && self.resting.load(Relaxed) && self.resting.swap(false, Relaxed);
        if ejects || wakes {
            // Whoever sees it sees the failures, too.
            self.attention.store(true, Release);
        }
        ejects || wakes
    }

    /// The default weight, in the units in which members are weighed.
    pub(super) fn unit_weight(&self) -> u64 {
        u64::from(self.config.default_weight.max(1)) * u64::from(self.config.full())
    }

    pub(super) fn wants_attention(&self) -> bool {
        self.attention.load(Relaxed)
    }

    pub(super) fn take_attention(&self) -> bool {
        self.attention.swap(false, Acquire)
    }

    pub(super) fn rest(&self) {
        self.resting.store(true, Relaxed);
    }

    pub(super) fn rests(&self) -> bool {
        self.resting.load(Relaxed)
    }
}

/// Where a round robin is. It is written at every pick, and has its cache lines for itself.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Cursor {
    next: AtomicU32,
}

impl Cursor {
    pub(super) fn new(start: u32) -> Self {
        Self { next: AtomicU32::new(start) }
    }

    pub(super) fn advance(&self) -> u32 {
        self.next.fetch_add(1, Relaxed)
    }
}

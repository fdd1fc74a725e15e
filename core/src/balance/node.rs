//! What is known of an instance, shared by all who call it: 32-bit atomics, no lock.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;

use super::config::BalanceConfig;
use super::pick::CallOutcome;
use super::shared::Shared;
use crate::fault::Fault;
use crate::instance::ServiceInstance;
use crate::name::InstanceId;
use crate::packed::Instance;
use crate::time::{Instant, micros};

/// An instance that can be picked, as it looks now, with what all pickers have learned of it.
///
/// Aligned so that the count of those who hold one is alone in its cache line: every pick writes it.
#[repr(align(64))]
pub struct Node {
    pub(super) packed: Instance,
    pub(super) instance: ServiceInstance,
    pub(super) learned: Arc<Learned>,
    pub(super) shared: Arc<Shared>,
}

impl Node {
    /// The instance.
    #[must_use]
    pub const fn instance(&self) -> &ServiceInstance {
        &self.instance
    }

    /// The instance, packed.
    #[must_use]
    pub const fn packed(&self) -> &Instance {
        &self.packed
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &InstanceId {
        &self.instance.id
    }

    /// What is known of it now.
    #[must_use]
    pub fn stats(&self) -> NodeStats {
        let learned = &*self.learned;
        let latency = learned.latency.load(Relaxed);
        NodeStats {
            in_flight: learned.in_flight.load(Relaxed),
            latency: (latency != 0).then(|| Duration::from_nanos(u64::from(latency) * 1_000 / LATENCY_UNIT)),
            failures_per_mille: (u64::from(learned.failing.load(Relaxed)) * 1_000 / u64::from(ONE)) as u32,
            failures_in_a_row: learned.streak.load(Relaxed),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", self.id()).field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// What is known of an instance, for people and metrics. Each number is right; together they may be of different moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeStats {
    /// Picks that have not ended.
    pub in_flight: u32,
    /// The moving average of its latency. `None`: no call has ended yet.
    pub latency: Option<Duration>,
    /// The moving average of its failures.
    pub failures_per_mille: u32,
    /// Failures since its last success.
    pub failures_in_a_row: u32,
}

/// Latencies are kept in sixteenths of a microsecond, so that averages of short ones lose nothing; at most 268 s.
const LATENCY_UNIT: u64 = 16;
/// The whole of a share, of failures or of what is left of them.
pub(super) const ONE: u32 = 1 << 16;
/// A sample weighs at least an eighth, as in TCP's smoothed round-trip time.
const LEAST_SAMPLE: u32 = ONE / 8;

/// Time as nodes keep it: units of 4.096 ms, wrapping after 203 days. An instance without a call for half as long may
/// pass for one that was called just now.
pub(super) const fn ticks(now: Instant) -> u32 {
    (now.as_micros() >> 12) as u32
}

/// A span in ticks, at least one.
pub(super) fn ticks_of(span: Duration) -> u32 {
    u32::try_from(micros(span) >> 12).unwrap_or(u32::MAX).max(1)
}

/// What all pickers learn of one instance. It has its cache line for itself, so that threads that call different
/// instances do not meet.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Learned {
    /// Picks that have not ended.
    pub(super) in_flight: AtomicU32,
    /// The average latency in sixteenths of a microsecond. Zero: not known yet.
    pub(super) latency: AtomicU32,
    /// The average share of failures, of [`ONE`].
    pub(super) failing: AtomicU32,
    /// When a call has ended last, in ticks.
    pub(super) stamp: AtomicU32,
    /// Failures since the last success.
    pub(super) streak: AtomicU32,
    /// Calls that ended in this interval, and those of them that failed.
    pub(super) calls: AtomicU32,
    pub(super) failures: AtomicU32,
}

impl Learned {
    /// Counts a call that has ended. O(1), without a lock. Returns the failures in a row.
    pub(super) fn record(
        &self,
        outcome: CallOutcome,
        took: Duration,
        now: Instant,
        half_life: u32,
        config: &BalanceConfig,
    ) -> u32 {
        let failed = match outcome {
            CallOutcome::Success => false,
            CallOutcome::Failure => true,
            CallOutcome::Cancelled if config.faults.has(Fault::BalancerCountsCancels) => true,
            CallOutcome::Cancelled => return 0,
        };
        let now = ticks(now);
        let before = self.stamp.swap(now, Relaxed);
        let weight = (ONE - left(age(now, before), half_life)).max(LEAST_SAMPLE);
        let sample = u32::try_from(micros(took).saturating_mul(LATENCY_UNIT)).unwrap_or(u32::MAX).max(1);
        update(&self.latency, |known| match known {
            0 => sample,
            // A node that fails at once is not a fast node.
            _ if failed && sample < known => known,
            _ => towards(known, sample, weight).max(1),
        });
        update(&self.failing, |known| towards(known, if failed { ONE } else { 0 }, weight));
        self.calls.fetch_add(1, Relaxed);
        if failed {
            self.failures.fetch_add(1, Relaxed);
            self.streak.fetch_add(1, Relaxed).wrapping_add(1)
        } else {
            // Most calls succeed after one that did: then nothing is written.
            if self.streak.load(Relaxed) != 0 {
                self.streak.store(0, Relaxed);
            }
            0
        }
    }

    /// Forgets failures: the node gets another chance.
    pub(super) fn pardon(&self) {
        for count in [&self.failing, &self.streak, &self.calls, &self.failures] {
            count.store(0, Relaxed);
        }
    }
}

fn update(cell: &AtomicU32, change: impl Fn(u32) -> u32) {
    let mut known = cell.load(Relaxed);
    loop {
        match cell.compare_exchange_weak(known, change(known), Relaxed, Relaxed) {
            Ok(_) => return,
            Err(newer) => known = newer,
        }
    }
}

/// The average, moved towards a sample of this weight.
fn towards(known: u32, sample: u32, weight: u32) -> u32 {
    let (known, sample, weight) = (u64::from(known), u64::from(sample), u64::from(weight));
    ((known * (u64::from(ONE) - weight) + sample * weight + u64::from(ONE / 2)) / u64::from(ONE)) as u32
}

/// The ticks since `then`. Clocks of threads differ a little: what lies ahead counts as now.
pub(super) const fn age(now: u32, then: u32) -> u32 {
    let age = now.wrapping_sub(then);
    if age > u32::MAX / 2 { 0 } else { age }
}

/// What is left of [`ONE`] after this time: half of it after each half-life, and in between on a straight line.
pub(super) const fn left(age: u32, half_life: u32) -> u32 {
    if age == 0 {
        return ONE;
    }
    let halvings = age / half_life;
    if halvings >= 16 {
        return 0;
    }
    let whole = ONE >> halvings;
    let part = (age % half_life) as u64 * (whole / 2) as u64 / half_life as u64;
    whole - part as u32
}

//! How a balancer behaves.

use core::time::Duration;

use smol_str::SmolStr;

use crate::fault::Faults;

/// How a picker chooses among the instances that may be called.
///
/// Every policy honours weights. Each pick costs O(1), but for [`Policy::Ring`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The cheaper of two: one drawn by weight, and a rival. A node costs its latency times its calls in flight for
    /// its weight, over its share of successes.
    ///
    /// Latency and successes are moving averages. What is known of a node fades, so that one that was slow or failing
    /// is tried again. Costs within a quarter of each other count as equal, and then the weights alone decide.
    #[default]
    P2c,
    /// Smooth weighted round robin: 5, 1, 1 gives a a b a c a a.
    WeightedRoundRobin,
    /// Drawn by weight.
    WeightedRandom,
    /// The one of two with fewer calls in flight for its weight: one drawn by weight, and a rival.
    LeastRequest,
    /// Consistent hashing on a ring, with points by weight. O(log points).
    ///
    /// When one instance comes or goes, only its own keys move. With 160 points for the default weight, the shares of
    /// equal instances differ by about a twelfth.
    Ring,
    /// Consistent hashing by a Maglev table. O(1).
    ///
    /// Shares follow the weights closely, and a pick is one look into a table. For it, some keys move that need not
    /// when the set changes.
    Maglev,
}

/// How a newcomer is eased in: its weight grows in equal steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowStart {
    /// How long it takes to come to full weight. Zero: it has that at once.
    pub window: Duration,
    /// In how many steps, from 1 to 100; each makes a new picker.
    pub steps: u32,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { window: Duration::from_secs(10), steps: 10 }
    }
}

/// When an instance that fails is left out for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierConfig {
    /// So many failures in a row eject. Zero: they do not.
    pub consecutive: u32,
    /// Such a share of failures in one interval ejects, in percent. Zero: it does not.
    pub failure_share: u32,
    /// A share of fewer calls than this says nothing.
    pub minimum_calls: u32,
    /// How often shares are looked at.
    pub interval: Duration,
    /// How long the first ejection lasts. Each that follows soon lasts twice as long.
    pub base: Duration,
    /// How long an ejection lasts at most.
    pub max: Duration,
    /// The share of the instances that may be ejected at once, in percent. One of two or more always may, and the last
    /// one never.
    pub max_share: u32,
}

impl Default for OutlierConfig {
    fn default() -> Self {
        Self {
            consecutive: 5,
            failure_share: 50,
            minimum_calls: 20,
            interval: Duration::from_secs(10),
            base: Duration::from_secs(10),
            max: Duration::from_secs(300),
            max_share: 30,
        }
    }
}

impl OutlierConfig {
    /// Nobody is ejected.
    #[must_use]
    pub fn off() -> Self {
        Self { consecutive: 0, failure_share: 0, ..Self::default() }
    }
}

/// Calls only some of many instances: the same ones as long as they are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// What tells this client from others: its own instance id, say. Clients with one key have one subset.
    pub key: SmolStr,
    /// How many instances. Zero: all.
    pub size: usize,
}

/// What of the past a balancer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// How many instances that left are remembered.
    pub instances: usize,
    /// For how long.
    pub time: Duration,
}

impl Default for Memory {
    fn default() -> Self {
        Self { instances: 1_000, time: Duration::from_secs(300) }
    }
}

/// How a [`Balancer`](super::Balancer) behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalanceConfig {
    /// How it chooses.
    pub policy: Policy,
    /// The weight of an instance that says none, at least 1.
    pub default_weight: u32,
    /// Newcomers are eased in.
    pub slow_start: SlowStart,
    /// Those who fail are left out.
    pub outlier: OutlierConfig,
    /// After how long what is known of an instance's latency and failures counts half.
    pub half_life: Duration,
    /// Only some of the instances are called.
    pub subset: Option<Subset>,
    /// Instances that left are remembered.
    pub memory: Memory,
    /// The steps of a round-robin schedule, about; it has as many more as there are instances. Weights that need a
    /// longer one are rounded.
    pub schedule: usize,
    /// Where in its schedule a round robin begins. Without it the seed says, so that a fleet of clients that start
    /// together does not begin at one instance.
    pub start: Option<u32>,
    /// The points of a ring at most, about. A ring that needs more has fewer for each instance.
    pub points: usize,
    /// How many views are held at most. A view that nobody asked for lately makes room for the next.
    pub views: usize,
    /// Planted bugs, for tests of the tests.
    pub faults: Faults,
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            default_weight: 100,
            slow_start: SlowStart::default(),
            outlier: OutlierConfig::default(),
            half_life: Duration::from_secs(5),
            subset: None,
            memory: Memory::default(),
            schedule: 16_384,
            start: None,
            points: 1 << 18,
            views: 64,
            faults: Faults::default(),
        }
    }
}

impl BalanceConfig {
    /// The defaults with this policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }
}

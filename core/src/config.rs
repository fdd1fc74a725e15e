//! What a registry allows, and how long it waits.

use core::time::Duration;

use crate::fault::Faults;
use crate::instance::InstanceLimits;

/// Bounds on what a registry holds: its memory is a function of them. Each is enforced at the door with an error
/// that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Instances in all.
    pub instances: usize,
    /// Instances of one service.
    pub instances_per_service: usize,
    /// Services that have instances.
    pub services: usize,
    /// Namespaces that have services.
    pub namespaces: usize,
    /// Watches.
    pub watches: usize,
    /// Services and prefixes of one watch.
    pub selectors_per_watch: usize,
    /// Overlays.
    pub overlays: usize,
    /// Instances that are blocked after an eviction.
    pub blocks: usize,
    /// The bytes of all instances.
    pub bytes: usize,
    /// The bytes of the change log, about.
    pub log_bytes: usize,
    /// The entries of the change log.
    pub log_entries: usize,
    /// Leases that have ended and are remembered, so that a late holder can be told how; and as many commands that
    /// were given up and must not take effect when they arrive late.
    pub ended: usize,
    /// What one instance may say.
    pub instance: InstanceLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            instances: 100_000,
            instances_per_service: 10_000,
            services: 20_000,
            namespaces: 1_000,
            watches: 200_000,
            selectors_per_watch: 1_000,
            overlays: 10_000,
            blocks: 10_000,
            bytes: 256 * 1024 * 1024,
            log_bytes: 16 * 1024 * 1024,
            log_entries: 65_536,
            ended: 16_384,
            instance: InstanceLimits::default(),
        }
    }
}

/// Bounds on a lease's time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlLimits {
    /// The shortest.
    pub min: Duration,
    /// That of a registration that names none.
    pub default: Duration,
    /// The longest.
    pub max: Duration,
}

impl Default for TtlLimits {
    fn default() -> Self {
        Self { min: Duration::from_secs(3), default: Duration::from_secs(30), max: Duration::from_secs(24 * 3600) }
    }
}

/// What becomes of a registration whose id somebody else holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Collision {
    /// It takes the id; the other holder is told at its next call.
    #[default]
    Supersede,
    /// It is refused as long as the other holder renews.
    Refuse,
}

/// When too many instances expire at once to believe that they all died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlarmConfig {
    /// The share of a namespace, in percent. 100 or more: no alarm.
    pub share: u32,
    /// The time within which they expire.
    pub window: Duration,
    /// Fewer than this many raise no alarm.
    pub minimum: usize,
    /// How much longer the instances that raise the alarm are kept, once each, for their holders to come back.
    /// Zero: they go at once.
    pub hold: Duration,
}

impl Default for AlarmConfig {
    fn default() -> Self {
        Self { share: 15, window: Duration::from_secs(60), minimum: 10, hold: Duration::ZERO }
    }
}

/// How a [`Registry`](crate::Registry) behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What it holds at most.
    pub limits: Limits,
    /// How long leases live.
    pub ttl: TtlLimits,
    /// Who gets an id that is held.
    pub collision: Collision,
    /// How long a registry that began without its old state says that what it does not list proves nothing. The
    /// default, 90 s, is more than a client's longest back-off (30 s), its spread (at most a third of a ttl) and the
    /// slowest renewal together.
    pub warm_up: Duration,
    /// A driver that comes later than this to a deadline has stalled, and then the leases get the time back.
    pub stall_threshold: Duration,
    /// How long a watch that is ahead of this registry waits for it.
    pub behind_wait: Duration,
    /// When to sound the alarm.
    pub alarm: AlarmConfig,
    /// Planted bugs, for tests of the tests.
    pub faults: Faults,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            ttl: TtlLimits::default(),
            collision: Collision::default(),
            warm_up: Duration::from_secs(90),
            stall_threshold: Duration::from_secs(1),
            behind_wait: Duration::from_secs(10),
            alarm: AlarmConfig::default(),
            faults: Faults::default(),
        }
    }
}

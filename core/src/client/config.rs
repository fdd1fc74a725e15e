//! How a client behaves.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use smol_str::SmolStr;

use crate::fault::Faults;
use crate::instance::InstanceLimits;

/// How a client behaves, whatever the registry speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Where the registry is: `http://HOST:PORT` or `https://HOST:PORT`, tried in turn. Not empty for a backend that
    /// has a network.
    pub origins: Vec<String>,
    /// Headers of every request, such as the one that says who calls.
    pub headers: Vec<(SmolStr, SmolStr)>,
    /// Those who lose a live connection come back within this time or a third of their shortest ttl, whichever is
    /// less, and not all at once.
    pub spread: Duration,
    /// A watch that hears nothing for this long is taken for dead. More than the registry's keep-alive.
    pub silence: Duration,
    /// How long something is followed after the last who asked.
    pub linger: Duration,
    /// How long deregistrations are tried when the client closes. Then leases end by themselves. Who deregisters with a
    /// client that stays open waits no longer than this either, and the client goes on trying.
    pub last_word: Duration,
    /// How long an answer may take, streams apart.
    pub call_timeout: Duration,
    /// How often a watch reports at most up to where its holders have applied what it was told; `None`: never.
    pub report_every: Option<Duration>,
    /// Requests that are outstanding at once, streams and their reports apart.
    pub in_flight: usize,
    /// Whether the last known sets are to be kept for a cold start while the registry is down.
    pub remember: bool,
    /// Bounds on what the client holds.
    pub limits: ClientLimits,
    /// Planted bugs, for tests of the tests.
    pub faults: Faults,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            headers: Vec::new(),
            spread: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            linger: Duration::from_secs(30),
            last_word: Duration::from_secs(3),
            call_timeout: Duration::from_secs(10),
            report_every: Some(Duration::from_secs(1)),
            in_flight: 64,
            remember: false,
            limits: ClientLimits::default(),
            faults: Faults::default(),
        }
    }
}

/// Bounds on what a client holds: its memory is a function of them and of what the registry lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Registrations.
    pub registrations: usize,
    /// Services and prefixes that are followed.
    pub selectors: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// The longest answer, in bytes.
    pub body: usize,
    /// The longest event of a stream, in bytes.
    pub event: usize,
    /// The most bytes of events that may come before the delivery that they belong to is complete.
    pub delivery: usize,
    /// What one instance may say.
    pub instance: InstanceLimits,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            registrations: 100_000,
            selectors: 1_000,
            subscriptions: 100_000,
            body: 64 << 20,
            event: 1 << 20,
            delivery: 256 << 20,
            instance: InstanceLimits::default(),
        }
    }
}

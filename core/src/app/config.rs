//! How an application lives.

use core::time::Duration;

use crate::fault::Faults;

/// What a [`Lifecycle`](super::Lifecycle) has to do, and how long each step may take.
///
/// [`Duration::MAX`] is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleConfig {
    /// How many servers there are.
    pub servers: usize,
    /// How many registries it is registered in.
    pub registrars: usize,
    /// How long all servers together may take to bind, and again to accept.
    pub start_timeout: Duration,
    /// How long the hooks of one phase may take together.
    pub hook_timeout: Duration,
    /// How long registering may take, and again deregistering.
    pub registrar_timeout: Duration,
    /// How long it serves on after it was deregistered, so that those who watch have heard of it. Not waited if it was
    /// never registered, or if no server runs any more.
    pub drain: Duration,
    /// How long the servers may take to stop. Then they are aborted.
    pub stop_timeout: Duration,
    /// What to do if no registry answers at the start.
    pub registry_down: RegistryDown,
    /// What to do when a registration ends that was not asked to.
    pub when_ended: WhenEnded,
    /// Planted bugs, for tests of the tests.
    pub faults: Faults,
}

impl Default for LifecycleConfig {
    fn default() -> Self {
        Self {
            servers: 0,
            registrars: 0,
            start_timeout: Duration::from_secs(30),
            hook_timeout: Duration::from_secs(30),
            registrar_timeout: Duration::from_secs(10),
            drain: Duration::from_secs(3),
            stop_timeout: Duration::from_secs(10),
            registry_down: RegistryDown::Fail,
            when_ended: WhenEnded::KeepServing,
            faults: Faults::default(),
        }
    }
}

/// What to do if a registry has not answered when the time for registering is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistryDown {
    /// Stop: whoever started the application sees that it cannot be found.
    #[default]
    Fail,
    /// Serve, and go on trying: it is registered as soon as the registry is there.
    KeepTrying,
}

/// What to do when a registration ends that was not asked to: another holder has the id, or the registry refuses it
/// from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenEnded {
    /// Serve on: there are calls under way, and those who know the address.
    #[default]
    KeepServing,
    /// Leave, as on a signal.
    Stop,
}

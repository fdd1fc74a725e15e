//! How a program dials.

use core::time::Duration;

use smol_str::SmolStr;

use crate::fault::Faults;

/// How a program dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialConfig {
    /// The scheme of the endpoints that are dialled: `grpc`, or `grpcs` with TLS; there is no falling back.
    pub scheme: SmolStr,
    /// How many instances are connected at most: 25, as with Kratos; 0 for all. Which they are differs from one machine
    /// to the next and changes little when the list does; those that take no calls come last.
    pub subset: usize,
    /// Whether an instance is asked whether it serves, and not called before it says so.
    pub health: bool,
    /// What calls do while nobody is listed who could be called.
    pub empty: EmptyPolicy,
    /// How long a call waits at most until somebody can be called: 5 s.
    pub wait: Duration,
    /// How long those who were connected first wait for the others, when nobody was listed before: 200 ms.
    pub gather: Duration,
    /// How long it may take to connect, and again to say for the first time whether it serves: 5 s.
    pub connect_timeout: Duration,
    /// The longest back-off, 10 s; above [`Backoff::CAP`](crate::client::Backoff::CAP) it is that.
    pub backoff_cap: Duration,
    /// How long the calls to an instance that is no longer listed may go on: 30 s.
    pub linger: Duration,
    /// Planted bugs, for tests of the tests.
    pub faults: Faults,
}

/// What calls do while the registry says that there is no instance, or none with an endpoint of the scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmptyPolicy {
    /// They fail at once.
    #[default]
    Fail,
    /// They wait for one, as long as calls [wait](DialConfig::wait).
    Wait,
    /// They go to those who were there last, for this long; then they fail at once.
    KeepLast(Duration),
}

impl DialConfig {
    /// What is usual, for endpoints of this scheme.
    #[must_use]
    pub fn new(scheme: impl Into<SmolStr>) -> Self {
        Self {
            scheme: scheme.into(),
            subset: 25,
            health: false,
            empty: EmptyPolicy::default(),
            wait: Duration::from_secs(5),
            gather: Duration::from_millis(200),
            connect_timeout: Duration::from_secs(5),
            backoff_cap: Duration::from_secs(10),
            linger: Duration::from_secs(30),
            faults: Faults::default(),
        }
    }
}

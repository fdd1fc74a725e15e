//! The client's side: one contract, whatever the registry speaks.
//!
//! A [`Backend`] is a client of some registry as a pure machine. It takes commands (register, update, deregister, watch,
//! unwatch, close) and what came of its requests, and yields requests, events and timeouts. The driver supplies
//! transport and time and decides nothing.
//!
//! # The driver's loop
//!
//! 1. Feed one input: a command, an [`Input`] of a request, or [`Backend::handle_timeout`] when
//!    [`Backend::poll_timeout`] has come. What was received goes before a timeout.
//! 2. Drain [`Backend::poll_transmit`]: send or drop requests.
//! 3. Drain [`Backend::poll_event`]: tell those who wait.
//! 4. Sleep until [`Backend::poll_timeout`], the next command, or the next input of a request.
//!
//! Outputs may be left undrained as long as one likes: they are bounded and coalesce. A subscription is a place and not
//! a queue: [`Backend::poll_update`] gives the one difference between what its holder has seen and what is known.
//!
//! # What a client promises
//!
//! - It never gives up: a registration is tried again for ever, a watch is resumed for ever. Being superseded is an
//!   answer, and so is a refusal that no repetition would change.
//! - It says `Registered` only while the last acknowledged renewal, counted from when it was *sent*, still covers now.
//! - It never takes an outage for an empty list: what it knew stays, marked stale, and after the resync there is one
//!   difference, the one that really happened.
//! - Its last word is the deregistration: nothing registers after it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::catalog::Selector;
use crate::http::{Failure, Head, Input, RequestId, Transmit};
use crate::instance::{InstanceError, InstanceLimits, Patch, ServiceInstance};
use crate::name::{InstanceId, Key, Namespace, ServiceName};
use crate::packed::Instance;
use crate::protocol::Problem;
use crate::registry::Outcome;
use crate::set::{Change, Cursor};
use crate::time::Instant;

pub use advertise::{AdvertiseError, check_advertised};
pub use backoff::Backoff;
pub use config::{ClientConfig, ClientLimits};
pub use machine::Machine;

mod advertise;
pub(crate) mod backoff;
pub(crate) mod calls;
mod config;
#[cfg_attr(not(feature = "registration"), path = "client/unheld.rs")]
pub(crate) mod holding;
pub(crate) mod link;
pub(crate) mod machine;
pub mod subscription;
pub mod url;

/// A client of a registry, as a machine. See the [module](self) for the loop that drives it.
///
/// Every pair of state and input has a defined result: an input for a request that is not outstanding, a registration
/// that has ended or a subscription that was closed does nothing. Time that runs backwards stands still.
pub trait Backend: fmt::Debug + Send {
    // Commands.

    /// Sees to it that an instance is registered, until [`deregister`](Self::deregister). An instance that this client
    /// has registered already (same namespace, service and id) is updated, and keeps its id here.
    ///
    /// # Errors
    /// If the instance breaks a limit, or the client is closed; nothing was changed.
    #[cfg(feature = "registration")]
    fn register(&mut self, registration: &Registration, now: Instant) -> Result<RegistrationId, CommandError>;

    /// Changes what is registered, now and whenever it is registered again.
    ///
    /// # Errors
    /// If the instance would break a limit, or the registration has ended; nothing was changed.
    #[cfg(feature = "registration")]
    fn update(&mut self, id: RegistrationId, patch: &Patch, now: Instant) -> Result<(), CommandError>;

    /// Takes an instance out, for good. It is gone from the registry when its state is
    /// [`Deregistered`](RegistrationState::Deregistered), which comes after a bounded time. Once more does nothing.
    #[cfg(feature = "registration")]
    fn deregister(&mut self, id: RegistrationId, now: Instant);

    /// Follows a service, or all whose names begin alike. Another subscription to the same shares all but its place.
    ///
    /// # Errors
    /// If there are too many, or the client is closed; nothing was changed.
    fn watch(&mut self, selector: &Selector, now: Instant) -> Result<SubscriptionId, CommandError>;

    /// Ends a subscription. What it followed is kept up for [`ClientConfig::linger`], for the next who asks.
    fn unwatch(&mut self, id: SubscriptionId, now: Instant);

    /// Lets go of whatever it takes to follow something, for a client that nobody looks at: no connection is held open for
    /// it, and what is known is stale since now. What is registered stays so. Once more does nothing.
    fn suspend(&mut self, now: Instant);

    /// Follows again what is followed: each subscription is given the one difference that there is by then.
    fn resume(&mut self, now: Instant);

    /// Deregisters everything, ends all subscriptions, and refuses further commands. Bounded by
    /// [`ClientConfig::last_word`].
    fn close(&mut self, now: Instant);

    // Inputs.

    /// The head of an answer has come.
    fn handle_response(&mut self, id: RequestId, head: &Head, now: Instant);

    /// A piece of a body has come.
    fn handle_chunk(&mut self, id: RequestId, chunk: &[u8], now: Instant);

    /// A body is complete.
    fn handle_end(&mut self, id: RequestId, now: Instant);

    /// There is no answer, or no more of it.
    fn handle_failure(&mut self, id: RequestId, failure: &Failure, now: Instant);

    /// Time has passed.
    fn handle_timeout(&mut self, now: Instant);

    /// The machine that the client runs on says that its network is back, or that it was woken: what waits for a retry
    /// is tried at once.
    fn handle_online(&mut self, now: Instant);

    /// One of the inputs above.
    fn handle_input(&mut self, id: RequestId, input: &Input, now: Instant) {
        match input {
            Input::Response(head) => self.handle_response(id, head, now),
            Input::Chunk(chunk) => self.handle_chunk(id, chunk, now),
            Input::End => self.handle_end(id, now),
            Input::Failure(failure) => self.handle_failure(id, failure, now),
        }
    }

    // Outputs.

    /// The next thing to send or drop. May change after any input.
    #[must_use]
    fn poll_transmit(&mut self) -> Option<Transmit>;

    /// The next thing that happened. May change after any input.
    #[must_use]
    fn poll_event(&mut self) -> Option<ClientEvent>;

    /// What a subscription has not seen. `None`: nothing. O(changes).
    ///
    /// Who takes it has applied it, as far as the registry is told. So this may bring
    /// [`poll_timeout`](Self::poll_timeout) forward.
    #[must_use]
    fn poll_update(&mut self, id: SubscriptionId) -> Option<Update>;

    /// The last known sets as bytes to keep, if they are to be remembered and have changed since.
    #[must_use]
    fn poll_cache(&mut self) -> Option<Vec<u8>>;

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[must_use]
    fn poll_timeout(&self) -> Option<Instant>;

    // Getters.

    /// What became of a registration. `None`: it was never made, or has been forgotten after its end.
    #[cfg(feature = "registration")]
    #[must_use]
    fn registration(&self, id: RegistrationId) -> Option<RegistrationView>;

    /// What a subscription shows. O(instances).
    #[must_use]
    fn view(&self, id: SubscriptionId) -> Option<View>;

    /// What the client did so far.
    #[must_use]
    fn counters(&self) -> Counters;

    /// Whether it is closed and has nothing left to do.
    #[must_use]
    fn is_closed(&self) -> bool;
}

/// A client of any registry.
pub type BoxedBackend = Box<dyn Backend>;

/// Names a registration within one client. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationId(pub u64);

/// Names a subscription within one client. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub u64);

/// The shortest ttl that is taken.
const SHORTEST_TTL: Duration = Duration::from_millis(1);
/// The longest one.
const LONGEST_TTL: Duration = Duration::from_secs(24 * 3600);

/// What is to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Where.
    pub namespace: Namespace,
    /// What.
    pub instance: ServiceInstance,
    /// How long it lives without a renewal; the registry's default, if it does not say.
    pub ttl: Option<Duration>,
}

impl Registration {
    /// A registration in the default namespace with the registry's default ttl.
    #[must_use]
    pub fn new(instance: ServiceInstance) -> Self {
        Self { namespace: Namespace::default(), instance, ttl: None }
    }

    /// What it is told apart by.
    #[must_use]
    pub fn key(&self) -> Key {
        Key { namespace: self.namespace.clone(), service: self.instance.name.clone(), id: self.instance.id.clone() }
    }

    /// Checks what can be checked before a registry is asked.
    pub(crate) fn check(&self, limits: &InstanceLimits) -> Result<(), CommandError> {
        Instance::new(&self.instance, limits)?;
        match self.ttl.filter(|ttl| *ttl < SHORTEST_TTL || *ttl > LONGEST_TTL) {
            Some(given) => Err(CommandError::Ttl { given }),
            None => Ok(()),
        }
    }
}

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The client is closed.
    #[error("the client is closed: open another one")]
    Closed,
    /// The instance breaks a limit.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// There is too much of something.
    #[error("this client holds {limit} {what} and no more: end some, or raise the limit")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The registry, or those who read from it, would choke on this.
    #[error("{field}: {problem}")]
    Unfit {
        /// What.
        field: SmolStr,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The registration has ended, or was never made.
    #[error("the registration has ended: register anew")]
    Ended,
    /// The ttl is out of what any registry takes.
    #[error("ttl is {given:?}: use 1ms to 24h")]
    Ttl {
        /// What was given.
        given: Duration,
    },
}

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationState {
    /// It is being made, for the first time.
    Registering,
    /// The registry has it, and the last acknowledged renewal still covers now.
    Registered,
    /// It was registered and is not for sure any more. It is being made again.
    Lost(Loss),
    /// It is being taken out.
    Deregistering,
    /// Another holder has the id. Final.
    Superseded,
    /// The registry refuses it, and would do so again. Final.
    Refused(Problem),
    /// It was taken out. Final.
    Deregistered {
        /// Whether the registry has said so, or it was never there; otherwise its lease ends by itself.
        confirmed: bool,
    },
}

impl RegistrationState {
    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Superseded | Self::Refused(_) | Self::Deregistered { .. })
    }
}

/// How a registration was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// No renewal was acknowledged for so long that the lease may have ended.
    Lapsed,
    /// The registry says so: the code it gives, such as `lease_expired`.
    Told(SmolStr),
}

/// A registration as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationView {
    /// What became of it.
    pub state: RegistrationState,
    /// Until when the last acknowledged renewal covers it, with a margin for clocks that drift; `None` if it is not
    /// registered.
    pub until: Option<Instant>,
    /// Which holder of the id this is or was last, if the registry counts them.
    pub generation: Option<u64>,
    /// How long it lives without a renewal; `None` if it is not held.
    pub ttl: Option<Duration>,
    /// What the registry made of the last registration that it took, if it says.
    pub outcome: Option<Outcome>,
    /// How often it was registered.
    pub registered: u64,
    /// What is wanted.
    pub instance: ServiceInstance,
    /// Whether the registry has what is wanted, and not an older version of it.
    pub current: bool,
    /// Why the last attempt failed, if it did.
    pub problem: Option<String>,
}

/// How far what a subscription shows can be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provenance {
    /// Nothing was heard yet: what is shown, nothing, says nothing.
    #[default]
    Unknown,
    /// It is the registry's word, and the connection lives.
    Live,
    /// The registry has lost its memory and is warming up: some of it is what was known before, and what is not shown
    /// may be there.
    Unconfirmed,
    /// The registry cannot be heard: it is what was known then.
    Stale {
        /// When the registry was last heard.
        since: Instant,
    },
}

/// Why instances went, by service and id, the latest cause: `expired`, `deregistered`, `evicted` …
pub type Causes = BTreeMap<(ServiceName, InstanceId), SmolStr>;

/// What a subscription has not seen yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// What changed, at most one change an instance, ordered by service and id; none if only the provenance did.
    pub changes: Vec<Change>,
    /// Why those that are removed went, as far as that was told.
    pub causes: Causes,
    /// How far it can be believed.
    pub provenance: Provenance,
    /// The place in the registry's history, if the backend has one.
    pub cursor: Option<Cursor>,
}

/// What a subscription shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The instances, ordered by service and id.
    pub instances: Vec<Instance>,
    /// How far it can be believed.
    pub provenance: Provenance,
    /// The place in the registry's history, if the backend has one.
    pub cursor: Option<Cursor>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The state of a registration is another one. Coalesced: the latest counts.
    Registration(RegistrationId, RegistrationState),
    /// The registry refuses a registration for now: its id is taken or blocked, or the registry is full or busy.
    Deferred {
        /// Which.
        id: RegistrationId,
        /// What the registry says.
        problem: Problem,
        /// When the next attempt comes.
        retry_in: Duration,
    },
    /// A subscription has something for [`Backend::poll_update`].
    Update(SubscriptionId),
    /// Requests of this kind are answered, after they were not, or for the first time.
    Connected {
        /// Which.
        channel: Channel,
        /// By whom.
        origin: SmolStr,
    },
    /// Requests of this kind fail.
    Disconnected {
        /// Which.
        channel: Channel,
        /// At whom.
        origin: SmolStr,
        /// Why.
        reason: String,
        /// When the next attempt comes.
        retry_in: Duration,
    },
    /// An entry that is no instance was skipped; the others were taken.
    Skipped {
        /// What is wrong with it.
        problem: String,
    },
    /// A watch was refused. It is tried again all the same.
    WatchRefused(Problem),
    /// The registry sounds its alarm: many expired at once.
    Alarm {
        /// In which namespace.
        namespace: SmolStr,
        /// How many.
        expired: u64,
        /// Of how many.
        of: u64,
    },
    /// The alarm is over.
    AlarmEnded {
        /// In which namespace.
        namespace: SmolStr,
    },
    /// The client is closed and has nothing left to do.
    Closed,
}

/// The two kinds of requests that fail and recover apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Registrations, renewals, deregistrations.
    Calls,
    /// Watches.
    Watch,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Calls => "calls",
            Self::Watch => "watch",
        })
    }
}

/// What a client did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Requests sent.
    pub requests: u64,
    /// Requests that failed, or were not answered in time.
    pub failures: u64,
    /// Registrations acknowledged.
    pub registrations: u64,
    /// Renewals acknowledged.
    pub renewals: u64,
    /// Registrations lost.
    pub losses: u64,
    /// Registrations taken out.
    pub deregistrations: u64,
    /// Watch streams opened after the first.
    pub reconnects: u64,
    /// Times that subscriptions became stale.
    pub stale: u64,
    /// Deliveries taken.
    pub deliveries: u64,
    /// Snapshots taken.
    pub snapshots: u64,
    /// Changes of sets.
    pub changes: u64,
    /// Entries skipped because they are no instances.
    pub skipped: u64,
}

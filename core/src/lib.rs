//! Service registration and discovery as pure state machines.
//!
//! A process registers an [`Instance`] under a service name, holds a [`Lease`] on it, and renews that; everyone who
//! watches the service is told who is there. This crate decides all of it and does none of it: it has no socket, no
//! clock, no thread, no runtime and no randomness of its own. A driver (a server, a test, a simulated network) hands in
//! what arrived and what time it is, and takes out what is to be told.
//!
//! # The machines
//!
//! - [`Catalog`]: instance sets, watches and the change log. It takes its revisions from whoever has the authority, so
//!   it serves a registry, a mirror of another one, and a client's cache alike.
//! - `Leases` (inside the registry): deadlines, generations and secrets. They know nothing of watching.
//! - [`Registry`]: both together, the authority over its own revisions. It is the whole of a registry server but for
//!   the sockets.
//! - [`Lifecycle`](app::Lifecycle): an application that serves, is registered while it does, and leaves nothing behind.
//! - [`dial::Dial`]: connections to the instances that are listed, of which those that are ready are called.
//! - [`InstanceSet`]: one service's instances as a value, with the differences between two of them.
//! - [`Query`]: which instances somebody looks for, as text. It is no machine but a plain function.
//!
//! # Driving a registry
//!
//! 1. Feed one input: a command with the present time, or [`Registry::handle_timeout`] when
//!    [`Registry::poll_timeout`] has come. What has been received goes first, so that a driver that was slow does not
//!    expire those whose renewals wait in its socket.
//! 2. Drain [`Registry::poll_ready`]: the watches that have something to be told. Take it with
//!    [`Registry::poll_watch`] whenever the watcher can; until then its changes wait, coalesced, at no cost.
//! 3. Drain [`Registry::poll_event`]: what happened, for metrics and people.
//! 4. Sleep until [`Registry::poll_timeout`] or the next input.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use periplus_core::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut now = Instant::from_micros(0);
//! let config = Config { warm_up: Duration::ZERO, ..Config::default() };
//! let mut registry = Registry::new(config, [7; 32], Epoch("example".into()), now, WallTime(0));
//! let caller = Arc::new(Caller::default());
//!
//! // Somebody watches a service that does not exist yet, and is told so: an empty snapshot.
//! let web = ServiceKey::new(Namespace::default(), ServiceName::new("web")?);
//! let watch = registry.watch(&WatchStart::fresh(Selector::Service(web)), &caller, now)?;
//! assert_eq!(registry.poll_ready(), Some(watch));
//! assert!(registry.poll_watch(watch).unwrap().snapshots[0].instances.is_empty());
//!
//! // An instance registers for ten seconds.
//! let instance = ServiceInstance::new(ServiceName::new("web")?, InstanceId::new("web-1")?)
//!     .with_endpoint(Endpoint::new("http://10.0.0.5:8000")?);
//! let instance = Instance::new(&instance, &InstanceLimits::default())?;
//! let request = Register { ttl: Some(Duration::from_secs(10)), ..Register::new(instance) };
//! let registered = registry.register(request, &caller, now)?;
//! assert_eq!(registry.poll_ready(), Some(watch));
//! assert!(registry.poll_watch(watch).unwrap().changes[0].present());
//!
//! // It renews once, and then no more.
//! now = now.saturating_add(Duration::from_secs(5));
//! registry.renew(&registered.lease, &caller, now)?;
//! while let Some(at) = registry.poll_timeout() {
//!     now = at;
//!     registry.handle_timeout(now);
//! }
//! assert_eq!(now, Instant::from_millis(15_000));
//! assert!(!registry.poll_watch(watch).unwrap().changes[0].present());
//! # Ok(())
//! # }
//! ```
//!
//! # Rules that every machine keeps
//!
//! - *A function of its inputs.* The same inputs give the same outputs, byte for byte, natively and in wasm.
//! - *Drained means drained.* Every output that an input causes can be polled at once; a second drain gives nothing;
//!   after `handle_timeout(now)` the next timeout is later than `now`; calling it too early or too often does nothing.
//! - *Time does not run backwards.* An earlier time than the latest seen counts as that.
//! - *Decode, validate, commit.* A command that returns an error has changed nothing. No input panics; a panic is a bug.
//! - *Bounded.* A watcher is a place in the log, not a queue. Every limit is in [`Config`] and enforced at the door.
//! - *Cost follows change.* Idle is O(1). A renewal is one store. Each method says what it costs.
//!
//! # Decisions
//!
//! - *One packed block an instance.* A registry hands out instances far more often than it reads them, so it holds
//!   the JSON that everyone gets ([`Instance`]) and unpacks it when somebody asks.
//! - *The change log is the one memory of the past.* It answers watchers that are behind (each entry names the change
//!   of its service before it), rebuilds any revision it covers (each entry holds the instance before and after), and
//!   tells when a watcher needs a snapshot. There are no tombstones and no checkpoints beside it.
//! - *Leases are re-armed lazily.* A renewal moves the deadline in the lease's slot and nothing else. The queue of due
//!   times finds out when the old one has come.
//! - *Who holds an id is decided by generation, not by time.* A holder that was superseded learns it at its next call,
//!   and when it registers again naming the generation it had, it is refused, even by a registry that has forgotten
//!   the lease. Generations rise over all that were ever given out or reclaimed, so that it makes no difference whether
//!   it was superseded, or was thrown out first and another came then; if nobody came, it registers again.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "registration"),
    allow(dead_code, unused_imports, reason = "what serves registrations alone is not taken apart from the rest")
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod app;
pub mod backend;
pub mod balance;
pub mod catalog;
pub mod client;
pub mod config;
pub mod dial;
pub mod endpoint;
pub mod error;
pub mod event;
mod expiry;
pub mod fault;
pub mod http;
pub mod instance;
pub mod json;
pub mod lease;
pub mod log;
pub mod name;
pub mod ordered;
mod packed;
pub mod protocol;
pub mod query;
pub mod registry;
mod rng;
pub mod set;
mod time;
pub mod trends;

pub use balance::{BalanceConfig, Balancer, CallOutcome, Filter, Pick, PickError, PickRequest, Picker, Policy};
pub use catalog::{Catalog, Delivered, Delivery, Notice, Selector, WatchError, WatchId, WatchStart};
pub use config::Config;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{OperatorError, RegisterError, RestoreError, UpdateError};
pub use event::{Caller, Cause, Event, EventKind};
pub use instance::{InstanceError, InstanceLimits, Patch, ServiceInstance, Status};
pub use lease::{Lease, LeaseError};
pub use log::{Listed, LogEntry};
pub use name::{InstanceId, Key, NameError, Namespace, ServiceKey, ServiceName};
pub use packed::Instance;
pub use query::{Query, QueryError};
pub use registry::{Incarnation, Operation, Outcome, Register, Registered, Registry};
pub use rng::{Rng, Seed};
pub use set::{Change, Cursor, Delta, Epoch, InstanceSet, Mutation, Revision, Snapshot};
pub use time::{Instant, WallTime};

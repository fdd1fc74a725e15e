//! Service registration and discovery as pure state machines.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod catalog;
pub mod config;
pub mod endpoint;
pub mod error;
pub mod event;
mod expiry;
pub mod fault;
pub mod instance;
pub mod json;
pub mod lease;
pub mod log;
pub mod name;
mod packed;
pub mod protocol;
pub mod registry;
mod rng;
pub mod set;
mod time;

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
pub use registry::{Incarnation, Operation, Outcome, Register, Registered, Registry};
pub use rng::Seed;
pub use set::{Change, Cursor, Delta, Epoch, InstanceSet, Mutation, Revision, Snapshot};
pub use time::{Instant, WallTime};

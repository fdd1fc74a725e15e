//! Client-side load balancing: who gets the next call.
//!
//! A [`Balancer`] is a machine like the others: it is told of the instances and of time, and makes [`Picker`]s. A picker
//! never changes and is shared by all threads that call; its [`pick`](Picker::pick) takes no lock. What is learned of an
//! instance (calls in flight, latency, failures) is kept by its id, in 32-bit atomics that all pickers share. So an update
//! loses nothing, and neither does an absence.
//!
//! ```
//! use std::sync::Arc;
//! use periplus_core::balance::*;
//! use periplus_core::{Endpoint, Instance, InstanceId, Instant, ServiceInstance, ServiceName};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let instance = |id: &str, zone: &str, weight: u32| -> Result<Instance, Box<dyn std::error::Error>> {
//!     let instance = ServiceInstance::new(ServiceName::new("web")?, InstanceId::new(id)?)
//!         .with_endpoint(Endpoint::new(format!("http://{id}.example:8000"))?)
//!         .with_metadata("zone", zone)
//!         .with_metadata("weight", weight.to_string());
//!     Ok(Instance::pack(&instance))
//! };
//! let mut now = Instant::from_millis(0);
//! let mut balancer = Balancer::new(BalanceConfig::new(Policy::P2c), [7; 32]);
//!
//! // Whenever the set changes, and whenever `poll_timeout` has come, callers get the picker that there is then.
//! balancer.update([instance("a", "north", 100)?, instance("b", "south", 300)?], now);
//! let picker = Arc::clone(balancer.picker());
//! assert_eq!(picker.share_ppm(&InstanceId::new("b")?), 750_000);
//!
//! // A call: random bits come from the caller. Ended, it counts; dropped, it says nothing of the node.
//! let pick = picker.pick(&PickRequest::new(0x9e37_79b9_7f4a_7c15), now)?;
//! let _dial = &pick.node().instance().endpoints[0];
//! now = Instant::from_millis(12);
//! if pick.done(CallOutcome::Success, now) {
//!     balancer.handle_timeout(now);
//! }
//!
//! // A retry leaves out who was tried. Calls of one zone have a view of their own, with everybody to fall back to.
//! let tried = [InstanceId::new("a")?];
//! assert_eq!(picker.pick(&PickRequest::new(1).without(&tried), now)?.node().id().as_str(), "b");
//! let near = balancer.view(&Filter::prefer_zones(["north"]));
//! assert_eq!(near.pick(&PickRequest::new(1), now)?.node().id().as_str(), "a");
//! # Ok(())
//! # }
//! ```
//!
//! # Who can be picked
//!
//! - Instances whose status is up and whose weight is not zero, of the [`Subset`] if there is one. If there are none, a
//!   pick is an error that says why: a service that drains altogether gets no calls.
//! - Without those that are ejected for failing ([`OutlierConfig`]). At most a share of the set is ejected at once; and
//!   when all who are left are, for others have gone, all of them are called as if none were.
//! - The weight is a whole number in the metadata. One that is missing, negative or anything else is the default's.
//!   Newcomers, those who come up, and those who return from an ejection gain their weight in steps ([`SlowStart`]); the
//!   first instances of all have theirs at once.
//!
//! # Decisions
//!
//! - *Weights decide who is drawn, and costs who yields.* The cheaper of two draws the first by weight and lets it yield
//!   to a rival that is better by more than the noise. Nodes that are equally good therefore get just their weights'
//!   shares, and a node is neither starved nor flooded for a difference that is none.
//! - *What is unknown counts neither for nor against.* A fresh node is compared by its calls in flight only.
//! - *A filter is a value with a picker of its own.* Calls with different filters do not disturb each other's turns.
//! - *Ring and Maglev, not rendezvous, for keys.* Both pick without looking at all instances. The ring moves the fewest
//!   keys, the table has the most even shares. Rendezvous looks at each instance once, which suits what is done once an
//!   update: [`subset`].
mod balancer;
mod config;
mod cost;
mod draw;
mod ejection;
mod entry;
mod filter;
mod hash;
mod maglev;
mod node;
mod pick;
mod picker;
mod ring;
mod schedule;
mod shared;
pub mod subset;

pub use balancer::Balancer;
pub use config::{BalanceConfig, Memory, OutlierConfig, Policy, SlowStart, Subset};
pub use filter::Filter;
pub use hash::{fnv1a_32, hash_key};
pub use node::{Node, NodeStats};
pub use pick::{CallOutcome, Pick, PickError, PickRequest};
pub use picker::Picker;

//! Client-side load balancing.
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

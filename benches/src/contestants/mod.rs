//! Periplus's core and what people write by hand in its place, behind one trait and doing equal work.
//!
//! Each holds instances by service and id, gives every registration a lease that only its secret renews, takes out
//! what was not renewed, numbers every visible change and keeps the latest 65 536 of them, and hands each
//! watcher what it has not seen yet. The hand-written ones use the standard library's hasher, as people do.

mod btree;
mod dash_sweep;
mod delay_queue;
mod journal;
mod lazy_heap;
mod periplus;
mod table;

use std::sync::Arc;

pub use btree::BTree;
pub use dash_sweep::DashSweep;
pub use delay_queue::Delay;
pub use lazy_heap::LazyHeap;
pub use periplus::Periplus;

use crate::fleet::{Entry, Micros};

/// Something that can hold a registry's state.
pub trait Contestant: Sized {
    /// How tables call it.
    const NAME: &'static str;
    /// An instance, made ready before the clock runs.
    type Prepared;
    /// Another content for an instance, made ready before the clock runs.
    type Edit;
    /// What a registration is answered with.
    type Granted;
    /// What a holder sends to renew.
    type Lease;

    /// An empty registry.
    fn new() -> Self;

    /// Makes an instance ready.
    fn prepare(entry: &Entry) -> Self::Prepared;

    /// Makes another content ready.
    fn edit(entry: &Entry) -> Self::Edit;

    /// Registers an instance for [`TTL`](crate::fleet::TTL).
    fn register(&mut self, instance: &Self::Prepared, now: Micros) -> Self::Granted;

    /// What the holder of `entry` sends to renew.
    fn lease(entry: &Entry, granted: &Self::Granted) -> Self::Lease;

    /// Renews a lease; `false` if it is not known.
    #[must_use]
    fn renew(&mut self, lease: &Self::Lease, now: Micros) -> bool;

    /// Renews many leases and says how many were known.
    #[must_use]
    fn renew_batch(&mut self, leases: &[Self::Lease], now: Micros) -> usize {
        leases.iter().filter(|lease| self.renew(lease, now)).count()
    }

    /// Gives the instance of a lease another content; `false` if the lease is not known.
    #[must_use]
    fn change(&mut self, lease: &Self::Lease, edit: &Self::Edit, now: Micros) -> bool;

    /// Takes out what is due.
    fn expire(&mut self, now: Micros);

    /// Adds a watcher of a service. It is owed the service as it is.
    fn watch(&mut self, service: &str, now: Micros);

    /// Hands every watcher what it has not seen, and says how many instances and removals that were.
    fn deliver(&mut self) -> usize;

    /// What the driver asks while nothing happens: when is something due next, or is anything due now?
    fn idle(&mut self, now: Micros);

    /// The number of instances in a listing of a service.
    fn list(&self, service: &str) -> usize;
}

/// An instance as the hand-written contestants are given it: the strings of a request, and a block to share.
#[derive(Debug)]
pub struct Request {
    service: String,
    id: String,
    content: Arc<[u8]>,
}

impl Request {
    fn new(entry: &Entry) -> Self {
        Self { service: entry.service.clone(), id: entry.id.clone(), content: entry.json.as_slice().into() }
    }
}

/// What a holder sends to a hand-written registry to renew: which instance, and the secret it was given.
#[derive(Clone, Debug)]
pub struct KeyLease {
    service: Box<str>,
    id: Box<str>,
    token: u128,
}

impl KeyLease {
    fn new(entry: &Entry, token: u128) -> Self {
        Self { service: entry.service.as_str().into(), id: entry.id.as_str().into(), token }
    }
}

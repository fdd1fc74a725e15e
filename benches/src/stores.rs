//! What it costs to live in somebody else's store: our client beside the usual ways to use etcd and Consul.
//!
//! Each [`User`] does the same: it holds instances that others could read, each with a lease of its own, and follows a
//! service for many watchers. What differs is what it asks of the store for that.

mod client;
mod grpc_etcd;
mod ours;
mod raw_consul;
mod raw_etcd;
mod server;
mod work;

use std::cell::Cell;
use std::rc::Rc;

use anyhow::Result;

use crate::load::clock::{Clock, DIGITS};
use crate::load::meter::Latencies;
use crate::load::target::SENT;

pub use grpc_etcd::GrpcEtcd;
pub use ours::Ours;
pub use raw_consul::RawConsul;
pub use raw_etcd::RawEtcd;
pub use server::{Kind, Store};
pub use work::{held, watched};

/// How many seconds a lease lives without a renewal: Kratos's default.
pub const TTL: u64 = 15;

/// The service that is followed.
pub const WATCHED: &str = "watched";

/// Somebody who uses a store. What it holds and follows ends with the tasks it has spawned on the local set.
#[allow(async_fn_in_trait, reason = "all users live in one thread and need no Send")]
pub trait User {
    /// Registers so many instances of the service `held`, each with a lease of its own that lives for [`TTL`], and keeps
    /// them registered. Returns when all are.
    async fn hold(&mut self, count: usize) -> Result<()>;

    /// Follows [`WATCHED`] once more, and has heard of it as it is. Each change is noted.
    async fn watch(&mut self, seen: Seen) -> Result<()>;

    /// The requests made so far. A message on a stream that the store answers counts as one.
    fn requests(&self) -> u64;
}

/// A count that tasks share.
#[derive(Clone, Debug, Default)]
pub struct Count(Rc<Cell<u64>>);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.0.set(self.0.get() + 1);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// What one watcher has seen: the time of sending in what it is told, if that is new.
#[derive(Clone, Debug)]
pub struct Seen {
    clock: Clock,
    latencies: Rc<Latencies>,
    latest: Vec<u8>,
}

impl Seen {
    /// A watcher that has seen nothing.
    #[must_use]
    pub fn new(clock: Clock, latencies: Rc<Latencies>) -> Self {
        Self { clock, latencies, latest: vec![b'0'; DIGITS] }
    }

    /// Notes each time in a text that is later than all before. Times rise from change to change, so that whoever is
    /// told everything each time notes what is new to it.
    pub fn note(&mut self, text: &[u8]) {
        let mut latest = self.latest.clone();
        for at in memchr::memmem::find_iter(text, SENT) {
            let Some(stamp) = text.get(at + SENT.len()..at + SENT.len() + DIGITS) else { continue };
            if stamp > self.latest.as_slice() {
                if let Some(latency) = self.clock.since(stamp) {
                    self.latencies.note(latency);
                }
                if stamp > latest.as_slice() {
                    latest = stamp.to_vec();
                }
            }
        }
        self.latest = latest;
    }
}

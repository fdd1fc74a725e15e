//! What the world needs of a fake store: a server of a foreign registry as a machine, in virtual time.

use std::collections::BTreeMap;

use periplus_core::http::{Head, Request};
use periplus_core::{InstanceId, Instant, Namespace, ServiceInstance, ServiceName};

/// Names a request within the world.
pub type ExchangeId = u64;

/// What an instance is told apart by.
pub type Place = (Namespace, ServiceName, InstanceId);

/// What a store does with a request at once.
pub enum Reply {
    /// It is answered in full.
    Whole(Head, Vec<u8>),
    /// It is answered later, or bit by bit: through `poll_part`.
    Held,
}

/// A piece of an answer that is given bit by bit.
pub enum Part {
    Head(Head),
    Chunk(Vec<u8>),
    End,
}

/// What happens to a store behind everybody's back.
#[derive(Clone, Debug)]
pub enum Act {
    /// It restarts with nothing: leases, history, everything is gone. Open answers break off (the world does that).
    Forget,
    /// Restarts with its state.
    Restart,
    /// Old history goes (etcd); an index jumps (Consul).
    Compact,
    /// The lease or check of an instance ends behind its holder's back; its entry goes as it would.
    Revoke(Namespace, ServiceName, InstanceId),
    /// The entry of an instance is removed by an operator, the lease stays (etcd) / the service is deregistered (Consul).
    Remove(Namespace, ServiceName, InstanceId),
    /// Somebody who knows no Periplus writes an entry that is a valid instance, without a lease.
    ForeignPut(Namespace, ServiceInstance),
    /// Somebody writes an entry below a service that is no instance.
    Garbage(Namespace, ServiceName, InstanceId, Vec<u8>),
}

/// A server of a foreign registry.
pub trait Store {
    /// A request arrives. One that arrives a second time has another name, and its answer goes nowhere.
    fn handle_request(&mut self, exchange: ExchangeId, request: &Request, now: Instant) -> Reply;
    /// Nobody waits for this answer any more.
    fn handle_gone(&mut self, exchange: ExchangeId);
    /// Something happens.
    fn act(&mut self, act: &Act, now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_timeout(&self) -> Option<Instant>;
    /// What goes out next of the answers that are held.
    fn poll_part(&mut self) -> Option<(ExchangeId, Part)>;
    /// What a reader would be told now: the instances that are there and healthy, decoded as a Kratos reader does.
    fn visible(&self, now: Instant) -> BTreeMap<Place, ServiceInstance>;
    /// Which client process holds an instance: an opaque text that differs between holders (etcd: the lease id; Consul:
    /// nothing better than the id itself), with the time at which it would end if it is not renewed any more.
    fn holder(&self, key: &Place) -> Option<(String, Instant)>;
    /// The revision of the store, for W5. `None`: the store has no revisions (Consul).
    fn revision(&self) -> Option<u64>;
}

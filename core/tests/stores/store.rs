//! What the world needs of a fake store: a server of a foreign registry as a machine, in virtual time.

use std::collections::BTreeMap;

use periplus_core::http::{Head, Request};
use periplus_core::{InstanceId, Instant, Namespace, ServiceInstance, ServiceName};

use super::plan::Rights;

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
    /// The same, and its revisions do not begin again: it goes on far beyond (a restored etcd that was told to).
    ForgetAhead,
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
    /// The server at this address is dead until then, and nobody is shown what it holds; perhaps it has lost that.
    Agent { endpoint: usize, until: Instant, empty: bool },
    /// This datacenter does not answer until then.
    Datacenter { west: bool, until: Instant },
    /// The token of everybody is good for less until then.
    Rights(Rights, Instant),
    /// A datacenter is restored from a snapshot of so many changes ago. What came since is put there again by who has it.
    Rewind { west: bool, by: u64 },
    /// All of these are over.
    Heal,
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
    /// What has been put by the last request: where, and its holder as `holder` would say.
    fn poll_put(&mut self) -> Option<(Place, String)> {
        None
    }
    /// A rare state that was reached.
    fn poll_mark(&mut self) -> Option<&'static str> {
        None
    }
    /// What a reader would be told now: the instances that are there and healthy, decoded as a Kratos reader does.
    fn visible(&self, now: Instant) -> BTreeMap<Place, ServiceInstance>;
    /// Which client process holds an instance: an opaque text that differs between holders (etcd: the lease id; Consul:
    /// nothing better than the id itself), with the time at which it would end if it is not renewed any more.
    fn holder(&self, key: &Place) -> Option<(String, Instant)>;
    /// The revision of the store, for W5. `None`: the store has no revisions (Consul).
    fn revision(&self) -> Option<u64>;
}

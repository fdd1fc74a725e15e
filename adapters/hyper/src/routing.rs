//! What channels have in common, whatever carries their calls: gRPC's and HTTP's stand on it.
//!
//! A channel follows a target: a [driver](open) carries words between the registry, the machines of the core and what
//! makes [connections](Connector), and each call [searches](Search) for whom it goes to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use periplus_core::balance::Filter;
use periplus_core::dial::{Connect, ConnectionId, Routes};
use tokio::sync::{mpsc, oneshot};

use crate::net::Task;

mod account;
mod caller;
mod driver;
mod picked;
mod plan;

pub use account::Account;
pub use caller::{ATTEMPTS, Caller, Found, NotFound, Search};
pub use picked::{ConnectError, HashKey, Picked};
pub use plan::{Plan, open};

/// Where calls go at the moment.
#[derive(Debug)]
pub struct Table<L> {
    /// Who can be called, by which connections.
    pub routes: Routes,
    /// The connections.
    pub links: HashMap<ConnectionId, Arc<L>>,
}

/// What calls to one instance go over: a connection, or several.
pub trait Link: Send + Sync + 'static {
    /// Whether it is known to be of no use any more, which the [`Table`] may not say yet.
    fn is_lost(&self) -> bool;
}

/// What becomes of a connection.
#[derive(Debug)]
pub enum Event<L> {
    /// It is made.
    Connected(ConnectionId, Arc<L>),
    /// Whoever it leads to says whether it serves.
    Health(ConnectionId, bool),
    /// It could not be made, or takes no more calls; why, for people.
    Lost(ConnectionId, String),
}

/// Where a connection says what becomes of it.
pub type Reports<L> = mpsc::Sender<Event<L>>;

/// Resolves when a connection is given up: to how long its calls may go on, or to an error if nobody says.
pub type Leave = oneshot::Receiver<Duration>;

/// Makes connections.
pub trait Connector: Send + Sync + 'static {
    /// What calls go over.
    type Link: Link;

    /// Makes a connection and keeps it, until it is lost or given up and its calls have ended. Run as a task.
    fn run(self: Arc<Self>, connect: Connect, reports: Reports<Self::Link>, leave: Leave) -> Task<()>;
}

/// By which name an instance is called: the service's, as with Kratos, unless another is chosen.
#[derive(Clone, Debug)]
pub struct Naming {
    /// The name of the server, instead of the service's.
    pub server_name: Option<Authority>,
    /// Whether whoever is there is known by its address and not by a service.
    pub direct: bool,
}

impl Naming {
    /// Whom requests are for. A service's name that is no authority gives way to host and port.
    #[must_use]
    pub fn authority(&self, connect: &Connect) -> Authority {
        let service = || connect.instance.service().parse().ok().filter(|_| !self.direct);
        let address = || connect.address.to_string().parse().ok();
        let named = self.server_name.clone().or_else(service).or_else(address);
        // The address has a zone.
        named.unwrap_or_else(|| Authority::from_static("localhost"))
    }

    /// Who the certificate must be for.
    #[must_use]
    pub fn certified(&self, connect: &Connect) -> String {
        match &self.server_name {
            Some(name) => name.host().trim_matches(['[', ']']).to_owned(),
            None if self.direct => connect.address.host.to_string(),
            None => connect.instance.service().to_owned(),
        }
    }
}

/// A filter for one call beside one for all.
fn both(general: Option<Filter>, own: Option<Filter>) -> Option<Filter> {
    match (general, own) {
        (Some(general), Some(own)) => Some(general.and(own)),
        (general, own) => own.or(general),
    }
}

//! What drives a channel: carries words between the registry, the machines and the connections.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use periplus::{Listing, Watcher};
use periplus_core::Instant;
use periplus_core::balance::Filter;
use periplus_core::dial::{BalancedDial, ConnectionId, DialTransmit};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{Connector, Event, Table};
use crate::host;
use crate::net::Net;

/// How long a timer is trusted at a time: some stand still while the machine is suspended.
const SLICE: Duration = Duration::from_secs(5);

/// What drives a channel, until all its clones are gone.
pub(super) struct Driver<C: Connector> {
    pub(super) dial: BalancedDial,
    pub(super) connector: Arc<C>,
    pub(super) net: Arc<dyn Net>,
    /// Filters that calls want views for.
    pub(super) views: mpsc::Receiver<Filter>,
    pub(super) attention: Arc<Notify>,
    pub(super) table: watch::Sender<Arc<Table<C::Link>>>,
}

impl<C: Connector> Driver<C> {
    pub(super) async fn run(mut self, mut watcher: Option<Watcher>) {
        let (reports, mut events) = mpsc::channel(64);
        let mut links: HashMap<ConnectionId, Arc<C::Link>> = HashMap::new();
        let mut leaves: HashMap<ConnectionId, oneshot::Sender<Duration>> = HashMap::new();
        loop {
            while let Some(transmit) = self.dial.poll_transmit() {
                match transmit {
                    DialTransmit::Connect(connect) => {
                        let (leave, left) = oneshot::channel();
                        leaves.insert(connect.id, leave);
                        self.net.spawn(Arc::clone(&self.connector).run(connect, reports.clone(), left));
                    }
                    DialTransmit::Close { id, linger } => {
                        links.remove(&id);
                        let _ = leaves.remove(&id).map(|leave| leave.send(linger));
                    }
                }
            }
            if let Some(routes) = self.dial.poll_update() {
                tracing::debug!(target: "periplus", readiness = ?routes.readiness, ready = routes.connections.len());
                self.table.send_replace(Arc::new(Table { routes, links: links.clone() }));
            }
            let due = self.dial.poll_timeout();
            tokio::select! {
                // What was received goes before a timeout.
                biased;
                () = self.table.closed() => return,
                Some(event) = events.recv() => match event {
                    Event::Connected(id, link) if leaves.contains_key(&id) => {
                        links.insert(id, link);
                        self.dial.handle_connected(id, host::now());
                    }
                    Event::Connected(..) => {}
                    Event::Health(id, serving) => self.dial.handle_health(id, serving, host::now()),
                    Event::Lost(id, reason) => {
                        links.remove(&id);
                        leaves.remove(&id);
                        tracing::debug!(target: "periplus", ?id, reason, "connection lost");
                        self.dial.handle_lost(id, reason, host::now());
                    }
                },
                Some(filter) = self.views.recv() => self.dial.view(&filter),
                listing = next(&mut watcher) => match listing {
                    Some(listing) => self.dial.handle_listing(&listing.instances, listing.provenance, host::now()),
                    // The client is closed: nothing more will be heard.
                    None => watcher = None,
                },
                () = self.attention.notified() => self.dial.handle_timeout(host::now()),
                () = sleep(&*self.net, due) => self.dial.handle_timeout(host::now()),
            }
        }
    }
}

async fn next(watcher: &mut Option<Watcher>) -> Option<Listing> {
    match watcher {
        Some(watcher) => watcher.next().await,
        None => pending().await,
    }
}

/// Sleeps until an instant, or for a slice of the time: whoever is woken too early sleeps again.
async fn sleep(net: &dyn Net, due: Option<Instant>) {
    match due {
        Some(due) => net.sleep(due.saturating_since(host::now()).min(SLICE)).await,
        None => pending().await,
    }
}

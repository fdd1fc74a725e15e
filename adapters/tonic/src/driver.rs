//! What drives a channel: carries words between the registry, the machine and the connections.

use std::collections::HashMap;
use std::sync::Arc;

use periplus_hyper::host;
use periplus_tokio::core::balance::Filter;
use periplus_tokio::core::dial::{BalancedDial, ConnectionId, DialTransmit, Routes};
use periplus_tokio::{Runtime, Tokio, Watcher};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::connection::{self, Event, Link, Settings};

/// Where calls go at the moment.
pub(crate) struct Table {
    pub(crate) routes: Routes,
    pub(crate) links: HashMap<ConnectionId, Arc<Link>>,
}

/// What drives a channel, until all its clones are gone.
pub(crate) struct Driver {
    pub(crate) dial: BalancedDial,
    pub(crate) settings: Arc<Settings>,
    pub(crate) runtime: Tokio,
    /// Filters that calls want views for.
    pub(crate) views: mpsc::Receiver<Filter>,
    pub(crate) attention: Arc<Notify>,
    pub(crate) table: watch::Sender<Arc<Table>>,
}

impl Driver {
    pub(crate) async fn run(mut self, mut watcher: Option<Watcher>) {
        let (reports, mut events) = mpsc::channel(64);
        let mut links: HashMap<ConnectionId, Arc<Link>> = HashMap::new();
        let mut leaves: HashMap<ConnectionId, oneshot::Sender<std::time::Duration>> = HashMap::new();
        loop {
            while let Some(transmit) = self.dial.poll_transmit() {
                match transmit {
                    DialTransmit::Connect(connect) => {
                        let (leave, left) = oneshot::channel();
                        leaves.insert(connect.id, leave);
                        tokio::spawn(connection::run(Arc::clone(&self.settings), connect, reports.clone(), left));
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
            let sleep = due.map(|at| self.runtime.sleep_until(at));
            tokio::select! {
                // What was received goes before a timeout.
                biased;
                () = self.table.closed() => return,
                Some(event) = events.recv() => match event {
                    Event::Connected(id, link) if leaves.contains_key(&id) => {
                        links.insert(id, Arc::new(link));
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
                () = async { match sleep { Some(sleep) => sleep.await, None => std::future::pending().await } } => {
                    self.dial.handle_timeout(host::now());
                }
            }
        }
    }
}

async fn next(watcher: &mut Option<Watcher>) -> Option<periplus_tokio::Listing> {
    match watcher {
        Some(watcher) => watcher.next().await,
        None => std::future::pending().await,
    }
}

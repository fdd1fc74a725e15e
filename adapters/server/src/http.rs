//! The registry over HTTP: the machine of `periplus_core::Registry` behind a socket.
//!
//! One `Hub` owns the machine. Requests come in over HTTP/1.1 or HTTP/2 (`connection`), are let in, routed and
//! taken in (`call`), give the machine one command or read from it, and are answered in JSON. A watch is a stream
//! that takes from the machine what it has not seen whenever its reader has room for it.

mod answer;
mod body;
mod call;
mod clock;
mod connection;
mod dashboard;
mod encode;
mod events;
mod find;
mod history;
mod holder;
mod hub;
mod intake;
mod listen;
mod metrics;
mod openapi;
mod operator;
mod problem;
mod query;
mod reads;
mod route;
mod security;
mod shared;
mod socket;
mod status;
mod targets;
mod upstream;
mod watch;
mod watches;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use periplus_core::{Epoch, InstanceLimits};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::config::Config;
use crate::random;
use connection::Connections;
use hub::Hub;
use metrics::{Metrics, Pressure};
use security::Doorkeeper;
use upstream::Upstream;

/// Everything that requests share.
struct Server {
    config: Config,
    instance_limits: InstanceLimits,
    /// The registry. Over an upstream, each epoch of it has its own.
    hub: RwLock<Arc<Hub>>,
    upstream: Option<Upstream>,
    metrics: Arc<Metrics>,
    pressure: Pressure,
    doorkeeper: Doorkeeper,
    connections: Connections,
    stopping: AtomicBool,
    /// Rings once, when the server begins to stop.
    stopped: Notify,
    started: Instant,
}

impl Server {
    fn new(config: Config, listener: &TcpListener) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let metrics = Arc::new(Metrics::new());
        let upstream = Upstream::of(&config.upstream)?;
        let hub = if upstream.is_some() { Hub::mirror } else { Hub::new };
        let hub = hub(&config, new_epoch(), Arc::clone(&metrics));
        Ok(Self {
            instance_limits: config.registry().limits.instance,
            hub: RwLock::new(Arc::new(hub)),
            upstream,
            metrics,
            pressure: Pressure::default(),
            doorkeeper: Doorkeeper::new(address, &config.allowed_hosts, &config.cors_origin),
            connections: Connections::default(),
            stopping: AtomicBool::new(false),
            stopped: Notify::new(),
            started: Instant::now(),
            config,
        })
    }

    /// The registry as it is now.
    fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.hub.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another registry takes its place.
    fn replace_hub(&self, hub: Hub) {
        let mut place = self.hub.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *place, Arc::new(hub));
        drop(place);
        old.retire();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until the server stops.
    async fn stopped(&self) {
        let stopped = self.stopped.notified();
        if !self.is_stopping() {
            stopped.await;
        }
    }

    /// Tells everyone that the server stops: streams say goodbye, connections end after their request.
    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stopped.notify_waiters();
        self.hub().wake_all();
        self.connections.wake_all();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

/// A text that no registry had before: 22 letters and digits, 110 random bits.
fn new_epoch() -> Epoch {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letters = random::bytes::<22>().map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    Epoch(letters.into_iter().collect())
}

/// Serves a registry until a signal ends it. The first line on standard output says where it listens.
///
/// # Errors
/// The address cannot be listened on, or others could reach it and the configuration does not allow that.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    ensure!(
        config.insecure || config.listen.ip().is_loopback(),
        "listen: {} can be reached from other machines, and everyone there could change everything: \
         listen on 127.0.0.1, or add --insecure if that is what you want",
        config.listen
    );
    let listener = listen::bind(config.listen).with_context(|| format!("cannot listen on {}", config.listen))?;
    let server = Arc::new(Server::new(config, &listener)?);
    upstream::begin(&server).await;
    listen::run(server, listener).await
}

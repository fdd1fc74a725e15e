//! Where a scenario over a real server of others plays: a runtime, and the server.

use std::time::Duration;

use periplus::core::client::{ClientConfig, RegistrationState};
use periplus::core::{Endpoint, ServiceInstance};
use periplus::{Client, ConnectOptions, Registration, Runtime, connect_with};

use super::{Consul, Etcd, Server, Store};
use crate::suite::Stage;
use crate::suite::stage::instance;

/// The ttl of what must lapse soon: the shortest that etcd gives here.
pub const SHORT: Duration = Duration::from_secs(2);

/// The ttl of what must not lapse, whatever happens meanwhile.
pub const LONG: Duration = Duration::from_secs(60);

/// A runtime and a server of its own.
pub struct Field<R> {
    /// What waits, and how long.
    pub stage: Stage<R>,
    /// The server.
    pub store: Box<dyn Store>,
}

impl<R: Runtime> Field<R> {
    /// Starts a server; nothing, if there is none to start.
    #[must_use]
    pub fn new(runtime: R, server: Server) -> Option<Self> {
        let store: Box<dyn Store> = match server {
            Server::Etcd | Server::EtcdCurrent => Box::new(Etcd::new(server)?),
            Server::Consul => Box::new(Consul::new()?),
        };
        Some(Self { stage: stage(runtime), store })
    }

    /// A client of the server.
    pub fn client(&self) -> Client {
        client(&self.stage, &self.store.url())
    }

    /// An instance that the server itself can reach, if it looks.
    ///
    /// # Panics
    /// If they are no names.
    pub fn instance(&self, service: &str, id: &str) -> ServiceInstance {
        reachable(service, id, self.store.port())
    }

    /// Registers an instance.
    ///
    /// # Panics
    /// If it is refused, or takes too long.
    pub async fn register(&self, client: &Client, service: &str, id: &str, ttl: Duration) -> Registration {
        let register = client.register(self.instance(service, id)).ttl(ttl);
        self.stage.soon("registering", register).await.expect("it is new")
    }

    /// Waits until others see these instances of a service and no others.
    ///
    /// # Panics
    /// If it takes too long.
    pub async fn seen_by_others(&self, service: &str, ids: &[&str]) {
        self.stage.until(&format!("others see {ids:?}"), async || self.store.ids(service) == ids).await;
    }

    /// Closes a client.
    ///
    /// # Panics
    /// If it takes too long.
    pub async fn close(&self, client: Client) {
        self.stage.soon("closing", client.close()).await;
    }
}

/// What waits; there is no harness.
pub fn stage<R: Runtime>(runtime: R) -> Stage<R> {
    Stage::new(runtime, String::new())
}

/// A client of the server at an address, with times scaled down.
///
/// # Panics
/// If it is no address.
pub fn client<R: Runtime>(stage: &Stage<R>, url: &str) -> Client {
    let options = ConnectOptions { config: config::<R>(), ..ConnectOptions::default() };
    connect_with(stage.runtime.clone(), url, options).unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// How a client here is configured. A real server that was killed takes a second or two to lead itself again.
#[must_use]
pub fn config<R: Runtime>() -> ClientConfig {
    ClientConfig { silence: Duration::from_secs(3), last_word: Duration::from_secs(4), ..Stage::<R>::config() }
}

/// An instance with endpoints of two schemes on a port of loopback.
///
/// # Panics
/// If they are no names.
#[must_use]
pub fn reachable(service: &str, id: &str, port: u16) -> ServiceInstance {
    let mut instance = instance(service, id).with_version("v1.0.0").with_metadata("weight", "10");
    let endpoint = |scheme: &str| Endpoint::new(format!("{scheme}://127.0.0.1:{port}")).expect("it is an endpoint");
    instance.endpoints = vec![endpoint("grpc"), endpoint("http")];
    instance
}

/// Whether a registration is lost, for now.
#[must_use]
pub fn is_lost(state: &RegistrationState) -> bool {
    matches!(state, RegistrationState::Lost(_))
}

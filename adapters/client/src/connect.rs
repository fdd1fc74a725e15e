//! From the address of a registry to a client of it.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "memory")]
use periplus_core::Epoch;
#[cfg(feature = "memory")]
use periplus_core::backend::memory::{Hub, Memory};
#[cfg(feature = "memory")]
use periplus_core::client::url::MEMORY;
use periplus_core::client::url::{RegistryUrl, UrlError};
use periplus_core::client::{BoxedBackend, ClientConfig};
use periplus_core::protocol::Span;
use periplus_core::{NameError, Namespace};

use crate::client::Client;
use crate::driver::Driver;
#[cfg(feature = "memory")]
use crate::house::{Door, House};
use crate::place::Place;
use crate::runtime::{Runtime, TlsFilesError};
use crate::secrets::SecretError;
use crate::settings::Settings;
use crate::shared::{Clock, Handle, Shared};

/// What addresses there are.
const SCHEMES: &str = "use periplus://HOST:PORT, consul://HOST:PORT, etcd://HOST:PORT, or memory: for a registry in this \
                       process; each but the first needs the feature of its name";

/// How a client is opened. What the address says as well, the address says last.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The namespace that the client works in. In the address: `ns`.
    pub namespace: Namespace,
    /// How long leases live without a renewal, unless a registration says; the registry's default, if nobody says. In
    /// the address: `ttl`.
    pub ttl: Option<Duration>,
    /// Who calls, for the registry's operators to read. In the address: `caller`.
    pub caller: Option<String>,
    /// How long [`get_service`](Client::get_service) waits for a registry that was never heard: 5 s.
    pub patience: Duration,
    /// Whether endpoints may name a loopback or unspecified address although the registry is on another machine.
    pub advertise_loopback: bool,
    /// Everything else. Its `origins` are those of the address.
    pub config: ClientConfig,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            namespace: Namespace::default(),
            ttl: None,
            caller: None,
            patience: Duration::from_secs(5),
            advertise_loopback: false,
            config: ClientConfig::default(),
        }
    }
}

/// Why there is no client. A registry that is down is no reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address does not say which registry is meant.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The namespace is none.
    #[error(transparent)]
    Namespace(#[from] NameError),
    /// A secret that the address names cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The certificates that the address names are of no use.
    #[error(transparent)]
    Tls(#[from] TlsFilesError),
    /// No client speaks this.
    #[error("no client speaks `{scheme}`: {SCHEMES}")]
    Scheme {
        /// What the address says.
        scheme: String,
    },
    /// The name of whoever calls cannot be sent.
    #[error("the caller must be visible ASCII characters and spaces")]
    Caller,
}

/// Opens a client of the registry at an address.
///
/// - `periplus://HOST[:PORT][,HOST[:PORT]…]` is a Periplus server, or several of which one is asked and the others
///   stand in. Options: `ns`, `ttl`, `caller`. `http://` and `https://` are the same, with their own ports.
/// - `consul://HOST[:PORT][,HOST[:PORT]…]` is a Consul agent, through which services of Kratos and of others are found and
///   find; further hosts are agents that stand in. Options: `ns`, `ttl`, `token`, and those of
///   [`ConsulOptions::from_url`](periplus_core::backend::consul::ConsulOptions::from_url).
/// - `etcd://HOST[:PORT][,HOST[:PORT]…]` is an etcd, 3.3 or later, whose gateway is not switched off; further hosts stand
///   in. Options: `ns`, `ttl`, `user`, `password`, and those of
///   [`EtcdOptions::from_url`](periplus_core::backend::etcd::EtcdOptions::from_url).
/// - `memory:` is a new registry in this process, for this client alone. `memory:NAME` is one that all clients in this
///   process share that name it, as long as one of them lives. Options: `ns`, `ttl`.
///
/// All but the first need the feature of their name, which is on unless it was switched off.
///
/// All on a network speak TLS with `tls=true`. `ca_file=PATH` then names the authorities to believe in place of the public
/// ones, `cert_file=PATH` and `key_file=PATH` the certificate to show a server that asks, all of them PEM: the runtime is
/// then used with these and none of its own.
///
/// A secret, which is `token` or `password`, need not stand in the address: `token_env=NAME` and `password_env=NAME` name
/// a variable of the environment, `token_file=PATH` and `password_file=PATH` a file of one line. It is read once, and shown
/// nowhere.
///
/// It returns at once: a registry that is down may come up later.
///
/// # Errors
/// If the address or the options make no sense.
pub fn connect_with<R: Runtime>(runtime: R, url: &str, options: ConnectOptions) -> Result<Client, ConnectError> {
    let url: RegistryUrl = url.parse()?;
    let namespace = match url.value("ns") {
        Some(namespace) => Namespace::new(namespace)?,
        None => options.namespace.clone(),
    };
    let ttl = url.parsed::<Span>("ttl", "a duration such as 15s")?.map(|Span(ttl)| ttl).or(options.ttl);
    let settings = Settings {
        ttl,
        hosts: url.hosts.iter().map(|host| host.host.to_string()).collect(),
        advertise_loopback: options.advertise_loopback,
        patience: options.patience,
        last_word: options.config.last_word,
    };
    #[cfg(feature = "memory")]
    if url.scheme == MEMORY {
        url.check_keys(&["ns", "ttl"])?;
        let new = || new_house(&runtime);
        let house = if url.name.is_empty() { new() } else { House::named(&url.name, new) };
        return Ok(enter(runtime, &house, options.config, settings, namespace));
    }
    let (runtime, place) = Place::read(runtime, url, options)?;
    let cache = place.cache.clone();
    let machine = place.machine(&runtime)?;
    let clock = clock(&runtime);
    Ok(launch(runtime, Arc::new(Shared::new(machine, clock)), cache, settings, namespace))
}

/// Runs a machine of one's own: a client of another registry, or one that a test looks into.
pub fn drive<R: Runtime>(runtime: R, machine: BoxedBackend, options: &ConnectOptions) -> Client {
    let settings = Settings {
        ttl: options.ttl,
        hosts: Vec::new(),
        advertise_loopback: options.advertise_loopback,
        patience: options.patience,
        last_word: options.config.last_word,
    };
    let shared = Arc::new(Shared::new(machine, clock(&runtime)));
    launch(runtime, shared, "periplus-cache".to_owned(), settings, options.namespace.clone())
}

fn clock<R: Runtime>(runtime: &R) -> Clock {
    let runtime = runtime.clone();
    Arc::new(move || runtime.now())
}

#[cfg(feature = "memory")]
fn new_house<R: Runtime>(runtime: &R) -> Arc<House> {
    let (mut seed, mut name) = ([0; 32], [0; 8]);
    runtime.entropy(&mut seed);
    runtime.entropy(&mut name);
    let epoch = Epoch(format!("{:016x}", u64::from_le_bytes(name)).into());
    House::new(Hub::new(seed, epoch, runtime.now()), clock(runtime))
}

#[cfg(feature = "memory")]
fn enter<R: Runtime>(
    runtime: R,
    house: &Arc<House>,
    config: ClientConfig,
    settings: Settings,
    namespace: Namespace,
) -> Client {
    let now = (house.clock)();
    let machine = Memory::at(config, Door(Arc::clone(house)), now);
    let member = machine.member();
    let shared = Arc::new(Shared::in_house(Box::new(machine), house));
    house.enter(member, Arc::downgrade(&shared));
    launch(runtime, shared, String::new(), settings, namespace)
}

fn launch<R: Runtime>(
    runtime: R,
    shared: Arc<Shared>,
    cache: String,
    settings: Settings,
    namespace: Namespace,
) -> Client {
    let handle = Arc::new(Handle { shared: Arc::clone(&shared), settings });
    runtime.clone().spawn(Driver::new(runtime, shared, cache));
    Client::new(handle, namespace)
}

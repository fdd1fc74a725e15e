//! From the address of a registry to a client of it.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "memory")]
use periplus_core::Epoch;
#[cfg(feature = "memory")]
use periplus_core::backend::memory::{Hub, Memory};
use periplus_core::backend::native::Native;
#[cfg(feature = "memory")]
use periplus_core::client::url::MEMORY;
use periplus_core::client::url::{PERIPLUS, RegistryUrl, UrlError};
use periplus_core::client::{BoxedBackend, ClientConfig};
use periplus_core::http::origin::{REGISTRY_PORT, Scheme};
use periplus_core::protocol::Span;
use periplus_core::{NameError, Namespace};

use crate::client::Client;
use crate::driver::Driver;
#[cfg(feature = "memory")]
use crate::house::{Door, House};
use crate::report::report_unused_cache;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::shared::{Clock, Handle, Shared};

/// The header that says who calls.
const CALLER: &str = "periplus-caller";

/// What addresses there are.
#[cfg(feature = "memory")]
const SCHEMES: &str = "use periplus://HOST:PORT, or memory: for a registry in this process";
#[cfg(not(feature = "memory"))]
const SCHEMES: &str = "use periplus://HOST:PORT; memory: needs the feature memory";

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
///   stand in. Options: `ns`, `ttl`, `caller`, `tls`. `http://` and `https://` are the same, with their own ports.
/// - `memory:` is a new registry in this process, for this client alone. `memory:NAME` is one that all clients in this
///   process share that name it, as long as one of them lives. Options: `ns`, `ttl`. It needs the feature `memory`.
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
    match url.scheme.as_str() {
        #[cfg(feature = "memory")]
        MEMORY => {
            url.check_keys(&["ns", "ttl"])?;
            let new = || new_house(&runtime);
            let house = if url.name.is_empty() { new() } else { House::named(&url.name, new) };
            Ok(enter(runtime, &house, options.config, settings, namespace))
        }
        PERIPLUS | "http" | "https" => {
            url.check_keys(&["ns", "ttl", "caller", "tls"])?;
            let machine = native(&runtime, &url, &options)?;
            let clock = clock(&runtime);
            let cache = cache_name(&url);
            let shared = Arc::new(Shared::new(machine, clock));
            Ok(launch(runtime, shared, cache, settings, namespace))
        }
        scheme => Err(ConnectError::Scheme { scheme: scheme.to_owned() }),
    }
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

fn native<R: Runtime>(runtime: &R, url: &RegistryUrl, options: &ConnectOptions) -> Result<BoxedBackend, ConnectError> {
    let (scheme, port) = match url.scheme.as_str() {
        "https" => (Scheme::Https, 443),
        "http" => (Scheme::Http, 80),
        _ if url.flag("tls")? => (Scheme::Https, REGISTRY_PORT),
        _ => (Scheme::Http, REGISTRY_PORT),
    };
    let mut config = options.config.clone();
    config.origins = url.origins(scheme, port).map(|origin| origin.to_string()).collect();
    if let Some(caller) = url.value("caller").or(options.caller.as_deref()) {
        if caller.is_empty() || !caller.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(ConnectError::Caller);
        }
        config.headers.push((CALLER.into(), caller.into()));
    }
    let remember = config.remember;
    let mut seed = [0; 32];
    runtime.entropy(&mut seed);
    let now = runtime.now();
    let mut machine = Native::new(config, seed, now);
    if remember
        && let Some(bytes) = runtime.load(&cache_name(url))
        && let Err(error) = machine.restore(&bytes, now)
    {
        report_unused_cache(&error);
    }
    Ok(Box::new(machine))
}

/// The name under which the last known sets of a registry are stored: letters, digits and dashes.
fn cache_name(url: &RegistryUrl) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("periplus-cache-{}", url.to_string().chars().map(plain).collect::<String>())
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

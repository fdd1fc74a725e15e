//! How an application is put together.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use periplus_core::app::{LifecycleConfig, Phase, RegistryDown, WhenEnded};
use periplus_core::{Endpoint, InstanceId, NameError, ServiceInstance, ServiceName};

use super::hooks::Hooks;
use super::info::AppInfo;
use super::server::{BoxError, Server};
use super::{App, AppHandle};
use crate::registrar::Registrar;
use crate::runtime::{Runtime, Signal, Signals};

/// Puts an [`App`] together.
#[must_use = "an application begins with `build` and `run`"]
pub struct AppBuilder<R> {
    pub(super) runtime: R,
    id: Option<String>,
    name: String,
    version: String,
    metadata: BTreeMap<String, String>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) servers: Vec<Box<dyn Server>>,
    pub(super) registrars: Vec<Arc<dyn Registrar>>,
    pub(super) hooks: Hooks,
    pub(super) signals: SignalSource,
    pub(super) config: LifecycleConfig,
}

/// Where signals come from.
pub(super) enum SignalSource {
    Runtime(Vec<Signal>),
    Stream(Signals),
}

/// Why there is no application. Nothing was bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// It has no name.
    #[error("an application needs the name of its service: give it with `name`")]
    NoName,
    /// Its name or its id is none.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl<R: Runtime> AppBuilder<R> {
    pub(super) fn new(runtime: R) -> Self {
        Self {
            runtime,
            id: None,
            name: String::new(),
            version: String::new(),
            metadata: BTreeMap::new(),
            endpoints: Vec::new(),
            servers: Vec::new(),
            registrars: Vec::new(),
            hooks: Hooks::default(),
            signals: SignalSource::Runtime(vec![Signal::Terminate, Signal::Quit, Signal::Interrupt]),
            config: LifecycleConfig::default(),
        }
    }

    /// Names this instance. Otherwise it gets a random id, a new one at each start.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Names the service. It must have a name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Says which version of the program this is.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Adds to what the instance says of itself.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds an endpoint to register. If there is one, those of the servers are not registered.
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Adds a server. Endpoints are registered in the order of the servers.
    pub fn server(mut self, server: impl Server + 'static) -> Self {
        self.servers.push(Box::new(server));
        self
    }

    /// Adds a registry to register in. Without one, the application is registered nowhere.
    pub fn registrar(mut self, registrar: impl Registrar + 'static) -> Self {
        self.registrars.push(Arc::new(registrar));
        self
    }

    /// Adds a hook that runs when the servers are bound and do not accept yet. If it fails, so does the start, and
    /// nobody has seen the application.
    pub fn before_start<F, E>(self, hook: impl FnOnce(AppInfo) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.hook(Phase::BeforeStart, hook)
    }

    /// Adds a hook that runs when the servers accept and the application is registered. If it fails, the application
    /// leaves.
    pub fn after_start<F, E>(self, hook: impl FnOnce(AppInfo) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.hook(Phase::AfterStart, hook)
    }

    /// Adds a hook that runs while the application is being deregistered and serves on. Servers stop when it has ended.
    pub fn before_stop<F, E>(self, hook: impl FnOnce(AppInfo) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.hook(Phase::BeforeStop, hook)
    }

    /// Adds a hook that runs when all servers have stopped.
    pub fn after_stop<F, E>(self, hook: impl FnOnce(AppInfo) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.hook(Phase::AfterStop, hook)
    }

    fn hook<F, E>(mut self, phase: Phase, hook: impl FnOnce(AppInfo) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        self.hooks.add(phase, hook);
        self
    }

    /// Listens to these signals instead of SIGTERM, SIGQUIT and SIGINT. The first makes the application leave, the
    /// second makes it hurry, and with the third it does not even wait for a registry.
    pub fn signals(mut self, signals: impl IntoIterator<Item = Signal>) -> Self {
        self.signals = SignalSource::Runtime(signals.into_iter().collect());
        self
    }

    /// Takes signals from elsewhere than the system.
    pub fn signals_from(mut self, signals: impl Stream<Item = Signal> + Send + 'static) -> Self {
        self.signals = SignalSource::Stream(Box::pin(signals));
        self
    }

    /// Sets how long all servers together may take to bind, and again to accept: 30 s.
    pub const fn start_timeout(mut self, timeout: Duration) -> Self {
        self.config.start_timeout = timeout;
        self
    }

    /// Sets how long the hooks of one phase may take together: 30 s.
    pub const fn hook_timeout(mut self, timeout: Duration) -> Self {
        self.config.hook_timeout = timeout;
        self
    }

    /// Sets how long registering may take, and again deregistering: 10 s. A [`Client`](crate::Client) takes no longer to
    /// deregister than its last word, 3 s.
    pub const fn registrar_timeout(mut self, timeout: Duration) -> Self {
        self.config.registrar_timeout = timeout;
        self
    }

    /// Sets how long it serves on after it was deregistered, so that those who watch have heard of it: 3 s.
    pub const fn drain(mut self, drain: Duration) -> Self {
        self.config.drain = drain;
        self
    }

    /// Sets how long servers may take to stop, before they are aborted: 10 s.
    pub const fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.config.stop_timeout = timeout;
        self
    }

    /// Chooses what to do if a registry does not answer at the start. The start fails, unless this says otherwise.
    pub const fn registry_down(mut self, policy: RegistryDown) -> Self {
        self.config.registry_down = policy;
        self
    }

    /// Chooses what to do when another holder takes the id, or the registry refuses it from now on. The application
    /// serves on, unless this says otherwise; either is logged.
    pub const fn when_ended(mut self, policy: WhenEnded) -> Self {
        self.config.when_ended = policy;
        self
    }

    /// The application, ready to run.
    ///
    /// # Errors
    /// If its name or id is none.
    pub fn build(mut self) -> Result<App<R>, BuildError> {
        if self.name.is_empty() {
            return Err(BuildError::NoName);
        }
        let name = ServiceName::new(std::mem::take(&mut self.name))?;
        let id = match self.id.take() {
            Some(id) => InstanceId::new(id)?,
            None => InstanceId::new(random_id(&self.runtime))?,
        };
        let mut instance = ServiceInstance::new(name, id);
        instance.version = std::mem::take(&mut self.version).into();
        instance.metadata = std::mem::take(&mut self.metadata);
        self.config.servers = self.servers.len();
        self.config.registrars = self.registrars.len();
        Ok(App { parts: self, instance, handle: AppHandle::default() })
    }
}

fn random_id(runtime: &impl Runtime) -> String {
    let mut bytes = [0; 16];
    runtime.entropy(&mut bytes);
    let mut id = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

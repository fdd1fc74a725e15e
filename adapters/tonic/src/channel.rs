//! The channel, and how it is put together.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Authority;
use periplus_hyper::host;
use periplus_tokio::core::balance::{BalanceConfig, Filter, Policy};
use periplus_tokio::core::client::Provenance;
use periplus_tokio::core::dial::{BalancedDial, DialConfig, EmptyPolicy, Target};
use periplus_tokio::{Discovery, Tokio};
use tokio::sync::{Notify, mpsc, watch};
use tower_service::Service;

use crate::call::{Caller, Shared};
use crate::connection::Settings;
use crate::driver::{Driver, Table};
use crate::error::{CallError, ConnectError};
#[cfg(feature = "tls")]
use periplus_tokio::TlsConfig;

/// A channel to a service, for under any client that tonic generates. See the [`crate`] docs.
///
/// Cheap to clone; clones share connections, which close when the last clone and the last call are gone.
#[derive(Clone)]
pub struct Channel {
    caller: Caller,
}

/// Puts a [`Channel`] together.
#[derive(Clone, Debug)]
#[must_use = "a channel begins with `connect`"]
pub struct ChannelBuilder {
    target: String,
    dial: DialConfig,
    balance: BalanceConfig,
    filter: Option<Filter>,
    server_name: Option<String>,
    keep_alive: Option<(Duration, Duration)>,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
}

impl Channel {
    /// A channel to a target, `discovery:///name` or `direct:///a:1,b:2`, with nothing chosen otherwise. It opens at once.
    ///
    /// # Errors
    /// If the target makes no sense, or the registry's client is closed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(registry: &(impl Discovery + ?Sized), target: &str) -> Result<Self, ConnectError> {
        Self::builder(target).connect(registry)
    }

    /// A channel to a target of which more is to be chosen.
    pub fn builder(target: impl Into<String>) -> ChannelBuilder {
        ChannelBuilder {
            target: target.into(),
            dial: DialConfig { health: true, ..DialConfig::new("grpc") },
            balance: BalanceConfig::default(),
            filter: None,
            server_name: None,
            keep_alive: Some((Duration::from_secs(310), Duration::from_secs(20))),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The same channel, whose calls go only to instances that pass a filter. It shares all connections.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.caller.filter = Some(filter);
        self
    }
}

impl ChannelBuilder {
    /// Chooses how calls are balanced: [`Policy::P2c`] unless this says otherwise.
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.balance.policy = policy;
        self
    }

    /// Chooses how calls are balanced, in full.
    pub fn balance(mut self, config: BalanceConfig) -> Self {
        self.balance = config;
        self
    }

    /// Calls only instances that pass a filter.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Sets how many instances are connected at most: 25; 0 for all.
    pub const fn subset(mut self, size: usize) -> Self {
        self.dial.subset = size;
        self
    }

    /// Sets how long a call waits at most for somebody to call: 5 s.
    pub const fn wait(mut self, limit: Duration) -> Self {
        self.dial.wait = limit;
        self
    }

    /// Chooses what calls do while the registry says that there is nobody to call: they fail at once, unless this says
    /// otherwise.
    pub const fn empty(mut self, policy: EmptyPolicy) -> Self {
        self.dial.empty = policy;
        self
    }

    /// Chooses whether instances are asked whether they serve, by `grpc.health.v1.Health/Watch`: they are, unless this
    /// says otherwise. Who does not know that protocol counts as serving.
    pub const fn health(mut self, ask: bool) -> Self {
        self.dial.health = ask;
        self
    }

    /// Chooses how connections behave, in full. Its scheme is that of the channel.
    pub fn dial(mut self, config: DialConfig) -> Self {
        self.dial = DialConfig { scheme: self.dial.scheme, ..config };
        self
    }

    /// Sets how often a connection is pinged, used or not, and how long the answer may take: 310 s and 20 s. `None`: it is
    /// not. Servers by grpc-go close connections that are pinged more often than every five minutes, unless they are
    /// told otherwise.
    ///
    /// A host that is gone is found out within half a minute without it, by TCP; a process that is stuck is not.
    pub const fn keep_alive(mut self, pings: Option<(Duration, Duration)>) -> Self {
        self.keep_alive = pings;
        self
    }

    /// Dials `grpcs` endpoints, with TLS. The certificate must be for the service's name.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: TlsConfig) -> Self {
        self.dial.scheme = "grpcs".into();
        self.tls = Some(config);
        self
    }

    /// Sets the name that stands in `:authority` and in the certificate, instead of the service's.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The channel. It opens at once, whether the registry is up or not. The registry has nothing to do with `direct:`.
    ///
    /// # Errors
    /// If the target or the server's name make no sense, or the registry's client is closed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(self, registry: &(impl Discovery + ?Sized)) -> Result<Channel, ConnectError> {
        let target: Target = self.target.parse()?;
        let server_name = match self.server_name {
            Some(name) => match name.parse::<Authority>() {
                Ok(authority) => Some(authority),
                Err(_) => return Err(ConnectError::ServerName { name }),
            },
            None => None,
        };
        let mut seed = [0; 32];
        host::entropy(&mut seed);
        let (wait, linger, health) = (self.dial.wait, self.dial.linger, self.dial.health);
        let scheme = self.dial.scheme.clone();
        let mut dial = BalancedDial::new(self.dial, self.balance, seed, host::now());
        if let Some(filter) = &self.filter {
            dial.view(filter);
        }
        let watcher = match &target {
            Target::Discovery { name, .. } => Some(registry.watch(name)?),
            Target::Direct { .. } => {
                dial.handle_listing(&target.instances(&scheme), Provenance::Live, host::now());
                None
            }
        };
        let routes = dial.poll_update().expect("a machine tells first where it stands");
        let (table, tables) = watch::channel(Arc::new(Table { routes, links: Default::default() }));
        let (wishes, views) = mpsc::channel(16);
        let attention = Arc::new(Notify::new());
        let settings = Settings {
            #[cfg(feature = "tls")]
            tls: self.tls.map(|tls| tls.connector(&[b"h2"])),
            server_name,
            direct: matches!(target, Target::Direct { .. }),
            health,
            keep_alive: self.keep_alive,
            linger,
        };
        let driver = Driver {
            dial,
            settings: Arc::new(settings),
            runtime: Tokio::new(),
            views,
            attention: Arc::clone(&attention),
            table,
        };
        tokio::spawn(driver.run(watcher));
        let shared = Arc::new(Shared::new(target.to_string(), wait, attention, wishes));
        Ok(Channel { caller: Caller { shared, tables, filter: self.filter } })
    }
}

impl Service<http::Request<tonic::body::Body>> for Channel {
    type Response = http::Response<tonic::body::Body>;
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, CallError>> + Send>>;

    /// Always: calls wait for themselves.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.caller.clone().call(request))
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("target", &self.caller.shared.target).finish_non_exhaustive()
    }
}

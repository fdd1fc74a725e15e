//! The channel, and how it is put together.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use periplus_hyper::routing::{Caller, Plan, open};
use periplus_tokio::core::balance::{BalanceConfig, Filter, Policy};
use periplus_tokio::core::dial::{DialConfig, EmptyPolicy};
use periplus_tokio::{Discovery, Tokio};
use tower_service::Service;

use crate::call::call;
use crate::connection::{Link, Settings};
use crate::error::CallError;
use periplus_hyper::ConnectError;
#[cfg(feature = "tls")]
use periplus_tokio::TlsConfig;

/// A channel to a service, for under any client that tonic generates. See the [`crate`] docs.
///
/// Cheap to clone; clones share connections, which close when the last clone and the last call are gone.
#[derive(Clone)]
pub struct Channel {
    caller: Caller<Link>,
}

/// Puts a [`Channel`] together.
#[derive(Clone, Debug)]
#[must_use = "a channel begins with `connect`"]
pub struct ChannelBuilder {
    plan: Plan,
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
        let mut plan = Plan::new(target, "grpc");
        plan.dial.health = true;
        ChannelBuilder {
            plan,
            keep_alive: Some((Duration::from_secs(310), Duration::from_secs(20))),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The same channel, whose calls go only to instances that pass a filter. It shares all connections.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.caller = self.caller.with_filter(filter);
        self
    }
}

impl ChannelBuilder {
    /// Chooses how calls are balanced: [`Policy::P2c`] unless this says otherwise.
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.plan.balance.policy = policy;
        self
    }

    /// Chooses how calls are balanced, in full.
    pub fn balance(mut self, config: BalanceConfig) -> Self {
        self.plan.balance = config;
        self
    }

    /// Calls only instances that pass a filter.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.plan.filter = Some(filter);
        self
    }

    /// Sets how many instances are connected at most: 25; 0 for all.
    pub const fn subset(mut self, size: usize) -> Self {
        self.plan.dial.subset = size;
        self
    }

    /// Sets how long a call waits at most for somebody to call: 5 s.
    pub const fn wait(mut self, limit: Duration) -> Self {
        self.plan.dial.wait = limit;
        self
    }

    /// Chooses what calls do while the registry says that there is nobody to call: they fail at once, unless this says
    /// otherwise.
    pub const fn empty(mut self, policy: EmptyPolicy) -> Self {
        self.plan.dial.empty = policy;
        self
    }

    /// Chooses whether instances are asked whether they serve, by `grpc.health.v1.Health/Watch`: they are, unless this
    /// says otherwise. Who does not know that protocol counts as serving.
    pub const fn health(mut self, ask: bool) -> Self {
        self.plan.dial.health = ask;
        self
    }

    /// Chooses how connections behave, in full. Its scheme is that of the channel.
    pub fn dial(mut self, config: DialConfig) -> Self {
        self.plan.dial = DialConfig { scheme: self.plan.dial.scheme, ..config };
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
        self.plan.dial.scheme = "grpcs".into();
        self.tls = Some(config);
        self
    }

    /// Sets the name that stands in `:authority` and in the certificate, instead of the service's.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.plan.server_name = Some(name.into());
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
        let (linger, health) = (self.plan.dial.linger, self.plan.dial.health);
        let caller = open(self.plan, Arc::new(Tokio::new()), registry, |naming| Settings {
            #[cfg(feature = "tls")]
            tls: self.tls.map(|tls| tls.connector(&[b"h2"])),
            naming,
            health,
            keep_alive: self.keep_alive,
            linger,
        })?;
        Ok(Channel { caller })
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
        Box::pin(call(self.caller.clone(), request))
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("target", &self.caller.target()).finish_non_exhaustive()
    }
}

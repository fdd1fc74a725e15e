//! A channel to a service over HTTP/1.1, and how it is put together.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use periplus::Discovery;
use periplus_core::balance::{BalanceConfig, Filter, Policy};
use periplus_core::dial::{DialConfig, EmptyPolicy};
use tower_service::Service;

use crate::net::{Net, Task};
use crate::routing::{Caller, ConnectError, Plan, open};
#[cfg(feature = "tls")]
use crate::tls::{TlsConfig, TlsConnector};
use call::call;
use pool::{Pool, Pools};

mod body;
mod call;
mod connection;
mod dialer;
mod error;
mod pool;

pub use body::HttpBody;
pub use dialer::{HttpDialer, UrlError};
pub use error::HttpError;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A channel to a service: sends HTTP/1.1 requests to its instances, balanced.
///
/// Cheap to clone; clones share connections. Those that are idle close when the last clone is dropped; calls under way end
/// as they would.
///
/// # What it promises
///
/// - It opens at once, whether the registry is up or not, and never gives up. What the registry says is applied when it
///   says it; nothing waits for traffic. One connection to each instance is kept for the next call, so that an instance
///   which dies is noticed then, and tried again with back-off.
/// - Calls wait for the first word of the registry and for connections, but [not for ever](HttpChannelBuilder::wait). If
///   there is nobody to call they fail at once, unless [chosen otherwise](HttpChannelBuilder::empty).
/// - A request is given to another instance only if no server can have begun with it: the connection was refused, or a
///   kept one turned out to be closed before a byte was written. Besides, an idempotent request without a body (RFC 9110:
///   GET, HEAD, OPTIONS, TRACE, PUT, DELETE) is sent once more, on a fresh connection, if a *kept* one was closed before a
///   byte of the response: servers close what is idle, and that crosses with a request. Nothing else is sent twice; a
///   POST that crosses so fails with [`HttpError::Lost`].
/// - A change of weight or metadata reconnects nothing. What was learned of an instance outlives its connections.
/// - An instance that leaves gets no new calls: idle connections close, and what is under way goes on, for
///   [`linger`](DialConfig::linger) at most.
/// - `Host` and the name in the certificate are the service's name, as with gRPC, unless the request has a `Host` or an
///   authority of its own. A name that is no authority (`a/b`) gives way to host and port without TLS, and needs
///   [another](HttpChannelBuilder::server_name) with it.
/// - Redirects are not followed, bodies not decoded, and connections not upgraded.
///
/// The balancer counts 502, 503, 504 and lost connections as failures of the instance, and any other response as a
/// success. A response ends when its body does, or is dropped.
///
/// # For middleware
///
/// It is a [`tower_service::Service`], too. Which instance was picked is in the extensions of the response, and in the
/// error: [`Picked`](crate::Picked). A request may bring a [`Filter`] or a [`HashKey`](crate::HashKey) in its own.
#[derive(Clone)]
pub struct HttpChannel {
    caller: Caller<Pool>,
    timeout: Option<Duration>,
}

/// Puts an [`HttpChannel`] together.
#[derive(Clone)]
#[must_use = "a channel begins with `connect`"]
pub struct HttpChannelBuilder {
    net: Arc<dyn Net>,
    plan: Plan,
    idle: Duration,
    timeout: Option<Duration>,
    #[cfg(feature = "tls")]
    tls: Option<TlsConfig>,
}

impl HttpChannel {
    /// A channel to a target, `discovery:///name` or `direct:///a:1,b:2`, on a runtime's network.
    pub fn builder(net: impl Net, target: impl Into<String>) -> HttpChannelBuilder {
        HttpChannelBuilder {
            net: Arc::new(net),
            plan: Plan::new(target, "http"),
            idle: pool::IDLE,
            timeout: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// What is called.
    #[must_use]
    pub fn target(&self) -> &str {
        self.caller.target()
    }

    /// The same channel, whose calls go only to instances that pass a filter. It shares all connections.
    #[must_use]
    pub fn with_filter(mut self, filter: Filter) -> Self {
        self.caller = self.caller.with_filter(filter);
        self
    }

    /// Sends a request. Of its URI the path and the query count: `/users/7?full=1`; an authority stands in `Host`.
    ///
    /// # Errors
    /// If there is no response. [`HttpError::was_begun`] says whether a server may have begun with it.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<HttpBody>, HttpError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        call(&self.caller, self.timeout, request).await
    }

    /// Gets a path, with a query perhaps.
    ///
    /// # Errors
    /// As [`send`](Self::send), or if it is no path.
    pub async fn get(&self, path: &str) -> Result<Response<HttpBody>, HttpError> {
        let request = Request::get(path).body(Empty::<Bytes>::new());
        self.send(request.map_err(|error| HttpError::invalid(self.target(), &error))?).await
    }
}

impl HttpChannelBuilder {
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

    /// Chooses how connections behave, in full. Its scheme is that of the channel, and it asks nobody for health, for
    /// which HTTP has no protocol.
    pub fn dial(mut self, config: DialConfig) -> Self {
        self.plan.dial = DialConfig { scheme: self.plan.dial.scheme, health: false, ..config };
        self
    }

    /// Sets how long a connection waits for its next request: 25 s. It should be less than what the servers wait, lest a
    /// request cross with the end of its connection.
    pub const fn idle(mut self, limit: Duration) -> Self {
        self.idle = limit;
        self
    }

    /// Sets how long a call may take until its response begins, waiting included: for ever, unless this says otherwise.
    /// What takes longer counts as a failure of the instance.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Dials `https` endpoints, with TLS. The certificate must be for the service's name.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: TlsConfig) -> Self {
        self.plan.dial.scheme = "https".into();
        self.tls = Some(config);
        self
    }

    /// Sets the name that stands in `Host` and in the certificate, instead of the service's.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.plan.server_name = Some(name.into());
        self
    }

    /// The channel. It opens at once, whether the registry is up or not. The registry has nothing to do with `direct:`.
    ///
    /// # Errors
    /// If the target or the server's name make no sense, or the registry's client is closed.
    pub fn connect(self, registry: &(impl Discovery + ?Sized)) -> Result<HttpChannel, ConnectError> {
        let (connect_timeout, linger) = (self.plan.dial.connect_timeout, self.plan.dial.linger);
        let net = Arc::clone(&self.net);
        let caller = open(self.plan, Arc::clone(&self.net), registry, |naming| Pools {
            net,
            naming,
            idle: self.idle,
            connect_timeout,
            linger,
            #[cfg(feature = "tls")]
            tls: self.tls.map(|tls| TlsConnector::new(&tls)),
        })?;
        Ok(HttpChannel { caller, timeout: self.timeout })
    }
}

impl<B> Service<Request<B>> for HttpChannel
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<HttpBody>;
    type Error = HttpError;
    type Future = Task<Result<Self::Response, HttpError>>;

    /// Always: calls wait for themselves.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let channel = self.clone();
        Box::pin(async move { channel.send(request).await })
    }
}

impl fmt::Debug for HttpChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpChannel").field("target", &self.target()).finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpChannelBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpChannelBuilder").field("plan", &self.plan).finish_non_exhaustive()
    }
}

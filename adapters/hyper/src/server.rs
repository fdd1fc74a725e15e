//! An HTTP server for applications, on any runtime.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use periplus::BoxFuture;
use periplus::app::{BoxError, Server, Serving};
use periplus::core::Endpoint;
use tokio::sync::watch;

use crate::host::advertised;
use crate::net::{Io, Net, Task};
#[cfg(feature = "tls")]
use crate::tls::TlsAcceptor;
use connection::serve_connection;
use handler::Handler;
pub use handler::{Answer, HttpService};

mod connection;
mod handler;
mod tether;
mod timer;

/// How long to wait when the system refuses a connection, for want of descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener of a runtime.
pub trait Listener: Send {
    /// Where it is bound.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// The next connection. May be dropped without losing one.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Io>>>;
}

/// A runtime's network, for those who listen.
pub trait Listen: Net {
    /// Binds a listener to an address, `HOST:PORT`.
    fn listen(&self, address: &str) -> Task<io::Result<Box<dyn Listener>>>;
}

/// The addresses that `HOST:PORT` or `:PORT` stand for, to be tried in turn: the latter for all that the machine has, IPv6
/// and IPv4, or IPv4 alone where there is no IPv6.
#[must_use]
pub fn listen_addresses(address: &str) -> Vec<String> {
    match address.strip_prefix(':') {
        Some(port) => vec![format!("[::]:{port}"), format!("0.0.0.0:{port}")],
        None => vec![address.to_owned()],
    }
}

/// An HTTP/1.1 server: any [`HttpService`] behind a listener, such as an axum `Router`.
///
/// Each connection is a task. When it is to stop, it takes no new connections, lets the calls under way end, and says so
/// to those who keep their connections open. What a connection was upgraded to, such as a websocket, counts as a call.
///
/// Requests carry in their extensions the [`AppInfo`](periplus::AppInfo), and the [`Stop`](periplus::app::Stop) by which
/// a call without an end, such as a stream of events, learns that it is to end.
#[must_use = "it serves once an application runs it"]
pub struct HttpServer {
    net: Arc<dyn Listen>,
    address: String,
    advertise: Option<String>,
    handler: Handler,
    #[cfg(feature = "tls")]
    identity: Option<(PathBuf, PathBuf)>,
    bound: Option<Bound>,
}

/// A server that listens.
struct Bound {
    listener: Box<dyn Listener>,
    security: Security,
}

#[cfg(feature = "tls")]
type Security = Option<TlsAcceptor>;
#[cfg(not(feature = "tls"))]
type Security = Option<std::convert::Infallible>;

impl HttpServer {
    /// A server on a runtime's network, that is to listen at `HOST:PORT`, or at `:PORT` of all addresses.
    pub fn new(net: impl Listen, address: impl Into<String>, service: impl HttpService) -> Self {
        Self {
            net: Arc::new(net),
            address: address.into(),
            advertise: None,
            handler: Handler::new(service),
            #[cfg(feature = "tls")]
            identity: None,
            bound: None,
        }
    }

    /// Serves https, with this certificate, those that lead to its root after it, and its key: PEM files, read when the
    /// server is bound.
    #[cfg(feature = "tls")]
    pub fn tls_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Advertises this host, with the port that it listens at. Otherwise it is the host of its address; if that means
    /// all addresses, one of this machine is found ([`advertised`]).
    pub fn advertise(mut self, host: impl Into<String>) -> Self {
        self.advertise = Some(host.into());
        self
    }

    #[cfg(feature = "tls")]
    fn security(&self) -> Result<Security, BoxError> {
        let Some((certificate, key)) = &self.identity else { return Ok(None) };
        Ok(Some(TlsAcceptor::of_files(certificate, key)?))
    }

    #[cfg(not(feature = "tls"))]
    fn security(&self) -> Result<Security, BoxError> {
        Ok(None)
    }
}

impl Server for HttpServer {
    fn name(&self) -> &str {
        "http"
    }

    fn bind(&mut self) -> BoxFuture<'_, Result<Vec<Endpoint>, BoxError>> {
        Box::pin(async {
            let security = self.security()?;
            let listener = listen(&*self.net, &self.address).await;
            let listener = listener.map_err(|error| format!("cannot listen at {}: {error}", self.address))?;
            let scheme = if security.is_some() { "https" } else { "http" };
            let configured = match &self.advertise {
                Some(host) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:0"),
                Some(host) => format!("{host}:0"),
                None => self.address.clone(),
            };
            let endpoint = advertised(scheme, &configured, listener.local_addr()?)?;
            self.bound = Some(Bound { listener, security });
            Ok(vec![endpoint])
        })
    }

    fn serve(mut self: Box<Self>, serving: Serving) -> BoxFuture<'static, Result<(), BoxError>> {
        Box::pin(async move {
            let Bound { mut listener, security } = self.bound.take().ok_or("the server was not bound")?;
            let handler = self.handler.of(&serving);
            // Those who hold an end are connections. They are told to finish by what is sent, and dropped with the
            // sender.
            let (orders, order) = watch::channel(false);
            let mut stopping = serving.stop().stopping();
            serving.accepting();
            loop {
                match either(&mut stopping, listener.accept()).await {
                    Either::Left(()) => break,
                    Either::Right(Ok(io)) => {
                        let connection = serve_connection(
                            io,
                            security.clone(),
                            handler.clone(),
                            Arc::clone(&self.net),
                            order.clone(),
                        );
                        self.net.spawn(Box::pin(connection));
                    }
                    Either::Right(Err(error)) if is_of_the_peer(&error) => {}
                    Either::Right(Err(error)) => {
                        tracing::warn!(target: "periplus", %error, "cannot accept a connection, trying again");
                        if let Either::Left(()) = either(&mut stopping, self.net.sleep(PAUSE)).await {
                            break;
                        }
                    }
                }
            }
            drop((listener, order));
            let _ = orders.send(true);
            orders.closed().await;
            Ok(())
        })
    }
}

async fn listen(net: &dyn Listen, address: &str) -> io::Result<Box<dyn Listener>> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in listen_addresses(address) {
        result = net.listen(&address).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

/// Whether a connection failed and not the listener.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What came first.
enum Either<A, B> {
    Left(A),
    Right(B),
}

/// Waits for one of two, the first before the second.
async fn either<A, B>(mut left: impl Future<Output = A> + Unpin, right: impl Future<Output = B>) -> Either<A, B> {
    let mut right = pin!(right);
    poll_fn(|cx| match Pin::new(&mut left).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Either::Left(output)),
        Poll::Pending => right.as_mut().poll(cx).map(Either::Right),
    })
    .await
}

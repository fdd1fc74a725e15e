//! The HTTP client: finds or makes a connection for each request.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use periplus_core::http::{Failure, Request};
use tokio::sync::oneshot;

use crate::dial::{CONNECT_TIMEOUT, dial, within};
use crate::exchange::Exchange;
use crate::io::HyperIo;
use crate::net::{Io, Net};
use crate::origin::{Origin, translate};
use crate::pool::{IDLE_TIMEOUT, Pool, Sender};
#[cfg(feature = "tls")]
use crate::tls::{TlsConfig, TlsConnector};

/// How long a connection may take to come to rest after its last answer, or to its end after an error.
pub(crate) const REST: Duration = Duration::from_secs(1);

/// How much of an answer is read ahead, and how long its head may be.
pub(crate) const BUFFER: usize = 64 * 1024;

/// An HTTP/1.1 client. Cheap to clone; clones share their connections, which are closed when the last one is dropped.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    net: Arc<dyn Net>,
    pool: Pool,
    #[cfg(feature = "tls")]
    tls: TlsConnector,
}

/// An answer that has begun, and where its connection goes afterwards.
pub(crate) struct Opened {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
}

/// A connection that is in use.
pub(crate) struct Lease {
    client: HttpClient,
    origin: Origin,
    sender: Sender,
}

impl HttpClient {
    /// A client without connections, that believes the servers which public authorities vouch for.
    #[must_use]
    pub fn new(net: impl Net) -> Self {
        Self(Arc::new(Inner {
            net: Arc::new(net),
            pool: Pool::default(),
            #[cfg(feature = "tls")]
            tls: TlsConnector::new(&TlsConfig::default()),
        }))
    }

    /// A client without connections, with TLS of one's own.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(net: impl Net, tls: &TlsConfig) -> Self {
        Self(Arc::new(Inner { net: Arc::new(net), pool: Pool::default(), tls: TlsConnector::new(tls) }))
    }

    /// Sends a request. Nothing happens until the exchange is polled.
    #[must_use]
    pub fn request(&self, request: Request) -> Exchange {
        Exchange::new(self.clone().open(request))
    }

    async fn open(self, request: Request) -> Result<Opened, Failure> {
        let (origin, mut message) = translate(request).map_err(Failure::not_sent)?;
        loop {
            let (mut sender, fresh) = match self.kept(&origin).await {
                Some(sender) => (sender, None),
                None => {
                    let made = self.connect(&origin).await;
                    let (sender, fate) = made.map_err(|error| Failure::not_sent(innermost(&error)))?;
                    (sender, Some(fate))
                }
            };
            match sender.try_send_request(message).await {
                Ok(response) => return Ok(Opened { response, lease: Lease { client: self, origin, sender } }),
                Err(mut failed) => match (failed.take_message(), fresh) {
                    // It was closed before anything was written.
                    (Some(returned), None) => message = returned,
                    (Some(_), Some(fate)) => {
                        let fate = within(&*self.0.net, REST, fate).await.and_then(Result::ok);
                        return Err(Failure::not_sent(fate.unwrap_or_else(|| innermost(failed.error()))));
                    }
                    (None, _) => return Err(Failure::unknown(innermost(failed.error()))),
                },
            }
        }
    }

    /// A kept connection that can take a request.
    async fn kept(&self, origin: &Origin) -> Option<Sender> {
        while let Some(mut sender) = self.0.pool.take(origin) {
            if sender.is_ready() || within(&*self.0.net, REST, sender.ready()).await.is_some_and(|rest| rest.is_ok()) {
                return Some(sender);
            }
        }
        None
    }

    /// A new connection, and what it ends of if it fails.
    async fn connect(&self, origin: &Origin) -> io::Result<(Sender, oneshot::Receiver<String>)> {
        let Some(io) = within(&*self.0.net, CONNECT_TIMEOUT, self.secured(origin)).await else {
            let message = format!("no connection within {CONNECT_TIMEOUT:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER);
        let (sender, connection) = builder.handshake(HyperIo(io?)).await.map_err(io::Error::other)?;
        let (tell, fate) = oneshot::channel();
        self.0.net.spawn(Box::pin(async {
            if let Err(error) = connection.await {
                let _ = tell.send(innermost(&error));
            }
        }));
        Ok((sender, fate))
    }

    async fn secured(&self, origin: &Origin) -> io::Result<Box<dyn Io>> {
        #[cfg(feature = "tls")]
        if origin.tls {
            let name = TlsConnector::name(&origin.host)?;
            let io = dial(&*self.0.net, &origin.host, origin.port).await?;
            return self.0.tls.secure(name, io).await;
        }
        #[cfg(not(feature = "tls"))]
        if origin.tls {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "https needs the feature tls: switch it on"));
        }
        dial(&*self.0.net, &origin.host, origin.port).await
    }

    /// Closes what waits too long, until nothing waits or the client is gone.
    async fn sweep(net: Arc<dyn Net>, client: Weak<Inner>) {
        loop {
            net.sleep(IDLE_TIMEOUT / 2).await;
            if !client.upgrade().is_some_and(|client| client.pool.sweep()) {
                return;
            }
        }
    }
}

impl Lease {
    /// Keeps the connection for the next request.
    pub(crate) fn end(self) {
        let Inner { net, pool, .. } = &*self.client.0;
        if !self.sender.is_closed() && pool.put(self.origin, self.sender) {
            net.spawn(Box::pin(HttpClient::sweep(net.clone(), Arc::downgrade(&self.client.0))));
        }
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

/// What is at the bottom of an error.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

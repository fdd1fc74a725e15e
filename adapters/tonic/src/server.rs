//! tonic's services as a server of an application.

use std::convert::Infallible;
use std::fmt;
use std::io;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
#[cfg(feature = "tls")]
use periplus_hyper::TlsAcceptor;
use periplus_hyper::host::advertised;
use periplus_hyper::listen_addresses;
use periplus_tokio::BoxFuture;
use periplus_tokio::app::{AppInfo, BoxError, Server, Serving, Stop};
use periplus_tokio::core::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::leash::{Leash, Leashed};

/// How long after an error of the listener, such as too many open files, it is asked again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a client may take to agree on TLS.
#[cfg(feature = "tls")]
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often a connection is pinged, so that one whose client is gone does not stay for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Serves tonic's services as part of an [`App`](periplus_tokio::app::App), HTTP/2 and nothing else, with
/// `grpc.health.v1.Health`: `SERVING`, until the application drains.
///
/// When it is told to stop it lets open calls end, but for the streams of those who watch its health.
pub struct GrpcServer {
    address: String,
    routes: RoutesBuilder,
    advertise: Option<String>,
    listener: Option<TcpListener>,
    #[cfg(feature = "tls")]
    identity: Option<(PathBuf, PathBuf)>,
    #[cfg(feature = "tls")]
    tls: Option<TlsAcceptor>,
}

impl GrpcServer {
    /// A server that will listen here: `0.0.0.0:9000`, `127.0.0.1:0`.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            routes: RoutesBuilder::default(),
            advertise: None,
            listener: None,
            #[cfg(feature = "tls")]
            identity: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Advertises this host, with the port that it listens at. Otherwise it is the host of its address; if that means
    /// all addresses, one of this machine is found.
    #[must_use]
    pub fn advertise(mut self, host: impl Into<String>) -> Self {
        self.advertise = Some(host.into());
        self
    }

    /// Adds a service, as tonic generates them.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: tower_service::Service<
                http::Request<tonic::body::Body>,
                Response = http::Response<tonic::body::Body>,
                Error = Infallible,
            > + tonic::server::NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.routes.add_service(service);
        self
    }

    /// Serves with TLS, with this certificate, those that lead to its root after it, and its key: PEM files, read when the
    /// server is bound.
    ///
    /// Kratos's clients, and those of this crate, want the certificate to be for the service's name.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    const fn scheme(&self) -> &'static str {
        #[cfg(feature = "tls")]
        if self.identity.is_some() {
            return "grpcs";
        }
        "grpc"
    }

    async fn listen(&mut self) -> Result<Vec<Endpoint>, BoxError> {
        #[cfg(feature = "tls")]
        if let Some((certificate, key)) = &self.identity {
            self.tls = Some(TlsAcceptor::speaking(&[b"h2"], certificate, key)?);
        }
        let addresses = listen_addresses(&self.address);
        let mut listener = Err(io::Error::from(io::ErrorKind::InvalidInput));
        for address in &addresses {
            listener = TcpListener::bind(address).await;
            if listener.is_ok() {
                break;
            }
        }
        let listener = listener.map_err(|error| format!("cannot listen at {}: {error}", self.address))?;
        let bound = listener.local_addr()?;
        self.listener = Some(listener);
        let configured = self.advertise.as_ref().map(|host| match host.contains(':') && !host.starts_with('[') {
            true => format!("[{host}]:0"),
            false => format!("{host}:0"),
        });
        Ok(vec![advertised(self.scheme(), configured.as_deref().unwrap_or(&self.address), bound)?])
    }
}

impl Server for GrpcServer {
    fn name(&self) -> &str {
        "grpc"
    }

    fn bind(&mut self) -> BoxFuture<'_, Result<Vec<Endpoint>, BoxError>> {
        Box::pin(self.listen())
    }

    fn serve(self: Box<Self>, serving: Serving) -> BoxFuture<'static, Result<(), BoxError>> {
        Box::pin(async move {
            let Self { mut routes, listener, .. } = *self;
            let listener = listener.ok_or("it was not bound")?;
            let reporter = HealthReporter::new();
            let health = tonic_health::server::HealthService::from_health_reporter(reporter.clone());
            routes.add_service(tonic_health::pb::health_server::HealthServer::new(health));
            let shared = Arc::new(Connections {
                routes: routes.routes().prepare(),
                info: serving.info().clone(),
                #[cfg(feature = "tls")]
                tls: self.tls,
                stop: serving.stop(),
            });
            let (leash, leashed) = Leash::new();
            serving.accepting();
            let (mut draining, mut stopping) = (serving.stop().draining(), serving.stop().stopping());
            let mut drained = false;
            loop {
                tokio::select! {
                    biased;
                    () = &mut stopping => break,
                    () = &mut draining, if !drained => {
                        drained = true;
                        reporter.set_service_status("", ServingStatus::NotServing).await;
                    }
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => leashed.spawn(Arc::clone(&shared).connection(stream, leashed.clone())),
                        Err(error) => {
                            tracing::warn!(target: "periplus", %error, "cannot accept a connection");
                            tokio::time::sleep(PAUSE).await;
                        }
                    }
                }
            }
            drop((listener, leashed));
            // Whoever watches its health would keep it open for ever.
            let mut reporter = reporter;
            reporter.clear_service_status("").await;
            leash.ended().await;
            Ok(())
        })
    }
}

/// What the connections of a server share.
struct Connections {
    routes: Routes,
    info: AppInfo,
    #[cfg(feature = "tls")]
    tls: Option<TlsAcceptor>,
    stop: Stop,
}

impl Connections {
    async fn connection(self: Arc<Self>, stream: TcpStream, leashed: Leashed) {
        let _ = stream.set_nodelay(true);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let accepted = tokio::select! {
                accepted = tokio::time::timeout(HANDSHAKE, tls.accept(Box::new(stream))) => accepted,
                () = self.stop.stopping() => return,
            };
            match accepted {
                Ok(Ok(stream)) => self.serve(stream, leashed).await,
                Ok(Err(error)) => tracing::debug!(target: "periplus", %error, "no TLS with a client"),
                Err(_) => tracing::debug!(target: "periplus", "no TLS with a client in time"),
            }
            return;
        }
        self.serve(stream, leashed).await;
    }

    async fn serve(&self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, leashed: Leashed) {
        let mut builder = http2::Builder::new(leashed);
        builder.timer(TokioTimer::new()).keep_alive_interval(Some(KEEP_ALIVE)).keep_alive_timeout(KEEP_ALIVE / 2);
        let routes = TowerToHyperService::new(self.routes.clone());
        let info = self.info.clone();
        let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(info.clone());
            hyper::service::Service::call(&routes, request)
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        tokio::select! {
            _ = &mut connection => return,
            () = self.stop.stopping() => connection.as_mut().graceful_shutdown(),
        }
        // What goes wrong on a connection is its client's to know.
        let _ = connection.await;
    }
}

impl fmt::Debug for GrpcServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcServer").field("address", &self.address).finish_non_exhaustive()
    }
}

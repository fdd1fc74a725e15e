//! tonic's services as a server of an application.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use periplus_tokio::BoxFuture;
use periplus_hyper::host::advertised;
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
    tls: Option<tokio_rustls::TlsAcceptor>,
}

/// Why a server cannot be reached, or not by this certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// It cannot listen.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where it was to listen.
        address: String,
        /// Why not.
        error: io::Error,
    },
    /// A certificate or a key is of no use.
    #[error("{0}")]
    Tls(String),
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

    /// Serves with TLS: a certificate, with those that lead to its root after it, and its key, both PEM.
    ///
    /// Kratos's clients, and those of this crate, want the certificate to be for the service's name.
    ///
    /// # Errors
    /// If one of them is none, or they do not belong together.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, certificate: &[u8], key: &[u8]) -> Result<Self, ServerError> {
        use tokio_rustls::rustls::ServerConfig;
        use tokio_rustls::rustls::crypto::ring;
        use tokio_rustls::rustls::pki_types::pem::PemObject;
        use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

        let refuse = |error: &dyn fmt::Display| ServerError::Tls(format!("certificate or key unusable: {error}"));
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|error| refuse(&error))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| refuse(&error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring serves TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| refuse(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        self.tls = Some(Arc::new(config).into());
        Ok(self)
    }

    /// [`tls`](Self::tls) of two files.
    ///
    /// # Errors
    /// As there, or if one cannot be read.
    #[cfg(feature = "tls")]
    pub fn tls_files(self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, ServerError> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|error| ServerError::Tls(format!("{}: {error}", path.display())));
        self.tls(&read(certificate.as_ref())?, &read(key.as_ref())?)
    }

    const fn scheme(&self) -> &'static str {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return "grpcs";
        }
        "grpc"
    }

    async fn listen(&mut self) -> Result<Vec<Endpoint>, BoxError> {
        let refuse = |error| ServerError::Listen { address: self.address.clone(), error };
        // All that the machine has: IPv6 and IPv4, or IPv4 alone where there is no IPv6.
        let listener = match self.address.strip_prefix(':') {
            None => TcpListener::bind(&self.address).await.map_err(refuse)?,
            Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
                Ok(listener) => listener,
                Err(_) => TcpListener::bind(format!("0.0.0.0:{port}")).await.map_err(refuse)?,
            },
        };
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
    tls: Option<tokio_rustls::TlsAcceptor>,
    stop: Stop,
}

impl Connections {
    async fn connection(self: Arc<Self>, stream: TcpStream, leashed: Leashed) {
        let _ = stream.set_nodelay(true);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let accepted = tokio::select! {
                accepted = tokio::time::timeout(HANDSHAKE, tls.accept(stream)) => accepted,
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

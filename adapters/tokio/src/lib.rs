//! Periplus on tokio.
//!
//! [`Tokio`] is the runtime: tokio's sockets, timers and tasks under the client of [`periplus`], which this crate
//! re-exports whole. The feature `app` adds what an [application](periplus::app) runs: `App`, `http_server` for
//! axum routers and other services, `PlainServer` for anything else, and signals. The feature `dial` adds `HttpChannel`:
//! `HttpChannel::builder(Tokio::new(), "discovery:///name").connect(&registry)` calls the instances of a service.

mod net;
#[cfg(feature = "app")]
mod servers;
mod sleep;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use periplus::core::Instant;
use periplus::core::http::Request;
use periplus::driver::Driver;
use periplus_hyper::host::{self, Storage};
use periplus_hyper::{Exchange, HttpClient};
use tokio::runtime::Handle;

use crate::net::TokioNet;

pub use periplus::*;
#[cfg(feature = "dial")]
pub use periplus_hyper::{
    ConnectError as DialError, HashKey, HttpBody, HttpChannel, HttpChannelBuilder, HttpDialer, HttpError, Picked,
    UrlError,
};
#[cfg(feature = "tls")]
pub use periplus_hyper::{TlsConfig, TlsError};
#[cfg(feature = "app")]
pub use servers::{AdvertisedError, HttpServer, HttpService, PlainServer, advertised, http_server};
pub use sleep::Sleep;

/// An application on tokio: [`periplus::app`].
#[cfg(feature = "app")]
pub type App = periplus::App<Tokio>;

/// Opens a client of the registry at an address, such as `periplus://127.0.0.1:7171` or `memory:`, with the tokio runtime that this is called
/// in.
///
/// It does not wait for the registry: one that is down may come up later. What else can be chosen is chosen with
/// [`connect_with`].
///
/// # Errors
/// If the address makes no sense.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn connect(url: &str) -> Result<Client, ConnectError> {
    connect_with(Tokio::new(), url, ConnectOptions::default())
}

/// Tokio, as a runtime for clients. Cheap to clone; clients of clones share connections and storage.
///
/// Time is a clock that counts suspend where the platform can ([`host::now`]); after a suspend a client finds out
/// within five seconds what is due. Randomness is the system's. What clients want to keep is kept if there is
/// [storage](Self::with_storage).
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
    client: HttpClient,
    storage: Option<Arc<Storage>>,
}

impl Tokio {
    /// The tokio runtime that this is called in. It must have time and IO enabled.
    ///
    /// # Panics
    /// Outside a tokio runtime; use [`on`](Self::on) there.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Handle::current())
    }

    /// A tokio runtime. It must have time and IO enabled.
    #[must_use]
    pub fn on(handle: Handle) -> Self {
        Self { client: HttpClient::new(TokioNet(handle.clone())), handle, storage: None }
    }

    /// With TLS of one's own: other roots, a certificate to show.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: &TlsConfig) -> Self {
        self.client = HttpClient::with_tls(TokioNet(self.handle.clone()), tls);
        self
    }

    /// With a directory for what clients want to keep; it is made if it is not there. Two processes must not share one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn with_storage(mut self, directory: impl Into<PathBuf>) -> io::Result<Self> {
        self.storage = Some(Arc::new(Storage::new(directory)?));
        Ok(self)
    }
}

impl Default for Tokio {
    /// [`Tokio::new`], and panics as it does.
    fn default() -> Self {
        Self::new()
    }
}

impl Runtime for Tokio {
    type Sleep = Sleep;
    type Exchange = Exchange;

    fn now(&self) -> Instant {
        host::now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep::until(at)
    }

    fn request(&self, request: Request) -> Exchange {
        self.client.request(request)
    }

    fn spawn(&self, driver: Driver<Self>) {
        self.handle.spawn(driver);
    }

    fn entropy(&self, bytes: &mut [u8]) {
        host::entropy(bytes);
    }

    #[cfg(feature = "tls")]
    fn with_tls_files(&self, files: &TlsFiles) -> Result<Self, TlsFilesError> {
        let identity = files.identity.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        let tls = TlsConfig::of_files(files.roots.as_deref(), identity);
        Ok(self.clone().with_tls(&tls.map_err(|error| TlsFilesError(error.to_string()))?))
    }

    #[cfg(feature = "app")]
    fn signals(&self, wanted: &[Signal]) -> io::Result<Signals> {
        servers::listen(wanted)
    }

    fn load(&self, name: &str) -> Option<Vec<u8>> {
        self.storage.as_ref()?.load(name)
    }

    fn store(&self, name: &str, bytes: Vec<u8>) {
        if let Some(storage) = self.storage.clone() {
            storage.put(name, bytes);
            self.handle.spawn_blocking(move || storage.flush());
        }
    }
}

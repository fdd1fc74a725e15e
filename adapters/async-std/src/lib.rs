//! Periplus on async-std, and on smol.
//!
//! `AsyncStd` is the runtime for programs that run on async-std, and `Smol` (feature `smol`) the one for those that
//! run on smol: sockets and timers of async-io, which both stand on, and the tasks of the one or the other, under the
//! client of [`periplus`], which this crate re-exports whole.
//!
//! The feature `app` adds what an [application](periplus::app) runs: `http_server` for axum routers and other services,
//! and signals. `App::<AsyncStd>::builder()` begins one. The feature `dial` adds `HttpChannel`:
//! `HttpChannel::builder(AsyncStd::new(), "discovery:///name").connect(&registry)` calls the instances of a service.
//!
//! # async-std is discontinued
//!
//! Its authors have ended it and recommend smol ([RUSTSEC-2025-0052]). Programs that stand on it are served here as
//! well as any. For a new one take smol: `default-features = false, features = ["smol", "tls"]` leaves async-std out.
//!
//! [RUSTSEC-2025-0052]: https://rustsec.org/advisories/RUSTSEC-2025-0052

#[cfg(not(any(feature = "async-std", feature = "smol")))]
compile_error!("no runtime is chosen: switch on the feature async-std or smol");

mod net;
mod runtimes;
#[cfg(feature = "app")]
mod servers;
mod sleep;

pub use periplus::*;
#[cfg(feature = "dial")]
pub use periplus_hyper::{
    ConnectError as DialError, HashKey, HttpBody, HttpChannel, HttpChannelBuilder, HttpDialer, HttpError, Picked,
    UrlError,
};
#[cfg(feature = "tls")]
pub use periplus_hyper::{TlsConfig, TlsError};
#[cfg(feature = "async-std")]
pub use runtimes::AsyncStd;
#[cfg(feature = "smol")]
pub use runtimes::Smol;
#[cfg(all(feature = "app", feature = "async-std"))]
pub use servers::http_server;
#[cfg(all(feature = "app", feature = "smol"))]
pub use servers::http_server_smol;
#[cfg(feature = "app")]
pub use servers::{AdvertisedError, HttpServer, HttpService, advertised};
pub use sleep::Sleep;

/// Opens a client of the registry at an address, such as `periplus://127.0.0.1:7171` or `memory:`, with async-std.
///
/// It does not wait for the registry: one that is down may come up later. What else can be chosen is chosen with
/// [`connect_with`].
///
/// # Errors
/// If the address makes no sense.
#[cfg(feature = "async-std")]
pub async fn connect(url: &str) -> Result<Client, ConnectError> {
    connect_with(AsyncStd::new(), url, ConnectOptions::default())
}

/// Opens a client of the registry at an address with smol; as `connect` does with async-std.
///
/// # Errors
/// If the address makes no sense.
#[cfg(feature = "smol")]
pub async fn connect_smol(url: &str) -> Result<Client, ConnectError> {
    connect_with(Smol::new(), url, ConnectOptions::default())
}

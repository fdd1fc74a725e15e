//! HTTP for Periplus on any runtime that hyper can be given: connections, pools, TLS.
//!
//! A runtime supplies four things, as a [`Net`]: it resolves a name, dials an address, sleeps, and spawns. [`HttpClient`]
//! makes HTTP/1.1 of them: connections that are kept alive and used again, TLS by rustls, and an [`Exchange`] for each
//! request, a stream of [`Input`](periplus_core::http::Input)s. [`host`] is what native runtimes have in common besides:
//! a clock that counts suspend, storage in a directory, randomness.
//!
//! The feature `server` adds `HttpServer`, for applications. The feature `dial` adds `HttpChannel`, a client of a service
//! that is dialled by `discovery:///name`, and `HttpDialer`, which takes URLs such as `discovery:///name/path`. There is
//! none for reqwest: its connector learns hosts and not instances, and so could neither balance nor say who was picked.
//!
//! # What `HttpClient` promises
//!
//! - A request is said to be [`NotSent`](periplus_core::http::Reach::NotSent) only if not a byte of it was written:
//!   no connection was made, or a kept one turned out to be closed. In the latter case it has been tried again by then.
//! - Nothing is sent twice. Answers are handed on as they are: redirects are not followed, bodies not decoded.
//! - An exchange has its connection to itself, so that a stream holds up no call. Dropping an exchange before its end
//!   closes its connection.
//! - A chunk is handed on when it comes. It reads no more than the exchange is polled for, but for one buffer of 64 KiB.
//! - A connection is made within [`CONNECT_TIMEOUT`]. There is no other timeout: the machines have theirs.

#[cfg(feature = "dial")]
mod channel;
mod client;
mod dial;
mod exchange;
pub mod host;
mod io;
mod net;
mod origin;
mod pool;
#[cfg(feature = "dial")]
pub mod routing;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "tls")]
mod tls;

#[cfg(feature = "dial")]
pub use channel::{HttpBody, HttpChannel, HttpChannelBuilder, HttpDialer, HttpError, UrlError};
pub use client::HttpClient;
pub use dial::CONNECT_TIMEOUT;
pub use exchange::Exchange;
pub use net::{Io, Net, Task};
#[cfg(feature = "dial")]
pub use routing::{ConnectError, HashKey, Picked};
#[cfg(feature = "server")]
pub use server::{Answer, HttpServer, HttpService, Listen, Listener, listen_addresses};
#[cfg(feature = "tls")]
pub use tls::{TlsAcceptor, TlsConfig, TlsError};

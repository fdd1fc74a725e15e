//! Service registration and discovery for any async runtime.
//!
//! A program registers under a name and stays registered for as long as it holds the registration. Others follow the name
//! and see who is there. This crate is what both hold; the crate of a runtime (`periplus-tokio`, `periplus-async-std`,
//! `periplus-wasm`) opens it, and re-exports all of it, so that a program needs that one crate.
//!
//! ```
//! use periplus::core::{Endpoint, InstanceId, ServiceInstance, ServiceName, Status};
//! # use periplus::ConnectOptions;
//! # mod local { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/local.rs")); }
//! # async fn connect(url: &str) -> Result<periplus::Client, periplus::ConnectError> {
//! #     periplus::connect_with(local::Local::default(), url, ConnectOptions::default())
//! # }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // With tokio: `periplus_tokio::connect`. One changes the address to `periplus://HOST:PORT` for a registry that
//! // others share.
//! let registry = connect("memory:").await?;
//!
//! // Somebody follows a service that is not there yet, and is told so.
//! let mut watcher = registry.watch("web")?;
//! assert!(watcher.next().await.unwrap().is_empty());
//!
//! // An instance of it registers, and is there.
//! let instance = ServiceInstance::new(ServiceName::new("web")?, InstanceId::new("web-1")?)
//!     .with_endpoint(Endpoint::new("http://10.0.0.5:8000")?);
//! let registration = registry.register(instance).await?;
//! let listing = watcher.next().await.unwrap();
//! assert!(listing.is_live());
//! assert_eq!(listing.decode()[0].endpoints[0].as_str(), "http://10.0.0.5:8000");
//!
//! // It says that it is to get no new calls, and then goes.
//! registration.set_status(Status::Draining)?;
//! assert_eq!(watcher.next().await.unwrap().instances[0].status(), Status::Draining);
//! assert!(registration.close().await.confirmed);
//! assert!(registry.get_service("web").await?.is_empty());
//!
//! registry.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What each handle promises
//!
//! All of them are cheap to clone or to make, can be sent and shared between threads on every runtime, and know nothing
//! of the runtime. Futures may be dropped at any await: nothing is left behind, and nothing is missed.
//!
//! | Handle | Promises | When dropped |
//! |---|---|---|
//! | [`Client`] | opens at once, whether the registry is up or not; never gives up | the last handle of any kind closes the client, which says its last word first |
//! | [`Register`] | resolves when the registry has it; waits for one that is down; or says why never | nothing is registered |
//! | [`Registration`] | says `Registered` only while that is certain; is made again whenever it was lost | the last one for the instance deregisters |
//! | [`Watcher`] | the latest list, in one step, however late it is asked; never an empty list for an outage | the watch ends |
//! | [`GetService`] | answered from memory if lately asked or watched; otherwise waits for the first word, but not for ever | nothing is left |
//! | [`Events`] | the latest events, and how many were missed; keeps nothing open | nobody is told |
//!
//! # For programs that take any registry
//!
//! [`Registrar`] and [`Discovery`] are Kratos's interfaces, object-safe: an application takes an `Arc<dyn Registrar>` and
//! an `Arc<dyn Discovery>`, and is given a [`Client`].
//!
//! | Kratos | here |
//! |---|---|
//! | `Registrar.Register`, `Deregister` | [`Registrar::register`], [`deregister`](Registrar::deregister), and [`update`](Registrar::update) |
//! | `Discovery.GetService`, `Watch` | [`Discovery::get_service`], [`watch`](Discovery::watch) |
//! | `Watcher.Next` | [`Watcher::next`], or the [`Watcher`] as a stream |
//! | `Watcher.Stop` | dropping it |
//!
//! Unlike Kratos's, a watcher's first list comes even if it is empty, and each list says how far it can be believed
//! ([`Provenance`](core::client::Provenance)): it is live, or partly unconfirmed after a registry lost its memory, or
//! stale because the registry cannot be heard, and then [how old](Listing::age).
//!
//! All that registers, and so the [`App`], is behind the feature `registration`, which is on unless it is switched off: a
//! web page that only discovers is smaller without.
//!
//! # Testing
//!
//! With `memory:` a test has a whole registry to itself, and [`Client::with_registry`] makes in it happen what a test
//! wants: evictions, overlays. `memory:NAME` is one that several clients of the process share. Both are behind the feature
//! `memory`, which is on unless it is switched off.
//!
//! # What happens inside
//!
//! A client is a machine without IO (a [`Backend`](core::client::Backend)), which decides everything, behind a lock that
//! is held for a moment. One [`Driver`](driver::Driver) a client carries requests and time between it and the
//! [`Runtime`]. What happens is told to `tracing` (target `periplus`, behind the feature `tracing`, which is on unless it
//! is switched off), counted ([`Client::counters`]), and streamed ([`Client::events`]).

#![cfg_attr(
    not(feature = "registration"),
    allow(dead_code, reason = "what serves registrations alone is not taken apart from the rest")
)]

#[cfg(feature = "registration")]
pub mod app;
pub mod driver;
pub mod runtime;

mod client;
mod connect;
mod error;
mod events;
mod face;
mod get;
#[cfg(feature = "memory")]
mod house;
mod place;
#[cfg(feature = "registration")]
mod registrar;
#[cfg(feature = "registration")]
mod registration;
#[cfg_attr(not(feature = "tracing"), path = "unreported.rs")]
mod report;
mod secrets;
mod settings;
mod shared;
#[cfg_attr(not(feature = "registration"), path = "slotless.rs")]
mod slots;
mod waiters;
mod watcher;

#[cfg(feature = "registration")]
pub use app::{App, AppBuilder, AppError, AppHandle, AppInfo};
pub use client::{Client, OnlineSignal};
pub use connect::{ConnectError, ConnectOptions, connect_with, drive};
pub use error::{GetError, RegisterError, UpdateError, WatchError};
pub use events::Events;
pub use face::{BoxFuture, Discovery};
pub use get::GetService;
pub use periplus_core as core;
pub use place::{StorePlace, locate};
#[cfg(feature = "registration")]
pub use registrar::Registrar;
#[cfg(feature = "registration")]
pub use registration::{Deregistered, Register, Registration};
pub use runtime::{Runtime, Signal, Signals, TlsFiles, TlsFilesError};
pub use secrets::SecretError;
pub use watcher::{Changed, Changes, Listing, Watcher};

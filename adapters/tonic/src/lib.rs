//! gRPC for Periplus on tokio: dials `discovery:///name` under tonic's clients, and serves tonic's services.
//!
//! A [`Channel`] goes under any generated client. It follows the service in the registry, keeps one HTTP/2 connection to
//! each of its instances, and balances the calls over those that are ready.
//!
//! ```
//! use periplus_tonic::Channel;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = periplus_tokio::connect("memory:").await?;
//! let channel = Channel::connect(&registry, "discovery:///greeter")?;
//! // The client that is generated from a service's protocol: `GreeterClient::new(channel)`.
//! let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
//! let nobody = client.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap_err();
//! assert_eq!(nobody.code(), tonic::Code::Unavailable);
//! assert_eq!(nobody.message(), "discovery:///greeter: no instance is registered");
//! # Ok(())
//! # }
//! ```
//!
//! # What a channel promises
//!
//! - It opens at once, whether the registry is up or not, and never gives up. What the registry says is applied when it
//!   says it; nothing waits for traffic.
//! - Calls go to instances that are connected, up, serving (by gRPC's health protocol, if they speak it) and not
//!   ejected. What is lost is seen when it is lost, and connected again with back-off.
//! - Calls wait for the first word of the registry and for connections, but [not for
//!   ever](ChannelBuilder::wait). If there is nobody to call they fail at once with `UNAVAILABLE`, unless
//!   [chosen otherwise](ChannelBuilder::empty).
//! - A call that no instance has begun to process is given to another one: it was never sent, or refused by
//!   `REFUSED_STREAM` or a `GOAWAY` before it. A call that may have begun is never sent twice.
//! - A change of weight or metadata reconnects nothing. What was learned of an instance outlives its connections.
//! - An instance that leaves gets no new calls and finishes those it has.
//! - As with Kratos, `:authority` and the name in the certificate are the service's name, as the registry has it. A name
//!   that is no authority (`a/b`) gives way to host and port without TLS, and needs
//!   [another](ChannelBuilder::server_name) with it.
//!
//! # For middleware
//!
//! Which instance was picked is in the extensions of the response, of the request as it is sent, and in the error:
//! [`Picked`]. A request may bring a [`Filter`](balance::Filter) or a [`HashKey`] in its own.

mod body;
mod call;
mod channel;
mod connection;
mod error;
mod health;
mod leash;
mod server;

pub use channel::{Channel, ChannelBuilder};
pub use error::CallError;
pub use periplus_hyper::{ConnectError, HashKey, Picked};
pub use periplus_tokio::core::balance;
pub use periplus_tokio::core::dial;
#[cfg(feature = "tls")]
pub use periplus_tokio::{TlsConfig, TlsError};
pub use server::GrpcServer;

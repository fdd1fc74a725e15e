//! What applications run on async-std and smol: a server for HTTP, and signals.

mod http;
mod signals;

#[cfg(feature = "async-std")]
pub use http::http_server;
#[cfg(feature = "smol")]
pub use http::http_server_smol;
pub use periplus_hyper::host::{AdvertisedError, advertised};
pub use periplus_hyper::{HttpServer, HttpService};
pub(crate) use signals::listen;

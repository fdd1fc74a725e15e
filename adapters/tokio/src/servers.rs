//! What applications run on tokio: servers for HTTP and for anything else, and signals.

mod http;
mod plain;
mod signals;

pub use http::http_server;
pub use periplus_hyper::host::{AdvertisedError, advertised};
pub use periplus_hyper::{HttpServer, HttpService};
pub use plain::PlainServer;
pub(crate) use signals::listen;

//! Tokio's listeners for HTTP.

use std::io;
use std::net::SocketAddr;

use periplus::BoxFuture;
use periplus_hyper::{HttpServer, HttpService, Io, Listen, Listener, Task};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::net::TokioNet;

/// An HTTP server for an application: a service, such as an axum `Router`, at `HOST:PORT`, or at `:PORT` of all addresses.
///
/// # Panics
/// Outside a tokio runtime.
pub fn http_server(address: impl Into<String>, service: impl HttpService) -> HttpServer {
    HttpServer::new(TokioNet(Handle::current()), address, service)
}

impl Listen for TokioNet {
    fn listen(&self, address: &str) -> Task<io::Result<Box<dyn Listener>>> {
        let address = address.to_owned();
        Box::pin(async move { Ok(Box::new(Socket(TcpListener::bind(address).await?)) as Box<dyn Listener>) })
    }
}

struct Socket(TcpListener);

impl Listener for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Io>>> {
        Box::pin(async {
            let (stream, _) = self.0.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

//! Listeners of async-io for HTTP.

use std::io;
use std::net::{SocketAddr, TcpListener};

use async_io::Async;
use periplus::BoxFuture;
use periplus_hyper::{HttpServer, HttpService, Io, Listen, Listener, Task};

use crate::net::{AsyncIoNet, Socket};

/// An HTTP server for an application on async-std: a service, such as an axum `Router`, at `HOST:PORT`, or at `:PORT` of all
/// addresses.
#[cfg(feature = "async-std")]
pub fn http_server(address: impl Into<String>, service: impl HttpService) -> HttpServer {
    HttpServer::new(AsyncIoNet(|task| drop(async_std::task::spawn(task))), address, service)
}

/// An HTTP server for an application on smol; as `http_server` on async-std.
#[cfg(feature = "smol")]
pub fn http_server_smol(address: impl Into<String>, service: impl HttpService) -> HttpServer {
    HttpServer::new(AsyncIoNet(|task| smol::spawn(task).detach()), address, service)
}

impl Listen for AsyncIoNet {
    fn listen(&self, address: &str) -> Task<io::Result<Box<dyn Listener>>> {
        let address = address.to_owned();
        Box::pin(async move {
            // A name may have to be looked up.
            let listener = blocking::unblock(move || TcpListener::bind(address)).await?;
            Ok(Box::new(Acceptor(Async::new(listener)?)) as Box<dyn Listener>)
        })
    }
}

struct Acceptor(Async<TcpListener>);

impl Listener for Acceptor {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Io>>> {
        Box::pin(async {
            let (stream, _) = self.0.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            Ok(Box::new(Socket(stream)) as Box<dyn Io>)
        })
    }
}

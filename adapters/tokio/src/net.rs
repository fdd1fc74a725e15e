//! Tokio's sockets, timers and tasks for HTTP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use periplus_hyper::{Io, Net, Task};
use tokio::net::{TcpStream, lookup_host};
use tokio::runtime::Handle;

use crate::Tokio;

#[derive(Clone)]
pub(crate) struct TokioNet(pub(crate) Handle);

impl Net for TokioNet {
    fn resolve(&self, host: &str, port: u16) -> Task<io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn dial(&self, to: SocketAddr) -> Task<io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }

    fn sleep(&self, span: Duration) -> Task<()> {
        Box::pin(tokio::time::sleep(span))
    }

    fn spawn(&self, task: Task<()>) {
        self.0.spawn(task);
    }
}

/// The network of the runtime, for what dials or listens on it.
impl Net for Tokio {
    fn resolve(&self, host: &str, port: u16) -> Task<io::Result<Vec<SocketAddr>>> {
        TokioNet(self.handle.clone()).resolve(host, port)
    }

    fn dial(&self, to: SocketAddr) -> Task<io::Result<Box<dyn Io>>> {
        TokioNet(self.handle.clone()).dial(to)
    }

    fn sleep(&self, span: Duration) -> Task<()> {
        TokioNet(self.handle.clone()).sleep(span)
    }

    fn spawn(&self, task: Task<()>) {
        self.handle.spawn(task);
    }
}

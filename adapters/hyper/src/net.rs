//! What a runtime supplies for HTTP.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

/// A boxed future that any thread may run.
pub type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection. The traits are tokio's, because its TLS speaks them; they need no runtime.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A runtime's network, timers and tasks.
///
/// The futures are boxed: there are a few for each connection and none for each chunk, and so the client is compiled
/// once, and not for each runtime.
pub trait Net: Send + Sync + 'static {
    /// The addresses of a host, best first.
    fn resolve(&self, host: &str, port: u16) -> Task<io::Result<Vec<SocketAddr>>>;

    /// Makes a connection that sends without delay (`TCP_NODELAY`).
    fn dial(&self, to: SocketAddr) -> Task<io::Result<Box<dyn Io>>>;

    /// A timer.
    fn sleep(&self, span: Duration) -> Task<()>;

    /// Runs a task until it ends.
    fn spawn(&self, task: Task<()>);
}

//! Sockets and timers of async-io for HTTP.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_io::{Async, Timer};
use futures_io::{AsyncRead as _, AsyncWrite as _};
use periplus_hyper::{Io, Net, Task};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The network, and who runs its tasks.
pub(crate) struct AsyncIoNet(pub(crate) fn(Task<()>));

impl Net for AsyncIoNet {
    fn resolve(&self, host: &str, port: u16) -> Task<io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(blocking::unblock(move || Ok((host.as_str(), port).to_socket_addrs()?.collect())))
    }

    fn dial(&self, to: SocketAddr) -> Task<io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let stream = Async::<TcpStream>::connect(to).await?;
            stream.get_ref().set_nodelay(true)?;
            Ok(Box::new(Socket(stream)) as Box<dyn Io>)
        })
    }

    fn sleep(&self, span: Duration) -> Task<()> {
        Box::pin(async move {
            Timer::after(span).await;
        })
    }

    fn spawn(&self, task: Task<()>) {
        (self.0)(task);
    }
}

/// A socket with the traits that the HTTP client speaks.
pub(crate) struct Socket(pub(crate) Async<TcpStream>);

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = ready!(Pin::new(&mut self.0).poll_read(cx, buf.initialize_unfilled()))?;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
    }
}

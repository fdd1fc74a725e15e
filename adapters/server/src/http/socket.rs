//! A socket that gathers what is written while its connection is polled, and sends it in one go.
//!
//! A client may send many requests at once and gets the answers in as few packets. hyper's own `pipeline_flush` does
//! that too, but with it no body is ever held back, however slow its reader: a watch would pile up without end. Here
//! no more than [`GATHERED`] bytes wait.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::connection::Connection;

/// What is longer goes out as it is.
const GATHERED: usize = 8 << 10;

/// The socket as hyper has it.
pub(super) struct Socket {
    reader: OwnedReadHalf,
    outlet: Outlet,
    connection: Arc<Connection>,
}

/// The writing end, which hyper and the connection's task share.
#[derive(Clone)]
pub(super) struct Outlet(Arc<Mutex<Gathered>>);

struct Gathered {
    writer: OwnedWriteHalf,
    bytes: Vec<u8>,
    /// How many of them were sent.
    sent: usize,
    /// The kernel took nothing when it was last asked, and has not called since.
    blocked: bool,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, connection: Arc<Connection>) -> Self {
        let (reader, writer) = stream.into_split();
        let gathered = Gathered { writer, bytes: Vec::new(), sent: 0, blocked: false };
        Self { reader, outlet: Outlet(Arc::new(Mutex::new(gathered))), connection }
    }

    pub(super) fn outlet(&self) -> Outlet {
        self.outlet.clone()
    }
}

impl Outlet {
    /// Sends what was gathered.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_send(cx)
    }

    /// Whether there is something to send and nothing is taken.
    pub(super) fn is_blocked(&self) -> bool {
        self.lock().blocked
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.bytes.len() {
            let polled = Pin::new(&mut self.writer).poll_write(cx, &self.bytes[self.sent..]);
            self.blocked = polled.is_pending();
            let count = ready!(polled)?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        // A connection that has nothing to say holds nothing.
        self.bytes = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Whether there is room for so much more; if not, it is tried to make some.
    fn poll_room(&mut self, cx: &mut Context<'_>, count: usize) -> Poll<io::Result<bool>> {
        if self.bytes.len() + count <= GATHERED {
            return Poll::Ready(Ok(true));
        }
        ready!(self.poll_send(cx))?;
        Poll::Ready(Ok(count <= GATHERED))
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.connection.heard.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let gathered = &mut *self.outlet.lock();
        if ready!(gathered.poll_room(cx, buf.len()))? {
            gathered.bytes.extend_from_slice(buf);
            Poll::Ready(Ok(buf.len()))
        } else {
            let polled = Pin::new(&mut gathered.writer).poll_write(cx, buf);
            gathered.blocked = polled.is_pending();
            polled
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = bufs.iter().map(|buf| buf.len()).sum();
        let gathered = &mut *self.outlet.lock();
        if ready!(gathered.poll_room(cx, count))? {
            gathered.bytes.reserve(count);
            for buf in bufs {
                gathered.bytes.extend_from_slice(buf);
            }
            Poll::Ready(Ok(count))
        } else {
            let polled = Pin::new(&mut gathered.writer).poll_write_vectored(cx, bufs);
            gathered.blocked = polled.is_pending();
            polled
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Says that it is done: the connection's task sends what is gathered as soon as hyper has nothing more to do.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gathered = &mut *self.outlet.lock();
        ready!(gathered.poll_send(cx))?;
        Pin::new(&mut gathered.writer).poll_shutdown(cx)
    }
}

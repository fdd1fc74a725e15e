//! One connection of a pool.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::BoxError;
use crate::net::Io;

/// A request's body without its type.
pub(super) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// The end of a connection that requests are handed to.
pub(super) struct Connection {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) traffic: Arc<Traffic>,
}

/// What has happened on a connection.
pub(super) struct Traffic {
    pub(super) made: Instant,
    /// Whether a request was handed to it.
    pub(super) used: AtomicBool,
    /// Whether the server has said anything since the latest request was handed to it.
    heard: AtomicBool,
}

impl Traffic {
    pub(super) fn new() -> Self {
        Self { made: Instant::now(), used: AtomicBool::new(false), heard: AtomicBool::new(false) }
    }

    /// A request begins.
    pub(super) fn begin(&self) {
        self.heard.store(false, Ordering::SeqCst);
        self.used.store(true, Ordering::SeqCst);
    }

    /// Whether a byte has come since the latest request began.
    pub(super) fn heard(&self) -> bool {
        self.heard.load(Ordering::SeqCst)
    }
}

/// A connection that notices what comes.
pub(super) struct Noticed {
    pub(super) io: Box<dyn Io>,
    pub(super) traffic: Arc<Traffic>,
}

impl AsyncRead for Noticed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.traffic.heard.store(true, Ordering::SeqCst);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Noticed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }
}

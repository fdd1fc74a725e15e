//! The body of a response.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use periplus_core::balance::CallOutcome;

use super::connection::Connection;
use super::error::HttpError;
use super::pool::Pool;
use crate::client::innermost;
use crate::routing::{Account, Picked};

/// The body of a response: a stream of frames, as hyper's. Dropped before its end it gives up the rest.
pub struct HttpBody {
    body: Incoming,
    lease: Option<Lease>,
}

/// What a response holds until its end.
pub(super) struct Lease {
    pub(super) account: Account,
    pub(super) outcome: CallOutcome,
    pub(super) connection: Connection,
    pub(super) pool: Arc<Pool>,
    pub(super) target: String,
    pub(super) picked: Picked,
}

impl HttpBody {
    pub(super) fn new(body: Incoming, lease: Lease) -> Self {
        let mut body = Self { body, lease: Some(lease) };
        body.look();
        body
    }

    /// All of it.
    ///
    /// # Errors
    /// If it is cut.
    pub async fn bytes(self) -> Result<Bytes, HttpError> {
        Ok(self.collect().await?.to_bytes())
    }

    /// Ends the call if nothing more comes.
    fn look(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(Lease { mut account, outcome, connection, pool, .. }) = self.lease.take() {
            account.end(outcome);
            pool.put(connection);
        }
    }
}

impl Body for HttpBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        Poll::Ready(match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                this.look();
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                // Without a lease the call has ended, and there is nothing to be cut.
                let Some(Lease { mut account, target, picked, .. }) = this.lease.take() else {
                    return Poll::Ready(None);
                };
                account.end(CallOutcome::Failure);
                Some(Err(HttpError::Lost { target, reason: innermost(&error), picked }))
            }
            None => {
                this.end();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for HttpBody {
    /// The head has come: the instance has answered. hyper reads what is there of the rest, or closes the connection.
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for HttpBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpBody").field("body", &self.body).finish_non_exhaustive()
    }
}

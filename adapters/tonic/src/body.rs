//! Bodies of requests that can be sent again, and of responses that tell how the call ended.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use periplus_hyper::routing::Account;
use periplus_tokio::core::balance::CallOutcome;
use tonic::{Code, Status};

/// What is kept of a request, to be sent again, in bytes. A request of more can be refused once.
const KEPT: usize = 256 * 1024;

/// A request's body, and what of it was read. It outlives the attempts to send it.
#[derive(Clone)]
pub(crate) struct Original(Arc<Mutex<Reading>>);

struct Reading {
    body: tonic::body::Body,
    /// What was read, as long as it may be needed again.
    read: VecDeque<Bytes>,
    bytes: usize,
    /// How many of them the present attempt has taken.
    taken: usize,
    /// The present attempt; another one reads nothing.
    attempt: u32,
    /// Whether everything is still there.
    whole: bool,
}

/// The body of one attempt.
pub(crate) struct Attempt {
    original: Original,
    number: u32,
}

impl Original {
    pub(crate) fn new(body: tonic::body::Body) -> Self {
        let reading = Reading { body, read: VecDeque::new(), bytes: 0, taken: 0, attempt: 0, whole: true };
        Self(Arc::new(Mutex::new(reading)))
    }

    /// The body from its beginning. `None`: some of it is not there any more.
    pub(crate) fn attempt(&self) -> Option<Attempt> {
        let mut reading = self.lock();
        reading.attempt += 1;
        reading.taken = 0;
        reading.whole.then(|| Attempt { original: self.clone(), number: reading.attempt })
    }

    /// It will not be sent again.
    pub(crate) fn let_go(&self) {
        self.lock().let_go();
    }

    fn lock(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// Keeps only what the present attempt has not taken yet.
    fn let_go(&mut self) {
        self.whole = false;
        self.read.drain(..self.taken);
        self.taken = 0;
    }
}

impl Body for Attempt {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut reading = self.original.lock();
        if reading.attempt != self.number {
            return Poll::Ready(None);
        }
        if let Some(data) = reading.read.get(reading.taken).cloned() {
            if reading.whole {
                reading.taken += 1;
            } else {
                reading.read.pop_front();
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let frame = ready!(Pin::new(&mut reading.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && reading.whole
        {
            match frame.data_ref() {
                Some(data) if reading.bytes + data.len() <= KEPT => {
                    reading.bytes += data.len();
                    reading.read.push_back(data.clone());
                    reading.taken += 1;
                }
                _ => reading.let_go(),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let reading = self.original.lock();
        reading.taken >= reading.read.len() && reading.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let reading = self.original.lock();
        if reading.taken >= reading.read.len() { reading.body.size_hint() } else { SizeHint::default() }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempt")
    }
}

/// What a status says of whoever sent it.
pub(crate) fn outcome(code: Code) -> CallOutcome {
    match code {
        Code::Unavailable | Code::DeadlineExceeded => CallOutcome::Failure,
        _ => CallOutcome::Success,
    }
}

/// The status in headers or trailers, if there is one.
pub(crate) fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// The body of a response: tells the account how the call ended.
pub(crate) struct Response {
    body: Incoming,
    account: Account,
}

impl Response {
    pub(crate) const fn new(body: Incoming, account: Account) -> Self {
        Self { body, account }
    }
}

impl Body for Response {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        Poll::Ready(match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.account.end(code(trailers).map_or(CallOutcome::Failure, outcome));
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                this.account.end(CallOutcome::Failure);
                Some(Err(Status::unavailable(format!("the connection was lost during the call: {error}"))))
            }
            // Without trailers there is no status: it was cut off.
            None => {
                this.account.end(CallOutcome::Failure);
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

//! A request under way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use http::HeaderMap;
use http_body::Body;
use hyper::body::Incoming;
use periplus_core::http::{Failure, Head, Input};
use smol_str::SmolStr;

use crate::client::{Lease, Opened, innermost};
use crate::net::Task;

/// A request under way: yields what came of it, [`Input::End`] or [`Input::Failure`] last.
///
/// Dropping it before that closes its connection.
pub struct Exchange(State);

enum State {
    /// Connecting, sending, waiting for the head.
    Opening(Task<Result<Opened, Failure>>),
    /// Reading the body.
    Open(Incoming, Lease),
    Ended,
}

impl Exchange {
    pub(crate) fn new(opening: impl Future<Output = Result<Opened, Failure>> + Send + 'static) -> Self {
        Self(State::Opening(Box::pin(opening)))
    }

    fn end(&mut self) -> Input {
        if let State::Open(_, lease) = std::mem::replace(&mut self.0, State::Ended) {
            lease.end();
        }
        Input::End
    }

    fn fail(&mut self, failure: Failure) -> Input {
        self.0 = State::Ended;
        Input::Failure(failure)
    }
}

impl Stream for Exchange {
    type Item = Input;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Input>> {
        let this = &mut *self;
        let input = match &mut this.0 {
            State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                Ok(Opened { response, lease }) => {
                    let (parts, body) = response.into_parts();
                    this.0 = State::Open(body, lease);
                    Input::Response(Head { status: parts.status.as_u16(), headers: texts(&parts.headers) })
                }
                Err(failure) => this.fail(failure),
            },
            State::Open(body, _) => loop {
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if !data.is_empty() => break Input::Chunk(data.into()),
                        _ => {}
                    },
                    Some(Err(error)) => break this.fail(Failure::unknown(innermost(&error))),
                    None => break this.end(),
                }
            },
            State::Ended => return Poll::Ready(None),
        };
        Poll::Ready(Some(input))
    }
}

/// The headers whose values are text.
fn texts(headers: &HeaderMap) -> Vec<(SmolStr, SmolStr)> {
    let text = |value: &http::HeaderValue| value.to_str().ok().map(Into::into);
    headers.iter().filter_map(|(name, value)| Some((name.as_str().into(), text(value)?))).collect()
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Opening(_) => "Exchange(opening)",
            State::Open(..) => "Exchange(open)",
            State::Ended => "Exchange(ended)",
        })
    }
}

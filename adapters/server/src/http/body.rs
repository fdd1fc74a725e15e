//! The bodies of answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::events::EventsBody;
use super::watch::WatchBody;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    /// A few pieces, some of them shared with other answers.
    Parts(Parts),
    /// A watch, as long as both ends want it.
    Watch(Box<WatchBody>),
    /// What happens, as it happens.
    Events(Box<EventsBody>),
}

/// Up to three pieces; those that were sent are empty.
#[derive(Debug, Default)]
pub(super) struct Parts([Bytes; 3]);

impl Body {
    pub(super) fn empty() -> Self {
        Self::Parts(Parts::default())
    }

    /// Three pieces, one after the other. Small ones are joined, because a copy costs less than a piece.
    pub(super) fn joined(before: Vec<u8>, shared: Bytes, after: &'static [u8]) -> Self {
        const COPIED: usize = 16 << 10;
        if shared.len() > COPIED {
            let parts = [before.into(), shared, Bytes::from_static(after)];
            return Self::Parts(Parts(parts));
        }
        let mut whole = before;
        whole.reserve_exact(shared.len() + after.len());
        whole.extend_from_slice(&shared);
        whole.extend_from_slice(after);
        whole.into()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Parts(Parts([bytes, Bytes::new(), Bytes::new()]))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.get_mut() {
            Self::Parts(Parts(parts)) => {
                let next = parts.iter_mut().find(|part| !part.is_empty());
                Poll::Ready(next.map(std::mem::take))
            }
            Self::Watch(watch) => watch.poll_data(cx),
            Self::Events(events) => events.poll_data(cx),
        };
        data.map(|data| data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Parts(Parts(parts)) => parts.iter().all(Bytes::is_empty),
            Self::Watch(_) | Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Parts(Parts(parts)) => SizeHint::with_exact(parts.iter().map(|part| part.len() as u64).sum()),
            Self::Watch(_) | Self::Events(_) => SizeHint::default(),
        }
    }
}

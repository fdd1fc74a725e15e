//! The bodies of answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::connection::Busy;
use super::events::EventsBody;
use super::watch::WatchBody;

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Body {
    content: Content,
    /// The request is under way until its answer was sent: held for nothing but its end.
    _busy: Option<Busy>,
}

#[derive(Debug)]
enum Content {
    /// One or two pieces, the second shared with other answers.
    Parts(Parts),
    /// A watch, as long as both ends want it.
    Watch(Box<WatchBody>),
    /// What happens, as it happens.
    Events(Box<EventsBody>),
}

/// Up to two pieces; those that were sent are empty.
#[derive(Debug, Default)]
pub(super) struct Parts([Bytes; 2]);

impl Body {
    const fn new(content: Content) -> Self {
        Self { content, _busy: None }
    }

    pub(super) fn empty() -> Self {
        Self::new(Content::Parts(Parts::default()))
    }

    pub(super) fn watch(watch: WatchBody) -> Self {
        Self::new(Content::Watch(Box::new(watch)))
    }

    pub(super) fn events(events: EventsBody) -> Self {
        Self::new(Content::Events(Box::new(events)))
    }

    /// The request to which this is the answer.
    pub(super) fn of(self, busy: Busy) -> Self {
        Self { _busy: Some(busy), ..self }
    }

    /// Two pieces, one after the other. Small ones are joined, because a copy costs less than a piece.
    pub(super) fn joined(before: Vec<u8>, shared: Bytes) -> Self {
        const COPIED: usize = 16 << 10;
        if shared.len() > COPIED {
            return Self::new(Content::Parts(Parts([before.into(), shared])));
        }
        let mut whole = before;
        whole.reserve_exact(shared.len());
        whole.extend_from_slice(&shared);
        whole.into()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::new(Content::Parts(Parts([bytes, Bytes::new()])))
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
        let data = match &mut self.get_mut().content {
            Content::Parts(Parts(parts)) => {
                let next = parts.iter_mut().find(|part| !part.is_empty());
                Poll::Ready(next.map(std::mem::take))
            }
            Content::Watch(watch) => watch.poll_data(cx),
            Content::Events(events) => events.poll_data(cx),
        };
        data.map(|data| data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Parts(Parts(parts)) => parts.iter().all(Bytes::is_empty),
            Content::Watch(_) | Content::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Parts(Parts(parts)) => SizeHint::with_exact(parts.iter().map(|part| part.len() as u64).sum()),
            Content::Watch(_) | Content::Events(_) => SizeHint::default(),
        }
    }
}

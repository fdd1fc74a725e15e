//! Observing a client.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use periplus_core::client::ClientEvent;

use crate::shared::Shared;

/// What happens in a client: a [`Stream`] of its events from now on, for those who observe it. It ends with the client,
/// and does not keep it open.
///
/// A bounded number of events is kept for the slowest observer; [`missed`](Self::missed) counts those that were
/// dropped for this one.
pub struct Events {
    shared: Arc<Shared>,
    next: u64,
    missed: u64,
    token: Option<u64>,
}

impl Events {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let mut state = shared.lock();
        let observed = &mut state.observed;
        observed.readers += 1;
        let next = observed.first + observed.events.len() as u64;
        drop(state);
        Self { shared: Arc::clone(shared), next, missed: 0, token: None }
    }

    /// The next event. `None`: the client is closed. May be cancelled without missing anything.
    pub async fn next(&mut self) -> Option<ClientEvent> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    /// How many events came and went before this observer took them.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    fn poll_event(&mut self, cx: &Context<'_>) -> Poll<Option<ClientEvent>> {
        let waker = cx.waker().clone();
        let mut state = self.shared.lock();
        let ended = state.ended;
        let observed = &mut state.observed;
        if self.next < observed.first {
            self.missed += observed.first - self.next;
            self.next = observed.first;
        }
        let at = usize::try_from(self.next - observed.first).unwrap_or(usize::MAX);
        let (result, old) = match observed.events.get(at) {
            Some(event) => {
                self.next += 1;
                (Poll::Ready(Some(event.clone())), Some(waker))
            }
            None if ended => (Poll::Ready(None), Some(waker)),
            None => (Poll::Pending, observed.waiters.park(&mut self.token, waker)),
        };
        drop(state);
        drop(old);
        result
    }
}

impl Stream for Events {
    type Item = ClientEvent;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        self.get_mut().poll_event(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let observed = &mut state.observed;
        observed.readers -= 1;
        if observed.readers == 0 {
            observed.first += observed.events.len() as u64;
            observed.events.clear();
        }
        let old = observed.waiters.leave(self.token);
        drop(state);
        drop(old);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("missed", &self.missed).finish_non_exhaustive()
    }
}

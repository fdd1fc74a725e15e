//! Asking for a service once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use periplus_core::client::{CommandError, Provenance, SubscriptionId};
use periplus_core::{Instant, NameError, Namespace, Selector, ServiceKey, ServiceName};

use crate::error::GetError;
use crate::shared::Handle;
use crate::watcher::Listing;

/// A service being asked for: a future of its instances.
///
/// The first who asks waits for the registry's word. The service is then followed for a while, so that those who ask
/// again, or at the same time, are answered from memory. Nothing happens before it is polled, and dropping it leaves
/// nothing behind.
#[must_use = "a service is asked for when this is awaited"]
pub struct GetService {
    handle: Arc<Handle>,
    selector: Result<Selector, NameError>,
    patience: Duration,
    asked: Option<Asked>,
}

/// The subscription behind it.
struct Asked {
    handle: Arc<Handle>,
    id: SubscriptionId,
    deadline: Instant,
}

impl GetService {
    pub(crate) fn new(handle: Arc<Handle>, namespace: &Namespace, name: &str) -> Self {
        let selector = ServiceName::new(name).map(|name| Selector::Service(ServiceKey::new(namespace.clone(), name)));
        let patience = handle.settings.patience;
        Self { handle, selector, patience, asked: None }
    }

    /// Waits so long for a registry that was never heard, instead of what the client was opened with.
    pub const fn timeout(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl Future for GetService {
    type Output = Result<Listing, GetError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let waker = cx.waker().clone();
        let shared = &this.handle.shared;
        if this.asked.is_none() {
            let selector = this.selector.as_ref().map_err(Clone::clone)?;
            let patience = this.patience;
            let (id, deadline) = shared.command(|state, now| {
                let id = state.watch(selector, now)?;
                let deadline = now.saturating_add(patience);
                state.deadlines.insert((deadline, id));
                Ok::<_, CommandError>((id, deadline))
            })?;
            this.asked = Some(Asked { handle: Arc::clone(&this.handle), id, deadline });
        }
        let Some(asked) = &this.asked else { return Poll::Pending };
        let mut state = shared.lock();
        let now = shared.now();
        let view = state.machine.view(asked.id).filter(|view| view.provenance != Provenance::Unknown);
        let (result, old) = match view {
            Some(view) => (Some(Ok(Listing::new(view, now))), Some(waker)),
            None if state.closing => (Some(Err(CommandError::Closed.into())), Some(waker)),
            None if now >= asked.deadline => (Some(Err(GetError::NotHeard { waited: this.patience })), Some(waker)),
            // What was told is not what this is about: what is known is.
            None => {
                while state.machine.poll_update(asked.id).is_some() {}
                (None, state.park_watcher(asked.id, waker))
            }
        };
        drop(state);
        drop(old);
        match result {
            Some(result) => {
                this.asked = None;
                Poll::Ready(result)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let old = self.handle.shared.command(|state, now| {
            state.deadlines.remove(&(self.deadline, self.id));
            state.unwatch(self.id, now)
        });
        drop(old);
    }
}

impl fmt::Debug for GetService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetService").field("selector", &self.selector).finish_non_exhaustive()
    }
}

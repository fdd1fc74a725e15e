//! Following services.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use periplus_core::client::{Causes, Provenance, SubscriptionId, Update, View};
use periplus_core::{Change, Cursor, Instance, Instant, ServiceInstance};

use crate::shared::{Handle, State};

/// Follows a service, or all whose names begin alike. Dropping it ends that.
///
/// It is a place and not a queue: whoever comes late gets the latest, in one step. As a [`Stream`] it yields full lists;
/// [`next_changes`](Self::next_changes) and [`into_changes`](Self::into_changes) yield what changed instead. Both tell
/// what neither has told before.
///
/// The first list comes when the registry has spoken, and is empty only if the registry says so. In an outage the last
/// list stays, and comes once more with its [`Provenance`] changed.
#[must_use = "dropping a watcher ends the watch"]
pub struct Watcher {
    handle: Arc<Handle>,
    id: SubscriptionId,
}

/// All instances that somebody follows, and how far that can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The instances, ordered by service and id.
    pub instances: Vec<Instance>,
    /// How far it can be believed.
    pub provenance: Provenance,
    /// How long ago the registry was last heard, if it cannot be heard now.
    pub age: Option<Duration>,
    /// The place in the registry's history, if it has one.
    pub cursor: Option<Cursor>,
}

/// What changed since the watcher told last, and how far it can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The changes, at most one an instance, ordered by service and id; none if only the provenance changed.
    pub changes: Vec<Change>,
    /// Why those that are removed went, as far as that was told.
    pub causes: Causes,
    /// How far it can be believed.
    pub provenance: Provenance,
    /// How long ago the registry was last heard, if it cannot be heard now.
    pub age: Option<Duration>,
    /// The place in the registry's history, if it has one.
    pub cursor: Option<Cursor>,
}

impl Listing {
    /// The instances unpacked. O(size of all).
    #[must_use]
    pub fn decode(&self) -> Vec<ServiceInstance> {
        self.instances.iter().map(Instance::decode).collect()
    }

    /// The instance with this id: the first, if several services are followed.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Instance> {
        self.instances.iter().find(|instance| instance.id() == id)
    }

    /// Whether it is the registry's own present word.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.provenance == Provenance::Live
    }

    /// How many instances there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// The instances.
    pub fn iter(&self) -> std::slice::Iter<'_, Instance> {
        self.instances.iter()
    }

    pub(crate) fn new(view: View, now: Instant) -> Self {
        let View { instances, provenance, cursor } = view;
        Self { instances, provenance, age: age(provenance, now), cursor }
    }
}

impl<'a> IntoIterator for &'a Listing {
    type Item = &'a Instance;
    type IntoIter = std::slice::Iter<'a, Instance>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Changed {
    fn new(update: Update, now: Instant) -> Self {
        let Update { changes, causes, provenance, cursor } = update;
        Self { changes, causes, provenance, age: age(provenance, now), cursor }
    }
}

fn age(provenance: Provenance, now: Instant) -> Option<Duration> {
    match provenance {
        Provenance::Stale { since } => Some(now.saturating_since(since)),
        _ => None,
    }
}

impl Watcher {
    pub(crate) const fn new(handle: Arc<Handle>, id: SubscriptionId) -> Self {
        Self { handle, id }
    }

    /// The full list, as soon as there is something that this watcher has not told. `None`: the client is closed.
    /// O(instances). May be cancelled without missing anything.
    pub async fn next(&mut self) -> Option<Listing> {
        poll_fn(|cx| self.poll_list(cx)).await
    }

    /// What changed since this watcher told last, as soon as something did. `None`: the client is closed. O(changes).
    /// May be cancelled without missing anything.
    pub async fn next_changes(&mut self) -> Option<Changed> {
        poll_fn(|cx| self.poll_changes(cx)).await
    }

    /// A stream of changes instead of lists.
    pub const fn into_changes(self) -> Changes {
        Changes(self)
    }

    /// What is known now, without waiting: [`Provenance::Unknown`] before the first word. Tells nothing as far as
    /// [`next`](Self::next) is concerned. `None`: the client is closed. O(instances).
    #[must_use]
    pub fn current(&self) -> Option<Listing> {
        let state = self.handle.shared.lock();
        let view = state.machine.view(self.id)?;
        Some(Listing::new(view, self.handle.shared.now()))
    }

    fn poll_list(&self, cx: &Context<'_>) -> Poll<Option<Listing>> {
        self.poll_word(cx, |state, _, now| state.machine.view(self.id).map(|view| Listing::new(view, now)))
    }

    fn poll_changes(&self, cx: &Context<'_>) -> Poll<Option<Changed>> {
        self.poll_word(cx, |_, update, now| Some(Changed::new(update, now)))
    }

    fn poll_word<T>(
        &self,
        cx: &Context<'_>,
        tell: impl FnOnce(&State, Update, Instant) -> Option<T>,
    ) -> Poll<Option<T>> {
        let waker = cx.waker().clone();
        let mut state = self.handle.shared.lock();
        let (result, old) = if state.closing {
            (Poll::Ready(None), Some(waker))
        } else {
            match state.next_word(self.id) {
                Some(update) => (Poll::Ready(tell(&state, update, self.handle.shared.now())), Some(waker)),
                None => (Poll::Pending, state.park_watcher(self.id, waker)),
            }
        };
        let wakes = result.is_ready() && state.is_due_earlier();
        drop(state);
        drop(old);
        if wakes {
            self.handle.shared.driver.wake();
        }
        result
    }
}

impl Stream for Watcher {
    type Item = Listing;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Listing>> {
        self.poll_list(cx)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let old = self.handle.shared.command(|state, now| state.unwatch(self.id, now));
        drop(old);
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Follows a service, or all whose names begin alike: a [`Stream`] of what changed. Dropping it ends that.
#[derive(Debug)]
#[must_use = "dropping a watcher ends the watch"]
pub struct Changes(Watcher);

impl Changes {
    /// The watcher, to see all that is known beside what changed.
    pub const fn watcher(&self) -> &Watcher {
        &self.0
    }

    /// The watcher again.
    pub fn into_watcher(self) -> Watcher {
        self.0
    }
}

impl Stream for Changes {
    type Item = Changed;
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Changed>> {
        self.0.poll_changes(cx)
    }
}

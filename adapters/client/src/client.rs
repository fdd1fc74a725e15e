//! The client of a registry, as its users hold it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use periplus_core::client::{Counters, SubscriptionId};
#[cfg(feature = "memory")]
use periplus_core::{Instant, Registry};
use periplus_core::{NameError, Namespace, Selector, ServiceKey, ServiceName};

use crate::error::WatchError;
use crate::events::Events;
use crate::get::GetService;
use crate::shared::{Handle, Shared};
use crate::watcher::Watcher;

/// A client of a registry. Clones are cheap and are the same client.
///
/// It works in one namespace; [`namespace`](Self::namespace) gives a handle to the same client that works in another.
/// The client closes when the last of its handles is dropped: clients, registrations and watchers.
#[derive(Clone)]
pub struct Client {
    pub(crate) handle: Arc<Handle>,
    pub(crate) namespace: Namespace,
}

impl Client {
    pub(crate) const fn new(handle: Arc<Handle>, namespace: Namespace) -> Self {
        Self { handle, namespace }
    }

    /// The same client, working in another namespace.
    ///
    /// # Errors
    /// If it is no name of a namespace.
    pub fn namespace(&self, namespace: &str) -> Result<Self, NameError> {
        Ok(Self { handle: Arc::clone(&self.handle), namespace: Namespace::new(namespace)? })
    }

    /// The instances of a service. Answered from memory if the service was asked for lately or is watched; otherwise
    /// it waits for the registry's word, as long as the client was told to (5 s), or [`timeout`](GetService::timeout)
    /// says.
    ///
    /// In an outage it is the last known list, with its provenance.
    ///
    /// # Errors
    /// If the registry was never heard within that time, it is no name of a service, the client follows too much, or is
    /// closed.
    pub fn get_service(&self, name: &str) -> GetService {
        GetService::new(Arc::clone(&self.handle), &self.namespace, name)
    }

    /// Follows a service, whether it exists or not.
    ///
    /// # Errors
    /// If it is no name of a service, the client follows too much, or is closed.
    pub fn watch(&self, name: &str) -> Result<Watcher, WatchError> {
        let key = ServiceKey::new(self.namespace.clone(), ServiceName::new(name)?);
        self.watch_selector(&Selector::Service(key))
    }

    /// Follows every service of the namespace whose name begins so.
    ///
    /// # Errors
    /// If the client follows too much, or is closed.
    pub fn watch_prefix(&self, prefix: &str) -> Result<Watcher, WatchError> {
        self.watch_selector(&Selector::Prefix { namespace: self.namespace.clone(), prefix: prefix.into() })
    }

    /// Follows every service of the namespace.
    ///
    /// # Errors
    /// If the client follows too much, or is closed.
    pub fn watch_all(&self) -> Result<Watcher, WatchError> {
        self.watch_selector(&Selector::all(self.namespace.clone()))
    }

    fn watch_selector(&self, selector: &Selector) -> Result<Watcher, WatchError> {
        let id: SubscriptionId = self.handle.shared.command(|state, now| state.watch(selector, now))?;
        Ok(Watcher::new(Arc::clone(&self.handle), id))
    }

    /// Looks into the registry itself, if it is in this process, and may change it: evict, overlay, and whatever else a
    /// test wants to happen. `None`: it is elsewhere.
    ///
    /// The registry is locked meanwhile: no client of it may be called from here.
    #[cfg(feature = "memory")]
    pub fn with_registry<T>(&self, visit: impl FnOnce(&mut Registry, Instant) -> T) -> Option<T> {
        let house = self.handle.shared.house.as_ref()?;
        let mut hub = house.hub();
        let result = visit(hub.registry_mut(), (house.clock)());
        hub.settle();
        drop(hub);
        house.wake();
        Some(result)
    }

    /// Lets go of whatever it takes to follow something, while nobody looks: no connection is held open for it. What is
    /// known stays, and is stale; what was never heard of is not asked for, and whoever gets or watches it waits. What is
    /// registered stays so. This is about all handles of the client, in all namespaces.
    ///
    /// For a page that nobody sees: a browser has six connections to one host, and all its tabs share them.
    pub fn suspend(&self) {
        self.handle.shared.command(|state, now| state.machine.suspend(now));
    }

    /// Follows again, from where it was: each watcher is given the one difference that there is by then.
    pub fn resume(&self) {
        self.handle.shared.command(|state, now| state.machine.resume(now));
    }

    /// What the client did so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.handle.shared.lock().counters()
    }

    /// What happens in the client from now on, for those who observe it.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(&self.handle.shared)
    }

    /// Something to call when the machine's network is back or the machine was woken: what waits for a retry is then
    /// tried at once. It does not keep the client open.
    #[must_use]
    pub fn online_signal(&self) -> OnlineSignal {
        OnlineSignal(Arc::downgrade(&self.handle.shared))
    }

    /// Deregisters everything, ends all watches, and waits until that is done: bounded, because a registry that cannot
    /// be reached is given up after a time. All handles of the client are then closed.
    pub async fn close(self) {
        self.handle.shared.close();
        Ended { shared: Arc::clone(&self.handle.shared), token: None }.await;
    }

    /// Whether the client was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.shared.lock().closing
    }

    /// The namespace that this handle works in.
    #[must_use]
    pub const fn namespace_name(&self) -> &Namespace {
        &self.namespace
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Tells a client that the network is back, or that the machine was woken.
#[derive(Clone, Debug)]
pub struct OnlineSignal(Weak<Shared>);

impl OnlineSignal {
    /// Tries what waits for a retry at once. Does nothing once the client is closed.
    pub fn notify(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.command(|state, now| state.machine.handle_online(now));
        }
    }

    /// Closes the client and does not wait for it: the machine is about to go away. The last words are sent in the
    /// driver's next turn.
    pub fn leave(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.close();
        }
    }

    /// Whether the client is gone, so that nobody needs this any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.upgrade().is_none_or(|shared| shared.lock().closing)
    }
}

/// Waits until nobody drives the client any more.
struct Ended {
    shared: Arc<Shared>,
    token: Option<u64>,
}

impl Future for Ended {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let waker = cx.waker().clone();
        let mut state = this.shared.lock();
        let (result, old) = match state.ended {
            true => (Poll::Ready(()), Some(waker)),
            false => (Poll::Pending, state.enders.park(&mut this.token, waker)),
        };
        drop(state);
        drop(old);
        result
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let old = self.shared.lock().enders.leave(self.token);
        drop(old);
    }
}

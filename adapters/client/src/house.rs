//! Registries in this process, and who shares them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use periplus_core::backend::memory::{Home, Hub, MemberId};

use crate::shared::{Clock, Shared};

/// A registry in this process: behind a lock, with the clock that it goes by.
pub(crate) struct House {
    pub(crate) clock: Clock,
    hub: Mutex<Hub>,
    /// Whom to wake. Never locked together with the hub.
    clients: Mutex<BTreeMap<MemberId, Weak<Shared>>>,
}

/// Those that have a name, while anybody holds them.
static NAMED: Mutex<BTreeMap<String, Weak<House>>> = Mutex::new(BTreeMap::new());

impl House {
    pub(crate) fn new(hub: Hub, clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, hub: Mutex::new(hub), clients: Mutex::new(BTreeMap::new()) })
    }

    /// The registry of this name, or a new one if nobody holds one.
    pub(crate) fn named(name: &str, new: impl FnOnce() -> Arc<Self>) -> Arc<Self> {
        let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(house) = named.get(name).and_then(Weak::upgrade) {
            return house;
        }
        named.retain(|_, house| house.strong_count() > 0);
        let house = new();
        named.insert(name.to_owned(), Arc::downgrade(&house));
        house
    }

    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whom to wake for a member.
    pub(crate) fn enter(&self, member: MemberId, client: Weak<Shared>) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, client| client.strong_count() > 0);
        clients.insert(member, client);
    }

    /// Wakes the drivers of those for whom something waits. To be called with no lock held.
    pub(crate) fn wake(&self) {
        let waiting = self.hub().take_waiting();
        if waiting.is_empty() {
            return;
        }
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting: Vec<_> = waiting.iter().filter_map(|member| clients.get(member)?.upgrade()).collect();
        drop(clients);
        for client in waiting {
            client.driver.wake();
        }
    }
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("House")
    }
}

/// The way of a machine to its registry.
#[derive(Debug)]
pub(crate) struct Door(pub(crate) Arc<House>);

impl Home for Door {
    fn with<T>(&mut self, visit: impl FnOnce(&mut Hub) -> T) -> T {
        visit(&mut self.0.hub())
    }
}

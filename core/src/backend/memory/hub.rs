//! A registry that several clients in one process share.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use core::mem;
use core::time::Duration;

use crate::catalog::{WatchError, WatchId, WatchStart};
use crate::config::{Config, TtlLimits};
use crate::error::RegisterError;
use crate::event::{Caller, EventKind};
use crate::name::Key;
use crate::registry::{Register, Registered, Registry};
use crate::rng::Seed;
use crate::set::Epoch;
use crate::time::{Instant, WallTime};

/// A registry, and which client is to be told of what happens in it.
///
/// Whoever has changed the registry calls [`settle`](Self::settle), and then looks at [`take_waiting`](Self::take_waiting)
/// for the clients whose drivers have to be woken.
#[derive(Debug)]
pub struct Hub {
    registry: Registry,
    members: BTreeMap<MemberId, Member>,
    /// Whose watch it is.
    watches: BTreeMap<WatchId, MemberId>,
    /// Whose registration it is.
    holders: BTreeMap<Key, MemberId>,
    waiting: BTreeSet<MemberId>,
    /// When everybody thinks that the registry wants to be looked at.
    announced: Option<Instant>,
    last: u64,
}

/// Names a client of a hub. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// What waits for a client.
#[derive(Debug, Default)]
pub(super) struct Member {
    /// Watches that have something to be told.
    pub(super) ready: BTreeSet<WatchId>,
    /// Registrations whose lease ended without the client.
    pub(super) ended: BTreeSet<Key>,
}

impl Hub {
    /// An empty registry with nobody in it. It does not warm up: it has no past.
    #[must_use]
    pub fn new(seed: Seed, epoch: Epoch, now: Instant) -> Self {
        let ttl = TtlLimits { min: Duration::from_millis(1), ..TtlLimits::default() };
        let config = Config { warm_up: Duration::ZERO, ttl, ..Config::default() };
        Self::around(Registry::new(config, seed, epoch, now, WallTime(0)))
    }

    /// Takes a registry as it is.
    #[must_use]
    pub const fn around(registry: Registry) -> Self {
        Self {
            registry,
            members: BTreeMap::new(),
            watches: BTreeMap::new(),
            holders: BTreeMap::new(),
            waiting: BTreeSet::new(),
            announced: None,
            last: 0,
        }
    }

    /// The registry.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The registry, to be changed: evict, overlay, or whatever a test wants to happen. Call [`settle`](Self::settle)
    /// afterwards.
    pub const fn registry_mut(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Hands out what the registry has to say. O(what it has to say), and O(clients) when time is of the essence.
    pub fn settle(&mut self) {
        while let Some(watch) = self.registry.poll_ready() {
            let Some(id) = self.watches.get(&watch) else { continue };
            let Some(member) = self.members.get_mut(id) else { continue };
            member.ready.insert(watch);
            self.waiting.insert(*id);
        }
        while let Some(event) = self.registry.poll_event() {
            if let EventKind::Expired(subject) | EventKind::Evicted { subject, .. } = event.kind {
                let service = &subject.service;
                let id = subject.instance.instance_id();
                self.lost(Key::new(service.namespace.clone(), service.service.clone(), id));
            }
        }
        let next = self.registry.poll_timeout();
        if next.is_some_and(|next| self.announced.is_none_or(|announced| next < announced)) {
            self.waiting.extend(self.members.keys());
        }
        self.announced = next;
    }

    /// The clients that have something to look at, and have not been told.
    pub fn take_waiting(&mut self) -> BTreeSet<MemberId> {
        mem::take(&mut self.waiting)
    }

    // For the clients.

    pub(super) fn join(&mut self) -> MemberId {
        self.last += 1;
        let id = MemberId(self.last);
        self.members.insert(id, Member::default());
        id
    }

    pub(super) fn leave(&mut self, id: MemberId) {
        self.members.remove(&id);
        self.waiting.remove(&id);
    }

    pub(super) fn take(&mut self, id: MemberId) -> Member {
        self.waiting.remove(&id);
        self.members.get_mut(&id).map(mem::take).unwrap_or_default()
    }

    pub(super) fn register(
        &mut self,
        id: MemberId,
        request: Register,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<Registered, RegisterError> {
        let instance = &request.instance;
        let key = Key::new(request.namespace.clone(), instance.service_name(), instance.instance_id());
        let registered = self.registry.register(request, caller, now)?;
        if let Some(before) = self.holders.insert(key.clone(), id)
            && before != id
            && let Some(member) = self.members.get_mut(&before)
        {
            member.ended.insert(key);
            self.waiting.insert(before);
        }
        Ok(registered)
    }

    /// The client holds the registration no longer.
    pub(super) fn forget(&mut self, id: MemberId, key: &Key) {
        if self.holders.get(key) == Some(&id) {
            self.holders.remove(key);
        }
    }

    pub(super) fn watch(
        &mut self,
        id: MemberId,
        start: &WatchStart,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<WatchId, WatchError> {
        let watch = self.registry.watch(start, caller, now)?;
        self.watches.insert(watch, id);
        Ok(watch)
    }

    pub(super) fn unwatch(&mut self, watch: WatchId) {
        self.watches.remove(&watch);
        self.registry.unwatch(watch);
    }

    fn lost(&mut self, key: Key) {
        let Some(id) = self.holders.remove(&key) else { return };
        if let Some(member) = self.members.get_mut(&id) {
            member.ended.insert(key);
            self.waiting.insert(id);
        }
    }
}

/// Where the hub of a client is. A client that has one to itself holds it; clients that share one reach it through a lock
/// that their driver supplies.
pub trait Home: core::fmt::Debug + Send {
    /// Visits the hub.
    fn with<T>(&mut self, visit: impl FnOnce(&mut Hub) -> T) -> T;
}

impl Home for Hub {
    fn with<T>(&mut self, visit: impl FnOnce(&mut Self) -> T) -> T {
        visit(self)
    }
}

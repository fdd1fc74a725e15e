//! What the driver and the handles share: the machine behind a lock, and those who wait.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use periplus_core::client::{BoxedBackend, ClientEvent, CommandError, Counters, Provenance, SubscriptionId, Update};
use periplus_core::ordered::{OrderedMap, OrderedSet};
use periplus_core::{Instant, Key, Selector};

#[cfg(feature = "memory")]
use crate::house::House;
use crate::settings::Settings;
use crate::slots::Slots;
use crate::waiters::{DriverWaker, Waiters};

/// The clock of a client.
pub(crate) type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Events that are kept for those who observe a client and have not read them yet.
pub(crate) const EVENTS_KEPT: usize = 1024;

/// The machine, behind a lock that is never held while somebody else's code runs.
pub(crate) struct Shared {
    clock: Clock,
    /// The registry, if it is in this process.
    #[cfg(feature = "memory")]
    pub(crate) house: Option<Arc<House>>,
    pub(crate) driver: DriverWaker,
    state: Mutex<State>,
}

/// What the lock guards.
pub(crate) struct State {
    pub(crate) machine: BoxedBackend,
    pub(crate) slots: Slots,
    pub(crate) subscriptions: OrderedMap<SubscriptionId, Option<Waker>>,
    /// When a subscription's holder gives up waiting for the first word.
    pub(crate) deadlines: OrderedSet<(Instant, SubscriptionId)>,
    /// Those who wait for the end.
    pub(crate) enders: Waiters,
    pub(crate) observed: Observed,
    /// When the driver comes back by itself.
    pub(crate) armed: Option<Instant>,
    /// Whether the machine was told to close.
    pub(crate) closing: bool,
    /// Whether nobody drives the machine any more.
    pub(crate) ended: bool,
}

/// The latest events, for those who observe.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) events: VecDeque<ClientEvent>,
    /// The number of the first of them.
    pub(crate) first: u64,
    pub(crate) readers: usize,
    pub(crate) waiters: Waiters,
}

impl Shared {
    pub(crate) fn new(machine: BoxedBackend, clock: Clock) -> Self {
        let state = State {
            machine,
            slots: Slots::default(),
            subscriptions: OrderedMap::new(),
            deadlines: OrderedSet::new(),
            enders: Waiters::default(),
            observed: Observed::default(),
            armed: None,
            closing: false,
            ended: false,
        };
        Self {
            clock,
            #[cfg(feature = "memory")]
            house: None,
            driver: DriverWaker::default(),
            state: Mutex::new(state),
        }
    }

    /// For a machine whose registry is in this process.
    #[cfg(feature = "memory")]
    pub(crate) fn in_house(machine: BoxedBackend, house: &Arc<House>) -> Self {
        Self { house: Some(Arc::clone(house)), ..Self::new(machine, Arc::clone(&house.clock)) }
    }

    /// Whether the registry is in this process.
    pub(crate) const fn is_in_house(&self) -> bool {
        #[cfg(feature = "memory")]
        return self.house.is_some();
        #[cfg(not(feature = "memory"))]
        false
    }

    /// The time on the clock of this client.
    pub(crate) fn now(&self) -> Instant {
        (self.clock)()
    }

    /// The state, to be held for a moment.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the machine something to do, and wakes the driver to see it done.
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.lock();
        let now = self.now();
        let result = command(&mut state, now);
        drop(state);
        self.driver.wake();
        self.wake_neighbours();
        result
    }

    /// Wakes the other clients of a registry in this process, if they have something to be told.
    pub(crate) fn wake_neighbours(&self) {
        #[cfg(feature = "memory")]
        if let Some(house) = &self.house {
            house.wake();
        }
    }

    /// Tells the machine to close, and those who watch that nothing follows.
    pub(crate) fn close(&self) {
        let mut wakers = Vec::new();
        self.command(|state, now| {
            if !state.closing {
                state.closing = true;
                state.machine.close(now);
                state.wake_watchers(&mut wakers);
            }
        });
        wake_all(&mut wakers);
    }

    /// The driver is gone: whoever waits need wait no longer.
    pub(crate) fn end(&self) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        state.ended = true;
        state.closing = true;
        if self.is_in_house() {
            // A registry in this process can be told without a driver: nothing is left behind in it.
            state.machine.close(self.now());
        }
        state.wake_watchers(&mut wakers);
        state.wake_everyone_else(&mut wakers);
        drop(state);
        self.driver.clear();
        wake_all(&mut wakers);
        self.wake_neighbours();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Wakes them, with no lock held.
pub(crate) fn wake_all(wakers: &mut Vec<Waker>) {
    wakers.drain(..).for_each(Waker::wake);
}

impl State {
    /// What follows for a subscription, once the registry has said anything at all.
    pub(crate) fn next_word(&mut self, id: SubscriptionId) -> Option<Update> {
        loop {
            let update = self.machine.poll_update(id)?;
            if update.provenance != Provenance::Unknown || !update.changes.is_empty() {
                return Some(update);
            }
        }
    }

    /// Begins to follow something.
    pub(crate) fn watch(&mut self, selector: &Selector, now: Instant) -> Result<SubscriptionId, CommandError> {
        if self.closing {
            return Err(CommandError::Closed);
        }
        let id = self.machine.watch(selector, now)?;
        self.subscriptions.insert(id, None);
        Ok(id)
    }

    /// Ends a subscription. Returns the waker that waited for it.
    #[must_use]
    pub(crate) fn unwatch(&mut self, id: SubscriptionId, now: Instant) -> Option<Waker> {
        self.machine.unwatch(id, now);
        self.subscriptions.remove(&id).flatten()
    }

    /// Waits for what a subscription will say next. Returns the waker that waited before.
    #[must_use]
    pub(crate) fn park_watcher(&mut self, id: SubscriptionId, waker: Waker) -> Option<Waker> {
        match self.subscriptions.get_mut(&id) {
            Some(place) => place.replace(waker),
            None => Some(waker),
        }
    }

    /// Takes note of an event, and of those whom it wakes. Returns the key of the registration it is about.
    pub(crate) fn on_event(&mut self, event: &ClientEvent, wakers: &mut Vec<Waker>) -> Option<Key> {
        let mut key = None;
        match event {
            ClientEvent::Registration(id, state) => {
                key = self.tell(*id, state, wakers);
            }
            ClientEvent::Update(id) => {
                wakers.extend(self.subscriptions.get_mut(id).and_then(Option::take));
                return None;
            }
            _ => {}
        }
        let observed = &mut self.observed;
        if observed.readers > 0 {
            observed.events.push_back(event.clone());
            if observed.events.len() > EVENTS_KEPT {
                observed.events.pop_front();
                observed.first += 1;
            }
            observed.waiters.take(wakers);
        }
        key
    }

    /// Wakes those whose time has come.
    pub(crate) fn on_time(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        while self.deadlines.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, id)) = self.deadlines.pop_first() {
                wakers.extend(self.subscriptions.get_mut(&id).and_then(Option::take));
            }
        }
        self.slots.on_time(now, wakers);
    }

    /// When the driver has to come back at the latest.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        self.machine.poll_timeout().into_iter().chain(deadline).chain(self.slots.poll_timeout()).min()
    }

    /// Whether that is earlier than the driver knows: what a holder takes may be something to report.
    pub(crate) fn is_due_earlier(&self) -> bool {
        self.next_timeout().is_some_and(|at| self.armed.is_none_or(|armed| at < armed))
    }

    pub(crate) fn counters(&self) -> Counters {
        self.machine.counters()
    }

    fn wake_watchers(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.subscriptions.values_mut().filter_map(Option::take));
    }

    fn wake_everyone_else(&mut self, wakers: &mut Vec<Waker>) {
        self.slots.wake_all(wakers);
        self.enders.take(wakers);
        self.observed.waiters.take(wakers);
    }
}

/// What the handles hold. When the last is gone, the client closes.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: Settings,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

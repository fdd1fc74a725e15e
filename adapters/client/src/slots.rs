//! The registrations of a client, with those who hold them and those who wait for them.

use std::task::Waker;
use std::time::Duration;

use periplus_core::client::{CommandError, Loss, Registration, RegistrationId, RegistrationState, RegistrationView};
use periplus_core::ordered::{OrderedMap, OrderedSet};
use periplus_core::{Instant, Key};

use crate::error::UpdateError;
use crate::shared::State;
use crate::waiters::Waiters;

/// All registrations that somebody holds.
#[derive(Default)]
pub(crate) struct Slots {
    pub(crate) registrations: OrderedMap<RegistrationId, Slot>,
    by_key: OrderedMap<Key, RegistrationId>,
    /// When those who wait for a registration to be taken out wait no longer.
    pub(crate) partings: OrderedSet<(Instant, RegistrationId)>,
    /// Those who wait for the registry to have what is wanted: looked after at every turn.
    pub(crate) acknowledgements: Waiters,
}

/// A registration, with those who hold it.
pub(crate) struct Slot {
    key: Key,
    ttl: Option<Duration>,
    handles: usize,
    /// The latest state that the machine told.
    told: RegistrationState,
    pub(crate) waiters: Waiters,
}

impl Slots {
    /// Wakes those who look again at every turn.
    pub(crate) fn on_turn(&mut self, wakers: &mut Vec<Waker>) {
        self.acknowledgements.take(wakers);
    }

    /// Wakes those whose time has come.
    pub(crate) fn on_time(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        while self.partings.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, id)) = self.partings.pop_first()
                && let Some(slot) = self.registrations.get_mut(&id)
            {
                slot.waiters.take(wakers);
            }
        }
    }

    /// When the time of the next has come.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.partings.first().map(|(at, _)| *at)
    }

    /// Wakes all who wait.
    pub(crate) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        for slot in self.registrations.values_mut() {
            slot.waiters.take(wakers);
        }
        self.acknowledgements.take(wakers);
    }
}

impl State {
    /// Registers, and counts one more who holds the registration.
    pub(crate) fn register(&mut self, wanted: &Registration, now: Instant) -> Result<RegistrationId, CommandError> {
        if self.closing {
            return Err(CommandError::Closed);
        }
        let id = self.machine.register(wanted, now)?;
        let key = wanted.key();
        let slot = self.slots.registrations.entry(id).or_insert_with(|| Slot {
            key: key.clone(),
            ttl: wanted.ttl,
            handles: 0,
            told: RegistrationState::Registering,
            waiters: Waiters::default(),
        });
        slot.handles += 1;
        slot.ttl = wanted.ttl;
        self.slots.by_key.insert(key, id);
        Ok(id)
    }

    /// Replaces the instance of a registration. Its ttl stays.
    pub(crate) fn replace(&mut self, mut wanted: Registration, now: Instant) -> Result<RegistrationId, UpdateError> {
        if self.closing {
            return Err(CommandError::Closed.into());
        }
        let id = self.find(wanted.key(), now)?;
        wanted.ttl = self.slots.registrations.get(&id).and_then(|slot| slot.ttl);
        self.machine.register(&wanted, now)?;
        Ok(id)
    }

    /// The registration of an instance, if this client has one that has not ended.
    pub(crate) fn find(&self, key: Key, now: Instant) -> Result<RegistrationId, UpdateError> {
        let held = self.slots.by_key.get(&key).copied();
        let lives = held.filter(|&id| !self.registration(id, now).state.is_final());
        lives.ok_or(UpdateError::NotRegistered(key))
    }

    /// Counts one more who holds a registration.
    pub(crate) fn hold(&mut self, id: RegistrationId) {
        if let Some(slot) = self.slots.registrations.get_mut(&id) {
            slot.handles += 1;
        }
    }

    /// Counts one less; the last one deregisters.
    pub(crate) fn let_go(&mut self, id: RegistrationId, now: Instant) {
        let Some(slot) = self.slots.registrations.get_mut(&id) else { return };
        slot.handles -= 1;
        if slot.handles == 0 {
            self.machine.deregister(id, now);
            self.forget_if_over(id);
        }
    }

    /// What became of a registration: a final state is remembered as long as somebody holds it, and one that time
    /// has overtaken is not believed.
    pub(crate) fn registration(&self, id: RegistrationId, now: Instant) -> Standing {
        let told = || self.slots.registrations.get(&id).map_or(ENDED, |slot| slot.told.clone());
        match self.machine.registration(id) {
            Some(view) => {
                let lapsed =
                    view.state == RegistrationState::Registered && view.until.is_some_and(|until| until <= now);
                let state = if lapsed { RegistrationState::Lost(Loss::Lapsed) } else { view.state.clone() };
                Standing { state, current: view.current, view: Some(view) }
            }
            None => Standing { state: told(), current: false, view: None },
        }
    }

    /// Takes note of what the machine told of a registration, and returns its key. O(log n).
    pub(crate) fn tell(
        &mut self,
        id: RegistrationId,
        state: &RegistrationState,
        wakers: &mut Vec<Waker>,
    ) -> Option<Key> {
        let slot = self.slots.registrations.get_mut(&id)?;
        slot.told = state.clone();
        slot.waiters.take(wakers);
        let key = slot.key.clone();
        self.forget_if_over(id);
        Some(key)
    }

    /// Whether anybody could still ask.
    fn forget_if_over(&mut self, id: RegistrationId) {
        let Some(slot) = self.slots.registrations.get(&id) else { return };
        if slot.handles == 0 && (slot.told.is_final() || self.machine.registration(id).is_none()) {
            if self.slots.by_key.get(&slot.key) == Some(&id) {
                self.slots.by_key.remove(&slot.key);
            }
            self.slots.registrations.remove(&id);
        }
    }
}

/// What became of a registration, as far as it can be believed now.
pub(crate) struct Standing {
    pub(crate) state: RegistrationState,
    pub(crate) current: bool,
    pub(crate) view: Option<RegistrationView>,
}

const ENDED: RegistrationState = RegistrationState::Deregistered { confirmed: false };

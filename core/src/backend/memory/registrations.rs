//! How a registration is made, kept and given up.

use alloc::string::ToString;

use super::{Home, Memory, RETRY, plain};
use crate::client::{CommandError, Loss, Registration, RegistrationId, RegistrationState};
use crate::error::RegisterError;
use crate::lease::LeaseError;
use crate::packed::Instance;
use crate::protocol::Problem;
use crate::registry::{Incarnation, Operation, Register};
use crate::time::Instant;

impl<H: Home> Memory<H> {
    pub(super) fn operation(&mut self) -> Operation {
        self.sequence += 1;
        Operation { incarnation: Incarnation(u128::from(self.member.0)), sequence: self.sequence }
    }

    /// Checks what can be checked before anything is done.
    pub(super) fn check(&self, registration: &Registration) -> Result<(), CommandError> {
        if self.closed {
            return Err(CommandError::Closed);
        }
        registration.check(&self.config.limits.instance)
    }

    /// Asks the registry for a lease.
    pub(super) fn attempt(&mut self, id: RegistrationId) {
        let operation = self.operation();
        let (member, now) = (self.member, self.now);
        let Some(held) = self.registrations.get_mut(&id) else { return };
        let request = Register {
            namespace: held.wanted.namespace.clone(),
            instance: Instance::pack(&held.wanted.instance),
            ttl: held.wanted.ttl,
            operation,
            reclaim: held.generation,
            since: None,
        };
        match self.home.with(|hub| hub.register(member, request, &self.caller, now)) {
            Ok(registered) => {
                held.lease = Some(registered.lease);
                held.generation = Some(registered.generation);
                held.outcome = Some(registered.outcome);
                held.ttl = registered.ttl;
                held.until = Some(now.saturating_add(registered.ttl));
                held.registered += 1;
                held.current = true;
                held.problem = None;
                self.counters.registrations += 1;
                let renewal = now.saturating_add(registered.ttl / 3);
                self.turn(id, RegistrationState::Registered, Some(renewal));
            }
            Err(error) => {
                held.problem = Some(error.to_string());
                let later = match &error {
                    RegisterError::Instance(_) | RegisterError::Ttl { .. } => {
                        self.give_up_lease(id);
                        return self.turn(id, RegistrationState::Refused(problem(&error)), None);
                    }
                    RegisterError::Superseded => return self.turn(id, RegistrationState::Superseded, None),
                    RegisterError::Blocked { remaining, .. } => (*remaining).max(RETRY),
                    _ => RETRY,
                };
                let state = held.state.clone();
                self.turn(id, state, Some(now.saturating_add(later)));
            }
        }
    }

    /// Gives a registration its state, and says when it is to be looked at again.
    fn turn(&mut self, id: RegistrationId, state: RegistrationState, due: Option<Instant>) {
        let Some(held) = self.registrations.get_mut(&id) else { return };
        if let Some(before) = core::mem::replace(&mut held.due, due) {
            self.due.remove(&(before, id));
        }
        self.due.extend(due.map(|at| (at, id)));
        if state != RegistrationState::Registered {
            (held.lease, held.until) = (None, None);
        }
        if state.is_final() {
            let key = held.wanted.key();
            self.home.with(|hub| hub.forget(self.member, &key));
            if self.by_key.get(&key) == Some(&id) {
                self.by_key.remove(&key);
            }
        }
        if held.state != state {
            held.state = state;
            self.told.insert(id);
        }
    }

    /// The lease of a registration is gone.
    pub(super) fn lost(&mut self, id: RegistrationId, how: LeaseError) {
        self.counters.losses += 1;
        if how == LeaseError::Superseded {
            return self.turn(id, RegistrationState::Superseded, None);
        }
        let Some(held) = self.registrations.get_mut(&id) else { return };
        held.problem = Some(how.to_string());
        held.current = false;
        let retry = self.now.saturating_add(RETRY);
        self.turn(id, RegistrationState::Lost(Loss::Told(how.code().into())), Some(retry));
    }

    pub(super) fn renew(&mut self, id: RegistrationId) {
        let Some(held) = self.registrations.get_mut(&id) else { return };
        let Some(lease) = held.lease else { return };
        let now = self.now;
        match self.home.with(|hub| hub.registry_mut().renew(&lease, &self.caller, now)) {
            Ok(()) => {
                held.until = Some(now.saturating_add(held.ttl));
                let renewal = now.saturating_add(held.ttl / 3);
                self.counters.renewals += 1;
                self.turn(id, RegistrationState::Registered, Some(renewal));
            }
            Err(how) => self.lost(id, how),
        }
    }

    /// Renews or tries what is due.
    pub(super) fn work(&mut self) {
        while let Some((at, id)) = self.due.first().copied()
            && at <= self.now
        {
            self.due.pop_first();
            let Some(held) = self.registrations.get_mut(&id) else { continue };
            held.due = None;
            if held.lease.is_some() {
                self.renew(id);
            }
            if self.registrations.get(&id).is_some_and(|held| !held.current && !held.state.is_final()) {
                self.attempt(id);
            }
        }
    }

    fn give_up_lease(&mut self, id: RegistrationId) {
        let lease = self.registrations.get_mut(&id).and_then(|held| held.lease.take());
        if let Some(lease) = lease {
            let sequence = self.operation().sequence;
            let now = self.now;
            // However the lease ended, the instance is out.
            let _ = self.home.with(|hub| hub.registry_mut().deregister(&lease, Some(sequence), &self.caller, now));
        }
    }

    pub(super) fn take_out(&mut self, id: RegistrationId) {
        if self.registrations.get(&id).is_none_or(|held| held.state.is_final()) {
            return;
        }
        self.give_up_lease(id);
        self.counters.deregistrations += 1;
        self.turn(id, RegistrationState::Deregistered { confirmed: true }, None);
    }
}

fn problem(error: &RegisterError) -> Problem {
    let code = if matches!(error, RegisterError::Ttl { .. }) { "invalid_ttl" } else { "invalid_instance" };
    plain(code, error.to_string())
}

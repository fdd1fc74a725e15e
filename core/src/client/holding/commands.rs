//! What the user of the client wants of it.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Backoff, GUESSED_TTL, Holding, Holdings, MOST_REMEMBERED, Phase};
use crate::client::{ClientConfig, CommandError, Registration, RegistrationId, RegistrationState};
use crate::fault::Fault;
use crate::instance::{Patch, ServiceInstance};
use crate::ordered::OrderedSet;
use crate::packed::Instance;
use crate::time::Instant;

/// How long a deregistration is tried at least, unless the client closes.
const PATIENCE: Duration = Duration::from_secs(60);

impl<L> Holdings<L> {
    pub(crate) fn register(
        &mut self,
        registration: &Registration,
        config: &ClientConfig,
        now: Instant,
    ) -> Result<RegistrationId, CommandError> {
        if self.closing {
            return Err(CommandError::Closed);
        }
        registration.check(&config.limits.instance)?;
        let key = registration.key();
        if let Some(&id) = self.keys.get(&key) {
            self.want(id, registration.instance.clone(), registration.ttl, config, now);
            return Ok(id);
        }
        let limit = config.limits.registrations;
        if self.keys.len() >= limit {
            return Err(CommandError::Limit { what: "registrations", limit });
        }
        self.last += 1;
        let id = RegistrationId(self.last);
        let holding = Holding {
            key: key.clone(),
            wanted: registration.instance.clone(),
            version: 1,
            ttl: registration.ttl,
            counted: None,
            phase: Phase::Out { at: now },
            state: RegistrationState::Registering,
            cover: None,
            operation: (0, 0),
            first_operation: None,
            doubt: self.given_up.contains_key(&key),
            generation: None,
            outcome: None,
            said_keys: OrderedSet::new(),
            backoff: Backoff::default(),
            registered: 0,
            problem: None,
            due: None,
            ready: None,
        };
        self.keys.insert(key, id);
        self.entries.insert(id, holding);
        self.count_ttl(id, registration.ttl);
        self.schedule(id, now);
        Ok(id)
    }

    pub(crate) fn update(
        &mut self,
        id: RegistrationId,
        patch: &Patch,
        config: &ClientConfig,
        now: Instant,
    ) -> Result<(), CommandError> {
        let holding = self.entries.get(&id).filter(|it| !matches!(it.phase, Phase::Over | Phase::Leaving { .. }));
        let holding = holding.ok_or(CommandError::Ended)?;
        let mut wanted = holding.wanted.clone();
        wanted.apply(patch);
        Instance::new(&wanted, &config.limits.instance)?;
        let ttl = holding.ttl;
        self.want(id, wanted, ttl, config, now);
        Ok(())
    }

    fn want(
        &mut self,
        id: RegistrationId,
        wanted: ServiceInstance,
        ttl: Option<Duration>,
        config: &ClientConfig,
        now: Instant,
    ) {
        let Some(holding) = self.entries.get_mut(&id) else {
            return;
        };
        let changed = holding.wanted != wanted;
        if changed {
            holding.wanted = wanted;
            holding.version += 1;
            if config.faults.has(Fault::SequenceReused) {
                holding.operation.1 = holding.version;
            }
        }
        if holding.ttl != ttl {
            holding.ttl = ttl;
            holding.version += 1;
            // A lease has one ttl for life: the registration is made anew, and the old cover holds till then.
            if let Phase::Held(held) = &holding.phase {
                self.dropped.extend(held.saying);
                holding.phase = Phase::Out { at: now };
            }
            self.count_ttl(id, ttl);
        }
        self.schedule(id, now);
    }

    pub(crate) fn deregister(&mut self, id: RegistrationId, config: &ClientConfig, now: Instant) {
        let Some(holding) = self.entries.get_mut(&id) else {
            return;
        };
        let mut doubt = holding.doubt && !config.faults.has(Fault::DoubtForgotten);
        match &holding.phase {
            Phase::Over | Phase::Leaving { .. } => return,
            Phase::Out { .. } => {}
            // Its answer is not awaited: it is given up by its number.
            Phase::Registering { call, .. } => self.dropped.push(*call),
            Phase::Held(held) => {
                self.dropped.extend(held.saying);
                doubt = true;
            }
        }
        self.keys.remove(&holding.key);
        let ttl = match &holding.phase {
            Phase::Held(held) => held.ttl,
            _ => holding.ttl.unwrap_or(GUESSED_TTL),
        };
        let patience = if self.closing { config.last_word } else { (ttl * 2).max(PATIENCE) };
        holding.cover = None;
        if doubt {
            // Everything up to this number is given up. What is registered under the same name later has a higher one.
            self.sequence += 1;
            holding.operation = (self.sequence, holding.version);
            self.given_up.insert(holding.key.clone(), self.sequence);
            if self.given_up.len() > MOST_REMEMBERED {
                self.given_up.pop_first();
            }
            holding.phase = Phase::Leaving { call: None, at: now, until: now.saturating_add(patience) };
            self.leaving.entry(holding.key.clone()).or_default().push(id);
            holding.backoff = Backoff::default();
            self.become_state(id, RegistrationState::Deregistering);
            self.schedule(id, now);
        } else {
            self.finish(id, RegistrationState::Deregistered { confirmed: true }, now);
        }
    }

    /// Deregisters all, and takes nothing more.
    pub(crate) fn close(&mut self, config: &ClientConfig, now: Instant) {
        if core::mem::replace(&mut self.closing, true) {
            return;
        }
        let last = now.saturating_add(config.last_word);
        let ids: Vec<RegistrationId> = self.entries.keys().copied().collect();
        for id in ids {
            self.deregister(id, config, now);
            let Some(holding) = self.entries.get_mut(&id) else {
                continue;
            };
            if let Phase::Leaving { until, .. } = &mut holding.phase {
                *until = (*until).min(last);
                self.schedule(id, now);
            }
        }
    }
}

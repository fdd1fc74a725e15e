//! What is to be sent next, and that it was.

use alloc::vec::Vec;

use super::{GUESSED_TTL, Held, Holding, Holdings, Phase, Urgency, Work};
use crate::client::RegistrationId;
use crate::http::RequestId;
use crate::time::Instant;

impl<L> Holdings<L> {
    /// Whether anything waits to be sent.
    pub(crate) fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next thing to be sent; whoever takes it says so with [`started`](Self::started).
    pub(crate) fn next_work(&self, batch: usize, now: Instant) -> Option<Work> {
        let &(urgency, id) = self.ready.first()?;
        Some(match urgency {
            Urgency::Deregister => Work::Deregister(id),
            Urgency::Update => Work::Update(id),
            Urgency::Register => Work::Register(id),
            Urgency::Renew => Work::Renew(self.renewals(batch, now)),
        })
    }

    /// Those whose renewal is due, and those for whom it is nearly so: they travel together from now on.
    fn renewals(&self, batch: usize, now: Instant) -> Vec<RegistrationId> {
        let due = self.ready.iter().take_while(|(urgency, _)| *urgency == Urgency::Renew).map(|(_, id)| *id);
        let mut ids: Vec<RegistrationId> = due.take(batch).collect();
        let shortest = self.ttls.first_key_value().map_or(GUESSED_TTL, |(ttl, _)| *ttl);
        let soon = now.saturating_add(shortest / 24);
        for &(at, id) in &self.due {
            if at > soon || ids.len() >= batch {
                break;
            }
            let Some(Holding { phase: Phase::Held(held), .. }) = self.entries.get(&id) else {
                continue;
            };
            if held.renewing.is_none() && held.next > now && held.next <= now.saturating_add(held.ttl / 24) {
                ids.push(id);
            }
        }
        ids
    }

    /// The number of the command that registers, says what is wanted, or gives it up: a new one if what is wanted has
    /// changed since.
    pub(crate) fn operation(&mut self, id: RegistrationId) -> u64 {
        let Some(holding) = self.entries.get_mut(&id) else {
            return 0;
        };
        if holding.operation.1 != holding.version {
            self.sequence += 1;
            holding.operation = (self.sequence, holding.version);
            holding.first_operation.get_or_insert(self.sequence);
        }
        holding.operation.0
    }

    /// What is to be registered is to be asked for again at this time.
    pub(crate) fn put_off(&mut self, id: RegistrationId, until: Instant, now: Instant) {
        if let Some(Phase::Out { at }) = self.entries.get_mut(&id).map(|holding| &mut holding.phase) {
            *at = until;
        }
        self.schedule(id, now);
    }

    /// A request for the work is under way.
    pub(crate) fn started(&mut self, work: &Work, call: RequestId, now: Instant) {
        match work {
            Work::Register(id) => {
                let Some(holding) = self.entries.get_mut(id) else {
                    return;
                };
                let was_doubtful = core::mem::replace(&mut holding.doubt, true);
                holding.said_keys.extend(holding.wanted.metadata.keys().cloned());
                holding.phase = Phase::Registering { call, sent: now, was_doubtful };
                self.schedule(*id, now);
            }
            Work::Update(id) => {
                if let Some(Holding { phase: Phase::Held(held), said_keys, wanted, .. }) = self.entries.get_mut(id) {
                    held.saying = Some(call);
                    said_keys.extend(wanted.metadata.keys().cloned());
                }
                self.schedule(*id, now);
            }
            Work::Deregister(id) => {
                if let Some(Holding { phase: Phase::Leaving { call: slot, .. }, .. }) = self.entries.get_mut(id) {
                    *slot = Some(call);
                }
                self.schedule(*id, now);
            }
            Work::Renew(ids) => {
                for id in ids {
                    if let Some(Holding { phase: Phase::Held(held), .. }) = self.entries.get_mut(id) {
                        held.renewing = Some(call);
                        held.sent = now;
                    }
                    self.schedule(*id, now);
                }
            }
        }
    }

    /// The work of a registration goes on with another request, the next of a chain. The cover counts from when the first
    /// was sent, unless it is said from when.
    pub(crate) fn passed_on(&mut self, id: RegistrationId, from: RequestId, to: RequestId, counts: Option<Instant>) {
        match self.entries.get_mut(&id).map(|holding| &mut holding.phase) {
            Some(Phase::Registering { call, sent, .. }) if *call == from => {
                *call = to;
                *sent = counts.unwrap_or(*sent);
            }
            Some(Phase::Held(Held { saying: Some(call), .. }) | Phase::Leaving { call: Some(call), .. })
                if *call == from =>
            {
                *call = to;
            }
            _ => {}
        }
    }

    /// Whether a registration has ended, or is not known.
    pub(crate) fn is_over(&self, id: RegistrationId) -> bool {
        self.entries.get(&id).is_none_or(|holding| matches!(holding.phase, Phase::Over))
    }

    /// A request that is not wanted any more.
    pub(crate) fn take_dropped(&mut self) -> Option<RequestId> {
        self.dropped.pop()
    }
}

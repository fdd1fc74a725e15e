//! What came of it: what the backend reports.

use alloc::string::ToString;
use core::time::Duration;

use super::{Backoff, Held, Holding, Holdings, Phase, Terms, Verdict};
use crate::client::{ClientConfig, Loss, RegistrationId, RegistrationState};
use crate::fault::Fault;
use crate::http::RequestId;
use crate::rng::Rng;
use crate::time::Instant;

impl<L> Holdings<L> {
    /// The registry has it.
    pub(crate) fn on_registered(
        &mut self,
        id: RegistrationId,
        terms: Terms<L>,
        config: &ClientConfig,
        rng: &mut Rng,
        now: Instant,
    ) {
        let Terms { lease, generation, ttl, outcome } = terms;
        let Some(holding) = self.entries.get_mut(&id) else {
            return;
        };
        let Phase::Registering { sent, .. } = holding.phase else {
            return;
        };
        holding.generation = generation.or(holding.generation);
        holding.outcome = outcome;
        holding.backoff = Backoff::default();
        holding.problem = None;
        let cover = cover(sent, ttl, config, now);
        if cover <= now {
            // The answer came so late that the lease may have ended: this proves nothing.
            holding.operation = (0, 0);
            holding.phase = Phase::Out { at: now };
            self.schedule(id, now);
            return;
        }
        holding.cover = Some(cover);
        holding.registered += 1;
        holding.phase = Phase::Held(Held {
            lease,
            ttl,
            next: sent.saturating_add(interval(ttl, rng)).max(now),
            renewing: None,
            extra: None,
            sent,
            said: holding.operation.1,
            refused: None,
            saying: None,
            say_at: now,
        });
        self.registered += 1;
        self.count_ttl(id, Some(ttl));
        self.become_state(id, RegistrationState::Registered);
        self.schedule(id, now);
    }

    /// A request to register or update was refused. Returns how long to wait, if it was refused for now.
    pub(crate) fn on_refused(
        &mut self,
        id: RegistrationId,
        verdict: Verdict,
        config: &ClientConfig,
        rng: &mut Rng,
        now: Instant,
    ) -> Option<Duration> {
        let holding = self.entries.get_mut(&id)?;
        let mut wait = None;
        match holding.phase {
            // It was answered: this time it took no effect.
            Phase::Registering { was_doubtful, .. } => holding.doubt = was_doubtful,
            Phase::Held(_) => {}
            Phase::Out { .. } | Phase::Leaving { .. } | Phase::Over => return None,
        }
        let registering = matches!(holding.phase, Phase::Registering { .. });
        match verdict {
            Verdict::Superseded if config.faults.has(Fault::SupersededTriesAgain) => {
                holding.generation = None;
                holding.operation = (0, 0);
                holding.phase = Phase::Out { at: now };
            }
            Verdict::Superseded => self.finish(id, RegistrationState::Superseded, now),
            Verdict::TakenOut => self.finish(id, RegistrationState::Deregistered { confirmed: true }, now),
            Verdict::Lost(code) => self.on_lost(id, code, now),
            Verdict::Refused(problem) if registering => {
                self.finish(id, RegistrationState::Refused(problem), now);
            }
            Verdict::Refused(problem) => {
                holding.problem = Some(problem.message);
                if let Phase::Held(held) = &mut holding.phase {
                    held.saying = None;
                    held.refused = Some(holding.operation.1);
                }
            }
            Verdict::Outdated => {
                holding.operation = (0, 0);
                let at = now.saturating_add(holding.backoff.next(rng, Backoff::CAP, None, now));
                again(holding, at);
            }
            Verdict::Later(problem, hint) => {
                holding.problem = Some(problem.message);
                let delay = holding.backoff.next(rng, Backoff::CAP, hint, now);
                again(holding, now.saturating_add(delay));
                wait = Some(delay);
            }
        }
        self.schedule(id, now);
        wait
    }

    /// A request to register, update or deregister was not answered; `sent` says whether it may have arrived.
    pub(crate) fn on_unanswered(
        &mut self,
        id: RegistrationId,
        arrived: bool,
        reason: &str,
        config: &ClientConfig,
        now: Instant,
    ) {
        let Some(holding) = self.entries.get_mut(&id) else {
            return;
        };
        if let Phase::Registering { was_doubtful, .. } = holding.phase {
            holding.doubt = was_doubtful || arrived;
            if config.faults.has(Fault::RetryForgotten) {
                holding.problem = Some(reason.to_string());
                return;
            }
        }
        holding.problem = Some(reason.to_string());
        again(holding, now);
        self.schedule(id, now);
    }

    /// What was said of a registration is known.
    pub(crate) fn on_updated(&mut self, id: RegistrationId, now: Instant) {
        if let Some(holding) = self.entries.get_mut(&id)
            && let Phase::Held(held) = &mut holding.phase
        {
            held.saying = None;
            held.said = holding.operation.1;
            holding.problem = None;
            holding.backoff = Backoff::default();
            // Removed keys need not be removed again.
            if held.said == holding.version {
                holding.said_keys = holding.wanted.metadata.keys().cloned().collect();
            }
        }
        self.schedule(id, now);
    }

    /// A renewal that was sent then is acknowledged.
    pub(crate) fn on_renewed(
        &mut self,
        id: RegistrationId,
        call: RequestId,
        config: &ClientConfig,
        rng: &mut Rng,
        now: Instant,
    ) {
        if let Some(holding) = self.entries.get_mut(&id)
            && let Phase::Held(held) = &mut holding.phase
            && held.renewing == Some(call)
        {
            held.renewing = None;
            let next = cover(held.sent, held.ttl, config, now);
            let tick = interval(held.ttl, rng);
            held.next = if config.faults.has(Fault::TicksReplayed) {
                held.next.saturating_add(tick)
            } else {
                held.sent.saturating_add(tick)
            };
            holding.cover = holding.cover.max(Some(next));
            holding.problem = None;
            self.renewed += 1;
        }
        self.schedule(id, now);
    }

    /// A renewal was not acknowledged.
    pub(crate) fn on_not_renewed(
        &mut self,
        id: RegistrationId,
        call: RequestId,
        reason: &str,
        rng: &mut Rng,
        now: Instant,
    ) {
        if let Some(holding) = self.entries.get_mut(&id)
            && let Phase::Held(held) = &mut holding.phase
            && held.renewing == Some(call)
        {
            held.renewing = None;
            // Once in a ttl it may be sent again out of turn; for the rest it waits for the next tick.
            if held.extra.is_none_or(|extra| now.saturating_since(extra) >= held.ttl) {
                held.extra = Some(now);
                held.next = now;
            } else {
                held.next = held.sent.saturating_add(interval(held.ttl, rng));
            }
            holding.problem = Some(reason.to_string());
        }
        self.schedule(id, now);
    }

    /// The registry says that a lease has ended, to a renewal of this request or, without one, to an update.
    pub(crate) fn on_lease_lost(
        &mut self,
        id: RegistrationId,
        call: RequestId,
        verdict: Verdict,
        config: &ClientConfig,
        rng: &mut Rng,
        now: Instant,
    ) {
        // The answer may be about a lease that has been replaced since.
        if let Some(Holding { phase: Phase::Held(held), .. }) = self.entries.get(&id)
            && held.renewing == Some(call)
        {
            self.on_refused(id, verdict, config, rng, now);
        }
    }

    fn on_lost(&mut self, id: RegistrationId, code: smol_str::SmolStr, now: Instant) {
        let Some(holding) = self.entries.get_mut(&id) else {
            return;
        };
        if let Phase::Held(held) = &holding.phase {
            self.dropped.extend(held.saying);
        }
        holding.cover = None;
        holding.operation = (0, 0);
        holding.phase = Phase::Out { at: now };
        self.lost += 1;
        self.become_state(id, RegistrationState::Lost(Loss::Told(code)));
        self.schedule(id, now);
    }

    /// The registry says that the instance is gone.
    pub(crate) fn on_deregistered(&mut self, id: RegistrationId, config: &ClientConfig, now: Instant) {
        if config.faults.has(Fault::RegistersAfterClose)
            && self.closing
            && let Some(holding) = self.entries.get_mut(&id)
            && matches!(holding.phase, Phase::Leaving { .. })
        {
            holding.operation = (0, 0);
            holding.phase = Phase::Out { at: now };
            return self.schedule(id, now);
        }
        if let Some(Holding { phase: Phase::Leaving { .. }, key, operation, .. }) = self.entries.get(&id) {
            if self.given_up.get(key).is_some_and(|number| *number <= operation.0) {
                self.given_up.remove(key);
            }
            self.finish(id, RegistrationState::Deregistered { confirmed: true }, now);
        }
    }

    /// A deregistration was refused for now, or makes no sense to the registry.
    pub(crate) fn on_not_deregistered(
        &mut self,
        id: RegistrationId,
        hint: Option<Duration>,
        problem: &str,
        rng: &mut Rng,
        now: Instant,
    ) {
        if let Some(holding) = self.entries.get_mut(&id) {
            holding.problem = Some(problem.to_string());
            let at = now.saturating_add(holding.backoff.next(rng, Backoff::CAP, hint, now));
            again(holding, at);
        }
        self.schedule(id, now);
    }
}

/// Lets a registration try again what it has tried, at this time.
fn again<L>(holding: &mut Holding<L>, when: Instant) {
    match &mut holding.phase {
        Phase::Registering { .. } => holding.phase = Phase::Out { at: when },
        Phase::Held(held) => {
            held.saying = None;
            held.say_at = when;
        }
        Phase::Leaving { call, at, .. } => {
            *call = None;
            *at = when;
        }
        Phase::Out { .. } | Phase::Over => {}
    }
}

/// Until when a renewal proves that the lease lives: its ttl from when it was sent, less what two clocks of one percent
/// each may drift apart, and a little.
fn cover(sent: Instant, ttl: Duration, config: &ClientConfig, now: Instant) -> Instant {
    let from = if config.faults.has(Fault::CoverFromAnswer) { now } else { sent };
    from.saturating_add(ttl - ttl / 32)
}

/// A third of the ttl, a little less at random, so that the renewals of many clients do not fall into step.
fn interval(ttl: Duration, rng: &mut Rng) -> Duration {
    let third = ttl / 3;
    third - rng.time_below(third / 20)
}

//! What etcd answers to work.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use smol_str::SmolStr;

use super::claim::{Guard, Next};
use super::gateway::{self, Answer};
use super::message::{
    DENIED, Done, EXHAUSTED, FAILED_PRECONDITION, LeaseId, Leased, Line, NOT_FOUND, Pair, Refusal, Transacted,
};
use super::{Etcd, Step, Wire, keys};
use crate::client::calls::Call;
use crate::client::holding::{Terms, Verdict, Work};
use crate::client::link::Fall;
use crate::client::machine::What;
use crate::client::{Channel, ClientEvent, RegistrationId};
use crate::fault::Fault;
use crate::http::RequestId;
use crate::http::body::{BodyError, parse};
use crate::protocol::Problem;
use crate::registry::Outcome;
use crate::time::Instant;

/// How often a key may be another one than expected before a registration backs off.
const ROUNDS: u32 = 8;

/// The request of which registration it is.
type Chain<'a> = (&'a Work, RegistrationId, RequestId);

impl Etcd {
    /// The answer to a piece of work is complete.
    pub(super) fn on_called(&mut self, id: RequestId, now: Instant) {
        let Some(call) = self.calls.end(id) else {
            return;
        };
        let What::Work(work, step) = &call.what else {
            return;
        };
        match Answer::read(&call) {
            Answer::Good => match self.take(work, step, id, &call, now) {
                Ok(()) => {
                    self.wire.door.proven();
                    self.on_answer(Channel::Calls, call.way, now);
                }
                Err(reason) => {
                    self.on_fall(Channel::Calls, call.way, Fall::Bad(None), &reason, now);
                    self.on_unanswered(work, id, true, &reason, now);
                }
            },
            Answer::Refused(refusal, hint) if refusal.wants_login() && self.wire.options.credentials().is_some() => {
                if !self.on_token_refused(id) {
                    self.on_fall(Channel::Calls, call.way, Fall::Bad(hint), &refusal.message, now);
                }
                self.took_no_effect(work, step);
                self.on_unanswered(work, id, false, &refusal.message, now);
                self.knock(now);
            }
            Answer::Refused(refusal, hint) => {
                self.on_answer(Channel::Calls, call.way, now);
                self.on_refusal(work, step, id, refusal, hint, now);
            }
            Answer::Elsewhere => {
                if !self.wire.paths.missed(call.way.origin) {
                    self.on_fall(Channel::Calls, call.way, Fall::Bad(None), "there is no gateway of etcd", now);
                }
                self.took_no_effect(work, step);
                self.on_unanswered(work, id, false, "there is no gateway of etcd", now);
            }
            Answer::Nonsense(reason, hint) => {
                self.on_fall(Channel::Calls, call.way, Fall::Bad(hint), &reason, now);
                self.on_unanswered(work, id, true, &reason, now);
            }
        }
    }

    /// Takes a good answer.
    fn take(
        &mut self,
        work: &Work,
        step: &Step,
        from: RequestId,
        call: &Call<What<Wire>>,
        now: Instant,
    ) -> Result<(), String> {
        let text = |error: BodyError| error.to_string();
        let bytes = call.body.bytes().map_err(text)?;
        let id = match work {
            Work::Renew(ids) => {
                let Step::Renew(leases) = step else { return Ok(()) };
                return self.on_renewals(ids, leases, from, bytes, now);
            }
            Work::Register(id) | Work::Update(id) | Work::Deregister(id) => *id,
        };
        let chain = (work, id, from);
        match step {
            Step::Grant => {
                let granted: Leased = parse(bytes).map_err(text)?;
                if !granted.error.is_empty() || granted.ttl <= 0 {
                    return Err(granted.error);
                }
                self.on_granted(chain, &granted, now);
            }
            Step::Revive => {
                let line: Line<Leased> = parse(bytes).map_err(text)?;
                match (line.result, line.error) {
                    (Some(kept), _) if kept.ttl > 0 => self.on_granted(chain, &kept, now),
                    (Some(_), _) => self.on_verdict(id, Verdict::Outdated, now),
                    (None, error) => return Err(error.map(|error| Refusal::from(error).message).unwrap_or_default()),
                }
            }
            Step::Write { guard, value, retry, round } => {
                let done: Transacted = parse(bytes).map_err(text)?;
                self.on_written(chain, (*guard, value.as_deref(), *retry, *round), done, now);
            }
            Step::Revoke(at) => self.on_revoked(chain, *at, now),
            Step::Renew(_) => {}
        }
        Ok(())
    }

    /// There is a lease: the key is next.
    fn on_granted(&mut self, chain: Chain<'_>, leased: &Leased, now: Instant) {
        let id = chain.1;
        let Some(claim) = self.wire.claims.of_mut(id) else {
            return;
        };
        claim.granted = leased.ttl.unsigned_abs();
        let guard = claim.guard(leased.header.revision, self.config.faults);
        self.put(chain, guard, (false, 0), now);
    }

    fn put(&mut self, chain: Chain<'_>, guard: Guard, (retry, round): (bool, u32), now: Instant) {
        if !self.is_let_in() {
            return self.on_unanswered(chain.0, chain.2, false, "a new login is needed", now);
        }
        let counts = self.config.faults.has(Fault::EtcdCoverFromWrite).then_some(now);
        if let Some(write) = self.write(chain.1, guard, retry, round) {
            self.go_on(chain, write, counts, now);
        }
    }

    /// A transaction has been done: the key was as expected, or it was read.
    fn on_written(
        &mut self,
        chain: Chain<'_>,
        (guard, value, retry, round): (Guard, Option<&[u8]>, bool, u32),
        done: Transacted,
        now: Instant,
    ) {
        let (work, id, _) = chain;
        let revision = done.header.revision;
        self.wire.cluster.seen(revision);
        let Some(claim) = self.wire.claims.of_mut(id) else {
            return;
        };
        let answer = done.responses.into_iter().next().unwrap_or_default();
        if done.succeeded && guard != Guard::Read {
            let outcome = outcome(&answer, &claim.leases);
            claim.settle(revision, value.is_some().then_some(revision));
            return self.on_settled(work, id, outcome, now);
        }
        claim.doubt = false;
        let found = answer.response_range.and_then(|range| range.kvs.into_iter().next());
        match claim.next(found.as_ref(), value, retry) {
            Next::Done => {
                claim.settle(revision, found.map(|pair| pair.mod_revision));
                self.on_settled(work, id, Outcome::Repeated, now);
            }
            Next::Write(_) if round >= ROUNDS => {
                let message = String::from("others write the same key all the time");
                let problem = Problem { code: "contended".into(), message, field: None, limit: None };
                self.on_verdict(id, Verdict::Later(problem, None), now);
            }
            Next::Write(guard) => self.put(chain, guard, (retry, round + 1), now),
            Next::Superseded => self.on_superseded(id, now),
            Next::Gone if matches!(work, Work::Register(_)) => {
                self.put(chain, Guard::Absent, (retry, round + 1), now);
            }
            Next::Gone => self.on_key_gone(id, revision, now),
        }
    }

    /// The key is as it is wanted.
    fn on_settled(&mut self, work: &Work, id: RegistrationId, outcome: Outcome, now: Instant) {
        let Some(claim) = self.wire.claims.of(id) else {
            return;
        };
        match work {
            Work::Register(_) => {
                let ttl = Duration::from_secs(claim.granted);
                let terms = Terms { lease: claim.lease(), generation: None, ttl, outcome: Some(outcome) };
                self.holdings.on_registered(id, terms, &self.config, &mut self.rng, now);
            }
            _ => self.holdings.on_updated(id, now),
        }
        self.watch_key(id, now);
        self.on_news(id, now);
    }

    fn on_revoked(&mut self, chain: Chain<'_>, at: usize, now: Instant) {
        match self.revoke(chain.1, at + 1) {
            Some(next) => self.go_on(chain, next, None, now),
            None => {
                if let Some(claim) = self.wire.claims.remove(chain.1) {
                    let key = keys::instance(&self.wire.options.prefix, &claim.key);
                    self.wire.streams.facts.forget(key.as_bytes());
                }
                self.holdings.on_deregistered(chain.1, &self.config, now);
            }
        }
    }

    /// A line for each lease, in any order; what there is no line for was not renewed.
    fn on_renewals(
        &mut self,
        ids: &[RegistrationId],
        leases: &[LeaseId],
        call: RequestId,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(), String> {
        let of: BTreeMap<LeaseId, RegistrationId> = leases.iter().copied().zip(ids.iter().copied()).collect();
        let mut problem = None;
        let mut answered = 0;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace)) {
            match parse::<Line<Leased>>(line) {
                Ok(Line { result: Some(kept), .. }) => {
                    let Some(&id) = of.get(&kept.id) else { continue };
                    answered += 1;
                    if kept.ttl > 0 || self.config.faults.has(Fault::EtcdGoneRenewed) {
                        self.holdings.on_renewed(id, call, &self.config, &mut self.rng, now);
                    } else {
                        let lost = Verdict::Lost(SmolStr::new_static("lease_expired"));
                        self.holdings.on_lease_lost(id, call, lost, &self.config, &mut self.rng, now);
                    }
                }
                Ok(Line { error, .. }) => problem = error.map(|error| Refusal::from(error).message).or(problem),
                Err(error) => problem = Some(error.to_string()),
            }
        }
        match problem {
            None if answered >= of.len() => Ok(()),
            problem => Err(problem.unwrap_or_else(|| "not every lease was answered for".into())),
        }
    }

    fn on_refusal(
        &mut self,
        work: &Work,
        step: &Step,
        from: RequestId,
        refusal: Refusal,
        hint: Option<Duration>,
        now: Instant,
    ) {
        let wants_login = refusal.wants_login();
        let Refusal { code, message } = refusal;
        self.took_no_effect(work, step);
        match (work, step) {
            (Work::Renew(_), _) => self.on_unanswered(work, from, true, &message, now),
            (Work::Deregister(id), Step::Revoke(at)) if code == NOT_FOUND => {
                self.on_revoked((work, *id, from), *at, now);
            }
            (Work::Deregister(id), _) => {
                self.holdings.on_not_deregistered(*id, hint, &message, &mut self.rng, now);
            }
            (Work::Register(id), Step::Grant) if code == FAILED_PRECONDITION => {
                // It came through before, or has not ended yet: whichever, it must live from now on.
                let Some(lease) = self.wire.claims.of(*id).map(super::claim::Claim::lease) else {
                    return;
                };
                let next = ("/lease/keepalive", Step::Revive, gateway::lease(lease));
                self.go_on((work, *id, from), next, Some(now), now);
            }
            // The lease has ended in between.
            (Work::Register(id), _) if code == NOT_FOUND => self.on_verdict(*id, Verdict::Outdated, now),
            (Work::Update(id), _) if code == NOT_FOUND => {
                self.on_verdict(*id, Verdict::Lost(SmolStr::new_static("lease_expired")), now);
            }
            (Work::Register(id) | Work::Update(id), _) => {
                let passing = matches!(code, DENIED | EXHAUSTED | FAILED_PRECONDITION) || wants_login;
                let problem = Problem { code: gateway::name(code), message, field: None, limit: None };
                // Rights, room and logins come back; what is malformed stays so.
                let verdict = if passing { Verdict::Later(problem, hint) } else { Verdict::Refused(problem) };
                self.on_verdict(*id, verdict, now);
                self.watch_key(*id, now);
                self.on_news(*id, now);
            }
        }
    }

    /// A request was refused. One before it may have taken effect all the same.
    fn took_no_effect(&mut self, work: &Work, step: &Step) {
        if let (Work::Register(id) | Work::Update(id), Step::Write { retry, .. }) = (work, step)
            && let Some(claim) = self.wire.claims.of_mut(*id)
        {
            claim.doubt = *retry;
        }
    }

    pub(super) fn on_verdict(&mut self, id: RegistrationId, verdict: Verdict, now: Instant) {
        let told = if let Verdict::Later(problem, _) = &verdict { Some(problem.clone()) } else { None };
        let wait = self.holdings.on_refused(id, verdict, &self.config, &mut self.rng, now);
        if let (Some(problem), Some(retry_in)) = (told, wait) {
            self.emit(ClientEvent::Deferred { id, problem, retry_in });
        }
    }

    /// Somebody else has the key. Our lease would be renewed no more; it ends at once, so that nothing that is late comes
    /// through under it.
    pub(super) fn on_superseded(&mut self, id: RegistrationId, now: Instant) {
        let claim = self.wire.claims.remove(id);
        self.on_verdict(id, Verdict::Superseded, now);
        for lease in claim.into_iter().flat_map(|claim| claim.leases) {
            self.revoke_quietly(lease, now);
        }
    }

    /// The key is gone while the lease lives, as far as we know.
    pub(super) fn on_key_gone(&mut self, id: RegistrationId, revision: u64, now: Instant) {
        if let Some(claim) = self.wire.claims.of_mut(id) {
            claim.written = None;
            claim.since = claim.since.max(Some(revision));
        }
        self.on_verdict(id, Verdict::Lost(SmolStr::new_static("key_removed")), now);
    }
}

/// Whose the key was before it was written.
fn outcome(done: &Done, leases: &[LeaseId]) -> Outcome {
    let put = done.response_put.as_ref().and_then(|put| put.prev_kv.as_ref());
    let before: Vec<&Pair> =
        put.into_iter().chain(done.response_delete_range.iter().flat_map(|deleted| &deleted.prev_kvs)).collect();
    match before.first() {
        None => Outcome::Registered,
        Some(pair) if leases.contains(&pair.lease) => Outcome::Replaced,
        Some(_) => Outcome::Superseded,
    }
}

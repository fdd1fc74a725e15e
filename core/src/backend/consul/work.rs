//! Registrations at the agent: what is sent for a piece of work, step by step, and what the answers mean.
//!
//! A registration is a chain: the service is put, perhaps put into maintenance or taken out of it, and its TTL check is
//! passed. Only then is it done, because a check that was there before keeps its status, and a new one is critical.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use smol_str::SmolStr;

use super::Consul;
use super::encode::{registration, ttl_check};
use crate::client::calls::Way;
use crate::client::holding::{Terms, Verdict, Work};
use crate::client::link::Fall;
use crate::client::machine::What;
use crate::client::{Channel, ClientEvent, RegistrationId};
use crate::fault::Fault;
use crate::http::target::Target;
use crate::http::{Head, Method, RequestId};
use crate::instance::Status;
use crate::protocol::Problem;
use crate::time::Instant;

/// So many puts are remembered that were not answered.
const UNANSWERED: usize = 16;

/// How long a registration waits before it looks again whether the one before it under its id is out of its way.
const MOMENT: Duration = Duration::from_millis(50);

/// Where a registration is held. Consul's agents do not know of each other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    origin: usize,
}

/// One request of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Puts the service.
    Put,
    /// Switches its maintenance on or off.
    Maintain(bool),
    /// Passes its TTL check.
    Pass,
    /// Looks whether it is still there.
    Look,
    /// Takes it out.
    Remove,
}

/// What is known of the registrations that were sent.
#[derive(Debug, Default)]
pub(super) struct Placed {
    of: BTreeMap<RegistrationId, Place>,
    /// When those that are over are swept out next.
    sweep: usize,
}

#[derive(Debug, Default)]
struct Place {
    /// Whom it was put at last.
    origin: usize,
    /// Puts that were not answered, the latest of them: they may arrive yet.
    unanswered: Vec<RequestId>,
    /// When it is put again, because what arrived late may have replaced it.
    again: Option<Instant>,
    /// Whether maintenance was switched on.
    maintained: bool,
    /// Whether its own agent was asked to take it out although calls go elsewhere by now.
    recalled: bool,
}

/// What an answer says.
pub(super) enum Said {
    Done,
    /// The agent does not know the service or the check.
    Gone,
    /// It would say the same again.
    Never(Problem),
    /// It refuses this one for now, with what it asks to wait.
    Later(Problem, Option<Duration>),
    /// It is not the agent's answer, or the agent cannot answer anything now.
    Outage(String, Option<Duration>),
}

impl Consul {
    /// Sends the first request for a piece of work.
    pub(super) fn ask(&mut self, work: Work, now: Instant) {
        let way = self.link.way();
        match &work {
            Work::Register(id) if self.is_taken_out(*id, way) => {
                self.holdings.put_off(*id, now.saturating_add(MOMENT), now);
            }
            Work::Register(_) => self.send_step(work, Step::Put, way, now),
            Work::Update(id) if self.is_elsewhere(*id, way) => self.on_agent_changed(*id, now),
            Work::Update(_) => self.send_step(work, Step::Put, way, now),
            Work::Deregister(id) => self.ask_removal(*id, way, now),
            Work::Renew(ids) => {
                let Some(&id) = ids.first() else {
                    return;
                };
                if self.is_elsewhere(id, way) {
                    return self.on_agent_changed(id, now);
                }
                let again = self.wire.placed.of.get(&id).and_then(|place| place.again);
                let step = match self.wire.options.checks.ttl {
                    _ if again.is_some_and(|at| at <= now) => Step::Put,
                    true => Step::Pass,
                    false => Step::Look,
                };
                self.send_step(work, step, way, now);
            }
        }
    }

    /// Whether calls go to another agent than the one that holds the registration.
    fn is_elsewhere(&self, id: RegistrationId, way: Way) -> bool {
        !self.config.faults.has(Fault::ConsulRenewsElsewhere)
            && self.holdings.lease(id).is_some_and(|lease| lease.origin != way.origin)
    }

    /// The agent that has the registration does not answer, and calls go to another one, which knows nothing of it.
    fn on_agent_changed(&mut self, id: RegistrationId, now: Instant) {
        let verdict = Verdict::Lost(SmolStr::new_static("agent_changed"));
        self.holdings.on_refused(id, verdict, &self.config, &mut self.rng, now);
    }

    /// Whether this agent is just being asked to take out a registration before this one: agents go by the id alone, and
    /// what overtakes that request would be taken out.
    fn is_taken_out(&self, id: RegistrationId, way: Way) -> bool {
        let at_agent = |call| self.calls.of(call).is_some_and(|call| call.way.origin == way.origin);
        let waits = self.holdings.key(id).is_some_and(|key| self.holdings.removals(key).any(at_agent));
        waits && !self.config.faults.has(Fault::ConsulSuccessorRemoved)
    }

    /// Takes a registration out, and not the one that the program has made since under the same id.
    fn ask_removal(&mut self, id: RegistrationId, way: Way, now: Instant) {
        let successor = self.holdings.successor(id).filter(|_| !self.config.faults.has(Fault::ConsulSuccessorRemoved));
        let next = successor.and_then(|next| self.wire.placed.of.get(&next)).map(|place| place.origin);
        if next == Some(way.origin)
            && let Some(place) = self.wire.placed.of.get_mut(&id)
            && place.origin != way.origin
            && core::mem::take(&mut place.recalled)
        {
            // Its own agent was asked, and the other one knows only the successor.
            let problem = "the agent that has it does not answer";
            return self.holdings.on_not_deregistered(id, None, problem, &mut self.rng, now);
        }
        let way = self.way_back(id, way);
        let Some(successor) = successor.filter(|_| next == Some(way.origin)) else {
            return self.send_step(Work::Deregister(id), Step::Remove, way, now);
        };
        if self.holdings.lease(successor).is_none_or(|lease| lease.origin != way.origin) {
            let problem = "what was registered since under its id is not there yet";
            return self.holdings.on_not_deregistered(id, None, problem, &mut self.rng, now);
        }
        // It has been replaced; what was sent before that and arrives yet is replaced, too.
        let late = self.wire.placed.of.remove(&id).is_some_and(|place| !place.unanswered.is_empty());
        if let Some(place) = self.wire.placed.of.get_mut(&successor).filter(|_| late) {
            place.again = Some(now.saturating_add(self.config.call_timeout * 2));
        }
        self.holdings.on_deregistered(id, &self.config, now);
    }

    /// The way of a deregistration: the agent that has it is asked, once, although calls go to another one by now. That
    /// it does not answer says nothing about the other one.
    fn way_back(&mut self, id: RegistrationId, way: Way) -> Way {
        match self.wire.placed.of.get_mut(&id) {
            Some(place) if place.origin != way.origin && !place.recalled => {
                place.recalled = true;
                Way { origin: place.origin, era: way.era.wrapping_sub(1) }
            }
            _ => way,
        }
    }

    fn send_step(&mut self, work: Work, step: Step, way: Way, now: Instant) {
        if let Some(id) = subject(&work) {
            self.send_one(id, work, step, way, now);
        }
    }

    fn send_one(&mut self, id: RegistrationId, work: Work, step: Step, way: Way, now: Instant) {
        if step == Step::Put && !matches!(work, Work::Renew(_)) {
            // What is said from here on is what is wanted now.
            self.holdings.operation(id);
        }
        let Some((method, target, body)) = self.write(id, step) else {
            debug_assert!(false, "work is asked for by what it is about");
            return;
        };
        let mut request = self.request(way.origin, method, &target, body);
        self.wire.sign(&mut request);
        let call = self.send_work(work.clone(), step, way, request, now);
        if step == Step::Put {
            self.wire.sweep_placed(|id| self.holdings.key(id).is_some());
            let place = self.wire.placed.of.entry(id).or_default();
            if place.unanswered.len() >= UNANSWERED {
                place.unanswered.remove(0);
            }
            place.unanswered.push(call);
            (place.origin, place.recalled) = (way.origin, false);
        }
        self.holdings.started(&work, call, now);
    }

    fn write(&self, id: RegistrationId, step: Step) -> Option<(Method, Target, Vec<u8>)> {
        let key = self.holdings.key(id)?.clone();
        let at = Target::new;
        let (method, target, body) = match step {
            Step::Put => {
                let ttl = self.holdings.wanted_ttl(id).unwrap_or(self.wire.options.ttl);
                let wanted = self.holdings.wanted(id)?;
                let body = registration(wanted, &self.wire.options, ttl, self.config.faults);
                // Maintenance is a check, which would be replaced, too: what drains would be seen for a moment. The checks of
                // endpoints that it has no more go when it is up again.
                let drains = self.wire.options.maintenance && is_out(wanted.status());
                let target = at("/v1/agent/service/register");
                let target = if drains { target } else { target.query("replace-existing-checks", "true") };
                (Method::Put, target, body)
            }
            Step::Maintain(enable) => {
                let status = self.holdings.wanted(id).map_or(Status::Up, |wanted| wanted.status());
                let target = at("/v1/agent/service/maintenance").segment(&key.id).query("enable", enable);
                let target = if enable { target.query("reason", status) } else { target };
                (Method::Put, target, Vec::new())
            }
            Step::Pass => {
                let body = br#"{"Status":"passing","Output":"pass"}"#.to_vec();
                (Method::Put, at("/v1/agent/check/update").segment(&ttl_check(&key.id)), body)
            }
            Step::Look => (Method::Get, at("/v1/agent/service").segment(&key.id), Vec::new()),
            Step::Remove => (Method::Put, at("/v1/agent/service/deregister").segment(&key.id), Vec::new()),
        };
        Some((method, self.wire.within(target, &key.namespace), body))
    }

    /// What follows a step of a registration or an update; `None`: it is done.
    fn next_step(&self, id: RegistrationId, step: Step) -> Option<Step> {
        let options = &self.wire.options;
        if step == Step::Put && options.maintenance {
            let status = self.holdings.wanted(id).map_or(Status::Up, |wanted| wanted.status());
            if is_out(status) {
                // Before the check passes: so it is not seen in between.
                return Some(Step::Maintain(true));
            }
            if self.wire.placed.of.get(&id).is_some_and(|place| place.maintained) {
                return Some(Step::Maintain(false));
            }
        }
        let passes = options.checks.ttl && !self.config.faults.has(Fault::ConsulNotPassed);
        (passes && matches!(step, Step::Put | Step::Maintain(_))).then_some(Step::Pass)
    }

    /// The answer to a request is complete.
    pub(super) fn on_called(&mut self, call: RequestId, now: Instant) {
        let Some(ended) = self.calls.end(call) else {
            return;
        };
        let (What::Work(work, step), Some(head)) = (&ended.what, &ended.head) else {
            return;
        };
        let said = read(*step, head, ended.body.bytes().unwrap_or_default());
        if *step == Step::Put
            && let Some(place) = subject(work).and_then(|id| self.wire.placed.of.get_mut(&id))
        {
            place.unanswered.retain(|put| *put != call);
        }
        if let Said::Outage(reason, hint) = &said {
            self.on_fall(Channel::Calls, ended.way, Fall::Bad(*hint), reason, now);
            return self.on_unanswered(work, call, true, reason, now);
        }
        if ended.way.origin == self.link.way().origin {
            self.on_answer(Channel::Calls, ended.way, now);
        }
        match work {
            Work::Register(_) | Work::Update(_) => self.on_chain(work, *step, ended.way, said, now),
            Work::Renew(_) => self.on_renewal(work, *step, ended.way, call, &said, now),
            Work::Deregister(id) => self.on_removed(*id, ended.way, said, now),
        }
    }

    fn on_chain(&mut self, work: &Work, step: Step, way: Way, said: Said, now: Instant) {
        let (Work::Register(id) | Work::Update(id)) = work else {
            return;
        };
        let registering = matches!(work, Work::Register(_));
        let (problem, hint) = match said {
            Said::Done => {
                if let (Step::Maintain(on), Some(place)) = (step, self.wire.placed.of.get_mut(id)) {
                    place.maintained = on;
                }
                let next = self.next_step(*id, step);
                if next.is_none() {
                    self.on_put(*id, !registering, now);
                }
                return match next {
                    Some(next) => self.send_one(*id, work.clone(), next, way, now),
                    None if registering => {
                        let (lease, ttl) = (Lease { origin: way.origin }, self.wire.ttl(self.holdings.wanted_ttl(*id)));
                        let terms = Terms { lease, generation: None, ttl, outcome: None };
                        self.holdings.on_registered(*id, terms, &self.config, &mut self.rng, now);
                    }
                    None => self.holdings.on_updated(*id, now),
                };
            }
            Said::Never(problem) if step == Step::Put => {
                self.holdings.on_refused(*id, Verdict::Refused(problem), &self.config, &mut self.rng, now);
                return;
            }
            Said::Gone if !registering => {
                let verdict = Verdict::Lost(SmolStr::new_static("unknown"));
                self.holdings.on_refused(*id, verdict, &self.config, &mut self.rng, now);
                return;
            }
            Said::Gone => {
                let message = "the agent does not know what it has just been given: \
                               are all calls answered by the same agent?";
                (Problem { code: "unknown".into(), message: message.into(), field: None, limit: None }, None)
            }
            Said::Never(problem) => (problem, None),
            Said::Later(problem, hint) => (problem, hint),
            Said::Outage(..) => return,
        };
        let verdict = Verdict::Later(problem.clone(), hint);
        if let Some(retry_in) = self.holdings.on_refused(*id, verdict, &self.config, &mut self.rng, now) {
            self.emit(ClientEvent::Deferred { id: *id, problem, retry_in });
        }
    }

    /// A registration is as it is wanted. What was sent before it and arrives after it replaces it, and no answer says so:
    /// it is put again once, when that has become unlikely.
    fn on_put(&mut self, id: RegistrationId, changed: bool, now: Instant) {
        if let Some(place) = self.wire.placed.of.get_mut(&id) {
            let doubtful = changed || place.again.is_some() || !place.unanswered.is_empty();
            place.unanswered.clear();
            place.again = doubtful.then(|| now.saturating_add(self.config.call_timeout * 2));
        }
    }

    fn on_renewal(&mut self, work: &Work, step: Step, way: Way, call: RequestId, said: &Said, now: Instant) {
        let Some(id) = subject(work) else {
            return;
        };
        match said {
            Said::Gone if !self.config.faults.has(Fault::ConsulUnknownIgnored) => {
                let verdict = Verdict::Lost(SmolStr::new_static("unknown"));
                self.holdings.on_lease_lost(id, call, verdict, &self.config, &mut self.rng, now);
            }
            Said::Done | Said::Gone => {
                if let (Step::Put, Some(place)) = (step, self.wire.placed.of.get_mut(&id)) {
                    place.again = None;
                }
                match self.next_step(id, step) {
                    Some(next) => self.send_one(id, work.clone(), next, way, now),
                    None => self.holdings.on_renewed(id, call, &self.config, &mut self.rng, now),
                }
            }
            Said::Never(problem) | Said::Later(problem, _) => {
                self.holdings.on_not_renewed(id, call, &problem.message, &mut self.rng, now);
                let retry_in = self.wire.ttl(self.holdings.wanted_ttl(id)) / 3;
                self.emit(ClientEvent::Deferred { id, problem: problem.clone(), retry_in });
            }
            Said::Outage(..) => {}
        }
    }

    /// A deregistration is answered. If a put may arrive after it, it is repeated when that has become unlikely; and so
    /// it is if another agent has answered it than the one that was given the service.
    fn on_removed(&mut self, id: RegistrationId, way: Way, said: Said, now: Instant) {
        let (problem, hint) = match said {
            Said::Done | Said::Gone if self.wire.placed.of.get(&id).is_some_and(|at| at.origin != way.origin) => {
                if let Some(place) = self.wire.placed.of.get_mut(&id) {
                    place.recalled = false;
                }
                ("the agent that has it does not answer".to_string(), None)
            }
            Said::Done | Said::Gone => {
                let place = self.wire.placed.of.get_mut(&id);
                let late = place.is_some_and(|place| {
                    let late = !place.unanswered.is_empty();
                    place.unanswered.clear();
                    late
                });
                if !late {
                    self.wire.placed.of.remove(&id);
                    return self.holdings.on_deregistered(id, &self.config, now);
                }
                ("a registration that was not answered may arrive yet".to_string(), Some(self.config.call_timeout))
            }
            Said::Never(problem) => (problem.message, None),
            Said::Later(problem, hint) => (problem.message, hint),
            Said::Outage(..) => return,
        };
        self.holdings.on_not_deregistered(id, hint, &problem, &mut self.rng, now);
    }
}

impl super::Wire {
    /// The ttl of a registration that asks for one or not. Without a TTL check it is looked after at the interval.
    fn ttl(&self, wanted: Option<Duration>) -> Duration {
        let options = &self.options;
        if options.checks.ttl { wanted.unwrap_or(options.ttl) } else { options.interval.saturating_mul(3) }
    }

    /// Forgets registrations that are over, now and then.
    fn sweep_placed(&mut self, lives: impl Fn(RegistrationId) -> bool) {
        if self.placed.of.len() >= self.placed.sweep {
            self.placed.of.retain(|id, _| lives(*id));
            self.placed.sweep = self.placed.of.len() * 2 + 1_024;
        }
    }
}

/// Whether an instance that says so is to get no calls.
const fn is_out(status: Status) -> bool {
    matches!(status, Status::Draining | Status::Down)
}

/// The one registration that a piece of work is about.
fn subject(work: &Work) -> Option<RegistrationId> {
    match work {
        Work::Register(id) | Work::Update(id) | Work::Deregister(id) => Some(*id),
        Work::Renew(ids) => ids.first().copied(),
    }
}

/// Reads an answer. Consul's errors are plain text.
pub(super) fn read(step: Step, head: &Head, body: &[u8]) -> Said {
    let text = shortened(body);
    let (status, hint) = (head.status, head.retry_after());
    let says = |words: &[&str]| {
        let text = text.to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    };
    let problem = |code: &'static str| Problem {
        code: SmolStr::new_static(code),
        message: if text.is_empty() { alloc::format!("answered with status {status}") } else { text.clone() },
        field: None,
        limit: None,
    };
    match status {
        200..300 if step == Step::Look => {
            let found = serde_json::from_slice::<BTreeMap<SmolStr, serde::de::IgnoredAny>>(body);
            if found.is_ok_and(|service| service.contains_key("ID")) {
                Said::Done
            } else {
                Said::Outage("the answer is no service of Consul's".into(), None)
            }
        }
        200..300 if text.is_empty() || text == "true" => Said::Done,
        200..300 => Said::Outage("the answer is not Consul's, which would be empty".into(), None),
        // Old agents say it with a 500.
        404 | 500 if says(&["unknown check", "unknown service", "does not have associated ttl"]) => Said::Gone,
        401 | 403 => Said::Later(problem("forbidden"), hint),
        408 | 425 | 429 => Said::Outage(problem("busy").message, hint),
        404 => Said::Outage(problem("not_found").message, hint),
        400..500 => Said::Never(problem("invalid")),
        500 if !says(&["leader", "rpc error", "no known consul servers", "rate limit"]) => {
            Said::Later(problem("failed"), hint)
        }
        _ => Said::Outage(problem("unavailable").message, hint),
    }
}

/// What an error says, without what may follow.
pub(super) fn shortened(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..400).unwrap_or(body));
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

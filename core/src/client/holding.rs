//! What a client holds: registrations, from the wish to the last word. No protocol is known here.
//!
//! A backend asks for [`Work`], says which request does it, and reports what came of it. `L` is what it needs to act for
//! a registration that is held: a lease.
//!
//! What each input does in each phase: where the registration is then, its state if that is not what the phase says, and
//! what is to be *sent*. An answer that is not awaited does nothing. In the columns something was sent before, and so may
//! have taken effect.
//!
//! | input | out | registering | held | leaving | over |
//! |---|---|---|---|---|---|
//! | update | – | – | *update* | – | – |
//! | deregister | leaving, *deregister* | leaving, *deregister* | leaving, *deregister* | – | – |
//! | close | leaving, *deregister* | leaving, *deregister* | leaving, *deregister* | – | – |
//! | answer: registered | – | held | – | – | – |
//! | answer: registered, after its ttl | – | out, *register* | – | – | – |
//! | answer: updated | – | – | – | – | – |
//! | answer: renewed | – | – | – | – | – |
//! | answer: not renewed, the lease has expired | – | – | lost: told, *register* | – | – |
//! | answer: deregistered | – | – | – | deregistered | – |
//! | refused: for now | – | out | – | – | – |
//! | refused: out of date | – | out | – | – | – |
//! | refused: superseded | – | superseded | superseded | – | – |
//! | refused: for good | – | refused | – | – | – |
//! | no answer | – | out, *register* | – | – | – |
//! | a third of the ttl passes | – | – | *renew* | – | – |
//! | two minutes pass | – | – | lost: lapsed, *register* | left behind | – |
//!
//! Beside the phase there is the *cover*: until when the last acknowledged renewal, counted from when it was sent, proves
//! that the registry has the instance. It alone decides whether a registration says that it is registered.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::backoff::Backoff;
use super::config::ClientConfig;
use super::{CommandError, Loss, Registration, RegistrationId, RegistrationState, RegistrationView};
use crate::fault::Fault;
use crate::http::RequestId;
use crate::instance::{Patch, ServiceInstance};
use crate::name::Key;
use crate::packed::Instance;
use crate::protocol::Problem;
use crate::registry::Outcome;
use crate::rng::Rng;
use crate::time::Instant;

/// How many registrations that have ended are remembered.
const REMEMBERED: usize = 1_024;
/// How many are remembered of those whose end nobody has asked for.
const MOST_REMEMBERED: usize = 200_000;
/// How long a deregistration is tried at least, unless the client closes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is taken for the ttl of a registration that names none, until the registry says.
const GUESSED_TTL: Duration = Duration::from_secs(30);
/// The longest ttl that is taken.
const LONGEST_TTL: Duration = Duration::from_secs(24 * 3600);

/// Something to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Register, under the operation's number.
    Register(RegistrationId),
    /// Say what has changed of what is held.
    Update(RegistrationId),
    /// Renew these.
    Renew(Vec<RegistrationId>),
    /// Give up everything that was sent for it.
    Deregister(RegistrationId),
}

/// What the registry says no to, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Perhaps later: what it says, and how long it asks to wait.
    Later(Problem, Option<Duration>),
    /// This command is out of date: another number is wanted.
    Outdated,
    /// The lease has ended; how.
    Lost(smol_str::SmolStr),
    /// Another holder has the id.
    Superseded,
    /// Somebody who has the lease has given it up.
    TakenOut,
    /// It would be refused again.
    Refused(Problem),
}

/// What a registration is held by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms<L> {
    /// What it takes to act for it.
    pub(crate) lease: L,
    /// Which holder of the id this is, if the registry counts them.
    pub(crate) generation: Option<u64>,
    /// How long it lives without a renewal.
    pub(crate) ttl: Duration,
    /// What the registry made of the registration, if it says.
    pub(crate) outcome: Option<Outcome>,
}

/// All registrations of a client.
#[derive(Debug)]
pub(crate) struct Holdings<L> {
    entries: BTreeMap<RegistrationId, Holding<L>>,
    keys: BTreeMap<Key, RegistrationId>,
    /// When each has something to do next.
    due: BTreeSet<(Instant, RegistrationId)>,
    /// Those that have something to send now.
    ready: BTreeSet<(Urgency, RegistrationId)>,
    /// Those whose state is news.
    news: BTreeSet<RegistrationId>,
    /// Requests that are not wanted any more.
    dropped: Vec<RequestId>,
    /// How many live with each ttl.
    ttls: BTreeMap<Duration, usize>,
    over: VecDeque<RegistrationId>,
    /// What was given up and perhaps arrives yet: the number by which, as long as the registry has not confirmed it.
    given_up: BTreeMap<Key, u64>,
    last: u64,
    sequence: u64,
    closing: bool,
    pub(crate) registered: u64,
    pub(crate) renewed: u64,
    pub(crate) lost: u64,
    pub(crate) deregistered: u64,
}

/// What goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    Renew,
    Deregister,
    Update,
    Register,
}

#[derive(Debug)]
struct Holding<L> {
    key: Key,
    wanted: ServiceInstance,
    /// Rises with each change of what is wanted.
    version: u64,
    ttl: Option<Duration>,
    /// The ttl that it counts with in [`Holdings::ttls`].
    counted: Option<Duration>,
    phase: Phase<L>,
    state: RegistrationState,
    cover: Option<Instant>,
    /// The latest command's number, and the version that it says.
    operation: (u64, u64),
    /// Whether something was sent that may have taken effect, or take it yet.
    doubt: bool,
    generation: Option<u64>,
    outcome: Option<Outcome>,
    /// Metadata keys that the registry may have from us.
    said_keys: BTreeSet<String>,
    backoff: Backoff,
    registered: u64,
    problem: Option<String>,
    due: Option<Instant>,
    ready: Option<Urgency>,
}

#[derive(Debug)]
enum Phase<L> {
    Out { at: Instant },
    Registering { call: RequestId, sent: Instant, was_doubtful: bool },
    Held(Held<L>),
    Leaving { call: Option<RequestId>, at: Instant, until: Instant },
    Over,
}

#[derive(Debug)]
struct Held<L> {
    lease: L,
    ttl: Duration,
    /// When the next renewal is due.
    next: Instant,
    renewing: Option<RequestId>,
    /// When a renewal was last sent out of turn.
    extra: Option<Instant>,
    sent: Instant,
    /// The version that the registry has.
    said: u64,
    /// The version that it refuses.
    refused: Option<u64>,
    saying: Option<RequestId>,
    /// When what is to be said may be said.
    say_at: Instant,
}

impl<L> Holdings<L> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            keys: BTreeMap::new(),
            due: BTreeSet::new(),
            ready: BTreeSet::new(),
            news: BTreeSet::new(),
            dropped: Vec::new(),
            ttls: BTreeMap::new(),
            over: VecDeque::new(),
            given_up: BTreeMap::new(),
            last: 0,
            sequence: 0,
            closing: false,
            registered: 0,
            renewed: 0,
            lost: 0,
            deregistered: 0,
        }
    }

    // Commands.

    pub(crate) fn register(
        &mut self,
        registration: &Registration,
        config: &ClientConfig,
        now: Instant,
    ) -> Result<RegistrationId, CommandError> {
        if self.closing {
            return Err(CommandError::Closed);
        }
        Instance::new(&registration.instance, &config.limits.instance)?;
        if let Some(given) = registration.ttl.filter(|ttl| *ttl < Duration::from_millis(1) || *ttl > LONGEST_TTL) {
            return Err(CommandError::Ttl { given });
        }
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
            doubt: self.given_up.contains_key(&key),
            generation: None,
            outcome: None,
            said_keys: BTreeSet::new(),
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

    /// Notes the ttl that a registration has, or will have.
    fn count_ttl(&mut self, id: RegistrationId, ttl: Option<Duration>) {
        let Some(holding) = self.entries.get_mut(&id) else {
            return;
        };
        let old = core::mem::replace(&mut holding.counted, ttl);
        if let Some(ttl) = ttl {
            *self.ttls.entry(ttl).or_default() += 1;
        }
        if let Some(old) = old
            && let Some(count) = self.ttls.get_mut(&old)
        {
            *count -= 1;
            if *count == 0 {
                self.ttls.remove(&old);
            }
        }
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

    pub(crate) const fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether nothing is held and nothing is to be said.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == self.over.len()
    }

    // Time.

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(crate) fn handle_timeout(&mut self, config: &ClientConfig, now: Instant) {
        while let Some(&(at, id)) = self.due.first() {
            if at > now {
                break;
            }
            self.act(id, config, now);
        }
    }

    /// The time of a registration has come.
    fn act(&mut self, id: RegistrationId, config: &ClientConfig, now: Instant) {
        let Some(holding) = self.entries.get_mut(&id) else {
            return;
        };
        if holding.cover.is_some_and(|cover| cover <= now) && config.faults.has(Fault::LapseForgotten) {
            holding.cover = Some(now.saturating_add(LONGEST_TTL));
        }
        if holding.cover.is_some_and(|cover| cover <= now) {
            holding.cover = None;
            if let Phase::Held(held) = &holding.phase {
                // Nobody knows now whether the lease lives. A new command replaces it, if it does.
                self.dropped.extend(held.saying);
                holding.doubt = true;
                holding.operation = (0, 0);
                holding.phase = Phase::Out { at: now };
            }
            self.lost += 1;
            self.become_state(id, RegistrationState::Lost(Loss::Lapsed));
        }
        if let Some(Phase::Leaving { until, call, .. }) = self.entries.get(&id).map(|holding| &holding.phase)
            && *until <= now
        {
            self.dropped.extend(*call);
            self.finish(id, RegistrationState::Deregistered { confirmed: false }, now);
            return;
        }
        self.schedule(id, now);
    }

    /// Finds out what a registration has to do next, and when.
    fn schedule(&mut self, id: RegistrationId, now: Instant) {
        let Some(holding) = self.entries.get_mut(&id) else {
            return;
        };
        let (mut due, mut ready) = (holding.cover, None);
        let mut at_or_now = |at: Instant, urgency: Urgency| {
            if at <= now {
                ready = ready.or(Some(urgency));
            } else {
                due = Some(due.map_or(at, |due| due.min(at)));
            }
        };
        match &holding.phase {
            Phase::Out { at } => at_or_now(*at, Urgency::Register),
            Phase::Held(held) => {
                if held.renewing.is_none() {
                    at_or_now(held.next, Urgency::Renew);
                }
                if held.saying.is_none() && held.said != holding.version && held.refused != Some(holding.version) {
                    at_or_now(held.say_at, Urgency::Update);
                }
            }
            Phase::Leaving { call, at, until } => {
                if call.is_none() {
                    at_or_now(*at, Urgency::Deregister);
                }
                due = Some(due.map_or(*until, |due| due.min(*until)));
            }
            Phase::Registering { .. } | Phase::Over => {}
        }
        if due != holding.due {
            if let Some(old) = core::mem::replace(&mut holding.due, due) {
                self.due.remove(&(old, id));
            }
            self.due.extend(due.map(|due| (due, id)));
        }
        if ready != holding.ready {
            if let Some(old) = core::mem::replace(&mut holding.ready, ready) {
                self.ready.remove(&(old, id));
            }
            self.ready.extend(ready.map(|urgency| (urgency, id)));
        }
    }

    // Work.

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
        }
        holding.operation.0
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

    // Reports.

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

    fn finish(&mut self, id: RegistrationId, state: RegistrationState, now: Instant) {
        let Some(holding) = self.entries.get_mut(&id) else {
            return;
        };
        if matches!(holding.phase, Phase::Over) {
            return;
        }
        if let Phase::Held(held) = &holding.phase {
            self.dropped.extend(held.saying);
        }
        if matches!(state, RegistrationState::Deregistered { .. }) {
            self.deregistered += 1;
        }
        if self.keys.get(&holding.key) == Some(&id) {
            self.keys.remove(&holding.key);
        }
        holding.phase = Phase::Over;
        holding.cover = None;
        self.count_ttl(id, None);
        self.become_state(id, state);
        self.schedule(id, now);
        self.over.push_back(id);
        self.forget();
    }

    /// Those that ended long ago and have told so are forgotten.
    fn forget(&mut self) {
        while self.over.len() > REMEMBERED {
            let told = self.over.front().is_some_and(|id| !self.news.contains(id));
            let Some(id) = self.over.pop_front_if(|_| told || self.entries.len() > MOST_REMEMBERED) else {
                return;
            };
            self.news.remove(&id);
            self.entries.remove(&id);
        }
    }

    // Outputs.

    fn become_state(&mut self, id: RegistrationId, state: RegistrationState) {
        if let Some(holding) = self.entries.get_mut(&id)
            && holding.state != state
        {
            holding.state = state;
            self.news.insert(id);
        }
    }

    pub(crate) fn poll_news(&mut self) -> Option<(RegistrationId, RegistrationState)> {
        let id = self.news.pop_first()?;
        self.entries.get(&id).map(|holding| (id, holding.state.clone()))
    }

    pub(crate) fn view(&self, id: RegistrationId) -> Option<RegistrationView> {
        let holding = self.entries.get(&id)?;
        Some(RegistrationView {
            state: holding.state.clone(),
            until: holding.cover,
            generation: holding.generation,
            ttl: if let Phase::Held(held) = &holding.phase { Some(held.ttl) } else { None },
            outcome: holding.outcome,
            registered: holding.registered,
            instance: holding.wanted.clone(),
            current: matches!(&holding.phase, Phase::Held(held) if held.said == holding.version),
            problem: holding.problem.clone(),
        })
    }

    // For the backend to write its requests.

    pub(crate) fn key(&self, id: RegistrationId) -> Option<&Key> {
        self.entries.get(&id).map(|holding| &holding.key)
    }

    pub(crate) fn wanted(&self, id: RegistrationId) -> Option<&ServiceInstance> {
        self.entries.get(&id).map(|holding| &holding.wanted)
    }

    /// What would be wanted after a patch, with what does not change.
    pub(crate) fn patched(&self, id: RegistrationId, patch: &Patch) -> Option<Registration> {
        let holding = self.entries.get(&id)?;
        let mut instance = holding.wanted.clone();
        instance.apply(patch);
        Some(Registration { namespace: holding.key.namespace.clone(), instance, ttl: holding.ttl })
    }

    pub(crate) fn wanted_ttl(&self, id: RegistrationId) -> Option<Duration> {
        self.entries.get(&id)?.ttl
    }

    pub(crate) fn generation(&self, id: RegistrationId) -> Option<u64> {
        self.entries.get(&id)?.generation
    }

    pub(crate) fn lease(&self, id: RegistrationId) -> Option<&L> {
        match &self.entries.get(&id)?.phase {
            Phase::Held(held) => Some(&held.lease),
            _ => None,
        }
    }

    /// The metadata keys that the registry may have and that are not wanted any more.
    pub(crate) fn unwanted_keys(&self, id: RegistrationId) -> impl Iterator<Item = &String> {
        let holding = self.entries.get(&id);
        holding.into_iter().flat_map(|it| it.said_keys.iter().filter(|key| !it.wanted.metadata.contains_key(*key)))
    }

    /// The shortest ttl of any registration, if there is one.
    pub(crate) fn shortest_ttl(&self) -> Option<Duration> {
        self.ttls.first_key_value().map(|(ttl, _)| *ttl)
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

#[cfg(test)]
mod tests;

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

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::slice;
use core::time::Duration;

use super::backoff::Backoff;
use super::config::ClientConfig;
use super::{Counters, LONGEST_TTL, Loss, Registration, RegistrationId, RegistrationState, RegistrationView};
use crate::fault::Fault;
use crate::http::RequestId;
use crate::instance::{Patch, ServiceInstance};
use crate::name::Key;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::protocol::Problem;
use crate::registry::Outcome;
use crate::time::Instant;

mod commands;
mod reports;
#[cfg(test)]
mod tests;
mod work;

/// How many registrations that have ended are remembered.
const REMEMBERED: usize = 1_024;
/// How many are remembered of those whose end nobody has asked for.
const MOST_REMEMBERED: usize = 200_000;
/// What is taken for the ttl of a registration that names none, until the registry says.
const GUESSED_TTL: Duration = Duration::from_secs(30);

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

impl Work {
    /// Whether it is a renewal.
    pub(crate) const fn is_renewal(&self) -> bool {
        matches!(self, Self::Renew(_))
    }

    /// Those that it is about.
    pub(crate) fn registrations(&self) -> &[RegistrationId] {
        match self {
            Self::Renew(ids) => ids,
            Self::Register(id) | Self::Update(id) | Self::Deregister(id) => slice::from_ref(id),
        }
    }
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
    entries: OrderedMap<RegistrationId, Holding<L>>,
    keys: OrderedMap<Key, RegistrationId>,
    /// Those that are leaving, by what they were.
    leaving: OrderedMap<Key, Vec<RegistrationId>>,
    /// When each has something to do next.
    due: OrderedSet<(Instant, RegistrationId)>,
    /// Those that have something to send now.
    ready: OrderedSet<(Urgency, RegistrationId)>,
    /// Those whose state is news.
    news: OrderedSet<RegistrationId>,
    /// Requests that are not wanted any more.
    dropped: Vec<RequestId>,
    /// How many live with each ttl.
    ttls: OrderedMap<Duration, usize>,
    over: VecDeque<RegistrationId>,
    /// What was given up and perhaps arrives yet: the number by which, as long as the registry has not confirmed it.
    given_up: OrderedMap<Key, u64>,
    last: u64,
    sequence: u64,
    closing: bool,
    registered: u64,
    renewed: u64,
    lost: u64,
    deregistered: u64,
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
    /// The number of its first command, once there was one.
    first_operation: Option<u64>,
    /// Whether something was sent that may have taken effect, or take it yet.
    doubt: bool,
    generation: Option<u64>,
    outcome: Option<Outcome>,
    /// Metadata keys that the registry may have from us.
    said_keys: OrderedSet<String>,
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
            entries: OrderedMap::new(),
            keys: OrderedMap::new(),
            leaving: OrderedMap::new(),
            due: OrderedSet::new(),
            ready: OrderedSet::new(),
            news: OrderedSet::new(),
            dropped: Vec::new(),
            ttls: OrderedMap::new(),
            over: VecDeque::new(),
            given_up: OrderedMap::new(),
            last: 0,
            sequence: 0,
            closing: false,
            registered: 0,
            renewed: 0,
            lost: 0,
            deregistered: 0,
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

    // States.

    /// A registration is over.
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
        if let Some(leaving) = self.leaving.get_mut(&holding.key) {
            leaving.retain(|other| *other != id);
            if leaving.is_empty() {
                self.leaving.remove(&holding.key);
            }
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

    /// The registration that has the id of one that is leaving, if the program has made it since.
    pub(crate) fn successor(&self, id: RegistrationId) -> Option<RegistrationId> {
        self.keys.get(&self.entries.get(&id)?.key).copied().filter(|next| *next != id)
    }

    /// The requests under way that take out what was registered under this id before.
    pub(crate) fn removals(&self, key: &Key) -> impl Iterator<Item = RequestId> {
        let leaving = self.leaving.get(key).into_iter().flatten();
        leaving.filter_map(|id| match self.entries.get(id)?.phase {
            Phase::Leaving { call, .. } => call,
            _ => None,
        })
    }

    /// The number of the first command of a registration.
    pub(crate) fn first_operation(&self, id: RegistrationId) -> Option<u64> {
        self.entries.get(&id)?.first_operation
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

    /// What was counted so far, beside what others have counted.
    pub(crate) const fn count(&self, others: Counters) -> Counters {
        Counters {
            registrations: self.registered,
            renewals: self.renewed,
            losses: self.lost,
            deregistrations: self.deregistered,
            ..others
        }
    }
}

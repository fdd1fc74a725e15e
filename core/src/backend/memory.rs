//! A registry in the process itself, behind the same contract as any other: no network, nothing to be configured.
//!
//! It is the embedded default, and what users write their own tests against. What the client wants is done at once: a
//! registration is registered when the command returns, a watch has its first list.
//!
//! # States and inputs
//!
//! | Input | registering, lost | registered | superseded, refused, deregistered |
//! |---|---|---|---|
//! | [`register`](Backend::register) of the same instance | tried at once, with the new terms | registered with the new terms | a new registration |
//! | [`update`](Backend::update) | changes what is wanted | changes the registry | refused: ended |
//! | [`deregister`](Backend::deregister) | deregistered, confirmed | deregistered, confirmed | nothing |
//! | its time to renew | – | renewed | – |
//! | its time to retry, [`handle_online`](Backend::handle_online) | registered, or it waits on | – | – |
//! | evicted, or expired while nobody drove the client | – | lost; retried shortly | – |
//! | another client registers the id | superseded when it is tried again | superseded | – |
//! | [`close`](Backend::close) | deregistered, confirmed | deregistered, confirmed | nothing |
//!
//! A registration is *registering* for longer than its command only while the registry is full, the id is blocked after
//! an eviction, or the registry lets another holder keep it. It is *refused* if the registry takes no such instance, ever.
//!
//! Inputs of requests do nothing, because there are none. A lease is renewed after a third of its ttl, and in any case
//! before the registry is asked what is due: nothing that a living client holds expires.

mod hub;
mod registrations;
mod streams;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

pub use hub::{Home, Hub, MemberId};

use crate::catalog::{Selector, WatchId};
use crate::client::subscription::{Following, SubscriptionConfig, Subscriptions};
use crate::client::{
    Backend, ClientConfig, ClientEvent, CommandError, Counters, Registration, RegistrationId, RegistrationState,
    RegistrationView, SubscriptionId, Update, View,
};
use crate::error::UpdateError;
use crate::event::{Alarm, Caller};
use crate::http::{Failure, Head, RequestId, Transmit};
use crate::instance::Patch;
use crate::lease::Lease;
use crate::name::{Key, Namespace};
use crate::protocol::Problem;
use crate::registry::Outcome;
use crate::time::Instant;

/// How long what was refused for now waits.
const RETRY: Duration = Duration::from_millis(200);

/// A client of a registry in this process. See the [module](self) for what each input does.
///
/// Commands cost what they cost the [`Registry`](crate::Registry), and O(log registrations). Idle, it costs one renewal
/// for each registration every third of its ttl.
#[derive(Debug)]
pub struct Memory<H: Home = Hub> {
    home: H,
    member: MemberId,
    config: ClientConfig,
    caller: Arc<Caller>,
    now: Instant,
    sequence: u64,
    registrations: BTreeMap<RegistrationId, Held>,
    by_key: BTreeMap<Key, RegistrationId>,
    last: u64,
    /// When a registration is to be renewed, or tried again.
    due: BTreeSet<(Instant, RegistrationId)>,
    subscriptions: Subscriptions,
    streams: BTreeMap<WatchId, Following>,
    /// The registrations whose state is news.
    told: BTreeSet<RegistrationId>,
    /// The latest alarm of each namespace, or that it is over.
    alarms: BTreeMap<Namespace, Option<Alarm>>,
    /// Watches that the registry refused: at most one for each selector.
    refused: VecDeque<Problem>,
    /// When the registry wants to be looked at.
    registry: Option<Instant>,
    /// When refused watches are tried again.
    reopen: Option<Instant>,
    counters: Counters,
    closed: bool,
    closed_told: bool,
}

/// A registration as it is held.
#[derive(Debug)]
struct Held {
    wanted: Registration,
    state: RegistrationState,
    lease: Option<Lease>,
    generation: Option<u64>,
    outcome: Option<Outcome>,
    ttl: Duration,
    until: Option<Instant>,
    due: Option<Instant>,
    registered: u64,
    /// Whether the registry has what is wanted.
    current: bool,
    problem: Option<String>,
}

impl Memory {
    /// A client with a registry of its own.
    #[must_use]
    pub fn new(config: ClientConfig, hub: Hub, now: Instant) -> Self {
        Self::at(config, hub, now)
    }

    /// The hub, for a test to look at and change. Nothing is told of it before the next input.
    pub const fn hub_mut(&mut self) -> &mut Hub {
        &mut self.home
    }
}

impl<H: Home> Memory<H> {
    /// A client of a registry that others share.
    #[must_use]
    pub fn at(config: ClientConfig, mut home: H, now: Instant) -> Self {
        let member = home.with(Hub::join);
        let caller = Caller { client: "memory".into(), ..Caller::default() };
        Self {
            home,
            member,
            subscriptions: Subscriptions::new(SubscriptionConfig::from(&config)),
            config,
            caller: Arc::new(caller),
            now,
            sequence: 0,
            registrations: BTreeMap::new(),
            by_key: BTreeMap::new(),
            last: 0,
            due: BTreeSet::new(),
            streams: BTreeMap::new(),
            told: BTreeSet::new(),
            alarms: BTreeMap::new(),
            refused: VecDeque::new(),
            registry: None,
            reopen: None,
            counters: Counters::default(),
            closed: false,
            closed_told: false,
        }
    }

    /// Which client of the hub it is.
    #[must_use]
    pub const fn member(&self) -> MemberId {
        self.member
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}

fn plain(code: &'static str, message: String) -> Problem {
    Problem { code: code.into(), message, field: None, limit: None }
}

impl<H: Home> Backend for Memory<H> {
    fn register(&mut self, registration: &Registration, now: Instant) -> Result<RegistrationId, CommandError> {
        self.advance(now);
        self.check(registration)?;
        let key = registration.key();
        if let Some(&id) = self.by_key.get(&key) {
            if let Some(held) = self.registrations.get_mut(&id) {
                held.wanted = registration.clone();
                held.current = false;
            }
            self.attempt(id);
            self.pull();
            return Ok(id);
        }
        let limit = self.config.limits.registrations;
        if self.registrations.len() >= limit {
            return Err(CommandError::Limit { what: "registrations", limit });
        }
        self.last += 1;
        let id = RegistrationId(self.last);
        let held = Held {
            wanted: registration.clone(),
            state: RegistrationState::Registering,
            lease: None,
            generation: None,
            outcome: None,
            ttl: Duration::ZERO,
            until: None,
            due: None,
            registered: 0,
            current: false,
            problem: None,
        };
        self.registrations.insert(id, held);
        self.by_key.insert(key, id);
        self.told.insert(id);
        self.attempt(id);
        self.pull();
        Ok(id)
    }

    fn update(&mut self, id: RegistrationId, patch: &Patch, now: Instant) -> Result<(), CommandError> {
        self.advance(now);
        if self.closed {
            return Err(CommandError::Closed);
        }
        let held = self.registrations.get(&id).filter(|held| !held.state.is_final()).ok_or(CommandError::Ended)?;
        let mut wanted = held.wanted.clone();
        wanted.instance.apply(patch);
        self.check(&wanted)?;
        if let Some(lease) = held.lease {
            let sequence = self.operation().sequence;
            let now = self.now;
            let updated =
                self.home.with(|hub| hub.registry_mut().update(&lease, patch, Some(sequence), &self.caller, now));
            match updated {
                Ok(_) => {}
                Err(UpdateError::Instance(error)) => return Err(error.into()),
                Err(UpdateError::Limit(reached)) => {
                    return Err(CommandError::Limit { what: reached.limit, limit: reached.value });
                }
                Err(UpdateError::Lease(how)) => self.lost(id, how),
                Err(UpdateError::Outdated { .. }) => debug_assert!(false, "sequences rise"),
            }
        }
        if let Some(held) = self.registrations.get_mut(&id) {
            held.wanted = wanted;
        }
        self.pull();
        Ok(())
    }

    fn deregister(&mut self, id: RegistrationId, now: Instant) {
        self.advance(now);
        self.take_out(id);
        self.pull();
    }

    fn watch(&mut self, selector: &Selector, now: Instant) -> Result<SubscriptionId, CommandError> {
        self.advance(now);
        if self.closed {
            return Err(CommandError::Closed);
        }
        let id = self.subscriptions.watch(selector, self.now)?;
        self.follow();
        self.pull();
        Ok(id)
    }

    fn unwatch(&mut self, id: SubscriptionId, now: Instant) {
        self.advance(now);
        self.subscriptions.unwatch(id, self.now);
        self.follow();
        self.pull();
    }

    fn suspend(&mut self, now: Instant) {
        self.advance(now);
        self.subscriptions.suspend(self.now);
        self.follow();
        self.pull();
    }

    fn resume(&mut self, now: Instant) {
        self.advance(now);
        self.subscriptions.resume();
        self.follow();
        self.pull();
    }

    fn close(&mut self, now: Instant) {
        self.advance(now);
        if self.closed {
            return;
        }
        self.closed = true;
        let all: Vec<RegistrationId> = self.registrations.keys().copied().collect();
        for id in all {
            self.take_out(id);
        }
        for (watch, _) in core::mem::take(&mut self.streams) {
            self.home.with(|hub| hub.unwatch(watch));
        }
        self.subscriptions = Subscriptions::new(SubscriptionConfig::from(&self.config));
        self.home.with(|hub| {
            hub.settle();
            hub.leave(self.member);
        });
        self.registry = None;
        self.reopen = None;
    }

    fn handle_response(&mut self, _: RequestId, _: &Head, now: Instant) {
        self.advance(now);
    }

    fn handle_chunk(&mut self, _: RequestId, _: &[u8], now: Instant) {
        self.advance(now);
    }

    fn handle_end(&mut self, _: RequestId, now: Instant) {
        self.advance(now);
    }

    fn handle_failure(&mut self, _: RequestId, _: &Failure, now: Instant) {
        self.advance(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        if self.closed {
            return;
        }
        self.work();
        let now = self.now;
        self.home.with(|hub| hub.registry_mut().handle_timeout(now));
        self.subscriptions.handle_timeout(now);
        self.follow();
        self.pull();
    }

    fn handle_online(&mut self, now: Instant) {
        self.advance(now);
        if self.closed {
            return;
        }
        let waits = |held: &Held| held.lease.is_none() && !held.state.is_final();
        let waiting: Vec<RegistrationId> =
            self.registrations.iter().filter(|(_, held)| waits(held)).map(|(id, _)| *id).collect();
        for id in waiting {
            self.attempt(id);
        }
        self.pull();
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        if !self.closed {
            self.pull();
        }
        if let Some(id) = self.told.pop_first() {
            let state = self.registrations.get(&id)?.state.clone();
            if state.is_final() {
                self.registrations.remove(&id);
            }
            return Some(ClientEvent::Registration(id, state));
        }
        if let Some((namespace, alarm)) = self.alarms.pop_first() {
            let namespace = namespace.as_str().into();
            return Some(match alarm {
                Some(Alarm { expired, of, .. }) => {
                    ClientEvent::Alarm { namespace, expired: expired as u64, of: of as u64 }
                }
                None => ClientEvent::AlarmEnded { namespace },
            });
        }
        if let Some(problem) = self.refused.pop_front() {
            return Some(ClientEvent::WatchRefused(problem));
        }
        if let Some(id) = self.subscriptions.poll_ready() {
            return Some(ClientEvent::Update(id));
        }
        (self.closed && !core::mem::replace(&mut self.closed_told, true)).then_some(ClientEvent::Closed)
    }

    fn poll_update(&mut self, id: SubscriptionId) -> Option<Update> {
        self.subscriptions.poll_update(id)
    }

    fn poll_cache(&mut self) -> Option<Vec<u8>> {
        self.subscriptions.poll_cache()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let due = self.due.first().map(|(at, _)| *at);
        [due, self.subscriptions.poll_timeout(), self.registry, self.reopen].into_iter().flatten().min()
    }

    fn registration(&self, id: RegistrationId) -> Option<RegistrationView> {
        let held = self.registrations.get(&id)?;
        Some(RegistrationView {
            state: held.state.clone(),
            until: held.until,
            generation: held.generation,
            ttl: held.lease.map(|_| held.ttl),
            outcome: held.outcome,
            registered: held.registered,
            instance: held.wanted.instance.clone(),
            current: held.state == RegistrationState::Registered && held.current,
            problem: held.problem.clone(),
        })
    }

    fn view(&self, id: SubscriptionId) -> Option<View> {
        self.subscriptions.view(id)
    }

    fn counters(&self) -> Counters {
        let subscriptions = self.subscriptions.counters();
        Counters {
            stale: subscriptions.stale,
            deliveries: subscriptions.deliveries,
            snapshots: subscriptions.snapshots,
            changes: subscriptions.changes,
            ..self.counters
        }
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

impl<H: Home> Drop for Memory<H> {
    /// Leaves nothing behind in a registry that others go on to use.
    fn drop(&mut self) {
        self.close(self.now);
    }
}

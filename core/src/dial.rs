//! Dialling: from what a registry lists to connections that take calls.
//!
//! A program dials a [`Target`]. Behind it is a [`Dial`]: it is told what is listed and what becomes of connections, and
//! says which connections to make and to close, which instances can be called, and whether calls wait or fail meanwhile.
//! What carries the connections is the driver's: HTTP/2 under gRPC, a pool of HTTP/1.1, anything.
//!
//! # Driving it
//!
//! 1. Feed one input: [`Dial::handle_listing`], what became of a connection, or [`Dial::handle_timeout`] when
//!    [`Dial::poll_timeout`] has come.
//! 2. Drain [`Dial::poll_transmit`]: make and close connections.
//! 3. Drain [`Dial::poll_update`]: balance the calls over what is ready.
//! 4. Sleep until [`Dial::poll_timeout`] or the next input. Calls are no input: nothing here waits for traffic.
//!
//! # What it promises
//!
//! - *One connection an address.* Of two instances with one address the first that is listed has it. A connection lives
//!   for as long as its address is listed: a change of weight, metadata or id reconnects nothing.
//! - *Out at once, back by itself.* What is lost or does not serve is not called, and is tried again for ever, with
//!   back-off per address. An instance that is registered again, or changes, is tried soon.
//! - *An outage is no news.* While the registry cannot be heard, nobody goes.
//! - *All that are there from the start.* Nobody is called before all who were listed first are connected or have
//!   failed, but for a moment only ([`DialConfig::gather`]): the quickest to connect is not overrun.
//! - *Calls wait for something that can come.* Before the first word, and while connections are made, they wait; when
//!   all have failed, they fail with the last reason. What an empty list means is chosen: [`EmptyPolicy`].
//!
//! | State of an address | connected | lost | health | its time comes | no longer listed |
//! |---|---|---|---|---|---|
//! | waiting | – | – | – | connecting | – |
//! | connecting | ready, or checking if health is asked | waiting | – | waiting, closed | closed |
//! | checking | – | waiting | ready or unhealthy | waiting, closed | closed |
//! | ready | – | waiting | ready or unhealthy | – | closed when its calls have ended |
//! | unhealthy | – | waiting | ready or unhealthy | – | closed when its calls have ended |
//!
//! An input for a connection that is not there any more does nothing.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use smol_str::SmolStr;

use crate::client::{Backoff, Provenance};
use crate::fault::Fault;
use crate::packed::Instance;
use crate::rng::{Rng, Seed};
use crate::time::Instant;

mod address;
mod balanced;
mod config;
mod departed;
mod listing;
mod readiness;
mod slot;
mod target;

pub use address::Address;
pub use balanced::{BalancedDial, Routes};
pub use config::{DialConfig, EmptyPolicy};
pub use readiness::{NotReady, Readiness};
pub use target::{Target, TargetError};

use departed::Departed;
use listing::Known;
use slot::{Phase, Slot};

/// One connection, or the attempt to make it. Numbers are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// What is to be done with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialTransmit {
    /// Make it, and tell what becomes of it.
    Connect(Connect),
    /// Give it up, and tell nothing more of it: no new calls go there.
    Close {
        /// Which.
        id: ConnectionId,
        /// How long the calls that are under way may go on. Zero for an attempt.
        linger: Duration,
    },
}

/// A connection to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// What it is called from now on.
    pub id: ConnectionId,
    /// Where to.
    pub address: Address,
    /// Whom it is for, at the moment.
    pub instance: Instance,
}

/// Who can be called, after something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialUpdate {
    /// Whether calls go, wait or fail.
    pub readiness: Readiness,
    /// The connections that take calls, with whom they lead to, ordered by address.
    pub ready: Vec<(ConnectionId, Instance)>,
}

/// From what is listed to connections that take calls. See the [module](self).
///
/// Time that runs backwards stands still. Memory: the instances that were listed last, and a bounded number of addresses
/// that are gone.
#[derive(Debug)]
pub struct Dial {
    config: DialConfig,
    rng: Rng,
    now: Instant,
    listed: Listed,
    /// What was listed last, by id.
    known: BTreeMap<SmolStr, Known>,
    /// Until when an empty list is not followed.
    kept: Option<Instant>,
    /// Until when those who were listed first are waited for.
    gathering: Option<Instant>,
    slots: BTreeMap<Address, Slot>,
    connections: BTreeMap<ConnectionId, Address>,
    /// When something is due at an address: exactly the deadlines of the slots.
    due: BTreeSet<(Instant, Address)>,
    departed: Departed,
    next: u64,
    transmits: VecDeque<DialTransmit>,
    /// Whether it has to be looked whether there is something to tell.
    changed: bool,
    told: Option<DialUpdate>,
    last_error: Option<(Address, SmolStr)>,
    /// What makes this machine's subset another one than everybody else's.
    key: [u8; 8],
}

/// What the registry has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    /// Nothing that could be believed.
    Nothing,
    /// That there is no instance.
    Empty,
    /// That there are some, none of which has an endpoint to dial.
    NoEndpoint,
    /// Some to dial.
    Some,
}

impl Dial {
    /// A machine that has heard nothing. The seed is for the jitter of back-offs.
    #[must_use]
    pub fn new(config: DialConfig, seed: Seed, now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            config,
            key: rng.next_u64().to_le_bytes(),
            rng,
            now,
            listed: Listed::Nothing,
            known: BTreeMap::new(),
            kept: None,
            gathering: None,
            slots: BTreeMap::new(),
            connections: BTreeMap::new(),
            due: BTreeSet::new(),
            departed: Departed::default(),
            next: 0,
            transmits: VecDeque::new(),
            changed: true,
            told: None,
            last_error: None,
        }
    }

    /// The list of the instances is this, and can be believed so far. O(instances · log), and unpacks only those that
    /// changed.
    ///
    /// A stale list takes nobody away. What has not come from a registry ([`Target::instances`]) is live.
    pub fn handle_listing(&mut self, instances: &[Instance], provenance: Provenance, now: Instant) {
        self.clock(now);
        self.on_listing(instances, provenance);
        self.gather();
    }

    /// A connection is made. O(log n).
    pub fn handle_connected(&mut self, id: ConnectionId, now: Instant) {
        self.clock(now);
        let Some((address, slot)) = self.slot(id) else { return };
        let Phase::Connecting { until, .. } = slot.phase else { return };
        if self.config.health && !self.config.faults.has(Fault::DialUnhealthyCalled) {
            self.enter(&address, Phase::Checking { id, until });
        } else {
            self.on_serving(&address, id);
        }
        self.gather();
    }

    /// A connection could not be made, or is lost, or takes no more calls; why, for people. It is tried again later.
    /// O(log n).
    ///
    /// Calls that are under way on it are the driver's.
    pub fn handle_lost(&mut self, id: ConnectionId, reason: impl Into<SmolStr>, now: Instant) {
        self.clock(now);
        let Some((address, slot)) = self.slot(id) else { return };
        let failed = slot.phase.is_attempt();
        self.on_lost(&address, failed.then(|| reason.into()));
        self.gather();
    }

    /// Whoever a connection leads to says whether it serves, or cannot be asked, which counts as serving. Does nothing
    /// if health is not [asked](DialConfig::health). O(log n).
    pub fn handle_health(&mut self, id: ConnectionId, serving: bool, now: Instant) {
        self.clock(now);
        if !self.config.health {
            return;
        }
        let Some((address, slot)) = self.slot(id) else { return };
        match slot.phase {
            Phase::Waiting { .. } | Phase::Connecting { .. } => {}
            _ if serving => self.on_serving(&address, id),
            _ => {
                slot.failed = true;
                self.changed = true;
                self.last_error = Some((address.clone(), SmolStr::new_static("it says that it does not serve")));
                self.enter(&address, Phase::Unhealthy { id });
            }
        }
        self.gather();
    }

    /// Time has passed. O(log n) for each address that something is due at.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.clock(now);
        if self.kept.is_some_and(|until| until <= self.now) {
            self.on_kept_long_enough();
        }
        // Each once: at the end of time everything is due for ever.
        let due = self.due.iter().take_while(|(at, _)| *at <= self.now);
        for address in due.map(|(_, address)| address.clone()).collect::<Vec<_>>() {
            self.on_due(&address);
        }
        self.gather();
    }

    /// The next connection to make or to close.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<DialTransmit> {
        self.transmits.pop_front()
    }

    /// Who can be called, if that has changed: the latest, in one step. O(addresses).
    #[must_use]
    pub fn poll_update(&mut self) -> Option<DialUpdate> {
        if !core::mem::take(&mut self.changed) {
            return None;
        }
        let update = self.standing();
        (self.told.as_ref() != Some(&update)).then(|| self.told.insert(update).clone())
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). O(1).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(self.kept).chain(self.gathering).min()
    }

    /// Whether calls go, wait or fail. O(addresses).
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        readiness::of(self)
    }

    /// How the machine was configured.
    #[must_use]
    pub const fn config(&self) -> &DialConfig {
        &self.config
    }

    /// Who can be called.
    fn standing(&self) -> DialUpdate {
        let ready = |slot: &Slot| match slot.phase {
            Phase::Ready { id } if self.gathering.is_none() => Some((id, slot.instance.clone())),
            _ => None,
        };
        DialUpdate { readiness: self.readiness(), ready: self.slots.values().filter_map(ready).collect() }
    }

    /// Those who are being connected, and with whom no attempt has failed.
    fn coming(&self) -> impl Iterator<Item = &Instance> {
        let coming = |slot: &&Slot| !slot.failed && !matches!(slot.phase, Phase::Ready { .. });
        self.slots.values().filter(coming).map(|slot| &slot.instance)
    }

    fn clock(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// The address that a connection leads to, if the connection is the present one.
    fn slot(&mut self, id: ConnectionId) -> Option<(Address, &mut Slot)> {
        let address = self.connections.get(&id)?.clone();
        let slot = self.slots.get_mut(&address)?;
        Some((address, slot))
    }

    fn on_serving(&mut self, address: &Address, id: ConnectionId) {
        let now = self.now;
        if let Some(slot) = self.slots.get_mut(address) {
            slot.failed = false;
            slot.backoff.worked(now);
        }
        self.enter(address, Phase::Ready { id });
    }

    /// The connection of an address is gone; with a reason, it was never of use.
    fn on_lost(&mut self, address: &Address, failure: Option<SmolStr>) {
        let (now, cap) = (self.now, self.config.backoff_cap);
        let Some(slot) = self.slots.get_mut(address) else { return };
        slot.backoff.worked(now);
        let delay = slot.backoff.next(&mut self.rng, cap, None, now);
        if let Some(reason) = failure {
            slot.failed = true;
            self.last_error = Some((address.clone(), reason));
        }
        let until = if self.config.faults.has(Fault::DialNoBackoff) { now } else { now.saturating_add(delay) };
        self.enter(address, Phase::Waiting { until });
        if until <= now {
            self.on_due(address);
        }
    }

    /// The deadline of an address has come.
    fn on_due(&mut self, address: &Address) {
        let Some(slot) = self.slots.get(address) else { return };
        match slot.phase {
            Phase::Waiting { .. } => self.connect(address),
            Phase::Connecting { id, .. } | Phase::Checking { id, .. } => {
                let checking = matches!(slot.phase, Phase::Checking { .. });
                let reason = if checking { "it does not say whether it serves" } else { "no connection in time" };
                self.close(id, Duration::ZERO);
                self.on_lost(address, Some(SmolStr::new_static(reason)));
            }
            Phase::Ready { .. } | Phase::Unhealthy { .. } => {}
        }
    }

    fn connect(&mut self, address: &Address) {
        let Some(slot) = self.slots.get(address) else { return };
        let id = ConnectionId(self.next);
        self.next += 1;
        let connect = Connect { id, address: address.clone(), instance: slot.instance.clone() };
        self.transmits.push_back(DialTransmit::Connect(connect));
        // At least a microsecond later, lest the driver spin.
        let span = self.config.connect_timeout.max(Duration::from_micros(1));
        self.enter(address, Phase::Connecting { id, until: self.now.saturating_add(span) });
    }

    /// Looks whether those who were listed first have been waited for long enough.
    fn gather(&mut self) {
        let settled = |slot: &Slot| slot.failed || matches!(slot.phase, Phase::Ready { .. });
        if self.gathering.is_some_and(|until| until <= self.now || self.slots.values().all(settled)) {
            self.gathering = None;
            self.changed = true;
        }
    }

    /// Gives a connection up. One that nobody has begun to make is not begun.
    fn close(&mut self, id: ConnectionId, linger: Duration) {
        let before = self.transmits.len();
        self.transmits.retain(|transmit| !matches!(transmit, DialTransmit::Connect(connect) if connect.id == id));
        if self.transmits.len() == before {
            self.transmits.push_back(DialTransmit::Close { id, linger });
        }
    }

    /// Puts an address into another phase, and its deadline and its connection where they are looked for.
    fn enter(&mut self, address: &Address, phase: Phase) {
        let Some(slot) = self.slots.get_mut(address) else { return };
        let before = core::mem::replace(&mut slot.phase, phase);
        if before == phase {
            return;
        }
        if before.due() != phase.due() {
            if let Some(at) = before.due() {
                self.due.remove(&(at, address.clone()));
            }
            if let Some(at) = phase.due() {
                self.due.insert((at, address.clone()));
            }
        }
        if before.connection() != phase.connection() {
            if let Some(id) = before.connection()
                && !self.config.faults.has(Fault::DialOldConnectionHeard)
            {
                self.connections.remove(&id);
            }
            if let Some(id) = phase.connection() {
                self.connections.insert(id, address.clone());
            }
        }
        self.changed = true;
    }

    /// An address is not to be called any more.
    fn leave(&mut self, address: &Address) {
        let Some(slot) = self.slots.remove(address) else { return };
        if let Some(at) = slot.phase.due() {
            self.due.remove(&(at, address.clone()));
        }
        if let Some(id) = slot.phase.connection() {
            self.connections.remove(&id);
            let attempt = slot.phase.is_attempt();
            let cut = attempt || self.config.faults.has(Fault::DialCutsOff);
            self.close(id, if cut { Duration::ZERO } else { self.config.linger });
        }
        self.departed.keep(address.clone(), slot.backoff, self.now);
        self.changed = true;
    }

    /// An address is to be called from now on. It is tried at once, or soon if it had failed before it went.
    fn join(&mut self, address: &Address, instance: Instance) {
        let backoff = self.departed.take(address, self.now);
        let until = if backoff.is_some() { self.now.saturating_add(Backoff::BASE) } else { self.now };
        let phase = Phase::Waiting { until };
        self.slots
            .insert(address.clone(), Slot { instance, phase, backoff: backoff.unwrap_or_default(), failed: false });
        self.due.insert((until, address.clone()));
        self.changed = true;
        if until <= self.now {
            self.on_due(address);
        }
    }
}

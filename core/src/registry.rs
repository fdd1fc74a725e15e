//! The registry: the server's machine. It joins the catalog and the leases, and is the authority over its revisions.

mod alarm;
mod ended;
mod operator;
mod state;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use operator::{BlockInfo, LONGEST_BLOCK, Overlay};
pub use state::{InstanceState, LogState, OverlayState, State};

use crate::catalog::{Catalog, CatalogConfig, Delivery, Notice, WatchError, WatchId, WatchStart, Why};
use crate::config::{Collision, Config};
use crate::error::{LimitReached, RegisterError, UpdateError};
use crate::event::{Alarm, Caller, Cause, Event, EventKind, Subject};
use crate::fault::Fault;
use crate::instance::Patch;
use crate::lease::{Lease, LeaseError, Leases, Terms};
use crate::log::Listed;
use crate::name::{Key, Namespace, ServiceKey};
use crate::packed::Instance;
use crate::rng::{Rng, Seed};
use crate::set::{Cursor, Epoch, Revision};
use crate::time::{Instant, WallTime};
use alarm::{Alarms, Turn};
use ended::Ended;
use operator::Blocks;

/// The largest generation: the largest whole number that every JSON reader takes for itself.
pub const MAX_GENERATION: u64 = (1 << 53) - 1;

/// One life of a holder: 128 random bits that it draws when it starts. On the wire, 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u128);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({:08x}…)", self.0 >> 96)
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an incarnation is 32 hexadecimal digits, drawn at random when a holder starts")]
pub struct IncarnationError;

impl FromStr for Incarnation {
    type Err = IncarnationError;
    fn from_str(text: &str) -> Result<Self, IncarnationError> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(IncarnationError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| IncarnationError)
    }
}

impl Serialize for Incarnation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Incarnation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = alloc::string::String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which command of which holder this is: what makes a command sent twice one command, and one that arrives after
/// it was given up none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The holder's life.
    pub incarnation: Incarnation,
    /// The command's number in it; later commands have higher ones.
    pub sequence: u64,
}

impl Operation {
    /// The command of a holder that does not say who it is: always a new one.
    pub const ANONYMOUS: Self = Self { incarnation: Incarnation(0), sequence: 0 };

    const fn is_anonymous(self) -> bool {
        self.incarnation.0 == 0
    }
}

/// What a holder asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Where.
    pub namespace: Namespace,
    /// The instance; its name is the service's.
    pub instance: Instance,
    /// How long the lease lives without a renewal; the configured default, if it does not say.
    pub ttl: Option<Duration>,
    /// Which command this is; [`Operation::ANONYMOUS`], if it does not say.
    pub operation: Operation,
    /// The generation that the holder had, if it had one and wants it back only if nobody took the id since.
    pub reclaim: Option<u64>,
}

impl Register {
    /// A registration in the default namespace by a holder who does not say who it is.
    #[must_use]
    pub fn new(instance: Instance) -> Self {
        Self { namespace: Namespace::default(), instance, ttl: None, operation: Operation::ANONYMOUS, reclaim: None }
    }
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nobody held the id.
    Registered,
    /// It is the same registration again.
    Repeated,
    /// The same holder held the id under an older lease.
    Replaced,
    /// Another holder held the id, and no longer does.
    Superseded,
}

/// What a holder gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The right to act for the instance.
    pub lease: Lease,
    /// Which holder of the id this is: rises with every lease that is given out for it.
    pub generation: u64,
    /// How long the lease lives without a renewal.
    pub ttl: Duration,
    /// What became of the registration.
    pub outcome: Outcome,
}

/// How much a registry holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Instances.
    pub instances: usize,
    /// Services that have instances.
    pub services: usize,
    /// Namespaces that have services.
    pub namespaces: usize,
    /// Leases that live.
    pub leases: usize,
    /// Watches.
    pub watches: usize,
    /// Overlays.
    pub overlays: usize,
    /// Blocks.
    pub blocks: usize,
    /// The bytes of all instances.
    pub bytes: usize,
    /// The bytes of the change log, about.
    pub log_bytes: usize,
    /// The changes in the log.
    pub log_entries: usize,
}

/// What is known of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceView {
    /// How it is listed.
    pub listed: Listed,
    /// How its holder registered it, if an overlay makes it look different.
    pub registered: Option<Instance>,
    /// What lies over it.
    pub overlay: Option<Overlay>,
    /// Which holder of the id has it.
    pub generation: u64,
    /// When its lease ends if it is not renewed.
    pub deadline: Instant,
    /// The revision of its last change.
    pub modified: Revision,
}

/// A registry of services: who is there, for how long, and who wants to know.
///
/// The driver's loop: feed an input (a command, or [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) has come), then drain [`poll_ready`](Self::poll_ready) and
/// [`poll_event`](Self::poll_event) until each says `None`. Leases end in `handle_timeout` and nowhere else: a
/// renewal that comes late, but before it, is accepted. A command that returns an error has changed nothing.
pub struct Registry {
    config: Config,
    catalog: Catalog,
    leases: Leases,
    rng: Rng,
    ended: Ended,
    overlays: BTreeMap<Key, Overlay>,
    blocks: Blocks,
    alarms: Alarms,
    /// Leases that were kept beyond their deadline because of an alarm, and until when.
    held: BTreeMap<u32, Instant>,
    events: VecDeque<Event>,
    now: Instant,
    anchor: (Instant, WallTime),
    warming_until: Option<Instant>,
    generation: u64,
}

impl Registry {
    /// An empty registry in a new epoch, which warms up as the configuration says.
    ///
    /// The seed is 32 bytes from the system: the secrets of the leases are drawn from it. The epoch is a text that no
    /// registry of this name had before. `wall` is the wall clock at `now`, for people to read.
    #[must_use]
    pub fn new(config: Config, seed: Seed, epoch: Epoch, now: Instant, wall: WallTime) -> Self {
        let mut registry = Self::empty(config, seed, epoch, Revision(0), now, wall);
        if config.warm_up > Duration::ZERO {
            let early = if config.faults.has(Fault::SettlesEarly) { 2 } else { 1 };
            registry.warming_until = Some(now.saturating_add(config.warm_up / early));
            registry.catalog.announce(None, Notice::Warming);
        }
        registry
    }

    fn empty(config: Config, seed: Seed, epoch: Epoch, revision: Revision, now: Instant, wall: WallTime) -> Self {
        let mut rng = Rng::new(seed);
        let catalog = CatalogConfig {
            log_bytes: config.limits.log_bytes,
            log_entries: config.limits.log_entries,
            watches: config.limits.watches,
            selectors_per_watch: config.limits.selectors_per_watch,
            behind_wait: config.behind_wait,
            hash_seed: rng.next_u64(),
            faults: config.faults,
        };
        Self {
            config,
            catalog: Catalog::new(&catalog, epoch, revision),
            leases: Leases::new(config.limits.ended, config.faults),
            ended: Ended::new(config.limits.ended, rng.next_u64()),
            rng,
            overlays: BTreeMap::new(),
            blocks: Blocks::new(config.limits.blocks),
            alarms: Alarms::new(config.alarm),
            held: BTreeMap::new(),
            events: VecDeque::new(),
            now,
            anchor: (now, wall),
            warming_until: None,
            generation: 0,
        }
    }

    // Commands of holders.

    /// Registers an instance. O(size of the instance + watchers).
    ///
    /// The same operation with the same body again gives the same lease, counts as a renewal, and changes nothing.
    /// Another registration for an id that is held supersedes the lease, or is refused, as configured. An overlay of
    /// the id applies.
    ///
    /// # Errors
    /// Says why the registration was refused; nothing was changed.
    pub fn register(
        &mut self,
        request: Register,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<Registered, RegisterError> {
        let now = self.advance(now);
        let ttl = self.checked_ttl(request.ttl)?;
        if let Some(given) = request.reclaim.filter(|&given| given >= MAX_GENERATION) {
            return Err(RegisterError::Generation { given, limit: MAX_GENERATION - 1 });
        }
        self.config.limits.instance.check_total(request.instance.json().len())?;
        if let Some((remaining, reason)) = self.blocks.remaining(&request.namespace, &request.instance, now) {
            return Err(RegisterError::Blocked { remaining, reason });
        }
        let known = self.ended.includes(names(&request.namespace, &request.instance), request.operation);
        if known && !self.config.faults.has(Fault::EndedOperationForgotten) {
            return Err(RegisterError::Ended);
        }
        let service = self.catalog.find_service(&request.namespace, request.instance.service_bytes());
        match service.and_then(|service| self.catalog.entry(service, request.instance.id_bytes())) {
            Some(entry) => self.register_again(entry, request, ttl, caller),
            None => self.register_new(service, request, ttl, caller),
        }
    }

    fn register_new(
        &mut self,
        service: Option<u32>,
        request: Register,
        ttl: Duration,
        caller: &Arc<Caller>,
    ) -> Result<Registered, RegisterError> {
        let Register { namespace, instance, operation, reclaim, .. } = request;
        let (listed, base) = self.overlaid(&namespace, instance, ttl)?;
        self.check_room(&namespace, service, listed.size()).map_err(RegisterError::Limit)?;
        let service = match service {
            Some(service) => service,
            None => self.catalog.service_or_new(&ServiceKey::new(namespace, listed.instance.service_name())),
        };
        let why = self.why(Cause::Registered, Some(caller));
        let entry = self.catalog.insert(service, listed, why);
        let (lease, generation) = self.grant(entry, operation, ttl, reclaim.unwrap_or(0));
        self.remember_base(entry, base);
        let subject = self.subject(entry);
        self.emit(EventKind::Registered { subject, generation }, Some(caller));
        Ok(Registered { lease, generation, ttl, outcome: Outcome::Registered })
    }

    fn register_again(
        &mut self,
        entry: u32,
        request: Register,
        ttl: Duration,
        caller: &Arc<Caller>,
    ) -> Result<Registered, RegisterError> {
        let held = self.catalog.tag(entry);
        let terms = *self.leases.terms(held);
        let operation = request.operation;
        let same_holder = !operation.is_anonymous() && terms.incarnation() == operation.incarnation.0;
        if same_holder {
            if operation.sequence < terms.sequence {
                return Err(RegisterError::Outdated { latest: terms.sequence });
            }
            if operation.sequence == terms.sequence && !self.config.faults.has(Fault::RepeatGetsNewLease) {
                if *self.base(entry) != request.instance || self.leases.ttl(held) != ttl {
                    return Err(RegisterError::OperationReused { sequence: operation.sequence });
                }
                self.leases.touch(held, self.now);
                let (lease, generation) = (self.leases.lease(held), terms.generation);
                return Ok(Registered { lease, generation, ttl, outcome: Outcome::Repeated });
            }
        } else {
            let lost = request.reclaim.is_some_and(|reclaim| terms.generation > reclaim);
            if lost && !self.config.faults.has(Fault::ReclaimTakesBack) {
                return Err(RegisterError::Superseded);
            }
            if self.config.collision == Collision::Refuse {
                return Err(RegisterError::Taken);
            }
        }
        if self.config.faults.has(Fault::RefusalHalfDone) {
            self.leases.touch(held, self.now.saturating_add(ttl));
        }
        let (listed, base) = self.overlaid(&request.namespace, request.instance, ttl)?;
        self.check_bytes(listed.size(), self.catalog.listed(entry).size()).map_err(RegisterError::Limit)?;

        if !self.config.faults.has(Fault::SupersededLeaseLives) {
            self.end_lease(entry, LeaseError::Superseded);
        }
        let (lease, generation) = self.grant(entry, operation, ttl, request.reclaim.unwrap_or(0).max(terms.generation));
        self.remember_base(entry, base);
        let cause = if same_holder { Cause::Registered } else { Cause::Superseded };
        self.show(entry, listed, cause, caller);
        let subject = self.subject(entry);
        let (kind, outcome) = if same_holder {
            (EventKind::Registered { subject, generation }, Outcome::Replaced)
        } else {
            (EventKind::Superseded { subject, generation }, Outcome::Superseded)
        };
        self.emit(kind, Some(caller));
        Ok(Registered { lease, generation, ttl, outcome })
    }

    /// Renews a lease: its deadline becomes now and its ttl, unless it is later already. O(1), no allocation.
    ///
    /// # Errors
    /// Says how the lease ended; nothing was changed.
    pub fn renew(&mut self, lease: &Lease, caller: &Arc<Caller>, now: Instant) -> Result<(), LeaseError> {
        let now = self.advance(now);
        let touched = self.leases.renew(lease, now)?;
        if touched.late {
            self.renewed_late(lease, caller);
        }
        Ok(())
    }

    /// Renews many leases. Those that failed are appended with their place in the batch; the others are renewed.
    /// O(batch), no allocation but for failures.
    pub fn renew_all(
        &mut self,
        leases: &[Lease],
        caller: &Arc<Caller>,
        now: Instant,
        failed: &mut Vec<(usize, LeaseError)>,
    ) {
        let now = self.advance(now);
        for (at, lease) in leases.iter().enumerate() {
            match self.leases.renew(lease, now) {
                Ok(touched) if touched.late => self.renewed_late(lease, caller),
                Ok(_) => {}
                Err(error) => failed.push((at, error)),
            }
        }
    }

    #[cold]
    fn renewed_late(&mut self, lease: &Lease, caller: &Arc<Caller>) {
        let Ok(at) = self.leases.find(lease) else {
            return;
        };
        let subject = self.subject(self.leases.terms(at).entry);
        self.emit(EventKind::RenewedLate(subject), Some(caller));
    }

    /// Changes an instance in place; its lease stays. Returns whether anything visible changed.
    /// O(size of the instance + watchers).
    ///
    /// A sequence orders the updates of one holder: one that comes after a later one is refused, and the same again
    /// changes nothing.
    ///
    /// # Errors
    /// Says why; nothing was changed.
    pub fn update(
        &mut self,
        lease: &Lease,
        patch: &Patch,
        sequence: Option<u64>,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<bool, UpdateError> {
        self.advance(now);
        let at = self.leases.find(lease)?;
        let terms = *self.leases.terms(at);
        let entry = terms.entry;
        if sequence.is_some_and(|sequence| sequence < terms.sequence) {
            return Err(UpdateError::Outdated { latest: terms.sequence });
        }
        let limits = &self.config.limits.instance;
        let base = self.base(entry).patched(patch, limits)?;
        let shown = match self.overlay_of(entry) {
            Some(overlay) => base.patched(&overlay.patch(), limits)?,
            None => base.clone(),
        };
        let listed = Listed { instance: shown, ttl_ms: self.catalog.listed(entry).ttl_ms };
        self.check_bytes(listed.size(), self.catalog.listed(entry).size()).map_err(UpdateError::Limit)?;
        if let Some(sequence) = sequence {
            self.leases.terms_mut(at).sequence = sequence;
        }
        self.remember_base(entry, Some(base));
        let changed = self.show(entry, listed, Cause::Updated, caller);
        if changed {
            let subject = self.subject(entry);
            self.emit(EventKind::Updated(subject), Some(caller));
        }
        Ok(changed)
    }

    /// Ends a lease and takes its instance out. Doing so twice is doing it once. O(watchers).
    ///
    /// # Errors
    /// If the lease had ended otherwise; nothing was changed.
    pub fn deregister(
        &mut self,
        lease: &Lease,
        sequence: Option<u64>,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<(), LeaseError> {
        self.advance(now);
        match self.leases.find(lease) {
            Ok(at) => {
                let terms = self.leases.terms_mut(at);
                terms.sequence = terms.sequence.max(sequence.unwrap_or(0));
                let entry = terms.entry;
                self.take_out(entry, LeaseError::Deregistered, Cause::Deregistered, Some(caller));
                Ok(())
            }
            Err(LeaseError::Deregistered) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives up what a holder has sent for an instance up to an operation, whose answer it never got: if it took
    /// effect, the instance goes; if it arrives later, it is refused. Returns whether the instance went. O(watchers).
    pub fn abandon(&mut self, key: &Key, operation: Operation, caller: &Arc<Caller>, now: Instant) -> bool {
        self.advance(now);
        if operation.is_anonymous() {
            return false;
        }
        let entry = self.catalog.find(&key.namespace, &key.service, &key.id);
        let held = entry.filter(|&entry| {
            let terms = self.leases.terms(self.catalog.tag(entry));
            terms.incarnation() == operation.incarnation.0 && terms.sequence <= operation.sequence
        });
        if let Some(entry) = held {
            self.take_out(entry, LeaseError::Deregistered, Cause::Deregistered, Some(caller));
        }
        self.ended.record([key.namespace.as_bytes(), key.service.as_bytes(), key.id.as_bytes()], operation);
        held.is_some()
    }

    // Time.

    /// Ends every lease that is due, and what else has its time. Calling it early does nothing. O(what is due).
    pub fn handle_timeout(&mut self, now: Instant) {
        let announced = self.poll_timeout();
        let now = self.advance(now);
        if let Some(late) = announced.map(|at| now.saturating_since(at))
            && late > self.config.stall_threshold
            && !self.config.faults.has(Fault::NoGrace)
        {
            self.give_back(late);
        }
        if self.warming_until.is_some_and(|until| until <= now) {
            self.settle(None, now);
        }
        self.expire(now);
        self.catalog.handle_timeout(now);
        let turns = self.alarms.turns(now, |namespace| self.catalog.namespace(namespace).instances);
        for turn in turns {
            let (namespace, notice, kind) = match turn {
                Turn::Raised(alarm) => {
                    (alarm.namespace.clone(), Notice::Alarm(alarm.clone()), EventKind::AlarmRaised(alarm))
                }
                Turn::Ended(namespace) => {
                    let kind = EventKind::AlarmEnded { namespace: namespace.clone() };
                    (namespace.clone(), Notice::AlarmEnded(namespace), kind)
                }
            };
            if !self.config.faults.has(Fault::AlarmSilent) {
                self.catalog.announce(Some(&namespace), notice);
                self.emit(kind, None);
            }
        }
    }

    /// The driver was away: whoever could not renew meanwhile gets the time back, but no more than a ttl.
    fn give_back(&mut self, late: Duration) {
        let extended = self.leases.grace(self.now, late);
        let until = self.now.saturating_add(late.min(self.config.warm_up));
        self.warming_until = self.warming_until.map(|warming| warming.max(until));
        self.emit(EventKind::Stalled { late, extended }, None);
    }

    fn expire(&mut self, now: Instant) {
        let mut due = self.leases.take_due(now);
        if due.is_empty() {
            return;
        }
        if self.config.alarm.hold > Duration::ZERO {
            self.hold_back(&mut due, now);
        }
        let mut expired: Option<(u32, Namespace, usize)> = None;
        for batch in due.chunks(64) {
            self.look_ahead(batch);
            for &lease in batch {
                let entry = self.leases.terms(lease).entry;
                let at = self.catalog.namespace_at(entry);
                match &mut expired {
                    Some((of, _, count)) if *of == at => *count += 1,
                    _ => {
                        let namespace = self.catalog.service_key(entry).namespace.clone();
                        if let Some((_, namespace, count)) = expired.replace((at, namespace, 1)) {
                            self.alarms.count(&namespace, count, now);
                        }
                    }
                }
                self.take_out(entry, LeaseError::Expired, Cause::Expired, None);
            }
        }
        if let Some((_, namespace, count)) = expired {
            self.alarms.count(&namespace, count, now);
        }
    }

    /// Reads what is about to be needed of many leases, so that the processor waits for their memory at once and not one
    /// after the other.
    fn look_ahead(&self, leases: &[u32]) {
        let entry = |&lease: &u32| self.leases.terms(lease).entry;
        let seen = leases.iter().map(entry).fold(0, |seen, entry| seen ^ self.catalog.look_at(entry));
        core::hint::black_box(seen);
    }

    /// Where so many are due that an alarm sounds, those that were not held before get more time.
    fn hold_back(&mut self, due: &mut Vec<u32>, now: Instant) {
        let mut first_time: BTreeMap<Namespace, Vec<u32>> = BTreeMap::new();
        for &lease in &*due {
            if self.held.get(&lease) != Some(&self.leases.deadline(lease)) {
                let namespace = &self.catalog.service_key(self.leases.terms(lease).entry).namespace;
                first_time.entry(namespace.clone()).or_default().push(lease);
            }
        }
        let until = now.saturating_add(self.config.alarm.hold);
        for (namespace, leases) in first_time {
            let instances = self.catalog.namespace(&namespace).instances;
            if self.alarms.would_sound(&namespace, leases.len(), instances, now) {
                self.alarms.count(&namespace, leases.len(), now);
                for lease in leases {
                    self.leases.hold(lease, until);
                    self.held.insert(lease, until);
                }
            }
        }
        due.retain(|lease| self.held.get(lease) != Some(&until));
    }

    /// Ends the warm-up: from now on, what is not listed is not there. O(watches).
    pub fn settle(&mut self, caller: Option<&Arc<Caller>>, now: Instant) {
        self.advance(now);
        if self.warming_until.take().is_some() {
            self.catalog.announce(None, Notice::Settled);
            self.emit(EventKind::Settled, caller);
        }
    }

    // Watching.

    /// Opens a watch; see [`Catalog::watch`].
    ///
    /// # Errors
    /// If there are too many; nothing was changed.
    pub fn watch(&mut self, start: &WatchStart, caller: &Arc<Caller>, now: Instant) -> Result<WatchId, WatchError> {
        let now = self.advance(now);
        self.catalog.watch(start, Arc::clone(caller), now)
    }

    /// Closes a watch; see [`Catalog::unwatch`].
    pub fn unwatch(&mut self, watch: WatchId) {
        self.catalog.unwatch(watch);
    }

    // Outputs.

    /// The next watch that has something to deliver; see [`Catalog::poll_ready`]. May change after any input.
    #[must_use]
    pub fn poll_ready(&mut self) -> Option<WatchId> {
        self.catalog.poll_ready()
    }

    /// What a watch has not seen yet; see [`Catalog::poll_watch`].
    #[must_use]
    pub fn poll_watch(&mut self, watch: WatchId) -> Option<Delivery> {
        self.catalog.poll_watch(watch)
    }

    /// A cursor for a watch that has seen everything; see [`Catalog::poll_bookmark`].
    #[must_use]
    pub fn poll_bookmark(&mut self, watch: WatchId) -> Option<Cursor> {
        self.catalog.poll_bookmark(watch)
    }

    /// The next thing that happened. May change after any input. O(1).
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called: no lease is due before it. O(1).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = [self.leases.next(), self.warming_until, self.alarms.poll_timeout(), self.catalog.poll_timeout()];
        times.into_iter().flatten().min()
    }

    // Getters.

    /// The instance sets, for reading.
    #[must_use]
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Where the registry is: what every answer is dated with.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.catalog.cursor()
    }

    /// Until when what is not listed may be there all the same.
    #[must_use]
    pub const fn warming_until(&self) -> Option<Instant> {
        self.warming_until
    }

    /// The alarms that sound.
    pub fn alarms(&self) -> impl Iterator<Item = &Alarm> {
        self.alarms.raised()
    }

    /// How the registry behaves.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The latest time the registry has heard of.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// What is known of an instance. O(log overlays).
    #[must_use]
    pub fn instance(&self, key: &Key) -> Option<InstanceView> {
        let entry = self.catalog.find(&key.namespace, &key.service, &key.id)?;
        let lease = self.catalog.tag(entry);
        let found = self.catalog.get(&key.namespace, &key.service, &key.id)?;
        let overlay = self.overlays.get(key).cloned();
        Some(InstanceView {
            listed: found.listed.clone(),
            registered: overlay.as_ref().and_then(|overlay| overlay.base.clone()),
            overlay,
            generation: self.leases.terms(lease).generation,
            deadline: self.leases.deadline(lease),
            modified: found.revision,
        })
    }

    /// When the lease of an instance ends if it is not renewed. O(1).
    #[must_use]
    pub fn deadline(&self, found: &crate::catalog::Found<'_>) -> Instant {
        self.leases.deadline(found.tag)
    }

    /// How much the registry holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            instances: self.catalog.len(),
            services: self.catalog.service_count(),
            namespaces: self.catalog.namespaces().count(),
            leases: self.leases.len(),
            watches: self.catalog.watch_count(),
            overlays: self.overlays.len(),
            blocks: self.blocks.len(),
            bytes: self.catalog.bytes(),
            log_bytes: self.catalog.log_bytes(),
            log_entries: self.catalog.log_len(),
        }
    }

    /// Checks what must always hold, by counting everything anew. O(everything).
    ///
    /// # Panics
    /// If it does not hold.
    pub fn assert_consistent(&self) {
        self.catalog.assert_consistent();
        assert_eq!(self.leases.len(), self.catalog.len(), "every instance has one lease");
        for (key, found) in self.catalog.all() {
            let terms = self.leases.terms(found.tag);
            let entry = self.catalog.find(&key.namespace, &key.service, found.listed.instance.id());
            assert_eq!(entry, Some(terms.entry), "a lease holds the entry that names it");
        }
        let limits = &self.config.limits;
        assert!(self.catalog.len() <= limits.instances, "instances within the limit");
        assert!(self.catalog.bytes() <= limits.bytes, "bytes within the limit");
        assert!(self.catalog.log_len() <= limits.log_entries.max(1), "log within the limit");
        assert!(self.overlays.len() <= limits.overlays && self.blocks.len() <= limits.blocks);
        assert!(self.catalog.watch_count() <= limits.watches, "watches within the limit");
    }

    // What the commands share.

    /// Time that runs backwards stands still.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// The wall clock, as far as it went on evenly since it was last read.
    fn wall(&self) -> WallTime {
        let since = self.now.saturating_since(self.anchor.0).as_millis();
        WallTime(self.anchor.1.0.saturating_add(u64::try_from(since).unwrap_or(u64::MAX)))
    }

    /// Reads the wall clock anew, because it was set. It decides nothing.
    pub fn set_wall_time(&mut self, now: Instant, wall: WallTime) {
        self.anchor = (self.advance(now), wall);
    }

    fn checked_ttl(&self, ttl: Option<Duration>) -> Result<Duration, RegisterError> {
        let limits = &self.config.ttl;
        let given = ttl.unwrap_or(limits.default);
        if given < limits.min || given > limits.max {
            return Err(RegisterError::Ttl { given, min: limits.min, max: limits.max });
        }
        Ok(Duration::from_millis(u64::try_from(given.as_millis()).unwrap_or(u64::MAX).max(1)))
    }

    fn check_room(&self, namespace: &Namespace, service: Option<u32>, size: usize) -> Result<(), LimitReached> {
        let limits = &self.config.limits;
        within("instances", self.catalog.len(), limits.instances)?;
        let instances = service.map_or(0, |service| self.catalog.instances_of(service));
        within("instances_per_service", instances, limits.instances_per_service)?;
        if instances == 0 {
            within("services", self.catalog.service_count(), limits.services)?;
            if self.catalog.namespace(namespace).services == 0 {
                within("namespaces", self.catalog.namespaces().count(), limits.namespaces)?;
            }
        }
        self.check_bytes(size, 0)
    }

    fn check_bytes(&self, size: usize, instead_of: usize) -> Result<(), LimitReached> {
        let value = self.config.limits.bytes;
        let total = self.catalog.bytes() + size - instead_of;
        if size > instead_of && total > value { Err(LimitReached { limit: "bytes", value }) } else { Ok(()) }
    }

    fn grant(&mut self, entry: u32, operation: Operation, ttl: Duration, above: u64) -> (Lease, u64) {
        let stays = self.config.faults.has(Fault::GenerationStays);
        let generation = if stays { 1 } else { (self.generation + 1).max(above + 1) };
        self.generation += 1;
        let terms = Terms::new(entry, generation, operation.incarnation.0, operation.sequence);
        let secret = self.rng.next_u128();
        let lease = self.leases.grant(terms, ttl, secret, self.now);
        self.catalog.set_tag(entry, lease.index());
        (lease, generation)
    }

    /// Ends the lease of an entry and remembers the commands that ended with it.
    fn end_lease(&mut self, entry: u32, how: LeaseError) {
        let lease = self.catalog.tag(entry);
        let terms = self.leases.terms(lease);
        let operation = Operation { incarnation: Incarnation(terms.incarnation()), sequence: terms.sequence };
        let namespace = &self.catalog.service_key(entry).namespace;
        self.ended.record(names(namespace, &self.catalog.listed(entry).instance), operation);
        if !self.held.is_empty() {
            self.held.remove(&lease);
        }
        self.leases.end(lease, how);
    }

    /// Ends the lease of an entry and takes the instance out.
    fn take_out(&mut self, entry: u32, how: LeaseError, cause: Cause, caller: Option<&Arc<Caller>>) {
        let subject = self.subject(entry);
        self.end_lease(entry, how);
        if let Some(overlay) = self.overlay_of_mut(entry) {
            overlay.base = None;
        }
        let why = self.why(cause, caller);
        self.catalog.remove(entry, why);
        match cause {
            Cause::Expired => self.emit(EventKind::Expired(subject), caller),
            Cause::Deregistered => self.emit(EventKind::Deregistered(subject), caller),
            // Whoever evicts tells the reason.
            _ => {}
        }
    }

    /// Shows an instance as it is now. Says whether that is news.
    fn show(&mut self, entry: u32, listed: Listed, cause: Cause, caller: &Arc<Caller>) -> bool {
        if *self.catalog.listed(entry) == listed && !self.config.faults.has(Fault::NoOpRaisesRevision) {
            return false;
        }
        let why = self.why(cause, Some(caller));
        self.catalog.replace(entry, listed, why);
        true
    }

    fn why(&self, cause: Cause, caller: Option<&Arc<Caller>>) -> Why {
        let revision = Revision(self.catalog.revision().0 + 1);
        Why { revision, time: self.wall(), cause, caller: caller.cloned() }
    }

    fn subject(&self, entry: u32) -> Subject {
        let service = Arc::clone(self.catalog.service_key(entry));
        Subject { service, instance: self.catalog.listed(entry).instance.clone() }
    }

    fn emit(&mut self, kind: EventKind, caller: Option<&Arc<Caller>>) {
        let (time, revision) = (self.wall(), self.catalog.revision());
        self.events.push_back(Event { time, revision, kind, caller: caller.cloned() });
    }
}

/// What an instance is told apart by.
fn names<'a>(namespace: &'a Namespace, instance: &'a Instance) -> [&'a [u8]; 3] {
    [namespace.as_bytes(), instance.service_bytes(), instance.id_bytes()]
}

fn within(limit: &'static str, held: usize, value: usize) -> Result<(), LimitReached> {
    if held >= value { Err(LimitReached { limit, value }) } else { Ok(()) }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("catalog", &self.catalog).field("now", &self.now).finish_non_exhaustive()
    }
}

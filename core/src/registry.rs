//! The registry: the server's machine. It joins the catalog and the leases, and is the authority over its revisions.

mod alarm;
mod ended;
mod holder;
mod mirror;
mod operator;
mod passing;
mod state;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

pub use holder::{Incarnation, IncarnationError, MAX_GENERATION, Operation, Outcome, Register, Registered};
pub use operator::{BlockInfo, LONGEST_BLOCK, Overlay};
pub use state::{InstanceState, LogState, OverlayState, State};

use crate::catalog::{Catalog, CatalogConfig, Delivery, Found, Notice, WatchError, WatchId, WatchStart, Why};
use crate::config::Config;
use crate::event::{Alarm, Caller, Cause, Event, EventKind, Subject};
use crate::fault::Fault;
use crate::lease::{LeaseError, Leases};
use crate::log::Listed;
use crate::name::{Key, Namespace};
use crate::packed::Instance;
use crate::rng::{Rng, Seed};
use crate::set::{Cursor, Epoch, Revision};
use crate::time::{Instant, WallTime};
use alarm::Alarms;
use ended::Ended;
use mirror::MIRRORED;
use operator::Blocks;

/// How often the driver is to come by while there are leases.
const LOOK: Duration = Duration::from_secs(1);

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
    /// Which holder of the id has it; zero in a mirror, which does not know.
    pub generation: u64,
    /// When its lease ends if it is not renewed; in a mirror, which does not know, the present.
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
    /// When the driver last came by, while there are leases.
    looked: Instant,
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
            looked: now,
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

    /// A watcher says up to where it has applied what it was handed; see [`Catalog::applied`].
    pub fn applied(&mut self, watch: WatchId, revision: Revision, now: Instant) -> bool {
        let now = self.advance(now);
        self.catalog.applied(watch, revision, now)
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
    ///
    /// While there are leases that is once a second at least, whatever is due: a driver that was away for longer must
    /// have been missed, or those who could not renew meanwhile would not be given the time back.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let look = (self.leases.len() > 0).then(|| self.looked.saturating_add(LOOK));
        let look = look.filter(|_| !self.config.faults.has(Fault::StallUnseen));
        let times =
            [self.leases.next(), self.warming_until, self.alarms.poll_timeout(), self.catalog.poll_timeout(), look];
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
            generation: if lease == MIRRORED { 0 } else { self.leases.terms(lease).generation },
            deadline: if lease == MIRRORED { self.now } else { self.leases.deadline(lease) },
            modified: found.revision,
        })
    }

    /// When the lease of an instance ends if it is not renewed. O(1).
    #[must_use]
    pub fn deadline(&self, found: &Found<'_>) -> Instant {
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

    /// Ends the lease of an entry and remembers the commands that ended with it; `superseded`: by another holder.
    fn end_lease(&mut self, entry: u32, how: LeaseError, superseded: bool) {
        let lease = self.catalog.tag(entry);
        let terms = self.leases.terms(lease);
        let operation = Operation { incarnation: Incarnation(terms.incarnation()), sequence: terms.sequence };
        let namespace = &self.catalog.service_key(entry).namespace;
        self.ended.record(names(namespace, &self.catalog.listed(entry).instance), operation, superseded);
        if !self.held.is_empty() {
            self.held.remove(&lease);
        }
        self.leases.end(lease, how);
    }

    /// Ends the lease of an entry and takes the instance out.
    fn take_out(&mut self, entry: u32, how: LeaseError, cause: Cause, caller: Option<&Arc<Caller>>) {
        let subject = self.subject(entry);
        self.end_lease(entry, how, false);
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

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("catalog", &self.catalog).field("now", &self.now).finish_non_exhaustive()
    }
}

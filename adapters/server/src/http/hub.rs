//! The one place where the registry lives: whoever feeds it also drains it, under the same lock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::Waker;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use periplus_core::trends::Trends;
use periplus_core::{
    Caller, Cursor, Delivery, Epoch, Instant, Lease, LeaseError, Registry, Revision, Selector, WallTime, WatchError,
    WatchId, WatchStart, config as registry,
};
use tokio::sync::Notify;

use super::clock::{self, Clock};
use super::events::Ring;
use super::metrics::Metrics;
use super::shared::Shared;
use crate::config::Config;
use crate::random;

/// Where the registry was when it answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Date {
    pub(super) revision: Revision,
    pub(super) warming: bool,
}

/// The registry and all who wait for it.
///
/// Commands take microseconds, so a lock costs less than a task that owns the registry would: no channel, no hop to
/// another thread. What is written out (JSON, frames) is written after the lock is given back.
pub(super) struct Hub {
    state: Mutex<State>,
    /// What many readers get is written once.
    pub(super) shared: Shared,
    /// Whether another registry has the say.
    mirrors: bool,
    /// Another one has taken its place.
    retired: AtomicBool,
    clock: Clock,
    epoch: Epoch,
    /// Something is due earlier than the timer knows.
    rearm: Notify,
    metrics: Arc<Metrics>,
}

struct State {
    registry: Registry,
    /// Beside each watch, at its index: who polls it.
    bells: Vec<Arc<Bell>>,
    /// Beside each watch, at its index: whoever names it may report for it.
    names: Vec<(WatchId, WatchName)>,
    events: Ring,
    trends: Trends,
    /// When the timer is going to ring.
    armed: Option<Instant>,
    /// When the wall clock was last read.
    anchored: Instant,
}

/// How a watch's connection hears that there is something to take.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    fn ring(&self) -> Option<Waker> {
        self.rung.store(true, Ordering::Release);
        self.waker.take()
    }

    /// Whether it rang since it was last asked; if not, the waker is woken when it does.
    pub(super) fn heard(&self, waker: &Waker) -> bool {
        if self.rung.swap(false, Ordering::AcqRel) {
            return true;
        }
        self.waker.register(waker);
        self.rung.swap(false, Ordering::AcqRel)
    }
}

/// A watch that was opened.
pub(super) struct Opened {
    pub(super) id: WatchId,
    pub(super) bell: Arc<Bell>,
    pub(super) name: WatchName,
}

/// What a watch is called by those who report for it. Nobody else can guess it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct WatchName {
    index: usize,
    secret: u128,
}

impl std::fmt::Display for WatchName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{:032x}", self.index, self.secret)
    }
}

impl std::str::FromStr for WatchName {
    type Err = std::num::ParseIntError;
    /// Whatever is none is the name of no watch.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (index, secret) = text.split_once('-').unwrap_or_default();
        Ok(Self { index: usize::from_str_radix(index, 16)?, secret: u128::from_str_radix(secret, 16)? })
    }
}

/// A delivery with what it takes to share its snapshots.
pub(super) struct Taken {
    pub(super) delivery: Delivery,
    /// Of each snapshot of one service: the service's last change.
    pub(super) changed: Vec<Option<(Arc<periplus_core::ServiceKey>, Revision)>>,
}

/// Those to be woken once the lock is given back.
#[must_use]
struct Woken {
    wakers: Vec<Waker>,
    rearm: bool,
}

impl Hub {
    pub(super) fn new(config: &Config, epoch: Epoch, metrics: Arc<Metrics>) -> Self {
        Self::of(config, epoch, metrics, Registry::new, false)
    }

    /// A mirror of another registry, which knows nothing yet.
    pub(super) fn mirror(config: &Config, epoch: Epoch, metrics: Arc<Metrics>) -> Self {
        Self::of(config, epoch, metrics, Registry::mirror, true)
    }

    fn of(
        config: &Config,
        epoch: Epoch,
        metrics: Arc<Metrics>,
        registry: impl FnOnce(registry::Config, [u8; 32], Epoch, Instant, WallTime) -> Registry,
        mirrors: bool,
    ) -> Self {
        let clock = Clock::new();
        let now = clock.now();
        let registry = registry(config.registry(), random::bytes(), epoch.clone(), now, clock::wall());
        let shared = Shared::new(epoch.clone(), Arc::clone(&metrics));
        let retired = AtomicBool::new(false);
        let state = State {
            registry,
            bells: Vec::new(),
            names: Vec::new(),
            events: Ring::new(config.events_kept),
            trends: Trends::new(),
            armed: None,
            anchored: now,
        };
        Self { state: Mutex::new(state), shared, mirrors, retired, clock, epoch, rearm: Notify::new(), metrics }
    }

    pub(super) const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    pub(super) const fn mirrors(&self) -> bool {
        self.mirrors
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// Another one has taken its place: all who wait for something here come back to that one.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.wake_all();
        self.rearm.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::WouldBlock) => {
                let asked = std::time::Instant::now();
                let state = self.state.lock().unwrap_or_else(|_| fatal());
                self.metrics.lock_wait.observe(asked.elapsed().as_secs_f64());
                state
            }
            Err(TryLockError::Poisoned(_)) => fatal(),
        }
    }

    /// Gives the registry a command and drains what it causes.
    pub(super) fn apply<T>(&self, command: impl FnOnce(&mut Registry, Instant) -> T) -> (T, Date) {
        let now = self.clock.now();
        let mut state = self.lock();
        let result = command(&mut state.registry, now);
        let woken = state.drain(&self.metrics);
        let date = state.date();
        drop(state);
        self.wake(woken);
        (result, date)
    }

    /// Renews leases. No allocation unless some fail or come late.
    pub(super) fn renew(&self, leases: &[Lease], caller: &Arc<Caller>, failed: &mut Vec<(usize, LeaseError)>) -> Date {
        let now = self.clock.now();
        let mut state = self.lock();
        state.registry.renew_all(leases, caller, now, failed);
        // A renewal wakes no watcher and lets nothing be due earlier: there may be events of late ones, no more.
        let wakers = state.drain_events(&self.metrics);
        let date = state.date();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        date
    }

    /// Reads from the registry.
    pub(super) fn read<T>(&self, reader: impl FnOnce(&Registry) -> T) -> (T, Date) {
        let state = self.lock();
        (reader(&state.registry), state.date())
    }

    /// Opens a watch.
    pub(super) fn watch(&self, start: &WatchStart, caller: &Arc<Caller>) -> Result<Opened, WatchError> {
        let now = self.clock.now();
        let secret = random::bytes();
        let mut state = self.lock();
        let id = state.registry.watch(start, caller, now)?;
        let bell = Arc::new(Bell::default());
        if state.bells.len() <= id.index() {
            state.bells.resize_with(id.index() + 1, Arc::default);
        }
        state.bells[id.index()] = Arc::clone(&bell);
        let name = WatchName { index: id.index(), secret: u128::from_le_bytes(secret) };
        match state.names.get_mut(id.index()) {
            Some(place) => *place = (id, name),
            // The index of a new watch is below the number of watches there were at once.
            None => state.names.push((id, name)),
        }
        let woken = state.drain(&self.metrics);
        drop(state);
        self.wake(woken);
        Ok(Opened { id, bell, name })
    }

    /// A watcher says up to where it has applied what it was handed. Says whether that was taken.
    pub(super) fn applied(&self, name: WatchName, applied: &Cursor) -> (bool, Date) {
        let now = self.clock.now();
        let mut state = self.lock();
        let watch = state.names.get(name.index).filter(|(_, known)| *known == name && applied.epoch == self.epoch);
        let watch = watch.map(|(watch, _)| *watch);
        let taken = watch.is_some_and(|watch| state.registry.applied(watch, applied.revision, now));
        (taken, state.date())
    }

    pub(super) fn unwatch(&self, id: WatchId) {
        self.lock().registry.unwatch(id);
    }

    /// What a watch has not seen.
    pub(super) fn take(&self, id: WatchId) -> Option<Taken> {
        let mut state = self.lock();
        let delivery = state.registry.poll_watch(id)?;
        let catalog = state.registry.catalog();
        let changed = delivery.snapshots.iter().map(|snapshot| {
            let Selector::Service(key) = &snapshot.selector else {
                return None;
            };
            let service = catalog.service(&key.namespace, &key.service)?;
            Some((service.key, service.revision))
        });
        let changed = changed.collect();
        Some(Taken { delivery, changed })
    }

    /// Where a watch is that has seen everything.
    pub(super) fn bookmark(&self, id: WatchId) -> Option<Revision> {
        let cursor = self.lock().registry.poll_bookmark(id)?;
        Some(cursor.revision)
    }

    /// What has happened lately, under the lock.
    pub(super) fn events<T>(&self, reader: impl FnOnce(&mut Ring) -> T) -> T {
        reader(&mut self.lock().events)
    }

    /// What happened in the last minutes, in numbers.
    pub(super) fn trends<T>(&self, reader: impl FnOnce(&Trends) -> T) -> T {
        reader(&self.lock().trends)
    }

    /// Wakes everyone who waits for something, because the server stops.
    pub(super) fn wake_all(&self) {
        let mut state = self.lock();
        let mut wakers: Vec<Waker> = state.bells.iter().filter_map(|bell| bell.ring()).collect();
        wakers.append(&mut state.events.waiting);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn wake(&self, woken: Woken) {
        if woken.rearm {
            self.rearm.notify_one();
        }
        woken.wakers.into_iter().for_each(Waker::wake);
    }

    /// Calls the registry when its time has come. Ends when another one has taken its place.
    pub(super) async fn keep_time(&self) {
        while !self.is_retired() {
            let next = {
                let mut state = self.lock();
                state.armed = state.registry.poll_timeout();
                state.armed
            };
            let now = self.clock.now();
            let Some(due) = next else {
                self.rearm.notified().await;
                continue;
            };
            if due > now {
                // The clock of the timer stands still while the machine sleeps; look again now and then.
                let wait = due.saturating_since(now).min(Duration::from_secs(60));
                tokio::select! {
                    () = self.rearm.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                if self.clock.now() < due {
                    continue;
                }
            }
            let late = self.clock.now().saturating_since(due);
            self.metrics.timer_late.observe(late.as_secs_f64());
            self.apply(Registry::handle_timeout);
        }
    }

    /// Follows the wall clock, which may have been set.
    pub(super) fn anchor(&self) {
        let wall = clock::wall();
        let now = self.clock.now();
        let mut state = self.lock();
        if now.saturating_since(state.anchored) >= Duration::from_secs(30) {
            state.anchored = now;
            state.registry.set_wall_time(now, wall);
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }
}

impl State {
    fn date(&self) -> Date {
        Date { revision: self.registry.catalog().revision(), warming: self.registry.warming_until().is_some() }
    }

    fn drain(&mut self, metrics: &Metrics) -> Woken {
        let mut wakers = self.drain_events(metrics);
        while let Some(id) = self.registry.poll_ready() {
            wakers.extend(self.bells.get(id.index()).and_then(|bell| bell.ring()));
        }
        let next = self.registry.poll_timeout();
        let rearm = next.is_some_and(|next| self.armed.is_none_or(|armed| next < armed));
        if rearm {
            self.armed = next;
        }
        Woken { wakers, rearm }
    }

    fn drain_events(&mut self, metrics: &Metrics) -> Vec<Waker> {
        let Some(first) = self.registry.poll_event() else {
            return Vec::new();
        };
        let mut next = Some(first);
        while let Some(event) = next {
            metrics.on_event(&event.kind);
            self.trends.note(&event);
            self.events.push(event);
            next = self.registry.poll_event();
        }
        std::mem::take(&mut self.events.waiting)
    }
}

/// A panic inside the registry is a bug, and its state may be half changed: better none than that. Whoever started the
/// server starts it again, and the holders register again.
#[cold]
fn fatal() -> ! {
    tracing::error!("the registry has failed: exiting, so that it can be started anew");
    std::process::exit(70)
}

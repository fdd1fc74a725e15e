//! What passes with time: leases end, the warm-up ends, alarms sound, and a stalled driver is forgiven.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::Registry;
use super::alarm::Turn;
use crate::catalog::Notice;
use crate::event::{Caller, Cause, EventKind};
use crate::fault::Fault;
use crate::lease::LeaseError;
use crate::name::Namespace;
use crate::time::{Instant, WallTime};

impl Registry {
    /// Ends every lease that is due, and what else has its time. Calling it early does nothing. O(what is due).
    pub fn handle_timeout(&mut self, now: Instant) {
        let announced = self.poll_timeout();
        let now = self.advance(now);
        self.looked = now;
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

    /// Reads the wall clock anew, because it was set. It decides nothing.
    pub fn set_wall_time(&mut self, now: Instant, wall: WallTime) {
        self.anchor = (self.advance(now), wall);
    }
}

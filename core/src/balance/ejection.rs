//! Who is left out for failing, and for how long.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::sync::atomic::Ordering::Relaxed;
use core::time::Duration;

use super::balancer::Balancer;
use super::config::OutlierConfig;
use super::entry::Entry;
use crate::fault::Fault;
use crate::name::InstanceId;
use crate::time::{Instant, micros};

impl Balancer {
    /// Lets those return whose time is over, and ejects those who fail. O(n · log n).
    pub(super) fn judge(&mut self) {
        self.let_return();
        let outliers = self.outliers();
        let config = &self.shared.config;
        let callable = self.callable();
        let instances = callable.len();
        let ejected = callable.iter().filter(|entry| entry.ejected_until.is_some()).count();
        let share = instances.saturating_mul(config.outlier.max_share.min(100) as usize) / 100;
        let mut allowed = share.max(1).min(instances.saturating_sub(1));
        if config.faults.has(Fault::BalancerEjectsEveryone) {
            allowed = instances;
        }
        for (_, id) in outliers.into_iter().take(allowed.saturating_sub(ejected)) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.eject(&self.shared.config.outlier, self.now);
            }
        }
    }

    fn let_return(&mut self) {
        let (now, config) = (self.now, &self.shared.config);
        for entry in self.entries.values_mut() {
            if entry.ejected_until.is_some_and(|until| until <= now) && !config.faults.has(Fault::BalancerNeverPardons)
            {
                entry.ejected_until = None;
                entry.eased_since = Some(now);
                entry.returned = now;
                entry.node.learned.pardon();
            }
        }
    }

    /// Those who fail and are not ejected, the worst first.
    fn outliers(&mut self) -> Vec<(Reverse<(u32, u32)>, InstanceId)> {
        let config = self.shared.config.outlier;
        let sweeps = self.sweep();
        let mut outliers = Vec::new();
        for (id, entry) in &self.entries {
            let learned = &*entry.node.learned;
            let streak = learned.streak.load(Relaxed);
            let in_a_row = config.consecutive > 0 && streak >= config.consecutive;
            let mut failures = 0;
            let mut by_share = false;
            if sweeps {
                let calls = learned.calls.swap(0, Relaxed);
                failures = learned.failures.swap(0, Relaxed);
                by_share = config.failure_share > 0
                    && calls >= config.minimum_calls.max(1)
                    && u64::from(failures) * 100 >= u64::from(calls) * u64::from(config.failure_share);
            }
            if (in_a_row || by_share) && entry.ejected_until.is_none() && entry.is_up() {
                outliers.push((Reverse((streak, failures)), id.clone()));
            }
        }
        outliers.sort_unstable();
        outliers
    }

    /// Whether an interval is over. The next one begins, unless no call has ended in this one.
    fn sweep(&mut self) -> bool {
        let config = self.shared.config.outlier;
        if config.failure_share == 0 || self.shared.rests() {
            return false;
        }
        let interval = config.interval.max(Duration::from_micros(1));
        let over = match self.sweep_at {
            Some(at) if at > self.now => return false,
            at => at.is_some(),
        };
        let calls = |entry: &Entry| entry.node.learned.calls.load(Relaxed) > 0;
        if over && !self.entries.values().any(calls) {
            self.sweep_at = None;
            self.shared.rest();
        } else {
            self.sweep_at = Some(self.now.saturating_add(interval));
        }
        over
    }
}

impl Entry {
    /// Leaves the instance out, twice as long as the last time. For each span of [`OutlierConfig::base`] that it has
    /// been back, one of the earlier times is forgiven.
    fn eject(&mut self, config: &OutlierConfig, now: Instant) {
        let base = micros(config.base).max(1);
        let forgiven = micros(now.saturating_since(self.returned)) / base;
        self.ejections = self.ejections.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX)).saturating_add(1);
        let doubled = base.saturating_mul(1 << (self.ejections - 1).min(32));
        let span = doubled.min(micros(config.max).max(1));
        self.ejected_until = Some(now.saturating_add(Duration::from_micros(span)));
    }
}

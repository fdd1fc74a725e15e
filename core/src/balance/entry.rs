//! What the balancer itself keeps of an instance.

use alloc::sync::Arc;
use core::time::Duration;

use super::balancer::is_up;
use super::config::BalanceConfig;
use super::node::{Learned, Node};
use super::shared::Shared;
use crate::fault::Fault;
use crate::packed::Instance;
use crate::time::{Instant, micros};

/// An instance in the set.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) node: Arc<Node>,
    /// Since when it is eased in.
    pub(super) eased_since: Option<Instant>,
    pub(super) ejected_until: Option<Instant>,
    /// Ejections that are not forgiven yet.
    pub(super) ejections: u32,
    /// When it has come back from the last of them.
    pub(super) returned: Instant,
}

/// What is remembered of an instance that left.
#[derive(Debug)]
pub(super) struct Past {
    learned: Arc<Learned>,
    eased_since: Option<Instant>,
    ejected_until: Option<Instant>,
    ejections: u32,
    returned: Instant,
}

impl Entry {
    pub(super) fn new(instance: Instance, eases_in: bool, shared: &Arc<Shared>, now: Instant) -> Self {
        let eased_since = (eases_in && is_up(&instance)).then_some(now);
        let node = node(instance, Arc::default(), shared);
        Self { node, eased_since, ejected_until: None, ejections: 0, returned: Instant::default() }
    }

    /// The entry with what the instance says now. Who comes up is eased in.
    pub(super) fn changed(self, instance: Instance, eases_in: bool, shared: &Arc<Shared>, now: Instant) -> Self {
        if self.node.packed == instance {
            return self;
        }
        let comes_up = eases_in && !self.is_up() && is_up(&instance);
        let forgets = shared.config.faults.has(Fault::BalancerForgets);
        let learned = if forgets { Arc::default() } else { Arc::clone(&self.node.learned) };
        let eased_since = if comes_up { Some(now) } else { self.eased_since };
        Self { node: node(instance, learned, shared), eased_since, ..self }
    }

    pub(super) fn into_past(self) -> Past {
        Past {
            learned: Arc::clone(&self.node.learned),
            eased_since: self.eased_since,
            ejected_until: self.ejected_until,
            ejections: self.ejections,
            returned: self.returned,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        is_up(&self.node.packed)
    }

    /// The weight that it says, or the default.
    pub(super) fn base_weight(&self, config: &BalanceConfig) -> u32 {
        self.node.instance.weight().unwrap_or_else(|| config.default_weight.max(1))
    }

    /// The weight that it has now, in units of which [`BalanceConfig::full`] are one.
    pub(super) fn weight(&self, config: &BalanceConfig, now: Instant) -> u64 {
        let step = self.eased_since.map_or_else(|| config.full(), |since| step(config, since, now) + 1);
        u64::from(self.base_weight(config)) * u64::from(step.min(config.full()))
    }

    /// When something is due that concerns it.
    pub(super) fn next(&self, config: &BalanceConfig, now: Instant) -> Option<Instant> {
        let gains = self.eased_since.filter(|&since| step(config, since, now) < config.steps()).map(|since| {
            let step = u64::from(step(config, since, now)) + 1;
            let after =
                (u128::from(micros(config.slow_start.window)) * u128::from(step)).div_ceil(config.steps().into());
            since.saturating_add(Duration::from_micros(u64::try_from(after).unwrap_or(u64::MAX)))
        });
        gains.into_iter().chain(self.ejected_until).min()
    }
}

impl Past {
    /// The instance is back, with all that was learned of it.
    pub(super) fn back(self, instance: Instance, shared: &Arc<Shared>) -> Entry {
        let Self { learned, eased_since, ejected_until, ejections, returned } = self;
        Entry { node: node(instance, learned, shared), eased_since, ejected_until, ejections, returned }
    }
}

fn node(packed: Instance, learned: Arc<Learned>, shared: &Arc<Shared>) -> Arc<Node> {
    let instance = packed.decode();
    Arc::new(Node { packed, instance, learned, shared: Arc::clone(shared) })
}

impl BalanceConfig {
    /// The steps in which newcomers gain weight.
    fn steps(&self) -> u32 {
        self.slow_start.steps.clamp(1, 100)
    }

    /// What one unit of weight is multiplied with, so that the steps are whole numbers.
    pub(super) fn full(&self) -> u32 {
        if self.slow_start.window.is_zero() { 1 } else { self.steps() + 1 }
    }
}

/// The steps that have been taken: [`BalanceConfig::steps`] when the window is over.
fn step(config: &BalanceConfig, since: Instant, now: Instant) -> u32 {
    let steps = config.steps();
    let (window, elapsed) = (micros(config.slow_start.window), micros(now.saturating_since(since)));
    if elapsed >= window || config.faults.has(Fault::BalancerRushesNewcomers) {
        return steps;
    }
    (u128::from(elapsed) * u128::from(steps) / u128::from(window)) as u32
}

//! Dialling with a balancer over what is ready.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use smol_str::SmolStr;

use crate::balance::{BalanceConfig, Balancer, Filter, Picker};
use crate::client::Provenance;
use crate::dial::{ConnectionId, Dial, DialConfig, DialTransmit, Readiness};
use crate::instance::{ServiceInstance, Status};
use crate::name::InstanceId;
use crate::packed::Instance;
use crate::rng::{Rng, Seed};
use crate::time::Instant;

/// Where calls go, after something changed: a value to hand to those who call.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Whether calls go, wait or fail.
    pub readiness: Readiness,
    /// Picks among those that are ready.
    pub picker: Arc<Picker>,
    /// The connection of each instance that is ready.
    pub connections: Arc<BTreeMap<InstanceId, ConnectionId>>,
    /// Those who may be ready soon: they are being connected, and no attempt has failed. A filter that lets none pass of
    /// those who are ready may let one of these.
    pub coming: Arc<[Instance]>,
}

impl Routes {
    /// Whether somebody may be ready soon who takes calls and passes a filter, as far as is known. O(n) for each
    /// condition, and unpacks all who are coming.
    #[must_use]
    pub fn may_come(&self, filter: &Filter) -> bool {
        let coming: Vec<_> = self.coming.iter().map(Instance::decode).collect();
        let takes_calls = |it: &&ServiceInstance| it.status() == Status::Up && it.weight() != Some(0);
        filter.passes(&coming.iter().filter(takes_calls).collect::<Vec<_>>()).contains(&true)
    }
}

/// A [`Dial`], and a [`Balancer`] over the instances that it says are ready. It is driven as a [`Dial`] is.
#[derive(Debug)]
pub struct BalancedDial {
    dial: Dial,
    balancer: Balancer,
    now: Instant,
    routes: Routes,
    changed: bool,
}

impl BalancedDial {
    /// Machines that have heard nothing.
    #[must_use]
    pub fn new(dial: DialConfig, balance: BalanceConfig, seed: Seed, now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let mut seed = || {
            let mut seed = [0; 32];
            seed.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&rng.next_u64().to_le_bytes()));
            seed
        };
        let (dial, balancer) = (Dial::new(dial, seed(), now), Balancer::new(balance, seed()));
        let (readiness, picker) = (dial.readiness(), Arc::clone(balancer.picker()));
        let routes = Routes { readiness, picker, connections: Arc::default(), coming: Arc::default() };
        Self { dial, balancer, now, routes, changed: true }
    }

    /// [`Dial::handle_listing`].
    pub fn handle_listing(&mut self, instances: &[Instance], provenance: Provenance, now: Instant) {
        let now = self.clock(now);
        self.dial.handle_listing(instances, provenance, now);
        self.follow();
    }

    /// [`Dial::handle_connected`].
    pub fn handle_connected(&mut self, id: ConnectionId, now: Instant) {
        let now = self.clock(now);
        self.dial.handle_connected(id, now);
        self.follow();
    }

    /// [`Dial::handle_lost`].
    pub fn handle_lost(&mut self, id: ConnectionId, reason: impl Into<SmolStr>, now: Instant) {
        let now = self.clock(now);
        self.dial.handle_lost(id, reason, now);
        self.follow();
    }

    /// [`Dial::handle_health`].
    pub fn handle_health(&mut self, id: ConnectionId, serving: bool, now: Instant) {
        let now = self.clock(now);
        self.dial.handle_health(id, serving, now);
        self.follow();
    }

    /// [`Dial::handle_timeout`] and [`Balancer::handle_timeout`]: also when a
    /// [pick says so](crate::balance::Pick::done).
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clock(now);
        self.dial.handle_timeout(now);
        self.balancer.handle_timeout(now);
        self.follow();
    }

    /// Sees to it that the next routes have a [view](Picker::view) for a filter. O(n) if it is new.
    pub fn view(&mut self, filter: &Filter) {
        self.balancer.view(filter);
        self.follow();
    }

    /// [`Dial::poll_transmit`].
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<DialTransmit> {
        self.dial.poll_transmit()
    }

    /// Where calls go, if that has changed: the latest, in one step. O(1).
    #[must_use]
    pub fn poll_update(&mut self) -> Option<Routes> {
        mem::take(&mut self.changed).then(|| self.routes.clone())
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). O(1).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.dial.poll_timeout().into_iter().chain(self.balancer.poll_timeout()).min()
    }

    /// The balancer, to look at.
    #[must_use]
    pub const fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    fn clock(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Makes the routes what the machines say.
    fn follow(&mut self) {
        if self.dial.changed {
            let coming: Vec<Instance> = self.dial.coming().cloned().collect();
            if *self.routes.coming != *coming {
                self.routes.coming = coming.into();
                self.changed = true;
            }
        }
        if let Some(update) = self.dial.poll_update() {
            let connections = update.ready.iter().map(|(id, instance)| (instance.instance_id(), *id)).collect();
            if *self.routes.connections != connections {
                self.routes.connections = Arc::new(connections);
            }
            self.balancer.update(update.ready.into_iter().map(|(_, instance)| instance), self.now);
            self.routes.readiness = update.readiness;
            self.changed = true;
        }
        if !Arc::ptr_eq(&self.routes.picker, self.balancer.picker()) {
            self.routes.picker = Arc::clone(self.balancer.picker());
            self.changed = true;
        }
    }
}

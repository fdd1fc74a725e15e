//! Picking: an immutable view of the instances that may be called, shared by all who call them.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;

use super::config::Policy;
use super::cost::Candidate;
use super::draw::Draw;
use super::filter::Filter;
use super::hash::{below, nth};
use super::maglev::Maglev;
use super::node::{Learned, Node};
use super::pick::{Pick, PickError, PickRequest};
use super::ring::Ring;
use super::schedule::smooth;
use super::shared::{Cursor, Shared};
use crate::fault::Fault;
use crate::name::InstanceId;
use crate::ordered::OrderedMap;
use crate::time::Instant;

/// How often a draw that hit somebody who does not count is repeated before whoever is next stands in.
const DRAWS: u64 = 4;
/// How far a walk along a schedule, ring or table goes before whoever is next stands in.
const WALK: usize = 64;

/// Picks nodes. It never changes: a [`Balancer`](super::Balancer) makes a new one when the set does, and what was learned
/// of the nodes is in both.
pub struct Picker {
    shared: Arc<Shared>,
    slots: Arc<[Slot]>,
    table: Arc<Table>,
    cursor: Arc<Cursor>,
    nobody: PickError,
    views: OrderedMap<Filter, Held>,
}

/// A node that can be picked.
pub(super) struct Slot {
    node: Arc<Node>,
    /// The node's own, one look nearer.
    learned: Arc<Learned>,
    weight: u64,
    /// What a call weighs here, where [`Candidate::CALL`] is a call at a node of mean weight.
    call: u32,
}

/// What a policy works out beforehand.
enum Table {
    Draw(Draw),
    Schedule(alloc::boxed::Box<[u32]>),
    Ring(Ring),
    Maglev(Maglev),
}

/// A view in the picker of the whole set.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) picker: Arc<Picker>,
    pub(super) used: Arc<AtomicBool>,
}

impl Picker {
    /// Picks a node. Without lock and allocation, and O(1) but for [`Policy::Ring`]; requests that exclude most of the
    /// instances may cost O(n).
    ///
    /// # Errors
    /// There is nobody to pick, and why.
    pub fn pick(&self, request: &PickRequest<'_>, now: Instant) -> Result<Pick, PickError> {
        if self.slots.is_empty() {
            return Err(self.nobody);
        }
        let place = match &*self.table {
            Table::Draw(draw) => self.draw(draw, request, now),
            Table::Schedule(cycle) => {
                let at = self.cursor.advance() as usize % cycle.len();
                if request.exclude.is_empty() {
                    Some(cycle[at] as usize)
                } else {
                    let walk = cycle[at..].iter().chain(&cycle[..at]).map(|&place| place as usize);
                    self.walk(walk, request)
                }
            }
            Table::Ring(ring) => self.walk(ring.from(request.key.unwrap_or(request.random)), request),
            Table::Maglev(maglev) => self.walk(maglev.from(request.key.unwrap_or(request.random)), request),
        };
        let slot = &self.slots[place.ok_or(PickError::Excluded)?];
        Ok(Pick::new(Arc::clone(&slot.node), now))
    }

    /// The nodes that can be picked, in the order of their ids.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Arc<Node>> {
        self.slots.iter().map(|slot| &slot.node)
    }

    /// The share of calls that a node's weight asks for, of a million. O(n).
    #[must_use]
    pub fn share_ppm(&self, id: &InstanceId) -> u32 {
        let total: u128 = self.slots.iter().map(|slot| u128::from(slot.weight)).sum();
        let slot = self.slots.iter().find(|slot| slot.node.id() == id);
        slot.map_or(0, |slot| (u128::from(slot.weight) * 1_000_000 / total.max(1)) as u32)
    }

    /// The picker among those that pass a filter, if the balancer has one: see
    /// [`Balancer::view`](super::Balancer::view). O(log views), without a lock.
    #[must_use]
    pub fn view(&self, filter: &Filter) -> Option<&Arc<Self>> {
        let held = self.views.get(filter)?;
        if !held.used.load(Relaxed) {
            held.used.store(true, Relaxed);
        }
        Some(&held.picker)
    }

    fn allows(&self, place: usize, request: &PickRequest<'_>) -> bool {
        !request.excludes(&self.slots[place].node)
    }

    fn draw(&self, draw: &Draw, request: &PickRequest<'_>, now: Instant) -> Option<usize> {
        let first = self.drawn(draw, request, nth(request.random, 0), None)?;
        if self.shared.config.policy == Policy::WeightedRandom || self.slots.len() == 1 {
            return Some(first);
        }
        let Some(rival) = self.drawn(draw, request, nth(request.random, 1), Some(first)) else {
            return Some(first);
        };
        let (held, challenging) = (self.slots[first].candidate(), self.slots[rival].candidate());
        let faults = self.shared.config.faults;
        let yields = match self.shared.config.policy {
            Policy::LeastRequest => held.busier_than(&challenging),
            _ => held.dearer_than(&challenging, now, self.shared.half_life, faults),
        };
        Some(if yields { rival } else { first })
    }

    /// Somebody by weight who is not excluded and is not this one.
    fn drawn(&self, draw: &Draw, request: &PickRequest<'_>, random: u64, not: Option<usize>) -> Option<usize> {
        let fits = |&place: &usize| Some(place) != not && self.allows(place, request);
        if let Some(place) = (0..DRAWS).map(|attempt| draw.place(nth(random, attempt))).find(fits) {
            return Some(place);
        }
        let start = below(nth(random, DRAWS) as u32, self.slots.len());
        (start..self.slots.len()).chain(0..start).find(fits)
    }

    /// The first of a walk who is not excluded.
    fn walk(&self, mut walk: impl Iterator<Item = usize>, request: &PickRequest<'_>) -> Option<usize> {
        let first = walk.next()?;
        if self.allows(first, request) {
            return Some(first);
        }
        let near = walk.take(WALK).find(|&place| self.allows(place, request));
        near.or_else(|| (first..self.slots.len()).chain(0..first).find(|&place| self.allows(place, request)))
    }
}

/// How the balancer makes pickers.
impl Picker {
    /// A picker among these, whose weights are not zero; `nobody` is the answer if there are none. What an earlier
    /// picker has worked out is used again where it still holds.
    pub(super) fn new(
        shared: &Arc<Shared>,
        cursor: &Arc<Cursor>,
        members: Vec<(Arc<Node>, u64)>,
        nobody: PickError,
        earlier: Option<&Self>,
    ) -> Self {
        let weights: Vec<u64> = members.iter().map(|&(_, weight)| weight).collect();
        let same = earlier.filter(|earlier| {
            let slots = earlier.slots.iter().map(|slot| (slot.node.id(), slot.weight));
            slots.eq(members.iter().map(|(node, weight)| (node.id(), *weight)))
        });
        let table = same.map_or_else(|| Arc::new(table(shared, &members, &weights)), |same| Arc::clone(&same.table));
        let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
        let mean = total / weights.len().max(1) as u128;
        let slot = |(node, weight): (Arc<Node>, u64)| {
            let call = (u128::from(Candidate::CALL) * mean / u128::from(weight.max(1))).clamp(1, 1 << 24) as u32;
            Slot { learned: Arc::clone(&node.learned), node, weight, call }
        };
        let slots = members.into_iter().map(slot).collect();
        Self { shared: Arc::clone(shared), slots, table, cursor: Arc::clone(cursor), nobody, views: OrderedMap::new() }
    }

    /// Whether it is a picker among just these.
    pub(super) fn is_among(&self, members: &[(Arc<Node>, u64)], nobody: PickError) -> bool {
        let same =
            |slot: &Slot, (node, weight): &(Arc<Node>, u64)| Arc::ptr_eq(&slot.node, node) && slot.weight == *weight;
        (!members.is_empty() || self.nobody == nobody)
            && self.slots.len() == members.len()
            && self.slots.iter().zip(members).all(|(slot, member)| same(slot, member))
    }

    /// The same picker with these views.
    pub(super) fn with_views(&self, views: OrderedMap<Filter, Held>) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            slots: Arc::clone(&self.slots),
            table: Arc::clone(&self.table),
            cursor: Arc::clone(&self.cursor),
            nobody: self.nobody,
            views,
        }
    }

    pub(super) const fn views(&self) -> &OrderedMap<Filter, Held> {
        &self.views
    }
}

impl Slot {
    fn candidate(&self) -> Candidate<'_> {
        Candidate { learned: &self.learned, call: self.call }
    }
}

fn table(shared: &Shared, members: &[(Arc<Node>, u64)], weights: &[u64]) -> Table {
    let config = &shared.config;
    let ids = members.iter().map(|(node, _)| node.id().as_str());
    match config.policy {
        Policy::P2c | Policy::LeastRequest if config.faults.has(Fault::BalancerIgnoresWeight) => {
            Table::Draw(Draw::new(&alloc::vec![1; weights.len()]))
        }
        Policy::P2c | Policy::LeastRequest | Policy::WeightedRandom => Table::Draw(Draw::new(weights)),
        Policy::WeightedRoundRobin => Table::Schedule(smooth(weights, config.schedule)),
        Policy::Ring => Table::Ring(Ring::new(ids.zip(weights.iter().copied()), shared.unit_weight(), config.points)),
        Policy::Maglev => Table::Maglev(Maglev::new(ids, weights, config.schedule)),
    }
}

impl fmt::Debug for Picker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.slots.iter().map(|slot| (slot.node.id(), slot.weight));
        f.debug_map().entries(nodes).finish()
    }
}

//! The machine: it is told of the set and of time, and makes pickers.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;

use super::config::BalanceConfig;
use super::entry::{Entry, Past};
use super::filter::Filter;
use super::node::Node;
use super::pick::PickError;
use super::picker::{Held, Picker};
use super::shared::{Cursor, Shared};
use super::subset::rendezvous;
use crate::fault::Fault;
use crate::instance::Status;
use crate::name::InstanceId;
use crate::ordered::{OrderedMap, sort};
use crate::packed::Instance;
use crate::rng::{Rng, Seed};
use crate::time::Instant;

/// Balances calls among the instances of one service.
///
/// It knows instances by their ids, and what was learned of one outlives every update, also one in which it is missing
/// for a while. Its pickers are values to hand to those who call.
#[derive(Debug)]
pub struct Balancer {
    pub(super) shared: Arc<Shared>,
    pub(super) entries: OrderedMap<InstanceId, Entry>,
    past: OrderedMap<InstanceId, (Instant, Past)>,
    picker: Arc<Picker>,
    cursor: Arc<Cursor>,
    views: OrderedMap<Filter, View>,
    views_made: u64,
    rng: Rng,
    pub(super) now: Instant,
    pub(super) sweep_at: Option<Instant>,
    next: Option<Instant>,
}

#[derive(Debug)]
struct View {
    cursor: Arc<Cursor>,
    used: Arc<AtomicBool>,
    number: u64,
}

/// Who may be called.
struct Members {
    /// Those that are not ejected; everybody if all are.
    available: Vec<(Arc<Node>, u64)>,
    /// Those that are ejected, too.
    all: Vec<(Arc<Node>, u64)>,
    nobody: PickError,
}

impl Balancer {
    /// A balancer of no instances. The seed decides where round robins begin.
    #[must_use]
    pub fn new(config: BalanceConfig, seed: Seed) -> Self {
        let mut rng = Rng::new(seed);
        let shared = Arc::new(Shared::new(config));
        let cursor = Arc::new(start(&shared, &mut rng));
        let picker = Arc::new(Picker::new(&shared, &cursor, Vec::new(), PickError::Empty, None));
        Self {
            shared,
            entries: OrderedMap::new(),
            past: OrderedMap::new(),
            picker,
            cursor,
            views: OrderedMap::new(),
            views_made: 0,
            rng,
            now: Instant::default(),
            sweep_at: None,
            next: None,
        }
    }

    /// How it behaves.
    #[must_use]
    pub fn config(&self) -> &BalanceConfig {
        &self.shared.config
    }

    /// The present picker. O(1).
    #[must_use]
    pub const fn picker(&self) -> &Arc<Picker> {
        &self.picker
    }

    /// Takes the instances as they are now, and returns the picker among them: the same one, if nothing has changed that
    /// concerns it. Of two instances with one id the later counts.
    ///
    /// O(n · log n), and what the policy works out: of weights that need a long schedule, the schedule.
    pub fn update(&mut self, instances: impl IntoIterator<Item = Instance>, now: Instant) -> &Arc<Picker> {
        self.now = self.now.max(now);
        let mut before = mem::take(&mut self.entries);
        let eases_in = before.values().any(Entry::is_up);
        for instance in instances {
            let id = instance.instance_id();
            let entry = match before.remove(&id).or_else(|| self.entries.remove(&id)) {
                Some(entry) => entry.changed(instance, eases_in, &self.shared, self.now),
                None => match self.recall(&id) {
                    Some(past) => past.back(instance, &self.shared),
                    None => Entry::new(instance, eases_in, &self.shared, self.now),
                },
            };
            self.entries.insert(id, entry);
        }
        self.remember(before);
        self.rebuild();
        &self.picker
    }

    /// The picker among those that pass a filter. The balancer keeps it and its place in the round robin over updates,
    /// and the next pickers of the whole set have it, too. O(log views) if it has one, and O(views + n) otherwise.
    pub fn view(&mut self, filter: &Filter) -> Arc<Picker> {
        if let Some(held) = self.picker.view(filter) {
            return Arc::clone(held);
        }
        if self.views.len() >= self.shared.config.views.max(1) {
            self.drop_a_view();
        }
        let cursor = Arc::new(start(&self.shared, &mut self.rng));
        self.views_made += 1;
        let view = View { cursor, used: Arc::new(AtomicBool::new(false)), number: self.views_made };
        self.views.insert(filter.clone(), view);
        self.rebuild();
        let held = self.picker.views().get(filter).expect("rebuilding makes a picker for every view");
        Arc::clone(&held.picker)
    }

    /// When [`Balancer::handle_timeout`] wants to be called next. O(1).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.shared.wants_attention() { Some(self.now) } else { self.next }
    }

    /// Lets time pass: newcomers gain weight, those who fail are ejected, and the ejected return. O(n) if something is
    /// due, and O(1) otherwise. Returns the picker, which is another one if something has changed.
    pub fn handle_timeout(&mut self, now: Instant) -> &Arc<Picker> {
        self.now = self.now.max(now);
        let due = self.next.is_some_and(|next| next <= self.now);
        if self.shared.take_attention() || due {
            self.judge();
            self.rebuild();
        }
        &self.picker
    }

    /// The instances that are ejected now, and until when. O(n).
    pub fn ejected(&self) -> impl Iterator<Item = (&InstanceId, Instant)> {
        self.entries.iter().filter_map(|(id, entry)| Some((id, entry.ejected_until?)))
    }

    fn recall(&mut self, id: &InstanceId) -> Option<Past> {
        if self.shared.config.faults.has(Fault::BalancerForgets) {
            return None;
        }
        let (left, past) = self.past.remove(id)?;
        (self.now.saturating_since(left) <= self.shared.config.memory.time).then_some(past)
    }

    fn remember(&mut self, left: OrderedMap<InstanceId, Entry>) {
        let (now, memory) = (self.now, self.shared.config.memory);
        self.past.retain(|_, (left, _)| now.saturating_since(*left) <= memory.time);
        self.past.extend(left.into_iter().map(|(id, entry)| (id, (now, entry.into_past()))));
        let excess = self.past.len().saturating_sub(memory.instances);
        if excess > 0 {
            let mut ages: Vec<(Instant, InstanceId)> =
                self.past.iter().map(|(id, (left, _))| (*left, id.clone())).collect();
            sort(&mut ages);
            ages.iter().take(excess).for_each(|(_, id)| drop(self.past.remove(id)));
        }
    }

    /// Makes room for a view: the oldest goes that nobody has used since room was made last, or else the oldest.
    fn drop_a_view(&mut self) {
        let oldest = self.views.iter().min_by_key(|(_, view)| (view.used.load(Relaxed), view.number));
        if let Some(filter) = oldest.map(|(filter, _)| filter.clone()) {
            self.views.remove(&filter);
        }
        self.views.values().for_each(|view| view.used.store(false, Relaxed));
    }

    /// Makes the pickers anew that are not what they should be, and finds out when to look again.
    fn rebuild(&mut self) {
        let members = self.members();
        let mut views = OrderedMap::new();
        for (filter, view) in &self.views {
            let earlier = self.picker.views().get(filter);
            let (chosen, nobody) = members.passing(filter);
            let picker = match earlier {
                Some(held) if held.picker.is_among(&chosen, nobody) => Arc::clone(&held.picker),
                _ => {
                    let cursor = if self.shared.config.faults.has(Fault::BalancerMixesViews) {
                        &self.cursor
                    } else {
                        &view.cursor
                    };
                    let earlier = earlier.map(|held| &*held.picker);
                    Arc::new(Picker::new(&self.shared, cursor, chosen, nobody, earlier))
                }
            };
            views.insert(filter.clone(), Held { picker, used: Arc::clone(&view.used) });
        }
        let same = self.picker.is_among(&members.available, members.nobody);
        let same_view = |(held, new): (&Held, &Held)| Arc::ptr_eq(&held.picker, &new.picker);
        let same_views = self.picker.views().keys().eq(views.keys())
            && self.picker.views().values().zip(views.values()).all(same_view);
        if !same {
            let picker = Picker::new(&self.shared, &self.cursor, members.available, members.nobody, Some(&self.picker));
            self.picker = Arc::new(picker.with_views(views));
        } else if !same_views {
            self.picker = Arc::new(self.picker.with_views(views));
        }
        let config = &self.shared.config;
        let entries = self.entries.values().filter_map(|entry| entry.next(config, self.now));
        self.next = entries.chain(self.sweep_at).min();
    }

    /// Those that may be called, were it not for ejections: up, with a weight, and in the subset. O(n).
    pub(super) fn callable(&self) -> Vec<&Entry> {
        let config = &self.shared.config;
        let callable = self.entries.values().filter(|entry| entry.is_up() && entry.base_weight(config) > 0).collect();
        match &config.subset {
            Some(subset) => rendezvous(subset.key.as_bytes(), callable, subset.size, |entry| entry.node.id().as_str()),
            None => callable,
        }
    }

    fn members(&self) -> Members {
        let nobody = match (self.entries.is_empty(), self.entries.values().any(Entry::is_up)) {
            (true, _) => PickError::Empty,
            (false, false) => PickError::NoneUp,
            (false, true) => PickError::ZeroWeight,
        };
        let all = self.callable();
        let weighed = |entry: &&Entry| (Arc::clone(&entry.node), entry.weight(&self.shared.config, self.now));
        let mut available: Vec<_> = all.iter().filter(|entry| entry.ejected_until.is_none()).map(weighed).collect();
        let all: Vec<_> = all.iter().map(weighed).collect();
        if available.is_empty() {
            available.clone_from(&all);
        }
        Members { available, all, nobody }
    }
}

impl Members {
    /// Those that pass a filter: of those that are available, and else of the ejected.
    fn passing(&self, filter: &Filter) -> (Vec<(Arc<Node>, u64)>, PickError) {
        let pass = |members: &[(Arc<Node>, u64)]| {
            let instances: Vec<_> = members.iter().map(|(node, _)| node.instance()).collect();
            let passes = filter.passes(&instances);
            members.iter().zip(passes).filter(|(_, passes)| *passes).map(|(member, _)| member.clone()).collect()
        };
        let mut chosen: Vec<_> = pass(&self.available);
        if chosen.is_empty() {
            chosen = pass(&self.all);
        }
        (chosen, if self.all.is_empty() { self.nobody } else { PickError::Filtered })
    }
}

fn start(shared: &Shared, rng: &mut Rng) -> Cursor {
    let drawn = rng.next_u64() as u32;
    Cursor::new(shared.config.start.unwrap_or(drawn))
}

/// Whether an instance wants calls.
pub(super) fn is_up(instance: &Instance) -> bool {
    instance.status() == Status::Up
}

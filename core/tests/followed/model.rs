//! What a client that has heard so much shows, without any thought for speed.
//!
//! A set is what the registry listed at the place where the interest is, and what is kept besides because a registry
//! that was warming did not list it.

use std::collections::BTreeMap;
use std::time::Duration;

use periplus_core::client::Provenance;
use periplus_core::client::subscription::{SubscriptionConfig, SubscriptionCounters};
use periplus_core::{Instance, Instant, Key, Selector};

use super::world::{Place, Said, Stream, World, contains, covers};

pub type Shown = BTreeMap<Key, Instance>;

/// Kept although it is not listed: how it looks, its ttl, and when it goes at the earliest.
type Kept = BTreeMap<Key, (Instance, Option<Duration>, Instant)>;

#[derive(Clone)]
pub struct Followed {
    pub selector: Selector,
    pub subscribers: usize,
    lingers: Option<Instant>,
    pub based: bool,
    pub place: Option<Place>,
    kept: Kept,
    unsettled: bool,
    pub provenance: Provenance,
    left: Vec<Place>,
}

impl Followed {
    fn new(selector: Selector) -> Self {
        Self {
            selector,
            subscribers: 0,
            lingers: None,
            based: false,
            place: None,
            kept: Kept::new(),
            unsettled: false,
            provenance: Provenance::Unknown,
            left: vec![],
        }
    }

    pub fn known(&self) -> bool {
        self.provenance != Provenance::Unknown
    }

    fn full(&self, world: &World) -> BTreeMap<Key, (Instance, Option<Duration>)> {
        let kept = self.kept.iter().map(|(key, (instance, ttl, _))| (key.clone(), (instance.clone(), *ttl)));
        let place = self.place.filter(|_| self.based);
        let listed = place.into_iter().flat_map(|place| world.at(place).clone());
        kept.chain(listed.filter(|(key, _)| contains(&self.selector, key))).collect()
    }

    pub fn shown(&self, world: &World) -> Shown {
        self.full(world).into_iter().map(|(key, (instance, _))| (key, instance)).collect()
    }

    /// Whether a delivery at a place is older than what was shown.
    fn refuses(&self, (life, revision): Place) -> bool {
        self.place.iter().chain(&self.left).any(|seen| seen.0 == life && seen.1 > revision)
    }

    fn is_within(&self, place: Place) -> bool {
        self.based && self.place.is_some_and(|held| held.0 == place.0)
    }

    fn go_to(&mut self, place: Place) {
        if let Some(held) = self.place.replace(place).filter(|held| held.0 != place.0) {
            self.left.retain(|left| left.0 != place.0);
            self.left.push(held);
            self.left.drain(..self.left.len().saturating_sub(8));
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.provenance == Provenance::Live && !self.unsettled {
            self.kept.retain(|_, (_, _, due)| *due > now);
        }
    }

    fn heard(&mut self, warming: bool, now: Instant) {
        self.provenance = if warming { Provenance::Unconfirmed } else { Provenance::Live };
        self.unsettled &= warming;
        self.sweep(now);
    }
}

pub struct Model {
    config: SubscriptionConfig,
    pub followed: Vec<Followed>,
    cached: Vec<Followed>,
    pub counters: SubscriptionCounters,
    /// Odd while the client is suspended.
    pub suspensions: u64,
    /// When the sets are to be written.
    pub save: Option<Instant>,
}

impl Model {
    pub fn new(config: SubscriptionConfig) -> Self {
        Self {
            config,
            followed: vec![],
            cached: vec![],
            counters: SubscriptionCounters::default(),
            suspensions: 0,
            save: None,
        }
    }

    pub fn find(&self, selector: &Selector) -> Option<&Followed> {
        self.followed.iter().find(|followed| followed.selector == *selector)
    }

    /// Where a stream of an interest begins.
    pub fn resume(&self, followed: &Followed) -> Option<Place> {
        let (life, revision) = followed.place.filter(|_| followed.based)?;
        let level = |f: &Followed| f.based && f.place.is_some_and(|at| at.0 == life && at.1 >= revision);
        let mut covered = self.followed.iter().filter(|other| covers(&followed.selector, &other.selector));
        covered.all(level).then_some((life, revision))
    }

    /// Whether it was let in.
    pub fn watch(&mut self, selector: &Selector) -> bool {
        let subscriptions: usize = self.followed.iter().map(|followed| followed.subscribers).sum();
        if subscriptions >= self.config.subscriptions {
            return false;
        }
        if self.find(selector).is_none() {
            let mut new = Followed::new(selector.clone());
            let known = self.cached.iter().chain(&self.followed).filter(|f| f.known() && covers(&f.selector, selector));
            if let Some(wide) = known.max_by_key(|wide| wide.based) {
                new = Followed { selector: selector.clone(), subscribers: 0, lingers: None, ..wide.clone() };
                new.kept.retain(|key, _| contains(selector, key));
            }
            if self.followed.len() >= self.config.selectors {
                let lingering = self.followed.iter().enumerate();
                let Some((_, spare)) = lingering.filter_map(|(at, f)| Some((f.lingers?, at))).min() else {
                    return false;
                };
                self.followed.remove(spare);
            }
            self.followed.push(new);
        }
        let followed = self.followed.iter_mut().find(|f| f.selector == *selector).expect("it was put there");
        followed.subscribers += 1;
        followed.lingers = None;
        true
    }

    pub fn unwatch(&mut self, selector: &Selector, now: Instant) {
        let followed = self.followed.iter_mut().find(|f| f.selector == *selector).expect("it is followed");
        followed.subscribers -= 1;
        if followed.subscribers == 0 {
            followed.lingers = Some(now.saturating_add(self.config.linger));
        }
    }

    pub const fn is_suspended(&self) -> bool {
        self.suspensions % 2 == 1
    }

    pub fn suspend(&mut self, now: Instant) {
        if !self.is_suspended() {
            self.suspensions += 1;
            self.lose(|_| true, now);
        }
    }

    pub const fn come_back(&mut self) {
        self.suspensions += self.suspensions % 2;
    }

    /// What a stream is about. One that said something before a suspension, or during one, has missed something.
    fn of<'a>(&'a mut self, stream: &Stream) -> impl Iterator<Item = &'a mut Followed> {
        let selectors = stream.following.selectors().to_vec();
        let hears = stream.since == Some(self.suspensions) && !self.is_suspended();
        let about = move |f: &&mut Followed| hears && selectors.iter().any(|wide| covers(wide, &f.selector));
        self.followed.iter_mut().filter(about)
    }

    /// Counts what a step changed, and remembers that it is to be written.
    fn counted<T>(&mut self, world: &World, now: Instant, step: impl FnOnce(&mut Self) -> T) -> T {
        let before: Vec<Shown> = self.followed.iter().map(|followed| followed.shown(world)).collect();
        let done = step(self);
        let mut changes = 0;
        for (before, followed) in before.iter().zip(&self.followed) {
            let after = followed.shown(world);
            changes += before.iter().filter(|(key, was)| after.get(*key) != Some(*was)).count() as u64;
            changes += after.keys().filter(|key| !before.contains_key(*key)).count() as u64;
        }
        self.counters.changes += changes;
        if changes > 0 {
            self.dirty(now);
        }
        done
    }

    fn dirty(&mut self, now: Instant) {
        if self.config.remember && self.save.is_none() {
            self.save = Some(now.saturating_add(Duration::from_secs(2)));
        }
    }

    /// Whether the delivery is taken.
    pub fn deliver(&mut self, stream: &Stream, said: &Said, world: &World, now: Instant) -> bool {
        let told = |f: &Followed| said.delivery.snapshots.iter().any(|(wide, _)| covers(wide, &f.selector));
        if self.of(stream).any(|f| told(f) && f.refuses(said.place)) {
            return false;
        }
        self.counters.deliveries += 1;
        self.counters.snapshots += said.delivery.snapshots.len() as u64;
        let warming = said.delivery.warming;
        if !said.delivery.snapshots.is_empty() {
            self.cached.clear();
        }
        let news = self.counted(world, now, |model| {
            let mut news = false;
            for followed in model.of(stream) {
                let within = followed.is_within(said.place);
                if told(followed) && !(within && followed.place == Some(said.place)) {
                    news = true;
                    let held = followed.full(world);
                    if !warming {
                        followed.kept.clear();
                    } else if !within {
                        let due = |ttl: Option<Duration>| now.saturating_add(ttl.unwrap_or(Duration::from_secs(30)));
                        followed.kept = held.into_iter().map(|(key, (i, ttl))| (key, (i, ttl, due(ttl)))).collect();
                    }
                    followed.kept.retain(|key, _| !world.at(said.place).contains_key(key));
                    followed.unsettled = !followed.kept.is_empty();
                    followed.based = true;
                    followed.go_to(said.place);
                } else if within && followed.place < Some(said.place) {
                    followed.kept.retain(|key, _| !said.touched.contains(key));
                    followed.go_to(said.place);
                }
                if followed.is_within(said.place) && followed.place <= Some(said.place) {
                    followed.heard(warming, now);
                }
            }
            news
        });
        if news {
            self.dirty(now);
        }
        true
    }

    pub fn live(&mut self, stream: &Stream, warming: bool, world: &World, now: Instant) {
        self.counted(world, now, |model| {
            model.of(stream).filter(|followed| followed.based).for_each(|followed| followed.heard(warming, now));
        });
    }

    pub fn stale(&mut self, stream: &Stream, heard: Instant) {
        let lost: Vec<Selector> = self.of(stream).map(|followed| followed.selector.clone()).collect();
        self.lose(|selector| lost.contains(selector), heard);
    }

    fn lose(&mut self, lost: impl Fn(&Selector) -> bool, heard: Instant) {
        for followed in self.followed.iter_mut().filter(|followed| lost(&followed.selector)) {
            if matches!(followed.provenance, Provenance::Live | Provenance::Unconfirmed) {
                followed.provenance = Provenance::Stale { since: heard };
                self.counters.stale += 1;
            }
        }
    }

    pub fn timeout(&mut self, world: &World, now: Instant) {
        self.followed.retain(|followed| followed.lingers.is_none_or(|end| end > now));
        self.counted(world, now, |model| model.followed.iter_mut().for_each(|followed| followed.sweep(now)));
    }

    /// When something will happen by itself.
    pub fn next(&self) -> Option<Instant> {
        let sweeps = |f: &&Followed| f.provenance == Provenance::Live && !f.unsettled;
        let due = self.followed.iter().filter(sweeps).flat_map(|f| f.kept.values().map(|(_, _, due)| *due));
        self.followed.iter().filter_map(|followed| followed.lingers).chain(due).min()
    }

    /// What the cache holds.
    pub fn cache(&self, world: &World) -> Vec<Followed> {
        let known = self.followed.iter().filter(|followed| followed.known());
        let set = |followed: &Followed| {
            let kept = followed.full(world).into_iter();
            let kept = kept.map(|(key, (instance, ttl))| (key, (instance, ttl, Instant::default()))).collect();
            Followed { kept, place: followed.place, ..Followed::new(followed.selector.clone()) }
        };
        known.map(set).collect()
    }

    pub fn restore(&mut self, cached: &[Followed], now: Instant) {
        let stale = |set: &Followed| Followed { provenance: Provenance::Stale { since: now }, ..set.clone() };
        self.cached = cached.iter().map(stale).collect();
    }
}

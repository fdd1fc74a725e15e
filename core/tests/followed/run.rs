//! Does the same to the real thing and to the model, and compares everything after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use periplus_core::client::subscription::{SubscriptionConfig, Subscriptions};
use periplus_core::client::{CommandError, Provenance, SubscriptionId};
use periplus_core::fault::Faults;
use periplus_core::{Change, Instance, Instant, Key, Selector};

use super::model::{Followed, Model, Shown};
use super::world::{Place, Said, Server, Stream, World, contains, covers, cursor, key, place, selector};

const START: Instant = Instant::from_micros(1_000_000_000);
const SPANS: [u64; 8] = [1, 500, 1_999, 2_000, 5_000, 12_000, 31_000, 45_000];

/// One operation: what, and three numbers that say with what.
pub type Op = [u8; 4];

/// Somebody who follows something.
struct Holder {
    id: SubscriptionId,
    selector: Selector,
    /// What it was given, all updates together.
    given: Option<(Shown, Provenance)>,
    /// Whether it was said to have something waiting.
    announced: bool,
    /// The latest place it was shown of each epoch.
    seen: BTreeMap<usize, u64>,
}

pub struct Run {
    config: SubscriptionConfig,
    subs: Subscriptions,
    model: Model,
    world: World,
    streams: Vec<Stream>,
    holders: Vec<Holder>,
    /// What was asked for last, and whether something else is to be asked for.
    asked: Vec<Selector>,
    changed: bool,
    now: Instant,
    disk: Option<(Vec<u8>, Vec<Followed>)>,
    lives: usize,
    step: usize,
}

/// Runs the operations. Panics if anything that is said is wrong.
pub fn run(variant: u8, faults: Faults, ops: &[Op]) {
    let mut run = Run::new(variant, faults);
    for op in ops {
        run.step(*op);
    }
    run.heal();
}

impl Run {
    fn new(variant: u8, faults: Faults) -> Self {
        let linger = Duration::from_secs([30, 5, 0][usize::from(variant % 3)]);
        let (selectors, subscriptions) = if variant.is_multiple_of(4) { (3, 5) } else { (8, 12) };
        let config =
            SubscriptionConfig { linger, selectors, subscriptions, remember: variant.is_multiple_of(2), faults };
        let mut subs = Subscriptions::new(config);
        subs.handle_timeout(START);
        Self {
            config,
            subs,
            model: Model::new(config),
            world: World::new(),
            streams: vec![],
            holders: vec![],
            asked: vec![],
            changed: false,
            now: START,
            disk: None,
            lives: 1,
            step: 0,
        }
    }

    fn step(&mut self, [kind, a, b, c]: Op) {
        let before = self.sets();
        match kind % 64 {
            0..=11 => self.world.put(key(a), b, c),
            12..=15 => self.world.remove(key(a)),
            16..=20 => self.watch(a),
            21..=23 => self.unwatch(a),
            24..=29 => self.poll(a),
            30..=39 => self.speak(a, b),
            40..=42 => self.open_if_needed(),
            43..=44 => self.cut(a),
            45 => self.restart(a),
            46..=47 => self.settle(a),
            48..=51 => self.advance(a, false),
            52 => self.advance(a, true),
            53 => self.world.floor = self.world.latest().1,
            54..=55 => self.open(Server::Behind(self.world.some_place(a, b))),
            56 => self.repeat(a),
            57 => self.live(a),
            58 => self.reborn(),
            59 => self.garbage(a),
            60 => self.back_in_time(a),
            61 => self.watch_and_leave(a),
            62 => self.suspend(a),
            _ => self.speak(u8::MAX, 0),
        }
        let may_change = matches!(kind % 64, 30..=39 | 46..=52 | 56..=58 | 63..);
        if !may_change {
            for (id, before) in before {
                let after = self.subs.view(id).map(|view| view.instances);
                assert!(after.is_none_or(|after| after == before), "W13: a set changed, and nobody said so");
            }
        }
        self.step += 1;
        self.check();
    }

    fn sets(&self) -> Vec<(SubscriptionId, Vec<Instance>)> {
        self.holders.iter().map(|h| (h.id, self.subs.view(h.id).expect("it is there").instances)).collect()
    }

    fn pick(&self, number: u8) -> Option<usize> {
        (!self.streams.is_empty()).then(|| usize::from(number) % self.streams.len())
    }

    // Commands.

    fn watch(&mut self, number: u8) {
        let selector = selector(number);
        let let_in = self.model.watch(&selector);
        match self.subs.watch(&selector, self.now) {
            Ok(id) => {
                assert!(let_in, "the limits hold");
                let before = self.holders.last().map(|holder| holder.id);
                assert!(before < Some(id), "no name is used twice");
                let seen = BTreeMap::new();
                self.holders.push(Holder { id, selector, given: None, announced: false, seen });
            }
            Err(error) => {
                assert!(!let_in, "{error}, but there is room");
                assert!(matches!(error, CommandError::Limit { .. }));
            }
        }
    }

    fn unwatch(&mut self, number: u8) {
        self.subs.unwatch(SubscriptionId(u64::MAX), self.now);
        if self.holders.is_empty() {
            return;
        }
        let holder = self.holders.remove(usize::from(number) % self.holders.len());
        self.subs.unwatch(holder.id, self.now);
        self.subs.unwatch(holder.id, self.now);
        self.model.unwatch(&holder.selector, self.now);
        assert_eq!((self.subs.view(holder.id), self.subs.poll_update(holder.id)), (None, None), "it is over");
    }

    fn watch_and_leave(&mut self, number: u8) {
        let before = self.holders.len();
        self.watch(number);
        if self.holders.len() > before {
            let holder = self.holders.pop().expect("it was let in");
            self.subs.unwatch(holder.id, self.now);
            self.model.unwatch(&holder.selector, self.now);
        }
    }

    fn back_in_time(&mut self, number: u8) {
        let now = std::mem::replace(&mut self.now, Instant::from_micros(0));
        self.subs.handle_timeout(self.now);
        self.model.timeout(&self.world, now);
        let selector = selector(number);
        if let Ok(id) = self.subs.watch(&selector, self.now) {
            self.subs.unwatch(id, self.now);
        }
        self.now = now;
        // Whatever was said to be earlier was taken for now.
        if self.model.watch(&selector) {
            self.model.unwatch(&selector, now);
        }
    }

    /// Suspends the client, or ends that; once in a while what is so already. Its streams go on talking.
    fn suspend(&mut self, number: u8) {
        if number.is_multiple_of(3) {
            self.subs.suspend(self.now);
            self.model.suspend(self.now);
        } else {
            self.subs.resume();
            self.model.come_back();
        }
    }

    // What streams say.

    /// A stream is about to say something.
    fn hear(&mut self, at: usize) {
        self.streams[at].since.get_or_insert(self.model.suspensions);
    }

    fn asked(&self) -> Vec<(Selector, Option<Place>)> {
        self.subs.interests().map(|(_, selector, at)| (selector.clone(), at.map(place))).collect()
    }

    fn open_if_needed(&mut self) {
        self.changed |= self.subs.take_changed_interests();
        if self.changed || self.streams.is_empty() {
            self.open(Server::Current);
        }
    }

    /// Opens a stream. The one before goes on until the new one says something.
    fn open(&mut self, server: Server) {
        let _ = self.subs.take_changed_interests();
        self.changed = false;
        let asked = self.asked();
        self.asked = asked.iter().map(|(selector, _)| selector.clone()).collect();
        self.streams.truncate(1);
        self.streams.push(Stream::open(&asked, server));
    }

    fn speak(&mut self, number: u8, less: u8) {
        let at = if number == u8::MAX { self.streams.len().checked_sub(1) } else { self.pick(number) };
        let Some(at) = at else { return };
        let Some(said) = self.streams[at].speak(&self.world, less % 4) else { return };
        if self.deliver(at, &said) && at == 1 {
            self.streams.remove(0);
        }
    }

    /// The registry says something twice, or once more after it said something else.
    fn repeat(&mut self, number: u8) {
        let Some(at) = self.pick(number) else { return };
        if let Some(said) = self.streams[at].last.clone().filter(|said| said.delivery.snapshots.is_empty()) {
            self.deliver(at, &said);
        }
    }

    fn deliver(&mut self, at: usize, said: &Said) -> bool {
        self.hear(at);
        let views = self.sets();
        let expected = self.model.deliver(&self.streams[at], said, &self.world, self.now);
        let stream = &mut self.streams[at];
        match self.subs.deliver(&mut stream.following, &said.delivery, self.now) {
            Ok(()) => assert!(expected, "W10: an older snapshot is refused"),
            Err(error) => {
                assert!(!expected, "{error}");
                assert_eq!(self.sets(), views, "what is refused changes nothing");
                self.cut(at as u8);
                return false;
            }
        }
        for (id, before) in views {
            let selector = &self.holders.iter().find(|holder| holder.id == id).expect("it is there").selector;
            let view = self.subs.view(id).expect("it is there");
            for gone in before
                .iter()
                .filter(|was| view.instances.iter().all(|is| (is.service(), is.id()) != (was.service(), was.id())))
            {
                let key = Key::new(selector.namespace().clone(), gone.service_name(), gone.instance_id());
                let told = said.touched.contains(&key) || self.world.was_there(&key, said.place);
                assert!(!said.delivery.warming || told, "W14: {gone:?} went while the registry was warming");
            }
        }
        true
    }

    fn cut(&mut self, number: u8) {
        let Some(at) = self.pick(number) else { return };
        self.hear(at);
        let mut stream = self.streams.remove(at);
        // The older one, if it is left, does not follow all that is to be followed.
        self.changed |= at == self.streams.len();
        let heard = Instant::from_micros(self.now.as_micros() - u64::from(number));
        self.model.stale(&stream, heard);
        self.subs.stale(&mut stream.following, heard);
    }

    fn live(&mut self, number: u8) {
        let Some(at) = self.pick(number) else { return };
        // A stream that has said nothing does not know whether it is up to date.
        if self.streams[at].server == Server::Current && self.is_level(at) {
            self.hear(at);
            let warming = self.world.warming;
            self.model.live(&self.streams[at], warming, &self.world, self.now);
            self.subs.live(&mut self.streams[at].following, warming, self.now);
        }
    }

    fn is_level(&self, at: usize) -> bool {
        self.streams[at].last.as_ref().is_some_and(|said| said.place.0 == self.world.latest().0)
    }

    fn restart(&mut self, number: u8) {
        self.world.restart();
        self.lives += 1;
        if number.is_multiple_of(2) {
            self.cut(number);
        }
    }

    /// The registry settles, and may say so at once or with its next delivery.
    fn settle(&mut self, number: u8) {
        self.world.warming = false;
        let Some(at) = self.pick(number) else { return };
        if number.is_multiple_of(2) && self.streams[at].server == Server::Current && self.is_level(at) {
            self.hear(at);
            self.model.live(&self.streams[at], false, &self.world, self.now);
            self.subs.settled(&mut self.streams[at].following, self.now);
        }
    }

    // Time, and lives of the client.

    fn advance(&mut self, number: u8, stalls: bool) {
        let span = Duration::from_millis(SPANS[usize::from(number) % SPANS.len()]);
        let target = self.now.saturating_add(span);
        let mut calls = 0;
        while let Some(at) = self.subs.poll_timeout().filter(|at| *at <= target && !stalls) {
            self.now = self.now.max(at);
            self.timeout();
            calls += 1;
            assert!(calls < 200, "no spin");
        }
        self.now = target;
        self.timeout();
    }

    fn timeout(&mut self) {
        self.subs.handle_timeout(self.now);
        self.model.timeout(&self.world, self.now);
        assert!(self.subs.poll_timeout().is_none_or(|next| next > self.now), "L3: no spin");
        let due = self.model.save.is_some_and(|at| at <= self.now);
        let written = self.subs.poll_cache();
        assert_eq!(written.is_some(), due, "the sets are written two seconds after a change");
        assert_eq!(self.subs.poll_cache(), None, "drained means drained");
        if let Some(written) = written {
            self.model.save = None;
            self.disk = Some((written, self.model.cache(&self.world)));
        }
    }

    /// The process dies, and another one starts with what was written.
    fn reborn(&mut self) {
        let (written, sets) = self.disk.clone().unwrap_or_else(|| (self.subs.cache(), self.model.cache(&self.world)));
        let counters = self.subs.counters();
        assert_eq!(counters, self.model.counters);
        (self.subs, self.model) = (Subscriptions::new(self.config), Model::new(self.config));
        assert_eq!(self.subs.restore(&written, self.now), Ok(sets.len()));
        self.model.restore(&sets, self.now);
        self.streams.clear();
        self.holders.clear();
        self.asked.clear();
        self.changed = false;
    }

    fn garbage(&mut self, number: u8) {
        let mut bytes = self.subs.cache();
        bytes.truncate(bytes.len() * usize::from(number) / 256);
        assert!(self.subs.restore(&bytes, self.now).is_err());
        let other = String::from_utf8(self.subs.cache()).expect("JSON").replacen("\"format\":1", "\"format\":2", 1);
        assert!(self.subs.restore(other.as_bytes(), self.now).is_err());
    }

    // What holders see.

    fn poll(&mut self, number: u8) {
        if !self.holders.is_empty() {
            let at = usize::from(number) % self.holders.len();
            self.poll_holder(at);
        }
    }

    fn poll_holder(&mut self, at: usize) {
        let holder = &mut self.holders[at];
        let view = self.subs.view(holder.id).expect("it is there");
        let update = self.subs.poll_update(holder.id);
        assert_eq!(self.subs.poll_update(holder.id), None, "drained means drained");
        holder.announced = false;
        let shown: Shown = shown(&holder.selector, &view.instances);
        let same = holder.given.as_ref().is_some_and(|(given, told)| (given, told) == (&shown, &view.provenance));
        let known = view.provenance != Provenance::Unknown;
        assert_eq!(update.is_some(), known && !same, "there is an update if there is news");
        let Some(update) = update else { return };
        let (mut given, _) = holder.given.take().unwrap_or_default();
        let names: Vec<(String, String)> = update.changes.iter().map(named).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "W2: one change an instance, in order: {names:?}");
        for change in &update.changes {
            let instance = change.after().or_else(|| change.before()).expect("a change is of something");
            let key = Key::new(holder.selector.namespace().clone(), instance.service_name(), instance.instance_id());
            let before = match change.after() {
                Some(after) => given.insert(key, after.clone()),
                None => given.remove(&key),
            };
            assert_eq!(before.as_ref(), change.before(), "W3: a change starts from what was given");
            assert_ne!(change.before(), change.after(), "W8: a change is one");
        }
        assert_eq!(given, shown, "W8: all updates together are the view");
        let went = |name: &(String, String)| update.changes.iter().any(|c| c.after().is_none() && named(c) == *name);
        let mut causes = update.causes.iter();
        let known = causes.all(|((s, id), cause)| cause == "expired" && went(&(s.to_string(), id.to_string())));
        assert!(known, "only what went has a cause, the one that was told: {update:?}");
        assert_eq!((update.provenance, update.cursor), (view.provenance, view.cursor));
        holder.given = Some((given, view.provenance));
    }

    fn check(&mut self) {
        // Ready ones may wait.
        if !self.step.is_multiple_of(3) {
            while let Some(id) = self.subs.poll_ready() {
                let holder = self.holders.iter_mut().find(|holder| holder.id == id);
                holder.expect("only who is there is ready").announced = true;
            }
        }
        let drained = !self.step.is_multiple_of(3);
        let present: Vec<&Selector> = self.subs.interests().map(|(_, selector, _)| selector).collect();
        let followed = self.model.followed.iter().filter(|_| !self.model.is_suspended());
        let expected: Vec<&Selector> = followed.map(|followed| &followed.selector).collect();
        assert_eq!(present, expected, "what is followed");
        for ((_, selector, at), followed) in self.subs.interests().zip(&self.model.followed) {
            assert_eq!(at.map(place), self.model.resume(followed), "where {selector:?} is resumed");
        }
        let next = self.model.next().into_iter().chain(self.model.save).min();
        let overdue = next.is_some_and(|next| next <= self.now);
        assert!(
            next.is_none_or(|next| overdue || self.subs.poll_timeout().is_some_and(|at| at <= next)),
            "L2: {next:?}"
        );
        for holder in &mut self.holders {
            let view = self.subs.view(holder.id).expect("it is there");
            let followed = self.model.find(&holder.selector).expect("it is followed");
            let expected = followed.shown(&self.world);
            let shown = shown(&holder.selector, &view.instances);
            assert_eq!(shown, expected, "W5: {:?} at {:?}", holder.selector, followed.place);
            assert_eq!(view.provenance, followed.provenance, "{:?}", holder.selector);
            assert_eq!(view.cursor, followed.place.map(cursor), "{:?}", holder.selector);
            if let Some((life, revision)) = followed.place.filter(|_| self.lives <= 8) {
                let seen = holder.seen.insert(life, revision);
                assert!(seen.is_none_or(|seen| seen <= revision), "W10: no time travel");
            }
            let same = holder.given.as_ref().is_some_and(|(given, told)| (given, told) == (&shown, &view.provenance));
            let known = view.provenance != Provenance::Unknown;
            assert!(!drained || same || !known || holder.announced, "no wake-up is lost");
            let pending = self.subs.pending(holder.id);
            let bound = holder.given.as_ref().map_or(0, |(given, _)| given.len() + shown.len());
            assert!(pending <= bound, "C12: {pending} wait, of {bound}");
        }
        self.changed |= self.subs.take_changed_interests();
        let asked = |followed: &Followed| self.asked.iter().any(|wide| covers(wide, &followed.selector));
        let heard = self.model.is_suspended() || self.model.followed.iter().all(asked);
        assert!(self.changed || heard, "the backend is told what to follow");
        assert_eq!(self.subs.counters(), self.model.counters);
    }

    /// The network is well again and the registry has settled: what is shown becomes what is.
    fn heal(&mut self) {
        self.suspend(1);
        self.changed |= self.subs.take_changed_interests();
        while !self.streams.is_empty() {
            if self.streams.len() == 1 && self.streams[0].server == Server::Current && !self.changed {
                break;
            }
            self.cut(0);
        }
        self.open_if_needed();
        self.world.warming = false;
        self.speak(u8::MAX, 0);
        self.step += 1;
        self.check();
        assert_eq!(self.streams.len(), 1, "what is of the present is taken");
        self.model.live(&self.streams[0], false, &self.world, self.now);
        self.subs.settled(&mut self.streams[0].following, self.now);
        self.advance(6, false);
        self.advance(7, false);
        self.check();
        let followed: BTreeSet<Selector> = self.subs.interests().map(|(_, selector, _)| selector.clone()).collect();
        let wanted: BTreeSet<Selector> = self.holders.iter().map(|holder| holder.selector.clone()).collect();
        assert_eq!(followed, wanted, "nothing lingers for ever");
        for at in 0..self.holders.len() {
            self.poll_holder(at);
            let holder = &self.holders[at];
            let (given, provenance) = holder.given.as_ref().expect("it was told");
            let state = self.world.at(self.world.latest()).iter().filter(|(key, _)| contains(&holder.selector, key));
            let state: Shown = state.map(|(key, (instance, _))| (key.clone(), instance.clone())).collect();
            assert_eq!((given, provenance), (&state, &Provenance::Live), "it converges");
        }
        while !self.holders.is_empty() {
            self.unwatch(0);
        }
        self.advance(6, true);
        self.check();
        assert_eq!((self.subs.interests().count(), self.subs.poll_timeout()), (0, None), "idle means idle");
    }
}

fn shown(selector: &Selector, instances: &[Instance]) -> Shown {
    let key = |i: &Instance| Key::new(selector.namespace().clone(), i.service_name(), i.instance_id());
    instances.iter().map(|instance| (key(instance), instance.clone())).collect()
}

fn named(change: &Change) -> (String, String) {
    let instance = change.after().or_else(|| change.before()).expect("a change is of something");
    (instance.service().into(), instance.id().into())
}

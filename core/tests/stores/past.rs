//! What truly was in the store, and who put it there.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use periplus_core::client::RegistrationState;
use periplus_core::{InstanceId, Key, ServiceInstance, ServiceName};

use super::plan::SECOND;
use super::store::Place;
use super::world::World;

/// Why something in the store is as it is.
#[derive(Clone, Copy, Debug)]
pub enum Cause {
    /// A request of a client process; it may be one that was long under way.
    Request { of: (usize, u32), late: bool },
    /// A request that changes nothing.
    Read,
    /// Something behind everybody's back.
    Act,
    /// Time has passed.
    Time,
}

/// A process of a client: which, and its how manieth life.
pub type Process = (usize, u32);

/// The instances of one service.
pub type Set = BTreeMap<InstanceId, ServiceInstance>;

/// A service as it was from some step on.
pub struct Version {
    pub step: u64,
    /// When it became so.
    pub at: u64,
    pub set: Rc<Set>,
}

/// A revision that the store had from some step on.
#[derive(Clone, Copy, Debug)]
pub struct Dated {
    pub life: u32,
    pub revision: u64,
    pub step: u64,
}

#[derive(Clone)]
pub struct Present {
    pub instance: ServiceInstance,
    /// Who holds it, if anybody does.
    pub holder: Option<String>,
}

#[derive(Default)]
pub struct Past {
    /// When the store was last anything but well.
    pub trouble: u64,
    /// Until when a part of it is not well.
    pub ails: u64,
    /// When one of several servers last lost what it held.
    pub emptied: u64,
    /// When it last lost its memory.
    pub forgot: Option<u64>,
    /// When it lost it before that, at which step of the past, and what was gone by then that somebody may show yet.
    pub forgot_before: Option<u64>,
    pub forgot_step: u64,
    pub left_before_forgetting: BTreeSet<(ServiceName, InstanceId)>,
    /// How often it has.
    pub life: u32,
    pub revision: Option<u64>,
    pub present: BTreeMap<Key, Present>,
    pub owners: BTreeMap<Key, Process>,
    /// By key and holder: whose it is. What another has hidden may be seen again.
    holders: BTreeMap<(Key, String), Process>,
    /// How often each key was asked for by a program.
    pub explicit: BTreeMap<Key, u64>,
    takeovers: BTreeMap<(u32, Key), u64>,
    /// In which life of the store a process got a key, since its program asked for it last.
    pub got: BTreeMap<(Process, Key), u32>,
    /// Taken out, and confirmed.
    pub finished: BTreeSet<(usize, u32, Key)>,
    /// Whose id another took.
    pub superseded: BTreeSet<(usize, u32, Key)>,
    /// When an operator last had a hand in a key.
    pub meddled: BTreeMap<Key, u64>,
    /// What came back after it was given up, and when.
    pub zombies: BTreeMap<Key, (Process, u64)>,
    /// Counts changes.
    pub step: u64,
    pub services: BTreeMap<ServiceName, Vec<Version>>,
    pub revisions: Vec<Dated>,
    /// What was last changed by a request that was long under way: without fencing, an older text may win.
    pub outdated: BTreeSet<Key>,
    /// When something last changed.
    pub changed: BTreeMap<Key, u64>,
    /// Everything that was ever there.
    pub ever: BTreeSet<(ServiceName, InstanceId)>,
}

impl Past {
    pub fn forget(&mut self, now: u64) {
        self.forgot_before = self.forgot.replace(now);
        self.life += 1;
        self.holders.clear();
        self.forgot_step = self.step + 1;
        // Somebody who heard nothing since may still show what is gone, and hears of it only now.
        let there = |spot: &(ServiceName, InstanceId)| self.at(&spot.0, self.step).contains_key(&spot.1);
        self.left_before_forgetting = self.ever.iter().filter(|spot| !there(spot)).cloned().collect();
        self.revision = None;
        self.trouble = self.trouble.max(now);
    }

    /// Somebody has put something, whether or not it is seen.
    pub fn put(&mut self, (namespace, service, id): Place, holder: String, cause: Cause) {
        if let Cause::Request { of, .. } = cause {
            self.holders.insert((Key::new(namespace, service, id), holder), of);
        }
    }

    /// A service at a step.
    pub fn at(&self, service: &ServiceName, step: u64) -> Rc<Set> {
        let versions = self.services.get(service).map(Vec::as_slice).unwrap_or_default();
        let after = versions.partition_point(|version| version.step <= step);
        after.checked_sub(1).map(|nth| Rc::clone(&versions[nth].set)).unwrap_or_default()
    }

    /// In each life of the store: the step of a revision twice, or the steps around it if several passed in one.
    pub fn around(&self, revision: u64) -> Vec<(u64, u64)> {
        let exact = self.revisions.iter().filter(|it| it.revision == revision).map(|it| (it.step, it.step));
        let pairs = self.revisions.windows(2);
        let gaps = pairs.filter(|pair| pair[0].life == pair[1].life);
        let gaps = gaps.filter(|pair| pair[0].revision < revision && revision < pair[1].revision);
        exact.chain(gaps.map(|pair| (pair[0].step, pair[1].step))).collect()
    }

    /// How a service was at any time since then.
    pub fn lately<'a>(&'a self, service: &ServiceName, at: u64) -> impl Iterator<Item = Rc<Set>> + 'a {
        let versions = self.services.get(service).map(Vec::as_slice).unwrap_or_default();
        let after = versions.partition_point(|version| version.at <= at);
        let first = after.checked_sub(1).map(|nth| Rc::clone(&versions[nth].set)).unwrap_or_default();
        std::iter::once(first).chain(versions[after..].iter().map(|version| Rc::clone(&version.set)))
    }

    /// How a service was from a step on, each with the step at which it became so; the first is how it was there.
    pub fn since<'a>(&'a self, service: &ServiceName, step: u64) -> impl Iterator<Item = (u64, Rc<Set>)> + 'a {
        let versions = self.services.get(service).map(Vec::as_slice).unwrap_or_default();
        let after = versions.partition_point(|version| version.step <= step);
        let first = (step, after.checked_sub(1).map(|nth| Rc::clone(&versions[nth].set)).unwrap_or_default());
        let then = versions[after..].iter().map(|version| (version.step, Rc::clone(&version.set)));
        std::iter::once(first).chain(then)
    }
}

impl World {
    pub fn place(key: &Key) -> Place {
        (key.namespace.clone(), key.service.clone(), key.id.clone())
    }

    /// Keys as the plan names them.
    pub fn show_key(key: &Key) -> String {
        format!("{}/{}", key.service, key.id)
    }

    /// Writes down what the store shows now.
    pub fn record(&mut self, cause: Cause) {
        let revision = self.store.revision();
        if revision.is_some() && revision == self.past.revision {
            return self.record_holders(cause);
        }
        if revision.is_none() && matches!(cause, Cause::Read) {
            return;
        }
        let now = self.store_clock.read(self.now);
        let visible = self.store.visible(now);
        if let Some(revision) = revision {
            let before = self.past.revision.replace(revision);
            self.demand("the fake", before.is_none_or(|before| before < revision), || {
                format!("the store went from revision {before:?} to {revision}")
            });
        }
        self.past.step += 1;
        let (step, life) = (self.past.step, self.past.life);
        self.past.revisions.extend(revision.map(|revision| Dated { life, revision, step }));
        let mut present = BTreeMap::new();
        for (place, instance) in visible {
            let holder = self.store.holder(&place).map(|(holder, _)| holder);
            let instance = self.kind.normalized(instance);
            present.insert(Key::new(place.0, place.1, place.2), Present { instance, holder });
        }
        let before = std::mem::replace(&mut self.past.present, present.clone());
        let mut changed = BTreeSet::new();
        for (key, it) in &present {
            let was = before.get(key);
            if was.is_none_or(|was| was.instance != it.instance) {
                changed.insert(key.service.clone());
                self.past.changed.insert(key.clone(), self.now);
                match cause {
                    Cause::Request { late: true, .. } => _ = self.past.outdated.insert(key.clone()),
                    Cause::Request { .. } => _ = self.past.outdated.remove(key),
                    // What is seen again is as old as it was.
                    _ => {}
                }
                self.past.ever.insert((key.service.clone(), key.id.clone()));
            }
            if was.is_none_or(|was| was.holder != it.holder) {
                self.on_appeared(key, it.holder.as_deref(), cause, was.is_some());
            }
        }
        for key in before.keys().filter(|key| !present.contains_key(*key)) {
            changed.insert(key.service.clone());
            self.past.changed.insert(key.clone(), self.now);
            self.on_gone(key, cause);
        }
        for service in changed {
            let of = present.iter().filter(|(key, _)| key.service == service);
            let set: Set = of.map(|(key, it)| (key.id.clone(), it.instance.clone())).collect();
            self.say(|| format!("the store at {step} ({revision:?}) has {service}: {:?}", set.keys()));
            self.past.services.entry(service).or_default().push(Version { step, at: self.now, set: Rc::new(set) });
        }
        self.check_zombies();
    }

    /// Nothing looks different, but somebody else may hold it.
    fn record_holders(&mut self, cause: Cause) {
        if !matches!(cause, Cause::Request { .. }) {
            return;
        }
        let holder = |key: &Key| self.store.holder(&Self::place(key)).map(|(holder, _)| holder);
        let held = self.past.present.iter().map(|(key, it)| (key, &it.holder, holder(key)));
        let changed = held.filter(|(_, before, now)| *before != now).map(|(key, _, now)| (key.clone(), now));
        for (key, holder) in changed.collect::<Vec<_>>() {
            if let Some(it) = self.past.present.get_mut(&key) {
                it.holder.clone_from(&holder);
            }
            self.on_appeared(&key, holder.as_deref(), cause, true);
        }
    }

    fn on_appeared(&mut self, key: &Key, holder: Option<&str>, cause: Cause, was_there: bool) {
        let before = self.past.owners.remove(key);
        let spot = (key.clone(), holder.unwrap_or_default().to_owned());
        let known = self.past.holders.get(&spot).copied();
        self.past.zombies.remove(key);
        let now = self.now;
        match cause {
            Cause::Request { of, late } => {
                let of = known.unwrap_or(of);
                self.past.holders.insert(spot, of);
                self.say(|| format!("c{}.{} has {}", of.0, of.1, Self::show_key(key)));
                self.past.owners.insert(key.clone(), of);
                if was_there && let Some(loser) = before.filter(|before| *before != of) {
                    self.on_takeover(key, loser, of);
                }
                self.past.got.insert((of, key.clone()), self.past.life);
                // Whoever wants it too learns that another has it.
                for client in &self.clients {
                    let process = (client.at, client.life);
                    if process != of && client.wants.iter().any(|want| want.key == *key) {
                        self.past.superseded.insert((process.0, process.1, key.clone()));
                    }
                }
                let client = &self.clients[of.0];
                let gone = client.life != of.1 || client.machine.is_none();
                let finished = self.past.finished.contains(&(of.0, of.1, key.clone()));
                // Without fencing, what a live client wants is kept by that one, whoever put it last.
                let kept = !self.kind.laws.fences && self.is_wanted(key, None);
                if finished || gone {
                    self.demand("C8", late || gone, || {
                        format!("{} of c{} was taken out, confirmed, and is back", Self::show_key(key), of.0)
                    });
                    if !kept {
                        self.past.zombies.insert(key.clone(), (of, now));
                    }
                }
            }
            Cause::Act => {
                self.past.meddled.insert(key.clone(), now);
                if let Some((client, life)) = before {
                    self.past.superseded.insert((client, life, key.clone()));
                }
                self.past.owners.extend(known.map(|known| (key.clone(), known)));
            }
            Cause::Read | Cause::Time => {
                self.past.owners.extend(known.or(before).map(|owner| (key.clone(), owner)));
            }
        }
    }

    /// Whether a client that lives, but for this one, wants a key registered.
    pub fn is_wanted(&self, key: &Key, but: Option<usize>) -> bool {
        let mut living = self.clients.iter().filter(|client| client.machine.is_some() && Some(client.at) != but);
        living.any(|client| client.wants.iter().any(|want| want.active && want.key == *key))
    }

    /// Whether another client ever wanted a key registered.
    pub fn is_shared(&self, key: &Key, at: usize) -> bool {
        let mut others = self.clients.iter().filter(|client| client.at != at);
        others.any(|client| client.wants.iter().any(|want| want.key == *key))
    }

    /// R7: an id changes hands only if a program asks for it, once for each time that it does.
    fn on_takeover(&mut self, key: &Key, loser: Process, winner: Process) {
        self.mark("a holder was superseded");
        let now = self.now;
        if self.links[loser.0].iter().any(|link| link.trouble > now) {
            self.mark("a holder was superseded while it could not be told");
        }
        let count = self.past.takeovers.entry((self.past.life, key.clone())).or_default();
        *count += 1;
        let (count, asked) = (*count, self.past.explicit.get(key).copied().unwrap_or(0));
        self.demand("R7", count <= asked || !self.kind.laws.fences, || {
            format!("{} changed hands {count} times, but was asked for {asked} times", Self::show_key(key))
        });
        let again = self.past.got.get(&(winner, key.clone())) == Some(&self.past.life);
        self.demand("R7", !again || !self.kind.laws.fences, || {
            format!("c{}.{} had {}, and takes it back unasked from c{loser:?}", winner.0, winner.1, Self::show_key(key))
        });
    }

    fn on_gone(&mut self, key: &Key, cause: Cause) {
        let owner = self.past.owners.remove(key);
        self.past.zombies.remove(key);
        match cause {
            Cause::Request { of, .. } => {
                // R1: nobody acts for what another holds.
                let other = owner.filter(|owner| *owner != of && self.kind.laws.fences);
                self.demand("R1", other.is_none(), || {
                    format!("c{}.{} took out {}, which is c{other:?}'s", of.0, of.1, Self::show_key(key))
                });
            }
            Cause::Act => {
                self.past.meddled.insert(key.clone(), self.now);
            }
            Cause::Read => {}
            Cause::Time => {
                self.say(|| format!("{} of {owner:?} ends by itself", Self::show_key(key)));
                self.mark("a registration ended because nobody renewed it");
                let now = self.store_clock.read(self.now);
                // Who has it may not be seen by anybody.
                let held = self.store.holder(&Self::place(key)).is_some_and(|(_, due)| due > now);
                if let Some(owner) = owner.filter(|_| !held) {
                    self.on_expired(key, owner);
                }
            }
        }
    }

    /// A registration was not renewed: was that its holder's fault, and does the holder know?
    fn on_expired(&mut self, key: &Key, (at, life): Process) {
        let now = self.now;
        let client = &self.clients[at];
        let (Some(machine), true) = (&client.machine, client.life == life) else { return };
        let Some(reg) = client.regs.iter().rfind(|reg| client.wants[reg.want].key == *key) else { return };
        let Some(view) = machine.registration(reg.id) else { return };
        // C2, in true time: what the holder believes is so, unless a clock did more than drift.
        let shown = client.clock.read(now);
        let believes = view.state == RegistrationState::Registered && view.until.is_some_and(|until| until > shown);
        let until = view.until;
        let shared = self.kind.wide && self.is_shared(key, at);
        if believes && !shared && client.believes_by_drift(reg, self.past.emptied) {
            return self.violate("C2", || {
                format!("c{at} believes in {} until {until:?}, but it has ended", Self::show_key(key))
            });
        }
        // K2: whoever is well and was for long keeps its registration.
        let ttl = client.wants[reg.want].ttl.as_micros() as u64;
        let since = self.well_since(at).max(reg.touched);
        let meddled = self.past.meddled.get(key).copied().unwrap_or(0);
        let long = since.max(meddled).max(self.past.trouble) + ttl * 2 + 60 * SECOND < now;
        let idle = reg.leaving || client.closing || reg.is_over() || client.suspended;
        self.demand("K2", !long || idle, || {
            format!("c{at} was well since {:.3}s and lost {}", since as f64 / 1e6, Self::show_key(key))
        });
    }

    /// When a client, its clock and its links were last anything but well.
    pub fn well_since(&self, at: usize) -> u64 {
        let client = &self.clients[at];
        if client.suspended || client.clock.is_frozen() {
            return self.now;
        }
        let links = self.links[at].iter().map(|link| link.trouble).max().unwrap_or(0);
        client.trouble.max(client.odd_clock).max(links)
    }

    /// R13: what comes back after it was given up does not live long.
    pub fn check_zombies(&mut self) {
        let bound = self.kind.laws.zombie.as_micros() as u64 * 102 / 100;
        let due = |since: u64| since.max(self.past.trouble) + bound < self.now;
        let old = self.past.zombies.iter().find(|(_, (_, since))| due(*since));
        let old = old.map(|(key, (of, since))| (Self::show_key(key), *of, *since));
        self.demand("R13", old.is_none(), || format!("{old:?} was given up, came back, and does not go"));
    }
}

//! The laws of watching: a holder's copy, made of nothing but the updates it was given, against the store's true past.

use std::collections::{BTreeMap, BTreeSet};

use periplus_core::client::{Provenance, SubscriptionId, Update};
use periplus_core::{Change, Cursor, Instance, InstanceId, Key, Namespace, Selector, ServiceInstance, ServiceName};

use super::kind::is_western;
use super::past::Set;
use super::plan::{MINUTE, SECOND};
use super::world::{Event, World};

type Spot = (ServiceName, InstanceId);

/// Who was well for so long, and the store too, has come back from whatever was before.
const WELL: u64 = 4 * MINUTE;

/// How late whoever is well may be told of a change.
const LATE: u64 = 10 * SECOND;

/// A subscription, as its holder sees it.
pub struct Sub {
    pub id: SubscriptionId,
    pub selector: Selector,
    pub pace: u64,
    /// Its holder is going to look.
    pub looks: bool,
    /// What its holder has: as it was given, and as it is compared.
    raw: BTreeMap<Spot, Instance>,
    pub copy: BTreeMap<Spot, ServiceInstance>,
    pub provenance: Provenance,
    cursor: Option<Cursor>,
    /// When it was first looked at, and when it last began to hold what is not confirmed.
    since: Option<u64>,
    came: Option<u64>,
    /// It was live since then, so that nothing is left that was not confirmed.
    settled: bool,
    /// How often its holder was told something, and of how many changes.
    pub updates: u64,
    pub changes: u64,
    /// The store was heard in this life.
    told: bool,
    /// By service, and part of it: the step of the past that is held.
    floors: BTreeMap<(ServiceName, usize), u64>,
}

impl Sub {
    pub fn new(id: SubscriptionId, selector: Selector, pace: u64) -> Self {
        Self {
            id,
            selector,
            pace,
            looks: false,
            raw: BTreeMap::new(),
            copy: BTreeMap::new(),
            provenance: Provenance::Unknown,
            cursor: None,
            since: None,
            came: None,
            settled: false,
            updates: 0,
            changes: 0,
            told: false,
            floors: BTreeMap::new(),
        }
    }

    /// Whether it covers a service.
    pub fn names(&self, service: &ServiceName) -> bool {
        match &self.selector {
            Selector::Service(key) => key.service == *service,
            Selector::Prefix { prefix, .. } => service.starts_with(prefix.as_str()),
        }
    }

    /// What its holder has of a service.
    fn of(&self, service: &ServiceName) -> Set {
        let of = self.copy.iter().filter(|((name, _), _)| name == service);
        of.map(|((_, id), instance)| (id.clone(), instance.clone())).collect()
    }
}

/// Whether all of `truth` is held, and nothing else unless `more` is allowed.
fn fits(held: &Set, truth: &Set, more: bool) -> bool {
    if more { truth.iter().all(|(id, instance)| held.get(id) == Some(instance)) } else { held == truth }
}

/// Whether each instance is as it was before or after, and there is nothing else unless `more` is allowed.
fn lies_between(held: &Set, before: &Set, after: &Set, more: bool) -> bool {
    let ids: BTreeSet<_> = before.keys().chain(after.keys()).chain(held.keys().filter(|_| !more)).collect();
    let held = |id: &InstanceId| held.get(id);
    ids.into_iter().all(|id| held(id) == before.get(id) || held(id) == after.get(id))
}

impl World {
    pub fn on_update_ready(&mut self, at: usize, id: SubscriptionId) {
        let life = self.clients[at].life;
        let Some(sub) = self.clients[at].subs.iter_mut().find(|sub| sub.id == id) else { return };
        if sub.looks {
            return;
        }
        sub.looks = true;
        let pace = sub.pace;
        let after = self.random.below(pace + 1);
        self.after(after, Event::Look { client: at, life, subscription: id.0 });
    }

    /// A holder looks at what it has not seen.
    pub fn look(&mut self, at: usize, life: u32, subscription: u64) {
        let client = &mut self.clients[at];
        if client.life != life || client.machine.is_none() || client.closing {
            return;
        }
        if client.suspended {
            return self.after(SECOND, Event::Look { client: at, life, subscription });
        }
        let Some(nth) = client.subs.iter().position(|sub| sub.id.0 == subscription) else { return };
        client.subs[nth].looks = false;
        self.look_at(at, nth);
    }

    pub fn look_at(&mut self, at: usize, nth: usize) {
        let nobody = Sub::new(SubscriptionId(0), self.kind.selector(0), 0);
        let client = &mut self.clients[at];
        let mut sub = std::mem::replace(&mut client.subs[nth], nobody);
        let id = sub.id;
        let Some(machine) = &mut client.machine else { return };
        let update = machine.poll_update(id);
        let again = machine.poll_update(id);
        let view = machine.view(id);
        if let Some(update) = update {
            self.note(update.changes.len() as u64 ^ id.0 << 16);
            self.say(|| format!("c{at} sees {id:?}: {update:?}"));
            self.on_update(at, &mut sub, &update);
        }
        self.demand("L2", again.is_none(), || format!("c{at}: {id:?} has more at once: {again:?}"));
        if let Some(view) = view {
            let same = view.instances.iter().eq(sub.raw.values()) && view.provenance == sub.provenance;
            self.demand("W8", same, || {
                let (shown, copied) = (view.provenance, sub.provenance);
                let copy = sub.raw.values();
                format!("c{at}: {id:?} shows {:?} {shown:?}, its updates make {copy:?} {copied:?}", view.instances)
            });
        } else {
            self.violate("contract", || format!("c{at}: {id:?} has no view"));
        }
        self.clients[at].subs[nth] = sub;
        self.check_live(at, nth);
    }

    /// C9: whoever says that it is live has heard the store lately.
    fn check_live(&mut self, at: usize, nth: usize) {
        let client = &self.clients[at];
        if !matches!(client.subs[nth].provenance, Provenance::Live | Provenance::Unconfirmed) {
            return;
        }
        let local = client.clock.read(self.now).as_micros();
        let silence = self.kind.laws.silence.as_micros() as u64 + 2 * SECOND;
        let silent = local.saturating_sub(client.heard) > silence;
        let id = client.subs[nth].id;
        // A clock that has jumped ahead is only known to the machine at its next input.
        let fresh = client.local + SECOND > local;
        self.demand("C9", !silent || !fresh, || format!("c{at}: {id:?} is live and nothing was heard for {silence}us"));
    }

    fn on_update(&mut self, at: usize, sub: &mut Sub, update: &Update) {
        let before = sub.copy.clone();
        let id = sub.id;
        sub.updates += 1;
        sub.changes += update.changes.len() as u64;
        let mut last: Option<Spot> = None;
        for change in &update.changes {
            let Some(instance) = change.after().or_else(|| change.before()) else { continue };
            let spot = (instance.service_name(), instance.instance_id());
            let ordered = last.as_ref().is_none_or(|last| *last < spot);
            self.demand("W8", ordered, || format!("c{at}: {id:?} has changes out of order: {:?}", update.changes));
            last = Some(spot.clone());
            let fits = sub.raw.get(&spot) == change.before();
            self.demand("W8", fits, || {
                format!("c{at}: {id:?} says {change:?}, its holder has {:?}", sub.raw.get(&spot))
            });
            match change {
                Change::Remove(_) => {
                    sub.raw.remove(&spot);
                    sub.copy.remove(&spot);
                }
                Change::Insert(after) | Change::Update { after, .. } => {
                    sub.raw.insert(spot.clone(), after.clone());
                    sub.copy.insert(spot, self.kind.normalized(after.decode()));
                }
            }
        }
        sub.since.get_or_insert(self.now);
        let was = std::mem::replace(&mut sub.provenance, update.provenance);
        let stale = |provenance| matches!(provenance, Provenance::Stale { .. });
        sub.told |= matches!(update.provenance, Provenance::Live | Provenance::Unconfirmed);
        if stale(was) && update.provenance == Provenance::Live && update.changes.len() > 1 {
            self.mark("after an outage, several changes came as one difference");
        }
        if stale(update.provenance) && !sub.copy.is_empty() {
            self.mark("a set was kept through an outage");
        }
        if sub.copy.is_empty() && !before.is_empty() && update.provenance == Provenance::Live {
            self.mark("a set became empty by the store's word");
        }
        if update.provenance == Provenance::Unconfirmed && was != Provenance::Unconfirmed {
            (sub.came, sub.settled) = (Some(self.now), false);
        }
        sub.settled |= update.provenance == Provenance::Live;
        let invented = sub.copy.keys().find(|spot| !self.past.ever.contains(*spot)).cloned();
        self.demand("W13", invented.is_none(), || format!("c{at}: {id:?} invents {invented:?}"));
        let old = sub.cursor.clone();
        if let (Some(held), Some(cursor)) = (&old, &update.cursor) {
            let back = held.epoch == cursor.epoch && cursor.revision < held.revision;
            self.demand("W10", !back, || format!("c{at}: {id:?} went back from {held} to {cursor}"));
        }
        if let Some(cursor) = &update.cursor {
            // A client may only guess that the store has lost its memory; then it says that by a new epoch.
            if old.is_some_and(|held| held.epoch != cursor.epoch) {
                sub.came = Some(self.now);
                sub.settled = update.provenance == Provenance::Live;
            }
            sub.cursor = Some(cursor.clone());
        }
        // What was kept from an earlier life is nobody's word yet.
        if sub.told {
            let more = self.may_hold_more(at, sub);
            self.check_truth(at, sub, update.cursor.as_ref(), more);
            self.check_loss(at, sub, &before);
        }
    }

    /// Whether what is not confirmed may be held: a store has lost its memory, and not long ago.
    fn may_hold_more(&self, at: usize, sub: &Sub) -> bool {
        if sub.provenance == Provenance::Unconfirmed {
            return true;
        }
        // As long as not all is heard that several queries are for, what is not confirmed may be there; that is said to be
        // stale.
        if !self.kind.laws.fences && !sub.settled && matches!(sub.provenance, Provenance::Stale { .. }) {
            return true;
        }
        let client = &self.clients[at];
        let kept = 2 * self.kind.laws.warm_up.as_micros() as u64 + 12 * SECOND;
        // Whoever looks late, or came later than it, may have missed that it was said to be unconfirmed.
        let woke = client.resume_at + kept > self.now;
        let late = sub.pace > 0 || woke || sub.since.is_some_and(|since| since + kept > self.now);
        let forgot = self.past.forgot.filter(|_| late).map(|at| at + 15 * MINUTE);
        let odd = |came: u64| client.odd_clock >= came || client.clock.is_frozen() || client.resume_at >= came;
        let came = sub.came.is_some_and(|came| odd(came) || came + kept > self.now);
        came || forgot.is_some_and(|until| until > self.now)
    }

    /// W5, W10: what is held is what the store had, at its revision or else at one moment not before the one held.
    fn check_truth(&mut self, at: usize, sub: &mut Sub, cursor: Option<&Cursor>, more: bool) {
        let id = sub.id;
        let known: BTreeSet<ServiceName> = self.past.services.keys().filter(|name| sub.names(name)).cloned().collect();
        if let (Some(cursor), Some(_)) = (cursor, self.past.revision) {
            // Of each life of the store: the step of this revision, or those around it if several passed in one step.
            let revision = cursor.revision.0;
            let around: Vec<(u64, u64)> = self.past.around(revision);
            let fit = around.iter().any(|&(from, to)| {
                let fit = |service: &ServiceName| {
                    let (before, after) = (self.past.at(service, from), self.past.at(service, to));
                    if from == to {
                        fits(&sub.of(service), &after, more)
                    } else {
                        lies_between(&sub.of(service), &before, &after, more)
                    }
                };
                known.iter().all(fit)
            });
            if !fit {
                let at_revision =
                    |&(_, to): &(u64, u64)| known.iter().map(|name| (name, self.past.at(name, to))).collect();
                let truth: Vec<Vec<_>> = around.iter().map(at_revision).collect();
                let (provenance, copy) = (sub.provenance, &sub.copy);
                let what = format!("c{at}: {id:?} at {cursor} ({provenance:?}) has {copy:?}, the store had {truth:?}");
                self.violate("W5", || what);
            }
            return;
        }
        let kind = self.kind;
        for (service, part) in known.iter().flat_map(|service| (0..kind.parts()).map(move |part| (service, part))) {
            let held = kind.part(&sub.of(service), part);
            let spot = (service.clone(), part);
            let floor = sub.floors.get(&spot).copied().unwrap_or(0);
            let mut since = self.past.since(service, floor);
            match since.find(|(_, truth)| fits(&held, &kind.part(truth, part), more)).map(|(step, _)| step) {
                Some(step) => drop(sub.floors.insert(spot, step)),
                None => {
                    let truth = kind.part(&self.past.at(service, self.past.step), part);
                    let provenance = sub.provenance;
                    drop(since);
                    self.violate("W5", || {
                        format!(
                            "c{at}: {id:?} ({provenance:?}) has {held:?} of {service}, which was never so since step \
                             {floor}; now there is {truth:?}"
                        )
                    });
                }
            }
        }
    }

    /// C9: whoever says that it is live, and was well for long, shows what was there just now.
    pub fn check_fresh(&mut self) {
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            let idle = client.machine.is_none() || client.closing || self.plan.clients[at].in_flight < 64;
            if idle || self.well_since(at).max(self.past.trouble) + WELL > self.now {
                continue;
            }
            let news = |sub: &&Sub| sub.pace == 0 && !sub.looks && sub.provenance == Provenance::Live;
            let subs = client.subs.iter().filter(news);
            let stale = subs.filter(|sub| sub.since.is_some_and(|since| since + WELL <= self.now)).find_map(|sub| {
                let more = self.may_hold_more(at, sub);
                let kind = self.kind;
                let known = self.past.services.keys().filter(|name| sub.names(name));
                let mut parts = known.flat_map(|service| (0..kind.parts()).map(move |part| (service, part)));
                let old = parts.find(|(service, part)| {
                    let held = kind.part(&sub.of(service), *part);
                    let mut lately = self.past.lately(service, self.now.saturating_sub(LATE));
                    !lately.any(|truth| fits(&held, &kind.part(&truth, *part), more))
                });
                old.map(|(service, _)| (sub.id, service.clone(), sub.of(service).into_keys().collect::<Vec<_>>()))
            });
            if let Some((id, service, held)) = stale {
                let truth: Vec<_> = self.past.at(&service, self.past.step).keys().cloned().collect();
                return self.violate("C9", || {
                    format!(
                        "c{at}: {id:?} is live and has {held:?} of {service}, which is long past: there is {truth:?}"
                    )
                });
            }
        }
    }

    /// W14: after a store has lost its memory, nobody goes before the warm-up is over, and nobody who is well goes at all.
    fn check_loss(&mut self, at: usize, sub: &Sub, before: &BTreeMap<Spot, ServiceInstance>) {
        let Some(forgot) = self.past.forgot else { return };
        let first = self.past.revisions.iter().find(|it| it.life == self.past.life).map(|it| it.step);
        let first = first.unwrap_or(self.past.forgot_step);
        let lost: Vec<Spot> = before.keys().filter(|spot| !sub.copy.contains_key(*spot)).cloned().collect();
        let client = &self.clients[at];
        let odd = client.odd_clock >= forgot || client.resume_at >= forgot || client.clock.is_frozen();
        let new = sub.since.is_none_or(|since| since > forgot) || sub.pace > 0;
        let twice = self.past.forgot_before.is_some_and(|before| before + 5 * MINUTE > forgot);
        for spot in lost {
            if self.past.since(&spot.0, first).any(|(_, set)| set.contains_key(&spot.1)) {
                continue;
            }
            // What was said before it forgot may arrive after it.
            let part = usize::from(self.kind.wide && is_western(&spot.1));
            if sub.floors.get(&(spot.0.clone(), part)).is_some_and(|step| *step < first) {
                continue;
            }
            self.mark("an unconfirmed instance went");
            if odd || new || twice {
                continue;
            }
            let warm_up = self.kind.laws.warm_up.as_micros() as u64 * 97 / 100;
            let early = forgot + warm_up > self.now;
            let left = self.past.left_before_forgetting.contains(&spot);
            let id = sub.id;
            self.demand("W14", !early || left, || {
                format!("c{at}: {id:?} lost {spot:?} while its store, which forgot at {forgot}us, warms up")
            });
            let key = Key::new(Namespace::default(), spot.0.clone(), spot.1.clone());
            let well = self.clients.iter().find(|client| {
                let mut regs = client.regs.iter().filter(|reg| client.wants[reg.want].key == key);
                let holds = regs.any(|reg| !reg.leaving && !reg.is_over() && reg.touched < forgot);
                holds && self.well_since(client.at) + 2 * MINUTE < forgot && self.past.trouble <= forgot
            });
            let well = well.map(|client| client.at);
            self.demand("W14", well.is_none(), || {
                format!("{} of c{well:?}, which was well, is lost after the warm-up", Self::show_key(&key))
            });
        }
        let kept = |spot: &&Spot| before.contains_key(*spot);
        let came_back = sub.copy.keys().filter(kept).any(|spot| {
            self.past.present.contains_key(&Key::new(Namespace::default(), spot.0.clone(), spot.1.clone()))
        });
        if came_back && sub.came.is_some_and(|came| came < self.now && came >= forgot) {
            self.mark("an unconfirmed instance came back");
        }
    }
}

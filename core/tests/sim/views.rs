//! The laws of watching: a holder's copy, made of nothing but the updates it was given, against the registry's true past.

use std::collections::BTreeMap;
use std::time::Duration;

use periplus_core::client::{Provenance, SubscriptionId, Update};
use periplus_core::{Change, Cursor, Instance, InstanceId, Key, Selector, ServiceName};

use super::books::names;
use super::plan::{MILLI, MINUTE, SECOND};
use super::tally::Mark;
use super::world::{Event, World};

pub type Set = BTreeMap<(ServiceName, InstanceId), Instance>;

/// A subscription, as its holder sees it.
pub struct Sub {
    pub id: SubscriptionId,
    pub selector: Selector,
    pub pace: u64,
    /// Its holder is going to look.
    pub looks: bool,
    /// What its holder has.
    pub copy: Set,
    pub provenance: Provenance,
    pub cursor: Option<Cursor>,
    /// When it came to this epoch.
    came: u64,
    /// When its holder last saw anything.
    seen: u64,
    /// The registry was heard in this life.
    told: bool,
    /// What the registry had there.
    pub truth: Set,
}

impl Sub {
    pub fn new(id: SubscriptionId, selector: Selector, pace: u64) -> Self {
        let (copy, truth) = (Set::new(), Set::new());
        Self {
            id,
            selector,
            pace,
            looks: false,
            copy,
            provenance: Provenance::Unknown,
            cursor: None,
            came: 0,
            seen: 0,
            told: false,
            truth,
        }
    }
}

pub fn place(key: &Key) -> (ServiceName, InstanceId) {
    (key.service.clone(), key.id.clone())
}

impl World {
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

    fn look_at(&mut self, at: usize, nth: usize) {
        let client = &mut self.clients[at];
        let mut sub =
            std::mem::replace(&mut client.subs[nth], Sub::new(SubscriptionId(0), super::node::selector(0), 0));
        let id = sub.id;
        let Some(machine) = &mut client.machine else { return };
        let update = machine.poll_update(id);
        let again = machine.poll_update(id);
        if let Some(update) = update {
            self.note(update.changes.len() as u64 ^ id.0 << 16);
            self.say(|| format!("c{at} sees {id:?}: {update:?}"));
            self.on_update(at, &mut sub, &update);
        }
        self.demand("L2", again.is_none(), || format!("c{at}: {id:?} has more at once: {again:?}"));
        let view = self.clients[at].machine.as_ref().and_then(|machine| machine.view(id));
        if let Some(view) = view {
            let shown: Vec<&Instance> = view.instances.iter().collect();
            let copied: Vec<&Instance> = sub.copy.values().collect();
            let same = shown == copied && view.provenance == sub.provenance;
            self.demand("W8", same, || {
                let (shown, copied) = (view.provenance, sub.provenance);
                format!(
                    "c{at}: {id:?} shows {shown:?} {:?}, its updates make {copied:?} {:?}",
                    view.instances,
                    sub.copy.values()
                )
            });
        } else {
            self.violate("contract", || format!("c{at}: {id:?} has no view"));
        }
        let client = &mut self.clients[at];
        client.subs[nth] = sub;
        self.arm(at);
        self.check_live(at, nth);
    }

    /// Whoever says that it is live has heard the registry.
    fn check_live(&mut self, at: usize, nth: usize) {
        let client = &self.clients[at];
        if !matches!(client.subs[nth].provenance, Provenance::Live | Provenance::Unconfirmed) {
            return;
        }
        let slack = if client.hidden || client.show_at + MINUTE > self.now { 62 * SECOND } else { SECOND };
        let local = client.clock.read(self.now).as_micros();
        let silent = local.saturating_sub(client.heard) > 60 * SECOND + slack;
        let (open, id) = (client.open.len(), client.subs[nth].id);
        // A clock that has jumped ahead is only known to the machine at its next input.
        let fresh = client.local + SECOND > local;
        self.demand("C9", open > 0, || format!("c{at}: {id:?} is live and no stream is open"));
        self.demand("C9", !silent || !fresh, || format!("c{at}: {id:?} is live and nothing was heard for a minute"));
    }

    fn on_update(&mut self, at: usize, sub: &mut Sub, update: &Update) {
        let before = sub.copy.clone();
        let id = sub.id;
        let mut last: Option<(ServiceName, InstanceId)> = None;
        for change in &update.changes {
            let Some(instance) = change.after().or_else(|| change.before()) else { continue };
            let place = (instance.service_name(), instance.instance_id());
            let ordered = last.as_ref().is_none_or(|last| *last < place);
            self.demand("W8", ordered, || format!("c{at}: {id:?} has changes out of order: {:?}", update.changes));
            last = Some(place.clone());
            let fits = sub.copy.get(&place) == change.before();
            self.demand("W8", fits, || {
                format!("c{at}: {id:?} says {change:?}, its holder has {:?}", sub.copy.get(&place))
            });
            match change {
                Change::Remove(_) => drop(sub.copy.remove(&place)),
                Change::Insert(after) | Change::Update { after, .. } => drop(sub.copy.insert(place, after.clone())),
            }
        }
        let seen = std::mem::replace(&mut sub.seen, self.now).saturating_sub(5 * MINUTE);
        sub.told |= matches!(sub.provenance, Provenance::Live | Provenance::Unconfirmed);
        let was = std::mem::replace(&mut sub.provenance, update.provenance);
        if matches!(was, Provenance::Stale { .. }) && update.provenance == Provenance::Live && update.changes.len() > 1
        {
            self.mark(Mark::OneDiff);
        }
        if matches!(update.provenance, Provenance::Stale { .. }) && !sub.copy.is_empty() {
            self.mark(Mark::StaleKept);
        }
        let Some(cursor) = update.cursor.clone() else {
            let told = matches!(update.provenance, Provenance::Unknown | Provenance::Stale { .. });
            self.demand("W13", told && (sub.copy.is_empty() || before.is_empty()), || {
                format!("c{at}: {id:?} shows what no registry has said: {update:?}")
            });
            return;
        };
        let here = sub.cursor.as_ref().is_some_and(|held| held.epoch == cursor.epoch);
        let earlier = if here && sub.told { sub.truth.clone() } else { Set::new() };
        let came = sub.came;
        self.follow_truth(at, sub, &cursor);
        // What is remembered of a former life begins with the registry's first word in this one.
        if !sub.told {
            sub.came = self.now;
        }
        if self.violation.is_some() {
            return;
        }
        let Some(history) = self.books.histories.get(cursor.epoch.0.as_str()) else { return };
        let missing = sub.truth.iter().find(|(place, instance)| sub.copy.get(*place) != Some(instance));
        let missing = missing.map(|(place, instance)| (place.clone(), instance.clone(), sub.copy.get(place).cloned()));
        let extra: Vec<_> = sub.copy.keys().filter(|place| !sub.truth.contains_key(*place)).cloned().collect();
        let namespace = sub.selector.namespace().clone();
        let key = |(service, id): &(ServiceName, InstanceId)| Key::new(namespace.clone(), service.clone(), id.clone());
        // What came and went between two looks at it is not told.
        let histories = || self.books.histories.values();
        let was_there = |place: &(ServiceName, InstanceId)| histories().any(|it| it.ever.contains(&key(place)));
        let left = |place: &(ServiceName, InstanceId)| {
            let of = key(place);
            let late = |it: &super::books::History| {
                let since = it.changes.iter().rev().take_while(|(.., when)| *when >= seen);
                since.into_iter().any(|(changed, to, _)| to.is_none() && *changed == of)
            };
            histories().any(late)
        };
        let invented = extra.iter().find(|place| !before.contains_key(*place) && !was_there(place)).cloned();
        // What another registry had in between, as a slow holder did not see, is not confirmed and kept.
        let alone = self.nodes.len() == 1;
        let ghost = extra.iter().find(|place| alone && earlier.contains_key(*place)).cloned();
        let settled = history.settled;
        let forgot = history.forgot;
        // What a warming registry has not listed yet may not go.
        let gone = before.keys().find(|place| !sub.copy.contains_key(*place) && !history.ever.contains(&key(place)));
        let looked = seen + 5 * MINUTE;
        // An epoch that had settled when it was last looked, or let go by then of what nobody had confirmed.
        let kept = Duration::from_secs(190).as_micros() as u64;
        let passing = histories().any(|it| {
            let let_go = |settled: u64| settled.max(it.began.max(came) + kept) + 30 * SECOND;
            it.settled.is_some_and(|settled| let_go(settled) >= looked) && it.began < history.began
        });
        // Whoever looks at once sees each step, and nothing may go in between, unless another registry is there at once.
        let prompt = sub.pace < 20 * MILLI && alone;
        let gone = gone.filter(|place| prompt || !left(place)).cloned();
        let came_back =
            forgot && before.keys().any(|place| sub.truth.contains_key(place)) && was == Provenance::Unconfirmed;
        self.demand("W5", missing.is_none(), || {
            format!("c{at}: {id:?} at {cursor} lacks {missing:?} (place, truth, shown)")
        });
        match update.provenance {
            Provenance::Live if !forgot && !extra.is_empty() => self.violate("W5", || {
                format!("c{at}: {id:?} at {cursor} is live and shows {extra:?}, which are not there")
            }),
            provenance => {
                if provenance == Provenance::Live {
                    // What was not confirmed is kept for its own ttl at least.
                    let ttl = |key: &Key| {
                        let wants = self.clients.iter().flat_map(|client| &client.wants);
                        wants.filter(|want| want.key == *key).map(|want| want.ttl.as_micros() as u64).max()
                    };
                    let late = extra.iter().find(|place| {
                        ttl(&key(place)).is_none_or(|ttl| sub.came + ttl * 103 / 100 + SECOND < self.now)
                    });
                    // By its own clock, that is, if its timers ring, and unless it was with another registry in between.
                    let client = &self.clients[at];
                    let odd = client.odd_clock >= sub.came || client.clock.is_frozen();
                    let odd = odd || client.hidden || client.show_at + MINUTE > self.now;
                    let odd = odd || (self.nodes.len() > 1 && !prompt);
                    let late = late.filter(|_| !odd).cloned();
                    self.demand("W5", late.is_none(), || {
                        format!("c{at}: {id:?} at {cursor} is live and shows {late:?}, which are not there")
                    });
                }
                self.demand("W13", invented.is_none(), || format!("c{at}: {id:?} at {cursor} invents {invented:?}"));
                self.demand("W14", ghost.is_none(), || {
                    format!("c{at}: {id:?} at {cursor} keeps {ghost:?}, which was confirmed and left")
                });
            }
        }
        if let Some(gone) = gone {
            // Between two looks it may have been another registry's word, or that of an epoch that had settled.
            let passing = !prompt && (self.nodes.len() > 1 || passing);
            let said = settled.is_some_and(|settled| settled <= self.now) || !forgot || passing;
            self.demand("W14", said, || format!("c{at}: {id:?} at {cursor} lost {gone:?} while its registry warms up"));
            if forgot {
                self.mark(Mark::UnconfirmedWent);
                self.check_loss(&sub.selector, &gone, &cursor);
            }
        }
        if came_back {
            self.mark(Mark::UnconfirmedCameBack);
        }
        if sub.copy.is_empty() && !before.is_empty() && update.provenance == Provenance::Live {
            self.mark(Mark::EmptyByWord);
        }
    }

    /// W14: after a warm-up nobody is lost who could have come back.
    fn check_loss(&mut self, selector: &Selector, gone: &(ServiceName, InstanceId), cursor: &Cursor) {
        let key = Key::new(selector.namespace().clone(), gone.0.clone(), gone.1.clone());
        let Some(history) = self.books.histories.get(cursor.epoch.0.as_str()) else { return };
        let (server, began) = (history.server, history.began);
        if self.nodes.len() > 1 || self.now < began + 80 * SECOND {
            return;
        }
        let well = self.clients.iter().find(|client| {
            let trouble = client.trouble.max(client.odd_clock).max(self.links[client.at][server].trouble);
            let holds = client
                .regs
                .iter()
                .any(|reg| client.wants[reg.want].key == key && !reg.leaving && !reg.is_over() && reg.touched < began);
            let calm = trouble + 2 * MINUTE < began && self.nodes[server].trouble <= began;
            holds
                && calm
                && self.nodes[server].odd_clock < began
                && !client.suspended
                && !client.hidden
                && !client.clock.is_frozen()
        });
        let well = well.map(|client| client.at);
        self.demand("W14", well.is_none(), || {
            format!("{} of c{well:?}, which was well, is lost after the warm-up of {cursor}", Self::show_key(&key))
        });
    }

    /// W10, W5: goes to a place in the true past.
    fn follow_truth(&mut self, at: usize, sub: &mut Sub, cursor: &Cursor) {
        let id = sub.id;
        let Some(history) = self.books.histories.get(cursor.epoch.0.as_str()) else {
            return self.violate("W5", || format!("c{at}: {id:?} is at {cursor}, an epoch that never was"));
        };
        let revision = cursor.revision.0;
        let same = sub.cursor.as_ref().filter(|held| held.epoch == cursor.epoch).map(|held| held.revision.0);
        if same.is_some_and(|held| revision < held) {
            let held = sub.cursor.clone();
            return self.violate("W10", || format!("c{at}: {id:?} went back from {held:?} to {cursor}"));
        }
        let from = match same {
            Some(held) => held,
            None => {
                sub.came = self.now;
                let (first, base) = history.base();
                let base = base.iter().filter(|(key, _)| names(&sub.selector, key));
                sub.truth = base.map(|(key, instance)| (place(key), instance.clone())).collect();
                first
            }
        };
        let Some(changes) = history.between(from, revision) else {
            let known = history.revision();
            return self.violate("W5", || format!("c{at}: {id:?} is at {cursor}, the registry only at {known}"));
        };
        for (key, to, _) in changes.iter().filter(|(key, ..)| names(&sub.selector, key)) {
            match to {
                Some(instance) => drop(sub.truth.insert(place(key), instance.clone())),
                None => drop(sub.truth.remove(&place(key))),
            }
        }
        sub.cursor = Some(cursor.clone());
    }

    /// After the calm: everything shown is live and the registry's present, but for what is on its way.
    pub fn check_views_converged(&mut self, at: usize) {
        for nth in 0..self.clients[at].subs.len() {
            let sub = &self.clients[at].subs[nth];
            let shown = self.clients[at].machine.as_ref().and_then(|machine| machine.view(sub.id));
            let told = sub.looks || shown.is_none_or(|view| view.provenance == sub.provenance);
            let id = sub.id;
            self.demand("L2", told, || format!("c{at}: {id:?} has news, and its holder was not told"));
            self.look_at(at, nth);
            if self.violation.is_some() {
                return;
            }
            let sub = &self.clients[at].subs[nth];
            let (id, provenance) = (sub.id, sub.provenance);
            let history = self.books.history(self.plan.survivor);
            let on_its_way = 2 * SECOND + 4 * self.plan.clients[at].latency;
            let mut present: Set = history
                .present
                .iter()
                .filter(|(key, _)| names(&sub.selector, key))
                .map(|(key, instance)| (place(key), instance.clone()))
                .collect();
            // What has changed just now is not compared.
            let mut copy = sub.copy.clone();
            for (key, _, _) in history.changes.iter().rev().take_while(|(_, _, when)| when + on_its_way > self.now) {
                present.remove(&place(key));
                copy.remove(&place(key));
            }
            let equal = present == copy;
            let (shown, there) = (copy.len(), present.len());
            self.demand("C9", provenance == Provenance::Live, || {
                format!("c{at}: {id:?} is {provenance:?} long after the calm")
            });
            self.demand("W5", equal, || {
                format!("c{at}: {id:?} shows {shown}, of which there are {there}, long after the calm")
            });
        }
    }
}

//! What the registries have truly done: the past of each epoch, who holds what, and which laws that breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use periplus_core::client::RegistrationState;
use periplus_core::{Event, EventKind, Instance, Key, Lease, Namespace, Operation, Outcome, Registry, ServiceKey};

use super::plan::SECOND;
use super::server::Did;
use super::tally::Mark;
use super::world::World;

#[derive(Default)]
pub struct Books {
    /// By epoch.
    pub histories: BTreeMap<String, History>,
    /// The epoch of each registry.
    pub epochs: BTreeMap<usize, String>,
    /// By registry and key.
    pub holders: BTreeMap<(usize, Key), Holder>,
    /// Every lease that was ever given out, by its text.
    leases: BTreeMap<[u8; 32], (usize, Key)>,
    /// Which client process an incarnation is.
    pub incarnations: BTreeMap<u128, (usize, u32)>,
    /// How often somebody decided to register a key.
    pub explicit: BTreeMap<Key, u64>,
    /// How often a key changed hands in an epoch.
    takeovers: BTreeMap<(String, Key), u64>,
    /// The incarnations that have registered a key anywhere.
    pub registered: BTreeMap<Key, BTreeSet<u128>>,
    /// Client processes that lost a key to another.
    pub superseded: BTreeSet<(usize, u32, Key)>,
    /// Registrations that were taken out and confirmed: by process, key and epoch.
    pub finished: BTreeSet<(usize, u32, Key, String)>,
    /// Up to which operation a holder's commands are over, by epoch.
    over: BTreeMap<(String, Key, u128), u64>,
}

/// Who has a key at a registry.
#[derive(Clone, Debug)]
pub struct Holder {
    pub lease: Lease,
    pub incarnation: u128,
    pub sequence: u64,
    pub ttl: Duration,
    /// When it was renewed last, by the registry's clock and truly.
    pub renewed: u64,
    pub renewed_truly: u64,
}

/// The life of a registry within one epoch.
pub struct History {
    pub server: usize,
    first: u64,
    base: BTreeMap<Key, Instance>,
    /// One change a revision, with its time.
    pub changes: Vec<(Key, Option<Instance>, u64)>,
    pub present: BTreeMap<Key, Instance>,
    /// What was there at any time.
    pub ever: BTreeSet<Key>,
    /// It began with nothing, or with the state of a registry that warmed up.
    pub forgot: bool,
    pub began: u64,
    /// When what it did not list was not there.
    pub settled: Option<u64>,
}

impl History {
    pub fn revision(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    /// The changes after a revision up to another; `None` if they are not of this history.
    pub fn between(&self, after: u64, to: u64) -> Option<&[(Key, Option<Instance>, u64)]> {
        let (from, to) = (after.checked_sub(self.first)?, to.checked_sub(self.first)?);
        self.changes.get(from as usize..to as usize)
    }

    pub fn base(&self) -> (u64, &BTreeMap<Key, Instance>) {
        (self.first, &self.base)
    }
}

impl Books {
    pub fn on_start(&mut self, at: usize, registry: &Registry, forgot: bool, local: u64, now: u64) {
        let cursor = registry.cursor();
        let epoch = cursor.epoch.0.to_string();
        let present = || {
            let mut present = BTreeMap::new();
            for state in registry.export().instances {
                let (service, id) = (state.instance.service_name(), state.instance.instance_id());
                present.insert(Key::new(state.namespace, service, id), state.instance);
            }
            present
        };
        let settled = registry.warming_until().is_none().then_some(now);
        match self.histories.get_mut(&epoch) {
            Some(history) => assert_eq!(history.revision(), cursor.revision.0, "a restart loses nothing"),
            None => {
                let base = if forgot { BTreeMap::new() } else { present() };
                let ever = base.keys().cloned().collect();
                let (present, changes) = (base.clone(), Vec::new());
                let first = cursor.revision.0;
                let forgot = forgot || settled.is_none();
                let history = History { server: at, first, base, changes, present, ever, forgot, began: now, settled };
                self.histories.insert(epoch.clone(), history);
            }
        }
        self.epochs.insert(at, epoch);
        if forgot {
            self.holders.retain(|(server, _), _| *server != at);
        }
        for ((server, _), holder) in &mut self.holders {
            if *server == at {
                holder.renewed = local;
                holder.renewed_truly = now;
            }
        }
    }

    pub fn history(&self, server: usize) -> &History {
        &self.histories[&self.epochs[&server]]
    }

    pub fn holder(&self, server: usize, key: &Key) -> Option<&Holder> {
        self.holders.get(&(server, key.clone()))
    }
}

pub fn key_of(service: &ServiceKey, instance: &Instance) -> Key {
    Key::new(service.namespace.clone(), service.service.clone(), instance.instance_id())
}

impl World {
    /// What a request did to a registry.
    pub fn on_did(&mut self, server: usize, did: &Did) {
        let local = self.nodes[server].clock.read(self.now).as_micros();
        match did {
            Did::Nothing => {}
            Did::Refused(code) => match *code {
                "ended" => self.mark(Mark::ZombieRefused),
                "superseded" => self.mark(Mark::ReclaimRefused),
                "blocked" => self.mark(Mark::BlockedHeld),
                _ => {}
            },
            Did::Updated(lease) => {
                let current = self.books.leases.get(&lease.to_text()).filter(|place| place.0 == server).cloned();
                let held =
                    current.is_some_and(|place| self.books.holders.get(&place).is_some_and(|h| h.lease == *lease));
                self.demand("R1", held, || format!("{lease:?} of r{server} is not current and updated an instance"));
            }
            Did::Registered { key, operation, lease, outcome, ttl } => {
                self.on_registered(server, key, *operation, lease, *outcome, *ttl, local);
            }
            Did::Renewed { renewed, failed } => {
                for lease in renewed {
                    let place = self.books.leases.get(&lease.to_text()).filter(|place| place.0 == server).cloned();
                    let now = self.now;
                    let holder = place.and_then(|place| self.books.holders.get_mut(&place));
                    let Some(holder) = holder.filter(|holder| holder.lease == *lease) else {
                        self.violate("R2", || format!("{lease:?} of r{server} has ended and was renewed"));
                        continue;
                    };
                    holder.renewed = holder.renewed.max(local);
                    holder.renewed_truly = now;
                    let incarnation = holder.incarnation;
                    if let Some((client, life)) = self.process(incarnation)
                        && self.clients[client].life == life
                        && self.clients[client].hidden
                    {
                        self.mark(Mark::HiddenRenewed);
                    }
                }
                for (lease, error) in failed {
                    let place = self.books.leases.get(&lease.to_text()).filter(|place| place.0 == server).cloned();
                    let held =
                        place.is_some_and(|place| self.books.holders.get(&place).is_some_and(|h| h.lease == *lease));
                    self.demand("R1", !held, || {
                        format!("{lease:?} of r{server} is current and was not renewed: {error}")
                    });
                }
            }
            Did::Deregistered { key, incarnation, sequence, abandoned } => {
                if *abandoned {
                    self.mark(Mark::Abandoned);
                }
                if let Some(incarnation) = incarnation {
                    let epoch = self.books.epochs[&server].clone();
                    let upto = self.books.over.entry((epoch, key.clone(), *incarnation)).or_default();
                    *upto = (*upto).max(sequence.unwrap_or(0));
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "a registration says this much")]
    fn on_registered(
        &mut self,
        server: usize,
        key: &Key,
        operation: Operation,
        lease: &Lease,
        outcome: Outcome,
        ttl: Duration,
        local: u64,
    ) {
        let place = (server, key.clone());
        let incarnation = operation.incarnation.0;
        let before = self.books.holders.get(&place).cloned();
        let now = self.now;
        let who = self.process(incarnation);
        self.say(|| {
            let who = who.map_or_else(|| "?".into(), |(client, life)| format!("c{client}.{life}"));
            format!("r{server}: {who} registers {} (number {}): {outcome:?}", Self::show_key(key), operation.sequence)
        });
        if outcome == Outcome::Repeated {
            self.mark(Mark::Repeated);
            let same =
                before.as_ref().is_some_and(|before| before.lease == *lease && before.incarnation == incarnation);
            self.demand("R6", same, || format!("{} was repeated and has another lease", Self::show_key(key)));
            if let Some(holder) = self.books.holders.get_mut(&place) {
                holder.renewed = holder.renewed.max(local);
                holder.renewed_truly = now;
            }
            return;
        }
        let repeated =
            before.as_ref().is_some_and(|b| b.incarnation == incarnation && b.sequence == operation.sequence);
        self.demand("R6", !repeated, || format!("{} was sent twice and is {outcome:?}", Self::show_key(key)));
        self.books.registered.entry(key.clone()).or_default().insert(incarnation);
        let known = self.books.leases.insert(lease.to_text(), place.clone());
        self.demand("R2", known.is_none(), || format!("{lease:?} was given out twice"));
        let epoch = self.books.epochs[&server].clone();
        let over = self.books.over.get(&(epoch.clone(), key.clone(), incarnation)).copied();
        let given_up = over.is_some_and(|over| operation.sequence <= over);
        self.demand("R13", !given_up, || {
            format!("{} was given up up to {over:?} and registered by {}", Self::show_key(key), operation.sequence)
        });
        if let Some((client, life)) = self.process(incarnation) {
            let finished = self.books.finished.contains(&(client, life, key.clone(), epoch.clone()));
            self.demand("R13", !finished, || {
                format!("{} of c{client} was taken out, confirmed, and is back", Self::show_key(key))
            });
        }
        match outcome {
            Outcome::Replaced => self.mark(Mark::Replaced),
            Outcome::Superseded => {
                self.mark(Mark::Superseded);
                let count = self.books.takeovers.entry((epoch, key.clone())).or_default();
                *count += 1;
                let (count, explicit) = (*count, self.books.explicit.get(key).copied().unwrap_or(0));
                // Registries that know nothing of each other count holders apart: each may be wrong once about each.
                let explicit = explicit * self.nodes.len() as u64;
                self.demand("R7", count <= explicit, || {
                    format!("{} changed hands {count} times, but was wanted {explicit} times", Self::show_key(key))
                });
                if let Some((client, life)) = before.and_then(|before| self.process(before.incarnation)) {
                    self.books.superseded.insert((client, life, key.clone()));
                    if self.links[client][server].trouble > now {
                        self.mark(Mark::SupersededUnheard);
                    }
                }
            }
            _ => {}
        }
        let (lease, sequence) = (*lease, operation.sequence);
        let holder = Holder { lease, incarnation, sequence, ttl, renewed: local, renewed_truly: now };
        self.books.holders.insert(place, holder);
        // A process may be refused its id on another registry than where it lost it.
        if let Some((client, life)) = self.process(incarnation) {
            let others: Vec<_> = self.claimants(key).filter(|(c, l)| (*c, *l) != (client, life)).collect();
            for (other, life) in others {
                self.books.superseded.insert((other, life, key.clone()));
            }
        }
    }

    /// The client processes that have ever registered a key.
    fn claimants<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = (usize, u32)> + 'a {
        let wants = self.clients.iter().filter(|client| client.wants.iter().any(|want| want.key == *key));
        wants.map(|client| (client.at, client.life))
    }

    /// What happened in a registry.
    pub fn on_events(&mut self, server: usize, events: Vec<Event>) {
        for event in events {
            let revision = event.revision.0;
            match &event.kind {
                EventKind::Registered { subject, .. }
                | EventKind::Superseded { subject, .. }
                | EventKind::Updated(subject)
                | EventKind::Overlaid { subject, .. }
                | EventKind::OverlayCleared { subject, .. } => {
                    let key = key_of(&subject.service, &subject.instance);
                    self.on_change(server, revision, key, Some(subject.instance.clone()));
                }
                EventKind::Deregistered(subject) | EventKind::Evicted { subject, .. } => {
                    let key = key_of(&subject.service, &subject.instance);
                    self.say(|| format!("r{server}: {} {}", Self::show_key(&key), event.kind.name()));
                    self.books.holders.remove(&(server, key.clone()));
                    self.on_change(server, revision, key, None);
                }
                EventKind::Expired(subject) => {
                    let key = key_of(&subject.service, &subject.instance);
                    self.on_expired(server, &key);
                    self.on_change(server, revision, key, None);
                }
                EventKind::RenewedLate(_) => self.mark(Mark::RenewedLate),
                EventKind::Stalled { extended, .. } if *extended > 0 => self.mark(Mark::GraceGiven),
                EventKind::Settled => {
                    self.say(|| format!("r{server} has settled"));
                    let epoch = self.books.epochs[&server].clone();
                    if let Some(history) = self.books.histories.get_mut(&epoch) {
                        history.settled = Some(self.now);
                    }
                }
                EventKind::AlarmRaised(_) => self.mark(Mark::AlarmSounded),
                _ => {}
            }
        }
    }

    fn on_change(&mut self, server: usize, revision: u64, key: Key, to: Option<Instance>) {
        let epoch = self.books.epochs[&server].clone();
        let now = self.now;
        let Some(history) = self.books.histories.get_mut(&epoch) else { return };
        let held = history.revision();
        if revision == held {
            let same = history.present.get(&key) == to.as_ref();
            // A lease may have another ttl, and the instance look the same.
            self.demand("R8", same, || format!("r{server}: {} changed at {revision}, unsaid", Self::show_key(&key)));
            return;
        }
        match &to {
            Some(instance) => {
                history.present.insert(key.clone(), instance.clone());
                history.ever.insert(key.clone());
            }
            None => drop(history.present.remove(&key)),
        }
        history.changes.push((key, to, now));
        self.demand("R8", revision == held + 1, || format!("r{server} went from revision {held} to {revision}"));
    }

    /// A lease was not renewed: was that its holder's fault, and does the holder know?
    fn on_expired(&mut self, server: usize, key: &Key) {
        let local = self.nodes[server].clock.read(self.now).as_micros();
        let place = (server, key.clone());
        let Some(holder) = self.books.holders.remove(&place) else {
            self.violate("R1", || format!("{} expired and was held by nobody", Self::show_key(key)));
            return;
        };
        let due = holder.renewed + holder.ttl.as_micros() as u64;
        let who = self.process(holder.incarnation);
        self.say(|| {
            let who = who.map_or_else(|| "?".into(), |(client, life)| format!("c{client}.{life}"));
            format!("r{server}: {} of {who} expires", Self::show_key(key))
        });
        self.demand("R4", local >= due, || format!("{} expired {}us too early", Self::show_key(key), due - local));
        let Some((at, life)) = self.process(holder.incarnation) else { return };
        let node = &self.nodes[server];
        let client = &self.clients[at];
        let (Some(machine), true) = (&client.machine, client.life == life) else { return };
        let Some(reg) = client.regs.iter().rfind(|reg| client.wants[reg.want].key == *key) else { return };
        if reg.lease.as_ref().is_none_or(|(_, lease, _)| *lease != holder.lease) {
            return;
        }
        let Some(view) = machine.registration(reg.id) else { return };
        // C2, in true time: what the holder believes is so, unless a clock did more than drift.
        let shown = client.clock.read(self.now);
        let believes = view.state == RegistrationState::Registered && view.until.is_some_and(|until| until > shown);
        let clocks = reg.acked_truly > client.odd_clock && reg.acked_truly > node.odd_clock;
        if believes && clocks && !client.clock.is_frozen() {
            let until = view.until;
            self.violate("C2", || {
                format!("c{at} believes in {} until {until:?}, but its lease has ended", Self::show_key(key))
            });
            return;
        }
        // K2, C3: whoever is well and was for long keeps its lease.
        let ttl = holder.ttl.as_micros() as u64;
        let link = &self.links[at][server];
        let trouble = [client.trouble, client.odd_clock, link.trouble, node.trouble, node.odd_clock, reg.touched];
        let since = trouble.into_iter().max().unwrap_or(0);
        let long = since + ttl * 2 + 60 * SECOND < self.now;
        let hidden = client.hidden && ttl < 180 * SECOND;
        let leaving = reg.leaving || client.closing;
        if long && !hidden && !leaving && !client.suspended && !reg.is_over() && self.nodes.len() == 1 {
            self.violate("K2", || {
                format!("c{at} was well since {:.3}s and lost {}", since as f64 / SECOND as f64, Self::show_key(key))
            });
        }
    }
}

/// Whether a change concerns what a selector names.
pub fn names(selector: &periplus_core::Selector, key: &Key) -> bool {
    let namespace: &Namespace = &key.namespace;
    match selector {
        periplus_core::Selector::Service(service) => service.namespace == *namespace && service.service == key.service,
        periplus_core::Selector::Prefix { namespace: ns, prefix } => {
            ns == namespace && key.service.starts_with(prefix.as_str())
        }
    }
}

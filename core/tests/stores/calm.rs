//! In the end all is well: what is healed comes right within a stated bound, stays so, and ends without a trace.

use periplus_core::client::{Provenance, RegistrationState};
use periplus_core::{Key, Namespace};

use super::past::Set;
use super::plan::{MINUTE, SECOND};
use super::store::Act;
use super::world::{Event, World};

/// The longest back-off, the spread of those who come back at once, and a little for round trips and drift.
const COMING_BACK: u64 = (30 + 10 + 20) * SECOND;

/// How long a change may be under way to those who watch.
const UNDER_WAY: u64 = 5 * SECOND;

impl World {
    /// Everything is healed, and must come right within: the time after which a silent connection is noticed, at each
    /// address in turn; the longest back-off and the spread; and, if the store has lost its memory, twice the warm-up, in
    /// which what is not confirmed is kept.
    pub fn become_calm(&mut self) {
        self.calm = true;
        self.say(|| "calm".into());
        self.past.ails = self.now;
        self.past.trouble = self.past.trouble.min(self.now);
        self.come_up(None);
        self.store_act(&Act::Heal);
        for client in 0..self.clients.len() {
            if !self.plan.clients[client].present {
                continue;
            }
            for link in &mut self.links[client] {
                link.heal(self.now);
            }
            self.thaw(client);
            self.resume(client);
            self.look_back(client);
            if self.clients[client].machine.is_none() || self.clients[client].closing {
                self.kill(client);
                self.start_client(client);
            }
        }
        let laws = &self.kind.laws;
        let detection = laws.silence.as_micros() as u64 + 10 * SECOND * self.plan.endpoints as u64;
        let longest = self.plan.clients.iter().flat_map(|client| &client.holds).map(|hold| hold.ttl).max();
        let ttl = longest.unwrap_or_default().as_micros() as u64;
        let mut bound = detection + COMING_BACK + ttl;
        // Without revisions, a loss of memory can only be guessed at, and any outage may look like one.
        let forgot = self.past.forgot.is_some_and(|forgot| forgot + 10 * MINUTE > self.now);
        if forgot || self.past.revision.is_none() {
            bound += 2 * laws.warm_up.as_micros() as u64 + 12 * SECOND;
        }
        self.after(bound, Event::CheckCalm);
    }

    pub fn check_calm(&mut self) {
        self.say(|| "everything must be right now".into());
        self.check_fresh();
        self.check_convergence();
        for client in &mut self.clients {
            client.quiet_requests = 0;
        }
        // And it stays so.
        self.after(2 * MINUTE, Event::CheckQuiet);
    }

    pub fn check_quiet(&mut self) {
        self.check_convergence();
        self.check_frugality();
        for client in 0..self.clients.len() {
            self.close_client(client, None);
        }
        self.after(10 * SECOND, Event::CheckEnd);
    }

    pub fn check_end(&mut self) {
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            if client.machine.is_none() {
                continue;
            }
            let closed = client.closed;
            self.demand("C8", closed, || format!("c{at} is well and does not close"));
        }
        let left = self.past.present.keys().find(|key| self.past.owners.contains_key(*key));
        let left = left.map(Self::show_key);
        self.demand("C8", left.is_none(), || format!("all have closed, and {left:?} is still there"));
        self.ended = true;
    }

    /// C1, C3, C9, W5: everything is registered that is wanted, nothing else, and everybody sees it.
    pub fn check_convergence(&mut self) {
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            let Some(machine) = client.machine.as_ref().filter(|_| self.violation.is_none()) else { continue };
            let mut wrong = None;
            for (want, it) in client.wants.iter().enumerate() {
                let name = Self::show_key(&it.key);
                let Some(reg) = client.regs.iter().rfind(|reg| reg.want == want) else { continue };
                let Some(view) = machine.registration(reg.id) else { continue };
                let ours = self.past.owners.get(&it.key) == Some(&(at, client.life));
                let there = self.past.present.get(&it.key);
                if !it.active {
                    if !view.state.is_final() {
                        wrong = Some(("C8", format!("{name} is taken out and is {:?}", view.state)));
                    } else if ours && !(self.kind.wide && self.is_wanted(&it.key, Some(at))) {
                        wrong = Some(("C1", format!("{name} is taken out and is there")));
                    }
                    continue;
                }
                let shared = self.past.superseded.contains(&(at, client.life, it.key.clone()))
                    || (self.kind.wide && self.is_shared(&it.key, at));
                match view.state {
                    RegistrationState::Superseded if there.is_some() || shared => {}
                    // Without fencing, whoever wrote last is seen.
                    RegistrationState::Registered if shared && !self.kind.laws.fences => {
                        if there.is_none() {
                            wrong = Some(("C1", format!("{name} is registered and not there")));
                        }
                    }
                    RegistrationState::Registered if ours => {
                        let wanted = self.kind.normalized(it.instance.clone());
                        let there = there.map(|there| &there.instance);
                        let outdated = !self.kind.laws.fences && self.past.outdated.contains(&it.key);
                        if there != Some(&wanted) && (there.is_none() || !outdated) {
                            wrong = Some(("C1", format!("{name} is {there:?} and should be {wanted:?}")));
                        } else if !view.current {
                            wrong = Some(("C3", format!("{name} is not said to be current")));
                        }
                    }
                    state => wrong = Some(("C3", format!("{name} is {state:?} ({:?}), ours: {ours}", view.problem))),
                }
            }
            if let Some((law, what)) = wrong {
                let after = (self.now - self.plan.calm) / SECOND;
                return self.violate(law, || format!("c{at}, {after}s after the calm: {what}"));
            }
            self.check_views_converged(at);
            self.clients[at].steady = true;
        }
    }

    fn check_views_converged(&mut self, at: usize) {
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
            let provenance = sub.provenance;
            let under_way = |key: &Key| self.past.changed.get(key).is_some_and(|at| at + UNDER_WAY > self.now);
            let spot = |key: &Key| (key.service.clone(), key.id.clone());
            let key = |(service, id): &(_, _)| Key::new(Namespace::default(), Clone::clone(service), Clone::clone(id));
            let present = self.past.present.iter().filter(|(key, _)| sub.names(&key.service) && !under_way(key));
            let present: Vec<_> = present.map(|(key, it)| (spot(key), it.instance.clone())).collect();
            let shown = sub.copy.iter().filter(|(spot, _)| !under_way(&key(spot)));
            let shown: Vec<_> = shown.map(|(spot, it)| (spot.clone(), it.clone())).collect();
            self.demand("C9", provenance == Provenance::Live, || {
                format!("c{at}: {id:?} is {provenance:?} long after the calm")
            });
            self.demand("W5", present == shown, || {
                format!("c{at}: {id:?} shows {shown:?} long after the calm, the store has {present:?}")
            });
        }
    }

    /// C6: whoever is well asks for little.
    fn check_frugality(&mut self) {
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            let Some(_) = client.machine.as_ref().filter(|_| self.violation.is_none()) else { continue };
            let regs = client.regs.iter().filter(|reg| !reg.is_over());
            let renewals: u64 = regs.map(|reg| 2 * 60 * 3 / client.wants[reg.want].ttl.as_secs().max(1) + 4).sum();
            let most =
                renewals * self.kind.laws.renewals + (client.subs.len() as u64 + 1) * (2 * self.kind.laws.polls + 2);
            let sent = client.quiet_requests;
            self.demand("C6", sent <= most, || {
                format!("c{at} sent {sent} requests in two minutes in which nothing happened, {most} would do")
            });
        }
    }
}

/// What a test compares with.
pub fn ids(set: &Set) -> Vec<String> {
    set.keys().map(ToString::to_string).collect()
}

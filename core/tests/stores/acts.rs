//! What the plan says happens.

use periplus_core::{Key, Namespace, Patch};

use super::plan::{Condition, Follow, PREFIXES, SECOND, SERVICES, What};
use super::process::{Want, key_of, look};
use super::store::Act;
use super::world::{Event, World};

impl World {
    pub fn act(&mut self, what: &What) {
        if !self.concerns_present(what) {
            return;
        }
        *self.tally.faults.entry(what.label()).or_default() += 1;
        self.check_fresh();
        self.say(|| format!("{what:?}"));
        let now = self.now;
        match what {
            What::Link { client, endpoint, condition, lasts } => {
                for at in 0..self.plan.endpoints {
                    if endpoint.is_none_or(|endpoint| endpoint == at) {
                        self.afflict(*client, at, *condition, *lasts);
                    }
                }
            }
            What::Links { clients, condition, lasts } => {
                for &client in clients {
                    for endpoint in 0..self.plan.endpoints {
                        self.afflict(client, endpoint, *condition, *lasts);
                    }
                }
            }
            What::Cut { client } | What::Reset { client } => {
                self.trouble_links(*client, now + 60 * SECOND * u64::from(matches!(what, What::Cut { .. })));
                for number in self.under_way(*client) {
                    let Some(exchange) = self.exchanges.get_mut(&number) else { continue };
                    if matches!(what, What::Cut { .. }) && exchange.held {
                        exchange.breaks = true;
                    } else {
                        self.break_off(number, "connection reset by peer");
                    }
                }
            }
            What::EndHeld { client } => {
                self.trouble_links(*client, now);
                for number in self.under_way(*client) {
                    if self.exchanges.get(&number).is_some_and(|it| it.held && !it.silent) {
                        self.end_held(number);
                    }
                }
            }
            What::Crash { client, down } => {
                if self.clients[*client].machine.is_some() {
                    self.kill(*client);
                    self.after(*down, Event::Start(*client));
                }
            }
            What::Close { client, down } => self.close_client(*client, Some(*down)),
            What::Suspend { clients, lasts } => {
                for &at in clients {
                    let client = &mut self.clients[at];
                    if client.machine.is_none() {
                        continue;
                    }
                    if !client.suspended {
                        client.suspended_at = now;
                    }
                    client.suspended = true;
                    client.resume_at = client.resume_at.max(now + lasts);
                    client.trouble = client.resume_at;
                    let resume = client.resume_at;
                    self.at(resume, Event::Resume { client: at });
                }
            }
            What::Jump { client, by } => {
                let at = *client;
                let client = &mut self.clients[at];
                client.clock.jump(now, *by);
                let settles = now + by.unsigned_abs() * u64::from(*by < 0) * 102 / 100;
                client.odd_clock = client.odd_clock.max(settles);
                client.trouble = client.trouble.max(settles);
                self.arm(at);
            }
            What::Freeze { client, lasts } => {
                let at = *client;
                let client = &mut self.clients[at];
                if !client.clock.is_frozen() {
                    client.clock.freeze(now);
                }
                client.thaw_at = client.thaw_at.max(now + lasts);
                client.odd_clock = client.odd_clock.max(client.thaw_at);
                client.trouble = client.trouble.max(client.thaw_at);
                let thaw = client.thaw_at;
                self.at(thaw, Event::Thaw { client: at });
                self.arm(at);
            }
            What::Spurious { client } => {
                self.quiet(*client, "a timeout too early", |machine, now| machine.handle_timeout(now));
            }
            What::Online { client } => {
                if !self.clients[*client].suspended {
                    self.clients[*client].commands.push(now);
                    self.step(*client, |machine, now| machine.handle_online(now));
                }
            }
            What::LookAway { client, lasts } => self.look_away(*client, *lasts),
            What::Update { client, hold, look } => self.update(*client, *hold, *look),
            What::Storm { client, hold, times } => {
                for nth in 0..*times {
                    self.update(*client, *hold, nth * 7 + times);
                }
            }
            What::Deregister { client, hold } => self.deregister(*client, *hold),
            What::Register { client, hold } => self.register(*client, *hold),
            What::RegisterTwice { client, hold, look: number } => {
                let process = &mut self.clients[*client];
                if process.listens() && *hold < process.wants.len() {
                    let want = &mut process.wants[*hold];
                    want.instance = look(&want.key, *number);
                    self.register(*client, *hold);
                    self.register(*client, *hold);
                }
            }
            What::Race { client, hold, again } => {
                if *again {
                    self.deregister(*client, *hold);
                    self.register(*client, *hold);
                } else {
                    self.register(*client, *hold);
                    self.deregister(*client, *hold);
                }
            }
            What::Watch { client, what, pace } => {
                let process = &mut self.clients[*client];
                if process.follows.len() < 6 {
                    let follow = Follow { what: *what, pace: *pace };
                    process.follows.push(follow.clone());
                    self.watch(*client, &follow);
                }
            }
            What::Unwatch { client, nth } => self.unwatch(*client, *nth),
            What::WatchChurn { client, what, times } => {
                let selectors = SERVICES.len() + if self.kind.laws.prefixes { PREFIXES.len() } else { 0 };
                for nth in 0..*times {
                    let before = self.clients[*client].subs.len();
                    self.watch(*client, &Follow { what: (what + nth as usize) % selectors, pace: 0 });
                    if self.clients[*client].subs.len() > before {
                        self.unwatch(*client, before);
                    }
                }
            }
            What::Collide { client, other, hold } => {
                let Some(hold) = self.plan.clients[*other].holds.get(*hold) else { return };
                let (key, ttl) = (key_of(hold.service, &hold.id), hold.ttl);
                let process = &mut self.clients[*client];
                if client == other || !process.listens() {
                    return;
                }
                let want = process.wants.iter().position(|want| want.key == key);
                let want = want.unwrap_or_else(|| {
                    process.wants.push(Want { instance: look(&key, 99), key: key.clone(), ttl, active: true });
                    process.wants.len() - 1
                });
                self.mark("two clients wanted one id");
                self.touch(&key);
                self.register(*client, want);
            }
            What::Down { lasts, silent, comes_back } => self.go_down(*lasts, *silent, *comes_back),
            What::Compact => self.store_act(&Act::Compact),
            What::Revoke { nth } | What::Remove { nth } => {
                let present: Vec<&Key> = self.past.present.keys().collect();
                if present.is_empty() || self.outage.is_some() {
                    return;
                }
                let key = present[nth % present.len()].clone();
                self.touch(&key);
                let (namespace, service, id) = Self::place(&key);
                self.store_act(&match what {
                    What::Revoke { .. } => Act::Revoke(namespace, service, id),
                    _ => Act::Remove(namespace, service, id),
                });
            }
            What::ForeignPut { service, nth, look: number } => {
                if self.outage.is_none() {
                    let key = key_of(*service, &format!("foreign-{nth}"));
                    self.store_act(&Act::ForeignPut(Namespace::default(), look(&key, *number)));
                }
            }
            What::Garbage { service, nth } => {
                if self.outage.is_none() {
                    let (namespace, service, id) = Self::place(&key_of(*service, &format!("garbage-{nth}")));
                    let bytes: &[u8] = match nth {
                        0 => b"garbage",
                        1 => b"null",
                        2 => b"{\"id\":7}",
                        _ => b"",
                    };
                    self.store_act(&Act::Garbage(namespace, service, id, bytes.to_vec()));
                }
            }
            What::Agent { .. } | What::Datacenter { .. } | What::Rights { .. } | What::Rewind { .. } => {
                if self.outage.is_none() {
                    self.ail(what);
                }
            }
        }
    }

    /// A part of the store is not well.
    fn ail(&mut self, what: &What) {
        let now = self.now;
        let lasts = match what {
            What::Agent { lasts, .. } | What::Datacenter { lasts, .. } | What::Rights { lasts, .. } => *lasts,
            _ => 0,
        };
        let until = self.store_clock.read(now + lasts);
        if lasts > 0 {
            self.past.ails = self.past.ails.max(now + lasts);
            self.past.trouble = self.past.trouble.max(now + lasts);
        }
        let act = match *what {
            What::Agent { endpoint, empty, .. } => {
                for client in 0..self.clients.len() {
                    self.afflict(client, endpoint, Condition::Refuse, lasts);
                }
                let there = self.exchanges.iter().filter(|(_, it)| it.endpoint == endpoint);
                for number in there.map(|(number, _)| *number).collect::<Vec<_>>() {
                    self.break_off(number, "connection reset by peer");
                }
                if empty {
                    self.past.emptied = now;
                }
                Act::Agent { endpoint, until, empty }
            }
            What::Datacenter { west, .. } => Act::Datacenter { west, until },
            What::Rights { rights, .. } => Act::Rights(rights, until),
            What::Rewind { west, by } => Act::Rewind { west, by },
            _ => return,
        };
        self.store_act(&act);
    }

    fn concerns_present(&self, what: &What) -> bool {
        let present = |client: &usize| self.plan.clients[*client].present;
        match what {
            What::Link { client, .. }
            | What::Cut { client }
            | What::Reset { client }
            | What::EndHeld { client }
            | What::Crash { client, .. }
            | What::Close { client, .. }
            | What::Jump { client, .. }
            | What::Freeze { client, .. }
            | What::Spurious { client }
            | What::Online { client }
            | What::LookAway { client, .. }
            | What::Update { client, .. }
            | What::Storm { client, .. }
            | What::Deregister { client, .. }
            | What::Register { client, .. }
            | What::RegisterTwice { client, .. }
            | What::Race { client, .. }
            | What::Watch { client, .. }
            | What::Unwatch { client, .. }
            | What::WatchChurn { client, .. } => present(client),
            What::Collide { client, other, .. } => present(client) && present(other),
            _ => true,
        }
    }

    pub fn afflict(&mut self, client: usize, endpoint: usize, condition: Condition, lasts: u64) {
        self.links[client][endpoint].add(condition, self.now, lasts);
        if condition == Condition::HalfOpen {
            for number in self.under_way(client) {
                if let Some(exchange) = self.exchanges.get_mut(&number)
                    && exchange.endpoint == endpoint
                    && exchange.held
                {
                    exchange.silent = true;
                }
            }
            // Found out only a minute later.
            self.links[client][endpoint].trouble += 60 * SECOND;
        }
    }

    fn trouble_links(&mut self, client: usize, until: u64) {
        for link in &mut self.links[client] {
            link.trouble = link.trouble.max(until);
        }
    }

    /// Somebody else has a hand in whatever is registered under a key.
    fn touch(&mut self, key: &Key) {
        let now = self.now;
        for client in &mut self.clients {
            for reg in &mut client.regs {
                if client.wants[reg.want].key == *key {
                    reg.touched = now + 60 * SECOND;
                }
            }
        }
    }

    pub fn update(&mut self, at: usize, want: usize, number: u64) {
        let client = &self.clients[at];
        if !client.listens() || want >= client.wants.len() {
            return;
        }
        let Some(reg) = client.reg_of(want) else { return };
        let id = client.regs[reg].id;
        let next = look(&client.wants[want].key, number);
        let mut patch = Patch { version: Some(next.version.clone()), ..Patch::new() };
        patch.endpoints = Some(next.endpoints.clone());
        for key in client.wants[want].instance.metadata.keys() {
            patch.metadata.insert(key.clone(), None);
        }
        patch.metadata.extend(next.metadata.iter().map(|(key, value)| (key.clone(), Some(value.clone()))));
        let over = client.regs[reg].is_over();
        self.clients[at].commands.push(self.now);
        self.step_with(
            at,
            |machine, now| machine.update(id, &patch, now),
            |world, done| match done {
                Ok(()) => world.clients[at].wants[want].instance = next,
                Err(error) => world.demand("contract", over, || format!("c{at} cannot update {id:?}: {error}")),
            },
        );
    }
}

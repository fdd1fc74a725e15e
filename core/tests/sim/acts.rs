//! What the plan says happens.

use std::time::Duration;

use periplus_core::{Key, Patch};

use super::node::{Want, key_of, look, selector};
use super::plan::{Condition, Follow, SECOND, What};
use super::random::Random;
use super::server::REASON;
use super::world::{Event, World};

impl World {
    pub fn act(&mut self, what: &What) {
        if !self.concerns_present(what) {
            return;
        }
        if let Some(kind) = what.kind() {
            self.tally.fault(kind);
        }
        self.say(|| format!("{what:?}"));
        let now = self.now;
        match what {
            What::Link { client, server, condition, lasts } => {
                for at in 0..self.nodes.len() {
                    if server.is_none_or(|server| server == at) {
                        self.afflict(*client, at, *condition, *lasts);
                    }
                }
            }
            What::Links { clients, condition, lasts } => {
                for &client in clients {
                    for server in 0..self.nodes.len() {
                        self.afflict(client, server, *condition, *lasts);
                    }
                }
            }
            What::Cut { client } | What::Reset { client } => {
                self.trouble_all(*client);
                for number in self.under_way(*client) {
                    if matches!(what, What::Reset { .. })
                        && let Some(exchange) = self.exchanges.get_mut(&number)
                    {
                        exchange.flights.clear();
                        exchange.last_at = 0;
                    }
                    let open = self.exchanges.get(&number).is_some_and(|it| it.streaming && it.arrived && !it.silent);
                    if matches!(what, What::Cut { .. }) && open {
                        // It breaks in the middle of what it says next, and it has much to say.
                        let (server, local) = match self.exchanges.get_mut(&number) {
                            Some(exchange) => {
                                exchange.breaks = true;
                                (exchange.server, self.nodes[exchange.server].clock.read(now))
                            }
                            None => continue,
                        };
                        if let Some(machine) = &mut self.nodes[server].server {
                            machine.set_held(number, true, local);
                        }
                        let link = &mut self.links[*client][server];
                        link.trouble = link.trouble.max(now + 40 * SECOND);
                        self.after(40 * SECOND, Event::ReadOn { client: *client, server });
                        continue;
                    }
                    self.break_off(number, "connection reset by peer");
                }
            }
            What::EndStreams { client } => {
                self.trouble_all(*client);
                for number in self.under_way(*client) {
                    let Some(exchange) = self.exchanges.get_mut(&number) else { continue };
                    let (server, streaming, arrived) = (exchange.server, exchange.streaming, exchange.arrived);
                    if !streaming || !arrived || exchange.silent {
                        continue;
                    }
                    self.fly(number, now + self.links[*client][server].latency, periplus_core::http::Input::End);
                    if let Some(exchange) = self.exchanges.get_mut(&number) {
                        exchange.silent = true;
                    }
                    if let Some(server) = &mut self.nodes[server].server {
                        server.handle_gone(number);
                    }
                }
            }
            What::Crash { client, down } => {
                if self.clients[*client].machine.is_some() {
                    self.kill(*client);
                    self.after(*down, Event::Start(*client));
                }
            }
            What::Close { client, down } => {
                if !self.clients[*client].suspended {
                    self.close_client(*client, Some(*down));
                }
            }
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
                let client_at = *client;
                let client = &mut self.clients[client_at];
                client.clock.jump(now, *by);
                let settles = settled(now, client.odd_clock, *by);
                client.odd_clock = settles;
                client.trouble = client.trouble.max(settles);
                self.arm(client_at);
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
            What::Hide { client, lasts } => {
                let at = *client;
                let client = &mut self.clients[at];
                client.hidden = true;
                client.show_at = client.show_at.max(now + lasts);
                client.trouble = client.trouble.max(client.show_at);
                let show = client.show_at;
                self.at(show, Event::Show { client: at });
                self.arm(at);
            }
            What::Spurious { client } => {
                self.quiet(*client, "a timeout too early", |machine, now| machine.handle_timeout(now))
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
            What::Deregister { client, hold } => {
                if *hold < self.clients[*client].wants.len() {
                    self.clients[*client].commands.push(now);
                    self.deregister(*client, *hold);
                }
            }
            What::Register { client, hold } => {
                if *hold < self.clients[*client].wants.len() {
                    self.clients[*client].commands.push(now);
                    self.register(*client, *hold);
                }
            }
            What::RegisterTwice { client, hold, look: number } => {
                let process = &mut self.clients[*client];
                if *hold < process.wants.len() && process.machine.is_some() && !process.suspended && !process.closing {
                    process.commands.push(now);
                    let want = &mut process.wants[*hold];
                    want.instance = look(&want.key, *number);
                    self.register(*client, *hold);
                    self.register(*client, *hold);
                }
            }
            What::Race { client, hold, again } => {
                if *hold < self.clients[*client].wants.len() {
                    self.clients[*client].commands.push(now);
                    if *again {
                        self.deregister(*client, *hold);
                        self.register(*client, *hold);
                    } else {
                        self.register(*client, *hold);
                        self.deregister(*client, *hold);
                    }
                }
            }
            What::Watch { client, what, pace } => {
                let process = &mut self.clients[*client];
                if process.follows.len() < 6 {
                    process.commands.push(now);
                    let follow = Follow { what: *what, pace: *pace };
                    process.follows.push(follow.clone());
                    self.watch(*client, &follow);
                }
            }
            What::Unwatch { client, nth } => {
                self.clients[*client].commands.push(now);
                self.unwatch(*client, *nth);
            }
            What::WatchChurn { client, what, times } => {
                self.clients[*client].commands.push(now);
                for nth in 0..*times {
                    let follow = Follow { what: (what + nth as usize) % super::plan::SELECTORS.len(), pace: 1_000 };
                    let _ = selector(follow.what);
                    let before = self.clients[*client].subs.len();
                    self.watch(*client, &follow);
                    if self.clients[*client].subs.len() > before {
                        self.unwatch(*client, before);
                    }
                }
            }
            What::Collide { client, other, hold } => {
                let Some(hold) = self.plan.clients[*other].holds.get(*hold) else { return };
                let key = key_of(hold.service, &hold.id);
                let ttl = hold.ttl;
                let process = &mut self.clients[*client];
                process.commands.push(now);
                if client == other || process.machine.is_none() || process.suspended || process.closing {
                    return;
                }
                let want = process.wants.iter().position(|want| want.key == key);
                let want = want.unwrap_or_else(|| {
                    process.wants.push(Want { instance: look(&key, 99), key: key.clone(), ttl, active: true });
                    process.wants.len() - 1
                });
                self.touch(&key);
                self.register(*client, want);
            }
            What::ServerCrash { server, down, silent } => {
                if self.nodes[*server].server.is_some() {
                    self.stop_server(*server, *silent, None);
                    self.after(*down, Event::ServerStart { server: *server });
                }
            }
            What::ServerRestart { server, down, new_epoch } => {
                if self.nodes[*server].server.is_some() {
                    self.stop_server(*server, false, Some(*new_epoch));
                    self.after(*down, Event::ServerStart { server: *server });
                }
            }
            What::ServerBye { server, down } => {
                let node = &mut self.nodes[*server];
                if node.paused {
                    return;
                }
                if let Some(machine) = &mut node.server {
                    machine.say_bye();
                    self.server_done(*server);
                    self.stop_server(*server, false, None);
                    self.after(*down, Event::ServerStart { server: *server });
                }
            }
            What::ServerPause { server, lasts } => {
                let node = &mut self.nodes[*server];
                if node.server.is_some() && !node.paused {
                    node.paused = true;
                    node.paused_at = now;
                    node.wake = None;
                    if *lasts > 4 * SECOND {
                        node.trouble = now + lasts;
                    }
                    self.after(*lasts, Event::ServerResume { server: *server });
                }
            }
            What::ServerJump { server, by } => {
                let node = &mut self.nodes[*server];
                node.clock.jump(now, *by);
                node.odd_clock = settled(now, node.odd_clock, *by);
                self.arm_server(*server);
            }
            What::Evict { server, nth, block } => {
                let Some(key) = self.listed(*server, *nth) else { return };
                self.touch(&key);
                let at = self.nodes[*server].clock.read(now);
                if let Some(machine) = &mut self.nodes[*server].server {
                    let block = block.map(Duration::from_secs);
                    let _ = machine.operate(at, |registry, who| registry.evict(&key, REASON, block, who, at));
                }
                self.server_done(*server);
            }
            What::Overlay { server, nth, look } => {
                let Some(key) = self.listed(*server, *nth) else { return };
                let at = self.nodes[*server].clock.read(now);
                let patch = Patch::new().with_weight((look % 10) as u32).with_metadata("seen", Some("operator".into()));
                if let Some(machine) = &mut self.nodes[*server].server {
                    let _ = machine.operate(at, |registry, who| registry.overlay(&key, &patch, REASON, who, at));
                }
                self.server_done(*server);
            }
            What::ClearOverlays { server } => {
                let at = self.nodes[*server].clock.read(now);
                if self.nodes[*server].paused {
                    return;
                }
                if let Some(machine) = &mut self.nodes[*server].server {
                    let keys: Vec<Key> = machine.registry.overlays().map(|(key, _)| key.clone()).collect();
                    for key in keys {
                        let _ =
                            machine.operate(at, |registry, who| registry.clear_overlay(&key, None, REASON, who, at));
                    }
                }
                self.server_done(*server);
            }
        }
    }

    fn concerns_present(&self, what: &What) -> bool {
        let present = |client: usize| self.plan.clients[client].present;
        match what {
            What::Link { client, .. }
            | What::Cut { client }
            | What::Reset { client }
            | What::EndStreams { client }
            | What::Crash { client, .. }
            | What::Close { client, .. }
            | What::Jump { client, .. }
            | What::Freeze { client, .. }
            | What::Hide { client, .. }
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
            | What::WatchChurn { client, .. } => present(*client),
            What::Collide { client, other, .. } => present(*client) && present(*other),
            _ => true,
        }
    }

    fn afflict(&mut self, client: usize, server: usize, condition: Condition, lasts: u64) {
        self.links[client][server].add(condition, self.now, lasts);
        match condition {
            Condition::HalfOpen => {
                for number in self.under_way(client) {
                    if let Some(exchange) = self.exchanges.get_mut(&number)
                        && exchange.server == server
                        && exchange.streaming
                    {
                        exchange.silent = true;
                    }
                }
                // Found out only a minute later.
                let link = &mut self.links[client][server];
                link.trouble += 60 * SECOND;
            }
            Condition::SlowReader => {
                self.set_readers(client, server, true);
                self.after(lasts, Event::ReadOn { client, server });
            }
            _ => {}
        }
    }

    fn trouble_all(&mut self, client: usize) {
        for link in &mut self.links[client] {
            link.trouble = link.trouble.max(self.now);
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

    fn listed(&self, server: usize, nth: usize) -> Option<Key> {
        let node = &self.nodes[server];
        if node.paused || node.server.is_none() {
            return None;
        }
        let present = &self.books.history(server).present;
        present.keys().nth(nth % present.len().max(1)).cloned()
    }

    fn update(&mut self, at: usize, want: usize, number: u64) {
        let client = &self.clients[at];
        if client.machine.is_none() || client.suspended || client.closing || want >= client.wants.len() {
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
        // What is wanted from now on may be told under a new number, be it what was wanted before.
        self.clients[at].regs[reg].put = None;
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

    /// For those who are not healed, it goes on, or worse.
    pub fn worsen(&mut self, at: usize) {
        let ever = 10_000 * SECOND;
        let mut random = Random::fork(self.plan.seed, 50_000 + at as u64);
        let condition = *random.pick(&[
            Condition::Partition,
            Condition::PartitionUp,
            Condition::PartitionDown,
            Condition::Refuse,
            Condition::LoseAnswers(60),
            Condition::ServerError(100),
            Condition::Garbage(80),
            Condition::HalfOpen,
        ]);
        for server in 0..self.nodes.len() {
            self.afflict(at, server, condition, ever);
        }
    }
}

/// When a clock that jumps shows again what it has shown before. One that jumps back once more before that has both ways
/// to go.
fn settled(now: u64, settles: u64, by: i64) -> u64 {
    settles.max(now) + by.unsigned_abs() * u64::from(by < 0) * 102 / 100
}

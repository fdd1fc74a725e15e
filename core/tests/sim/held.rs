//! The laws of registrations: what is sent for them, what is believed of them, and what is true in the end.

use std::collections::VecDeque;

use periplus_core::Instant;
use periplus_core::client::{Backend, RegistrationState};
use periplus_core::http::{Method, Request, RequestId};
use periplus_core::protocol::{DeregisterMessage, RENEWALS_LIMIT, RegisterMessage, WatchMessage};
use periplus_core::{Lease, Outcome, Selector};

use super::messages::RenewMessage;
use super::plan::SECOND;
use super::server::Did;
use super::tally::Mark;
use super::world::{Exchange, World};

impl World {
    /// A request leaves a client.
    pub fn on_sent(&mut self, at: usize, id: RequestId, request: &Request) {
        let now = self.now;
        match request.method {
            Method::Post if request.url.ends_with("/v1/leases/renew") => {
                let Ok(message) = serde_json::from_slice::<RenewMessage<'_>>(&request.body) else {
                    return self.violate("protocol", || "a renewal that nobody can read".into());
                };
                let client = &mut self.clients[at];
                let local = client.local;
                let mut storm = None;
                let last = std::mem::replace(&mut client.batch, (client.inputs, message.leases.len()));
                if last.0 == client.inputs && last.1 < RENEWALS_LIMIT {
                    self.violate("C6", || format!("c{at} sends two renewals where one had room"));
                    return;
                }
                for text in &message.leases {
                    let Ok(lease) = Lease::parse(text.as_bytes()) else { continue };
                    let reg = client.regs.iter().find(|reg| reg.lease.is_some_and(|(_, held, _)| held == lease));
                    let Some(ttl) = reg.and_then(|reg| reg.lease).map(|(_, _, ttl)| ttl.as_micros() as u64) else {
                        continue;
                    };
                    if reg.is_some_and(|reg| reg.deleted > 0) {
                        storm = Some((lease, "was taken out"));
                    }
                    let (sent, under_way) = client.renewals.entry(lease.to_text()).or_insert((VecDeque::new(), id));
                    if client.exchanges.contains_key(under_way) {
                        storm = Some((lease, "is being renewed already"));
                    }
                    *under_way = id;
                    sent.push_back(local);
                    while sent.front().is_some_and(|first| first + ttl <= local) {
                        sent.pop_front();
                    }
                    if sent.len() > 5 {
                        storm = Some((lease, "was renewed more than five times within a ttl"));
                    }
                }
                if client.renewals.len() > 64 {
                    let regs = &client.regs;
                    client.renewals.retain(|text, _| {
                        regs.iter().any(|reg| reg.lease.is_some_and(|(_, lease, _)| lease.to_text() == *text))
                    });
                }
                if let Some((lease, what)) = storm {
                    self.violate("C6", || format!("c{at}: {lease:?} {what}"));
                }
            }
            Method::Post if request.url.ends_with("/v1/watch") => {
                let Ok(message) = serde_json::from_slice::<WatchMessage>(&request.body) else {
                    return self.violate("protocol", || "a watch that nobody can read".into());
                };
                let client = &self.clients[at];
                let linger = self.plan.clients[at].linger.as_micros() as u64 * 103 / 100;
                let well = client.trouble.max(client.odd_clock) + 70 * SECOND < now && !client.hidden;
                let long = client.ceased.iter().find(|(selector, since)| {
                    let followed = client.subs.iter().any(|sub| sub.selector == **selector);
                    let asked = message.watch.iter().any(|watched| match selector {
                        Selector::Service(key) => {
                            watched.service.as_deref() == Some(&*key.service)
                                && watched.ns.as_deref() == Some(&*key.namespace)
                        }
                        Selector::Prefix { namespace, prefix } => {
                            watched.prefix.as_ref() == Some(prefix) && watched.ns.as_deref() == Some(&**namespace)
                        }
                    });
                    well && asked && !followed && *since + linger + 5 * SECOND < now
                });
                let long = long.map(|(selector, _)| selector.clone());
                self.demand("linger", long.is_none(), || format!("c{at} still follows {long:?}, for nobody"));
            }
            Method::Post if request.url.ends_with("/v1/watches/applied") => self.check_report(at, id, &request.body),
            Method::Put | Method::Patch | Method::Delete => {
                let path = request.url.split_once("/v1/").map_or("", |(_, path)| path);
                let reg = self.clients[at]
                    .regs
                    .iter()
                    .rposition(|reg| path_of(&self.clients[at].wants[reg.want].key) == path);
                let Some(nth) = reg else { return };
                if request.method == Method::Delete {
                    let message = serde_json::from_slice::<DeregisterMessage>(&request.body);
                    if message.is_err() {
                        return self.violate("protocol", || "a deregistration that nobody can read".into());
                    }
                    // It may be about an older registration of the same key.
                    let client = &mut self.clients[at];
                    let nth =
                        client.regs.iter().rposition(|reg| reg.leaving && path_of(&client.wants[reg.want].key) == path);
                    let Some(nth) = nth else {
                        return self.violate("C8", || format!("c{at} takes out {path}, unasked"));
                    };
                    client.regs[nth].deleted += 1;
                    if client.regs[nth].deleted > 1 {
                        self.mark(Mark::DeregisterRetried);
                    }
                    return;
                }
                let client = &mut self.clients[at];
                let closing = client.closing;
                let reg = &mut client.regs[nth];
                reg.puts += 1;
                let (leaving, state) = (reg.leaving, reg.state.clone());
                if request.method == Method::Put {
                    let Ok(message) = serde_json::from_slice::<RegisterMessage>(&request.body) else {
                        return self.violate("protocol", || "a registration that nobody can read".into());
                    };
                    let before = reg.put.replace((id, message.clone()));
                    if let Some((_, before)) = before {
                        // Whatever became of the one before, this is the same command, unless it says something else.
                        let same = RegisterMessage { sequence: message.sequence, ..before.clone() } == message;
                        let told = format!("{before:?}, then {message:?}");
                        self.demand("C10", same == (before.sequence == message.sequence), || {
                            format!("c{at} was not answered and says {told}")
                        });
                    }
                }
                self.demand("C8", !leaving && !closing, || format!("c{at} registers {path} after it was taken out"));
                self.demand("R7", state != RegistrationState::Superseded, || {
                    format!("c{at} was superseded and registers {path} again")
                });
            }
            _ => {}
        }
        self.check_haste(at);
    }

    /// No client sends without end.
    fn check_haste(&mut self, at: usize) {
        let now = self.now;
        let client = &mut self.clients[at];
        let window = &mut client.window;
        window.push_back(now);
        while window.front().is_some_and(|first| first + 10 * SECOND < now) {
            window.pop_front();
        }
        let most =
            60 + 12 * client.regs.len() + 20 * client.commands.iter().filter(|at| **at + 20 * SECOND > now).count();
        client.commands.retain(|at| *at + 20 * SECOND > now);
        let sent = client.window.len();
        self.demand("C4", sent <= most, || format!("c{at} sent {sent} requests within ten seconds"));
    }

    /// An answer of any kind to what a client sent has come to its end.
    pub fn on_answered(&mut self, at: usize, id: RequestId) {
        for reg in &mut self.clients[at].regs {
            reg.put.take_if(|(put, _)| *put == id);
        }
    }

    /// A whole and true answer reaches a client.
    pub fn on_ack(&mut self, at: usize, exchange: &Exchange) {
        let sent = exchange.sent_local;
        let client = &mut self.clients[at];
        match &exchange.did {
            Did::Registered { key, lease, ttl, outcome, .. } => {
                let nth = client.regs.iter().rposition(|reg| client.wants[reg.want].key == *key && !reg.leaving);
                let Some(nth) = nth else { return };
                let reg = &mut client.regs[nth];
                let elsewhere = reg.lease.is_some_and(|(server, ..)| server != exchange.server);
                reg.lease = Some((exchange.server, *lease, *ttl));
                reg.covered = reg.covered.max(sent + ttl.as_micros() as u64);
                reg.acked_truly = exchange.sent;
                if elsewhere && *outcome != Outcome::Repeated {
                    self.mark(Mark::FailedOver);
                }
            }
            Did::Renewed { renewed, .. } => {
                for lease in renewed {
                    let reg = client.regs.iter_mut().find(|reg| reg.lease.is_some_and(|(_, held, _)| held == *lease));
                    if let Some(reg) = reg {
                        let ttl = reg.lease.map_or(0, |(_, _, ttl)| ttl.as_micros() as u64);
                        reg.covered = reg.covered.max(sent + ttl);
                        reg.acked_truly = reg.acked_truly.max(exchange.sent);
                    }
                }
            }
            Did::Deregistered { key, .. } => {
                let nth = client.regs.iter().rposition(|reg| client.wants[reg.want].key == *key && reg.leaving);
                if let Some(nth) = nth {
                    client.regs[nth].finished_at = Some(exchange.server);
                }
            }
            _ => {}
        }
    }

    /// C2: what is believed is proved.
    pub fn check_held(&mut self, at: usize, machine: &dyn Backend) {
        let client = &self.clients[at];
        let now = Instant::from_micros(client.local);
        let mut broken = None;
        for reg in client.regs.iter().filter(|reg| !reg.is_over()) {
            let Some(view) = machine.registration(reg.id) else { continue };
            let registered = view.state == RegistrationState::Registered;
            let until = view.until.unwrap_or_default();
            if registered && until <= now {
                broken = Some(format!("c{at} at {now:?} says that {:?} is registered until {until:?}", reg.id));
            }
            if registered && until.as_micros() > reg.covered {
                let covered = Instant::from_micros(reg.covered);
                broken = Some(format!(
                    "c{at} says that {:?} is registered until {until:?}, proved till {covered:?}",
                    reg.id
                ));
            }
            if view.state != reg.state {
                broken = Some(format!("c{at} says {:?} of {:?} and has told {:?}", view.state, reg.id, reg.state));
            }
        }
        if let Some(what) = broken {
            self.violate("C2", || what);
        }
    }

    /// After the calm: everything that is healed is right.
    pub fn check_convergence(&mut self) {
        let survivor = self.plan.survivor;
        let few = self.plan.servers[survivor].watches < 1_000;
        for at in 0..self.clients.len() {
            if !self.plan.clients[at].present || !self.plan.clients[at].healed || self.violation.is_some() {
                continue;
            }
            let mut wrong = Vec::new();
            let client = &self.clients[at];
            let Some(machine) = &client.machine else { continue };
            for want in 0..client.wants.len() {
                let it = &client.wants[want];
                let name = Self::show_key(&it.key);
                let reg = client.regs.iter().rfind(|reg| reg.want == want);
                let holder = self.books.holder(survivor, &it.key);
                let ours = holder.is_some_and(|holder| Some(holder.incarnation) == client.incarnation);
                let Some(reg) = reg else { continue };
                let Some(view) = machine.registration(reg.id) else { continue };
                if !it.active {
                    if !view.state.is_final() {
                        wrong.push(format!("C8: {name} is taken out and is {:?}", view.state));
                    }
                    if ours {
                        wrong.push(format!("C1: {name} is taken out and is there"));
                    }
                    continue;
                }
                match view.state {
                    RegistrationState::Superseded => {}
                    RegistrationState::Registered if ours => {
                        let server = self.nodes[survivor].server.as_ref().expect("it is up");
                        let there = server.registry.instance(&it.key);
                        let base = there.map(|there| there.registered.unwrap_or(there.listed.instance).decode());
                        if base.as_ref() != Some(&it.instance) {
                            wrong.push(format!("C1: {name} is {base:?} and should be {:?}", it.instance));
                        }
                        if !view.current {
                            wrong.push(format!("C3: {name} is not said to be current"));
                        }
                    }
                    // Somebody who is not healed took it a moment ago: that is heard at the next renewal.
                    RegistrationState::Registered
                        if self.books.superseded.contains(&(at, client.life, it.key.clone())) && holder.is_some() => {}
                    state => wrong.push(format!("C3: {name} is {state:?} ({:?}), held: {ours}", view.problem)),
                }
            }
            if let Some(first) = wrong.into_iter().next() {
                let law = if first.starts_with("C1") { "C1" } else { "C3" };
                let after = (self.now - self.plan.calm) / SECOND;
                self.violate(law, || format!("c{at}, {after}s after the calm: {first}"));
                return;
            }
            if !few {
                self.check_reports_converged(at);
                self.check_views_converged(at);
            }
            self.clients[at].steady = true;
        }
    }

    /// After the end: whoever closed is done, and nothing of it is left.
    pub fn check_closed(&mut self) {
        let survivor = self.plan.survivor;
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            if !self.plan.clients[at].present || !self.plan.clients[at].healed || client.machine.is_none() {
                continue;
            }
            let closed = client.closed;
            let left = client.wants.iter().find(|want| {
                let holder = self.books.holder(survivor, &want.key);
                holder.is_some_and(|holder| Some(holder.incarnation) == client.incarnation)
            });
            let left = left.map(|want| Self::show_key(&want.key));
            self.demand("C8", closed, || format!("c{at} is well and does not close"));
            self.demand("C8", left.is_none(), || format!("c{at} has closed and {left:?} is still there"));
        }
    }
}

/// The path of a key's requests after `/v1/`.
fn path_of(key: &periplus_core::Key) -> String {
    let target = periplus_core::http::target::Target::new("/v1/services");
    let target = target.segment(&key.service).segment("instances").segment(&key.id).query("ns", &key.namespace);
    let url = target.url("http://r0:7171");
    url.split_once("/v1/").map_or(String::new(), |(_, path)| path.to_owned())
}

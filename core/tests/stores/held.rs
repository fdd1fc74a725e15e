//! The laws of registering.

use periplus_core::client::{Backend, ClientEvent, Loss, RegistrationId, RegistrationState};
use periplus_core::{Instant, Key};

use super::plan::{MILLI, SECOND};
use super::process::{Client, Reg};
use super::world::World;

/// The longest that a request is under way and still counts.
const LONGEST_CALL: u64 = 12 * SECOND;

/// What was seen this long ago may have gone since a registration was sent.
const SEEN: u64 = 60 * SECOND;

impl Client {
    /// Whether what is believed of a registration was measured by a clock that only drifted, of what no server has lost.
    pub fn believes_by_drift(&self, reg: &Reg, emptied: u64) -> bool {
        !self.clock.is_frozen() && reg.rose > (self.odd_clock + LONGEST_CALL).max(emptied)
    }
}

impl World {
    pub fn on_client_event(&mut self, at: usize, machine: &dyn Backend, event: ClientEvent) {
        self.say(|| format!("c{at} says {event:?}"));
        match event {
            ClientEvent::Registration(id, state) => self.on_state(at, machine, id, state),
            ClientEvent::Update(id) => self.on_update_ready(at, id),
            ClientEvent::Skipped { .. } => self.mark("an entry was skipped"),
            ClientEvent::Closed => {
                let client = &mut self.clients[at];
                client.closed = true;
                let unheard = |reg: &Reg| {
                    let state = machine.registration(reg.id).map(|view| view.state);
                    state == Some(RegistrationState::Deregistered { confirmed: false })
                };
                if client.regs.iter().any(unheard) {
                    self.mark("a client closed and could not say so");
                } else if !client.regs.is_empty() {
                    self.mark("a client closed and everything was confirmed");
                }
                let open = machine.poll_timeout();
                self.demand("C8", open.is_none(), || format!("c{at} is closed and waits for {open:?}"));
            }
            _ => {}
        }
    }

    fn on_state(&mut self, at: usize, machine: &dyn Backend, id: RegistrationId, state: RegistrationState) {
        let now = self.now;
        let Some(nth) = self.clients[at].regs.iter().position(|reg| reg.id == id) else { return };
        let client = &mut self.clients[at];
        let (life, steady) = (client.life, client.steady);
        let reg = &mut client.regs[nth];
        let before = std::mem::replace(&mut reg.state, state.clone());
        let (want, leaving) = (reg.want, reg.leaving);
        let key = client.wants[want].key.clone();
        self.note(id.0 << 40 ^ machine.counters().requests);
        self.demand("contract", !before.is_final() || before == state, || {
            format!("c{at}: {id:?} was {before:?} for good and is {state:?}")
        });
        match &state {
            RegistrationState::Lost(loss) => {
                let alive = self.past.owners.get(&key) == Some(&(at, life));
                match loss {
                    Loss::Lapsed if alive => self.mark("a client lapsed before the store ended its registration"),
                    Loss::Told(how) if how == "agent_changed" => {
                        self.mark("a registration was made anew at another agent");
                    }
                    Loss::Told(_) => self.mark("a client was told that it is not registered any more"),
                    _ => {}
                }
                self.demand("C3", !steady, || format!("c{at} is well and lost {id:?}: {state:?}"));
            }
            RegistrationState::Superseded => {
                let truly = self.past.superseded.contains(&(at, life, key.clone()));
                self.demand("R7", truly, || format!("c{at} was superseded by nobody as {}", Self::show_key(&key)));
            }
            RegistrationState::Refused(problem) => {
                self.violate("C3", || format!("c{at} gives up {id:?}: {problem:?}"));
            }
            RegistrationState::Deregistered { confirmed } => {
                self.demand("contract", leaving, || format!("c{at}: {id:?} was taken out unasked"));
                // Unless it was registered anew since, and be it that this is being taken out in its turn.
                let client = &self.clients[at];
                let again = client.regs.iter().any(|reg| reg.want == want && reg.id > id && !reg.is_over());
                if *confirmed && !again {
                    self.mark("a deregistration was confirmed");
                    // At another agent, one that wants it too may keep what this one has put there.
                    let kept = self.kind.wide && self.is_wanted(&key, Some(at));
                    let there = self.past.owners.get(&key) == Some(&(at, life)) && !kept;
                    let well = self.well_since(at).max(self.past.trouble) + 60 * SECOND < now;
                    self.demand("C8", !there || !well, || {
                        format!("c{at} says that {} is gone, and it is there", Self::show_key(&key))
                    });
                    self.past.finished.insert((at, life, key));
                }
            }
            RegistrationState::Registered => {
                self.clients[at].regs[nth].touched = now;
                self.check_seen(at, &key);
            }
            _ => {}
        }
    }

    /// C2: what is said to be registered is seen, or was just now.
    fn check_seen(&mut self, at: usize, key: &Key) {
        let now = self.now;
        let client = &self.clients[at];
        let odd = client.clock.is_frozen() || client.odd_clock.max(client.resume_at) + SEEN > now;
        let seen = self.past.present.contains_key(key) || self.past.changed.get(key).is_some_and(|at| at + SEEN > now);
        self.demand("C2", seen || odd, || {
            format!("c{at} says that {} is registered, nobody sees it", Self::show_key(key))
        });
    }

    /// C4, C6: no client sends without end.
    pub fn on_sent(&mut self, at: usize) {
        let now = self.now;
        let client = &mut self.clients[at];
        client.quiet_requests += 1;
        client.window.push_back(now);
        while client.window.front().is_some_and(|first| first + 10 * SECOND < now) {
            client.window.pop_front();
        }
        client.commands.retain(|at| *at + 20 * SECOND > now);
        let most = 60 + 12 * client.regs.len() + 20 * client.subs.len() + 20 * client.commands.len();
        let sent = client.window.len();
        let closed = client.closed;
        self.demand("C8", !closed, || format!("c{at} is closed and sends"));
        self.demand("C4", sent <= most, || format!("c{at} sent {sent} requests within ten seconds, {most} are many"));
    }

    /// C2: what is believed is proved.
    pub fn check_held(&mut self, at: usize, machine: &dyn Backend) {
        let true_now = self.now;
        let client = &self.clients[at];
        let (now, life, regs) = (Instant::from_micros(client.local), client.life, client.regs.len());
        let mut broken = None;
        for nth in 0..regs {
            let client = &mut self.clients[at];
            if client.regs[nth].is_over() {
                continue;
            }
            let Some(view) = machine.registration(client.regs[nth].id) else { continue };
            let reg = &mut client.regs[nth];
            let id = reg.id;
            if view.until > reg.until {
                reg.rose = true_now;
            }
            reg.until = view.until;
            if view.state != reg.state {
                broken = Some(format!("c{at} says {:?} of {id:?} and has told {:?}", view.state, reg.state));
            }
            if view.state != RegistrationState::Registered {
                continue;
            }
            let until = view.until.unwrap_or_default();
            if until <= now {
                broken = Some(format!("c{at} at {now:?} says that {id:?} is registered until {until:?}"));
            }
            let client = &self.clients[at];
            let reg = &client.regs[nth];
            let key = &client.wants[reg.want].key;
            // At several agents, one of several holders of an id may be shown, and another's lease end.
            if self.kind.wide && self.is_shared(key, at) {
                continue;
            }
            if self.past.owners.get(key) != Some(&(at, life)) || !client.believes_by_drift(reg, self.past.emptied) {
                continue;
            }
            // Counted from when it was sent, it is never later than what the store counts from when it arrived.
            let Some((_, end)) = self.store.holder(&Self::place(key)) else { continue };
            let (Some(until), Some(end)) = (client.clock.when(until), self.store_clock.when(end)) else { continue };
            if until > end + MILLI {
                let (until, end) = (until as f64 / 1e6, end as f64 / 1e6);
                broken = Some(format!("c{at} says that {id:?} is registered until {until:.3}s, it ends at {end:.3}s"));
            }
        }
        if let Some(what) = broken {
            self.violate("C2", || what);
        }
    }
}

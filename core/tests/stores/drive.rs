//! What a driver of a client does, to the microsecond: its inputs, its timer, its sleep.

use periplus_core::Instant;
use periplus_core::client::{Backend, RegistrationState};
use periplus_core::http::Transmit;

use super::plan::SECOND;
use super::store::ExchangeId;
use super::world::{Event, World};

impl World {
    /// One input to a client's machine, and everything that a driver does after it.
    pub fn step(&mut self, at: usize, input: impl FnOnce(&mut dyn Backend, Instant)) {
        self.step_with(at, input, |_, ()| {});
    }

    pub fn step_with<T>(
        &mut self,
        at: usize,
        input: impl FnOnce(&mut dyn Backend, Instant) -> T,
        then: impl FnOnce(&mut Self, T),
    ) {
        let client = &mut self.clients[at];
        let Some(mut machine) = client.machine.take() else { return };
        let now = client.clock.read(self.now);
        client.local = client.local.max(now.as_micros());
        let result = input(&mut *machine, now);
        then(self, result);
        let mut outputs = 0;
        loop {
            let before = outputs;
            while let Some(transmit) = machine.poll_transmit() {
                outputs += 1;
                match transmit {
                    Transmit::Send(id, request) => self.transmit(at, id, request),
                    Transmit::Cancel(id) => self.cancel(at, id),
                }
                if outputs > 10_000 {
                    self.violate("L3", || format!("c{at} sends without end"));
                    break;
                }
            }
            while let Some(event) = machine.poll_event() {
                outputs += 1;
                self.on_client_event(at, &*machine, event);
                if outputs > 10_000 {
                    self.violate("L3", || format!("c{at} tells without end"));
                    break;
                }
            }
            if outputs == before || outputs > 10_000 {
                break;
            }
        }
        // Whose key is taken from him hears of it from etcd, even then.
        let client = &self.clients[at];
        let own = self.kind.name == "etcd" && !client.regs.is_empty();
        let follows = |number: &ExchangeId| self.exchanges.get(number).is_some_and(|it| it.held);
        let holds = client.away_until > 0 && !own && self.under_way(at).iter().any(follows);
        self.demand("C9", !holds, || format!("c{at} is suspended and is told what changes"));
        self.check_held(at, &*machine);
        if self.plan.clients[at].remember
            && self.now.is_multiple_of(16)
            && let Some(cache) = machine.poll_cache()
        {
            self.clients[at].cache = Some(cache);
        }
        self.clients[at].machine = Some(machine);
        self.arm(at);
        for (id, input) in std::mem::take(&mut self.clients[at].late) {
            self.quiet(at, "an input for a request that was dropped", |machine, now| {
                machine.handle_input(id, &input, now);
            });
        }
    }

    /// An input that must do nothing.
    pub fn quiet(&mut self, at: usize, what: &str, input: impl FnOnce(&mut dyn Backend, Instant)) {
        let client = &mut self.clients[at];
        let Some(machine) = &mut client.machine else { return };
        let now = client.clock.read(self.now);
        let before = machine.poll_timeout();
        if client.suspended || before.is_some_and(|at| at <= now || at.as_micros() <= client.local) {
            return;
        }
        client.local = client.local.max(now.as_micros());
        input(&mut **machine, now);
        let (sent, told, after) = (machine.poll_transmit(), machine.poll_event(), machine.poll_timeout());
        if sent.is_some() || told.is_some() || after != before {
            self.violate("L2", || format!("c{at}: {what} did something: {sent:?} {told:?} {before:?} {after:?}"));
        }
    }

    /// Sets the timer to the microsecond.
    pub fn arm(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(machine) = &client.machine else { return };
        if client.suspended {
            return;
        }
        let when = machine.poll_timeout().and_then(|due| client.clock.when(due)).map(|when| when.max(self.now));
        if when != client.wake {
            client.wake = when;
            let life = client.life;
            if let Some(when) = when {
                self.at(when, Event::Wake { client: at, life });
            }
        }
    }

    pub fn wake_client(&mut self, at: usize, life: u32) {
        let client = &mut self.clients[at];
        if client.life != life || client.wake != Some(self.now) || client.suspended {
            return;
        }
        client.wake = None;
        self.timeout(at);
    }

    fn timeout(&mut self, at: usize) {
        let now = self.clients[at].clock.read(self.now).as_micros();
        let now = now.max(self.clients[at].local);
        let mut after = None;
        self.note(at as u64);
        self.step(at, |machine, now| {
            machine.handle_timeout(now);
            after = machine.poll_timeout();
        });
        self.demand("L3", after.is_none_or(|after| after.as_micros() > now), || {
            format!("c{at} was called at {now} and wants to be called at {after:?}")
        });
    }

    pub fn resume(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if !client.suspended || (!self.calm && self.now < client.resume_at) {
            return;
        }
        client.suspended = false;
        client.wake = None;
        client.trouble = self.now;
        client.resume_at = self.now;
        let slept = self.now - client.suspended_at;
        self.say(|| format!("c{at} wakes"));
        let client = &self.clients[at];
        let past = client.regs.iter().any(|reg| {
            let ttl = client.wants[reg.want].ttl.as_micros();
            reg.state == RegistrationState::Registered && u128::from(slept) > ttl
        });
        if past {
            self.mark("a client slept past its ttl");
        }
        // What was received goes before timeouts.
        for number in std::mem::take(&mut self.clients[at].inbox) {
            self.deliver(number);
        }
        if slept > 30 * SECOND {
            for number in self.under_way(at) {
                if self.random.percent(50) {
                    self.break_off(number, "connection reset");
                }
            }
        }
        let client = &self.clients[at];
        let due = client.machine.as_ref().and_then(|machine| machine.poll_timeout());
        if due.is_some_and(|due| due <= client.clock.read(self.now)) {
            self.timeout(at);
        } else {
            self.arm(at);
        }
    }

    /// Nobody looks at what it follows.
    pub fn look_away(&mut self, at: usize, lasts: u64) {
        let client = &mut self.clients[at];
        if client.machine.is_none() || client.suspended {
            return;
        }
        let until = client.away_until.max(self.now + lasts);
        client.away_until = until;
        self.at(until, Event::LookBack { client: at });
        self.step(at, |machine, now| machine.suspend(now));
    }

    pub fn look_back(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.suspended {
            // Who sleeps does not look.
            let until = client.resume_at + 1;
            return self.at(until, Event::LookBack { client: at });
        }
        if client.away_until == 0 || (!self.calm && self.now < client.away_until) {
            return;
        }
        client.away_until = 0;
        client.trouble = self.now;
        self.step(at, |machine, now| machine.resume(now));
    }

    pub fn thaw(&mut self, at: usize) {
        let now = self.now;
        let client = &mut self.clients[at];
        if !client.clock.is_frozen() || (!self.calm && now < client.thaw_at) {
            return;
        }
        client.clock.thaw(now);
        client.odd_clock = now;
        client.trouble = now;
        client.wake = None;
        self.arm(at);
    }
}

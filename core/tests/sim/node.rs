//! A client: a process on a machine with a clock, driven as a real driver does, to the microsecond.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use periplus_core::backend::native::Native;
use periplus_core::client::{
    Backend, ClientConfig, ClientEvent, Loss, Registration, RegistrationId, RegistrationState, SubscriptionId,
};
use periplus_core::http::{Input, RequestId, Transmit};
use periplus_core::protocol::RegisterMessage;
use periplus_core::{
    Endpoint, InstanceId, Instant, Key, Lease, Namespace, Selector, ServiceInstance, ServiceKey, ServiceName,
};

use super::clock::Clock;
use super::plan::{ClientPlan, Follow, Follows, MINUTE, SECOND, SELECTORS, SERVICES};
use super::random::Random;
use super::server::ExchangeId;
use super::tally::Mark;
use super::views::Sub;
use super::world::{Event, World};

pub struct Client {
    pub at: usize,
    /// Which process it is, counted from 1.
    pub life: u32,
    pub machine: Option<Box<dyn Backend>>,
    pub clock: Clock,
    /// The latest time that its machine has heard of.
    pub local: u64,
    wake: Option<u64>,
    pub suspended: bool,
    pub resume_at: u64,
    pub suspended_at: u64,
    pub hidden: bool,
    pub show_at: u64,
    pub thaw_at: u64,
    /// Until when nobody looks at what it follows; zero: somebody does.
    pub away_until: u64,
    pub closing: bool,
    pub closed: bool,
    pub exchanges: BTreeMap<RequestId, ExchangeId>,
    /// Streams that are answered and not over.
    pub open: BTreeSet<ExchangeId>,
    /// When a stream last said anything, by its clock.
    pub heard: u64,
    pub inbox: Vec<ExchangeId>,
    pub late: Vec<(RequestId, Input)>,
    pub wants: Vec<Want>,
    pub regs: Vec<Reg>,
    pub follows: Vec<Follow>,
    pub subs: Vec<Sub>,
    /// What it remembers of its last life.
    pub cache: Option<Vec<u8>>,
    /// When it was last anything but well.
    pub trouble: u64,
    /// When its clock last did anything but drift.
    pub odd_clock: u64,
    pub drift: i64,
    /// From here on it loses nothing.
    pub steady: bool,
    pub incarnation: Option<u128>,
    /// By lease: when it was renewed lately, and whether a renewal is under way.
    pub renewals: BTreeMap<[u8; 32], (std::collections::VecDeque<u64>, RequestId)>,
    /// How many inputs its machines have had.
    pub inputs: u64,
    /// At which input it last sent renewals, and how many in one.
    pub batch: (u64, usize),
    /// When it sent what it sent lately.
    pub window: std::collections::VecDeque<u64>,
    /// What it has ceased to follow, and when.
    pub ceased: BTreeMap<Selector, u64>,
    /// When it was given commands lately.
    pub commands: Vec<u64>,
}

/// An instance that the program wants registered, or not.
#[derive(Clone, Debug)]
pub struct Want {
    pub key: Key,
    pub ttl: Duration,
    pub instance: ServiceInstance,
    pub active: bool,
}

/// A registration of this life.
pub struct Reg {
    pub id: RegistrationId,
    pub want: usize,
    pub state: RegistrationState,
    /// The program has taken it out.
    pub leaving: bool,
    /// The lease that it has last been given, and by whom.
    pub lease: Option<(usize, Lease, Duration)>,
    /// Until when its acknowledged renewals prove it, by its clock.
    pub covered: u64,
    /// When the renewal that was acknowledged last was sent, truly.
    pub acked_truly: u64,
    /// When the program, an operator or a rival last had a hand in it.
    pub touched: u64,
    /// A deregistration was sent.
    pub deleted: u64,
    pub puts: u64,
    /// The registration that was sent last and not answered.
    pub put: Option<(RequestId, RegisterMessage)>,
    pub finished_at: Option<usize>,
}

impl Reg {
    pub fn is_over(&self) -> bool {
        self.state.is_final()
    }
}

pub fn key_of(service: usize, id: &str) -> Key {
    let (namespace, name) = SERVICES[service];
    Key::new(
        Namespace::new(namespace).expect("a name"),
        ServiceName::new(name).expect("a name"),
        InstanceId::new(id).expect("a name"),
    )
}

pub fn selector(what: usize) -> Selector {
    let namespace = |name: &str| Namespace::new(name).expect("a name");
    match SELECTORS[what] {
        Follows::Service(at) => {
            let (ns, name) = SERVICES[at];
            Selector::Service(ServiceKey::new(namespace(ns), ServiceName::new(name).expect("a name")))
        }
        Follows::Prefix(ns, prefix) => Selector::Prefix { namespace: namespace(ns), prefix: prefix.into() },
    }
}

/// An instance as a number makes it look.
pub fn look(key: &Key, look: u64) -> ServiceInstance {
    let endpoint = Endpoint::new(format!("http://10.0.{}.{}:80", look % 3, look / 3 % 4)).expect("an endpoint");
    let instance = ServiceInstance::new(key.service.clone(), key.id.clone()).with_endpoint(endpoint);
    match look / 16 % 5 {
        0 => instance,
        1 => instance.with_metadata("weight", (look / 128 % 9).to_string()),
        2 => instance.with_metadata("status", "starting").with_version(format!("v{}", look / 128 % 4)),
        3 => instance.with_metadata("note", "x".repeat((look / 128 % 40) as usize)),
        _ => instance.with_metadata("a", "").with_metadata("b", "ü\u{2028}<"),
    }
}

impl Client {
    pub fn new(at: usize, plan: &ClientPlan, random: &mut Random) -> Self {
        let want = |hold: &super::plan::Hold| {
            let key = key_of(hold.service, &hold.id);
            Want { instance: look(&key, 0), key, ttl: hold.ttl, active: true }
        };
        Self {
            at,
            life: 0,
            machine: None,
            clock: Clock::new(random.between(1 << 32, 1 << 40), plan.drift),
            local: 0,
            wake: None,
            suspended: false,
            resume_at: 0,
            suspended_at: 0,
            hidden: false,
            show_at: 0,
            thaw_at: 0,
            away_until: 0,
            closing: false,
            closed: false,
            exchanges: BTreeMap::new(),
            open: BTreeSet::new(),
            heard: 0,
            inbox: Vec::new(),
            late: Vec::new(),
            wants: plan.holds.iter().map(want).collect(),
            regs: Vec::new(),
            follows: plan.follows.clone(),
            subs: Vec::new(),
            cache: None,
            trouble: 0,
            odd_clock: 0,
            drift: plan.drift,
            steady: false,
            incarnation: None,
            renewals: BTreeMap::new(),
            inputs: 0,
            batch: (0, 0),
            window: std::collections::VecDeque::new(),
            commands: Vec::new(),
            ceased: BTreeMap::new(),
        }
    }

    /// The registration of this life that stands for a want.
    pub fn reg_of(&self, want: usize) -> Option<usize> {
        self.regs.iter().rposition(|reg| reg.want == want && !reg.leaving)
    }
}

impl World {
    pub fn start_client(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.machine.is_some() || !self.plan.clients[at].present {
            return;
        }
        client.life += 1;
        client.suspended = false;
        client.away_until = 0;
        client.closing = false;
        client.closed = false;
        client.heard = 0;
        client.window.clear();
        client.ceased.clear();
        client.commands.push(self.now);
        client.trouble = self.now;
        client.local = client.clock.read(self.now).as_micros();
        let plan = &self.plan.clients[at];
        let servers = self.nodes.len();
        let origins = (0..servers).map(|nth| format!("http://r{}:7171", (plan.first_origin + nth) % servers));
        let config = ClientConfig {
            origins: origins.collect(),
            linger: plan.linger,
            in_flight: plan.in_flight,
            remember: plan.remember,
            faults: self.faults,
            ..ClientConfig::default()
        };
        let (life, now) = (client.life, Instant::from_micros(client.local));
        let seed = Random::fork(self.plan.seed, (at as u64 + 1) << 20 | u64::from(life)).seed();
        let mut native = Native::new(config, seed, now);
        let incarnation = native.incarnation().0;
        if let Some(cache) = client.cache.take() {
            let restored = native.restore(&cache, now);
            if restored.is_err() {
                self.violate("cache", || format!("c{at} cannot read what it kept: {restored:?}"));
            }
        }
        let client = &mut self.clients[at];
        client.incarnation = Some(incarnation);
        client.machine = Some(Box::new(native));
        self.books.incarnations.insert(incarnation, (at, life));
        self.say(|| format!("c{at}.{life} starts"));
        for want in 0..self.clients[at].wants.len() {
            if self.clients[at].wants[want].active {
                self.register(at, want);
            }
        }
        for follow in self.clients[at].follows.clone() {
            self.watch(at, &follow);
        }
        self.step(at, |_, _| {});
    }

    /// The process ends without a word.
    pub fn kill(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let Some(mut machine) = client.machine.take() else { return };
        if let Some(cache) = machine.poll_cache() {
            client.cache = Some(cache);
        }
        client.wake = None;
        client.suspended = false;
        client.away_until = 0;
        client.regs.clear();
        client.subs.clear();
        client.inbox.clear();
        client.late.clear();
        client.open.clear();
        client.renewals.clear();
        client.closing = false;
        let (latency, open) = (0, std::mem::take(&mut client.exchanges));
        let life = client.life;
        self.say(|| format!("c{at}.{life} is gone"));
        for number in open.into_values() {
            let Some(exchange) = self.exchanges.get_mut(&number) else { continue };
            exchange.wanted = false;
            let (server, streaming, arrived) = (exchange.server, exchange.streaming, exchange.arrived);
            let boot = self.nodes[server].boot;
            if streaming && arrived {
                let after = latency + self.links[at][server].latency;
                self.after(after, Event::Gone { exchange: number, server, boot });
            } else {
                self.exchanges.remove(&number);
            }
        }
    }

    /// Sees to it that a want is registered.
    pub fn register(&mut self, at: usize, want: usize) {
        let now = self.now;
        let client = &mut self.clients[at];
        if client.suspended {
            return;
        }
        client.wants[want].active = true;
        if client.machine.is_none() || client.closing {
            return;
        }
        let it = &client.wants[want];
        let key = it.key.clone();
        let registration =
            Registration { namespace: key.namespace.clone(), instance: it.instance.clone(), ttl: Some(it.ttl) };
        let before = client.reg_of(want).filter(|&reg| !client.regs[reg].is_over());
        let before = before.map(|reg| client.regs[reg].id);
        *self.books.explicit.entry(key.clone()).or_default() += 1;
        let life = client.life;
        if let Some(reg) = self.clients[at].reg_of(want) {
            self.clients[at].regs[reg].put = None;
        }
        self.books.finished.retain(|(c, l, k, _)| (*c, *l) != (at, life) || *k != key);
        self.say(|| format!("c{at} registers {}", Self::show_key(&key)));
        self.step_with(
            at,
            |machine, now| machine.register(&registration, now),
            |world, id| {
                let Ok(id) = id else {
                    world.violate("contract", || format!("c{at} cannot register: {id:?}"));
                    return;
                };
                match before {
                    Some(before) => {
                        world
                            .demand("contract", before == id, || format!("registered again, {before:?} became {id:?}"));
                        if let Some(reg) = world.clients[at].regs.iter_mut().find(|reg| reg.id == id) {
                            reg.touched = now;
                        }
                    }
                    None => world.clients[at].regs.push(Reg {
                        id,
                        want,
                        state: RegistrationState::Registering,
                        leaving: false,
                        lease: None,
                        covered: 0,
                        acked_truly: 0,
                        touched: now,
                        deleted: 0,
                        puts: 0,
                        put: None,
                        finished_at: None,
                    }),
                }
            },
        );
    }

    pub fn deregister(&mut self, at: usize, want: usize) {
        let now = self.now;
        let client = &mut self.clients[at];
        if client.suspended {
            return;
        }
        client.wants[want].active = false;
        if client.machine.is_none() || client.closing {
            return;
        }
        let Some(reg) = client.reg_of(want) else { return };
        let reg = &mut client.regs[reg];
        reg.leaving = true;
        reg.touched = now;
        let id = reg.id;
        self.say(|| format!("c{at} deregisters {id:?}"));
        self.step(at, |machine, now| machine.deregister(id, now));
    }

    pub fn watch(&mut self, at: usize, follow: &Follow) {
        let client = &self.clients[at];
        if client.machine.is_none() || client.suspended || client.closing {
            return;
        }
        let wanted = selector(follow.what);
        self.say(|| format!("c{at} watches {wanted:?}"));
        let pace = follow.pace;
        self.step_with(
            at,
            |machine, now| machine.watch(&wanted, now),
            |world, id| match id {
                Ok(id) => world.clients[at].subs.push(Sub::new(id, wanted.clone(), pace)),
                Err(error) => world.violate("contract", || format!("c{at} cannot watch: {error}")),
            },
        );
    }

    pub fn unwatch(&mut self, at: usize, nth: usize) {
        let client = &mut self.clients[at];
        if client.machine.is_none() || client.suspended || client.closing || client.subs.is_empty() {
            return;
        }
        let nth = nth % client.subs.len();
        let sub = client.subs.remove(nth);
        client.ceased.insert(sub.selector.clone(), self.now);
        self.say(|| format!("c{at} ends {:?}", sub.id));
        self.step(at, |machine, now| machine.unwatch(sub.id, now));
    }

    /// Everything is taken out and the client closed; later its process ends, and starts again.
    pub fn close_client(&mut self, at: usize, down: Option<u64>) {
        let client = &mut self.clients[at];
        if client.machine.is_none() || client.closing {
            return;
        }
        client.closing = true;
        let life = client.life;
        let now = self.now;
        for reg in &mut client.regs {
            reg.leaving = true;
            reg.touched = now;
        }
        self.say(|| format!("c{at} closes"));
        self.step(at, |machine, now| machine.close(now));
        if let Some(down) = down {
            self.after(5 * SECOND, Event::Quit { client: at, life, down });
        }
    }

    pub fn quit(&mut self, at: usize, life: u32, down: u64) {
        let client = &self.clients[at];
        if client.life != life || client.machine.is_none() || !client.closing {
            return;
        }
        let odd = client.odd_clock.max(client.resume_at) + 6 * SECOND > self.now || client.hidden;
        let closed = client.closed;
        self.demand("C8", closed || odd || client.suspended || client.clock.is_frozen(), || {
            format!("c{at} closed 5s ago and is not done")
        });
        self.kill(at);
        self.after(down, Event::Start(at));
    }

    // Driving.

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
        client.inputs += 1;
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
                if outputs > 100_000 {
                    self.violate("L3", || format!("c{at} sends without end"));
                    break;
                }
            }
            while let Some(event) = machine.poll_event() {
                outputs += 1;
                self.on_client_event(at, &*machine, event);
                if outputs > 100_000 {
                    self.violate("L3", || format!("c{at} tells without end"));
                    break;
                }
            }
            if outputs == before || outputs > 100_000 {
                break;
            }
        }
        let streams = |number: &ExchangeId| self.exchanges.get(number).is_some_and(|exchange| exchange.streaming);
        let holds = self.clients[at].away_until > 0 && self.under_way(at).iter().any(streams);
        self.demand("C9", !holds, || format!("c{at} is suspended and holds a stream"));
        self.check_held(at, &*machine);
        if self.plan.clients[at].remember
            && self.now.is_multiple_of(16)
            && let Some(cache) = machine.poll_cache()
        {
            self.clients[at].cache = Some(cache);
        }
        self.clients[at].machine = Some(machine);
        self.arm(at);
        if !self.clients[at].late.is_empty() {
            let late = std::mem::take(&mut self.clients[at].late);
            for (id, input) in late {
                self.quiet(at, "an input for a request that was dropped", |machine, now| {
                    machine.handle_input(id, &input, now);
                });
            }
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
        let when = match when {
            Some(when) if client.hidden => {
                let phase = at as u64 * 1_234_567 % MINUTE;
                Some((when + MINUTE - phase).div_ceil(MINUTE) * MINUTE + phase - MINUTE).map(|at| at.max(when))
            }
            when => when,
        };
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
        let past = self.clients[at].regs.iter().any(|reg| {
            reg.state == RegistrationState::Registered
                && reg.lease.as_ref().is_some_and(|(_, _, ttl)| u128::from(slept) > ttl.as_micros())
        });
        if past {
            self.mark(Mark::SleptPastTtl);
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

    pub fn show(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if !client.hidden || (!self.calm && self.now < client.show_at) {
            return;
        }
        client.hidden = false;
        client.trouble = self.now;
        client.wake = None;
        self.arm(at);
    }

    fn on_client_event(&mut self, at: usize, machine: &dyn Backend, event: ClientEvent) {
        self.say(|| format!("c{at} says {event:?}"));
        match event {
            ClientEvent::Registration(id, state) => self.on_state(at, machine, id, state),
            ClientEvent::Update(id) => self.on_update_ready(at, id),
            ClientEvent::Closed => {
                let client = &mut self.clients[at];
                client.closed = true;
                let unheard = client.regs.iter().any(|reg| {
                    matches!(machine.registration(reg.id), Some(view) if view.state == (RegistrationState::Deregistered { confirmed: false }))
                });
                let some = !client.regs.is_empty();
                if unheard {
                    self.mark(Mark::ClosedUnheard);
                } else if some {
                    self.mark(Mark::ClosedConfirmed);
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
        let reg = &mut self.clients[at].regs[nth];
        let before = std::mem::replace(&mut reg.state, state.clone());
        let want = reg.want;
        self.note(id.0 << 40 ^ machine.counters().requests);
        if before.is_final() && before != state {
            self.violate("contract", || format!("c{at}: {id:?} was {before:?} for good and is {state:?}"));
        }
        match &state {
            RegistrationState::Lost(loss) => {
                match loss {
                    Loss::Lapsed => {
                        let lease = self.clients[at].regs[nth].lease;
                        let key = &self.clients[at].wants[want].key;
                        let alive = lease.is_some_and(|(server, lease, _)| {
                            self.books.holder(server, key).is_some_and(|holder| holder.lease == lease)
                        });
                        if alive {
                            self.mark(Mark::LapsedEarly);
                        }
                    }
                    Loss::Told(code) => match code.as_str() {
                        "lease_expired" => self.mark(Mark::ToldExpired),
                        "lease_unknown" => self.mark(Mark::ToldUnknown),
                        "lease_evicted" => self.mark(Mark::ToldEvicted),
                        _ => {}
                    },
                    _ => {}
                }
                let steady = self.clients[at].steady;
                self.demand("C3", !steady, || format!("c{at} is well and lost {id:?}: {state:?}"));
            }
            RegistrationState::Superseded => {
                let client = &self.clients[at];
                let key = client.wants[want].key.clone();
                // Independent registries count their holders apart: one may have had another holder, long ago.
                let mut others = self.books.registered.get(&key).into_iter().flatten();
                let elsewhere = self.nodes.len() > 1 && others.any(|it| Some(*it) != client.incarnation);
                let truly = elsewhere || self.books.superseded.contains(&(at, client.life, key.clone()));
                self.demand("R7", truly, || format!("c{at} was superseded by nobody as {}", Self::show_key(&key)));
            }
            RegistrationState::Refused(problem) => {
                self.violate("C3", || format!("c{at} gives up {id:?}: {problem:?}"));
            }
            RegistrationState::Deregistered { confirmed } => {
                let reg = &self.clients[at].regs[nth];
                let asked = reg.leaving;
                self.demand("contract", asked, || format!("c{at}: {id:?} was taken out unasked"));
                let reg = &self.clients[at].regs[nth];
                let alone = (self.nodes.len() == 1).then_some(0);
                if *confirmed && let Some(server) = reg.finished_at.or(alone) {
                    let client = &self.clients[at];
                    let key = client.wants[want].key.clone();
                    // Unless it was registered anew since, and be it that this is being taken out in its turn.
                    let again = client.regs.iter().any(|reg| reg.want == want && reg.id > id && !reg.is_over());
                    let epoch = self.books.epochs[&server].clone();
                    let client = &self.clients[at];
                    let there = self.books.holder(server, &key).filter(|it| Some(it.incarnation) == client.incarnation);
                    let there = there.is_some() && self.nodes[server].trouble + 60 * SECOND < self.now;
                    self.demand("C8", again || !there, || {
                        format!("c{at} says that {} is gone, and it is there", Self::show_key(&key))
                    });
                    let client = &self.clients[at];
                    if !again {
                        self.books.finished.insert((at, client.life, key, epoch));
                    }
                }
            }
            RegistrationState::Registered => self.clients[at].regs[nth].touched = now,
            _ => {}
        }
    }

    fn on_update_ready(&mut self, at: usize, id: SubscriptionId) {
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
}

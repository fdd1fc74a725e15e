//! A process on a machine with a clock, which drives a client as a real driver does, to the microsecond.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use periplus_core::client::{Backend, Registration, RegistrationId, RegistrationState};
use periplus_core::http::{Input, RequestId};
use periplus_core::{Endpoint, InstanceId, Instant, Key, Namespace, ServiceInstance};

use super::clock::Clock;
use super::kind::{Setup, service};
use super::plan::{ClientPlan, Follow, SECOND};
use super::random::Random;
use super::store::ExchangeId;
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
    /// When its timer is to ring.
    pub wake: Option<u64>,
    pub suspended: bool,
    pub resume_at: u64,
    pub suspended_at: u64,
    pub thaw_at: u64,
    /// Until when nobody looks at what it follows; zero: somebody does.
    pub away_until: u64,
    pub closing: bool,
    pub closed: bool,
    pub exchanges: BTreeMap<RequestId, ExchangeId>,
    /// When an answer to a read last said anything, by its clock.
    pub heard: u64,
    /// How many bytes of answers it was given.
    pub received: u64,
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
    /// From here on it loses nothing.
    pub steady: bool,
    /// When it sent what it sent lately, and how much there was since the calm was checked.
    pub window: VecDeque<u64>,
    pub quiet_requests: u64,
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
    /// Until when it is said to be registered, and when that last rose, in true time.
    pub until: Option<Instant>,
    pub rose: u64,
    /// When the program, an operator or a rival last had a hand in it.
    pub touched: u64,
}

impl Reg {
    pub fn is_over(&self) -> bool {
        self.state.is_final()
    }
}

pub fn key_of(at: usize, id: &str) -> Key {
    Key::new(Namespace::default(), service(at), InstanceId::new(id).expect("a name"))
}

/// An instance as a number makes it look.
pub fn look(key: &Key, look: u64) -> ServiceInstance {
    let endpoint = |port: u64| Endpoint::new(format!("http://10.0.{}.{}:{port}", look % 3, look / 3 % 4)).expect("one");
    let instance = ServiceInstance::new(key.service.clone(), key.id.clone()).with_endpoint(endpoint(80));
    match look / 16 % 6 {
        0 => instance,
        1 => instance.with_metadata("weight", (look / 128 % 9).to_string()),
        2 => instance.with_metadata("status", "starting").with_version(format!("v{}", look / 128 % 4)),
        3 => instance.with_metadata("note", "x".repeat((look / 128 % 40) as usize)),
        4 => instance.with_endpoint(endpoint(8080)).with_version("v1"),
        _ => instance.with_metadata("a", "").with_metadata("b", "\u{00fc}\u{2028}<"),
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
            thaw_at: 0,
            away_until: 0,
            closing: false,
            closed: false,
            exchanges: BTreeMap::new(),
            heard: 0,
            received: 0,
            inbox: Vec::new(),
            late: Vec::new(),
            wants: plan.holds.iter().map(want).collect(),
            regs: Vec::new(),
            follows: plan.follows.clone(),
            subs: Vec::new(),
            cache: None,
            trouble: 0,
            odd_clock: 0,
            steady: false,
            window: VecDeque::new(),
            quiet_requests: 0,
            commands: Vec::new(),
        }
    }

    /// The registration of this life that stands for a want.
    pub fn reg_of(&self, want: usize) -> Option<usize> {
        self.regs.iter().rposition(|reg| reg.want == want && !reg.leaving)
    }

    /// Whether it can be told to do anything.
    pub fn listens(&self) -> bool {
        self.machine.is_some() && !self.suspended && !self.closing
    }
}

impl World {
    pub fn start_client(&mut self, at: usize) {
        let (now, endpoints) = (self.now, self.plan.endpoints);
        let plan = &self.plan.clients[at];
        let client = &mut self.clients[at];
        if client.machine.is_some() || !plan.present {
            return;
        }
        client.life += 1;
        client.suspended = false;
        client.away_until = 0;
        client.closing = false;
        client.closed = false;
        client.heard = 0;
        client.window.clear();
        client.commands.push(now);
        client.trouble = now;
        client.local = client.clock.read(now).as_micros();
        let life = client.life;
        let setup = Setup {
            origins: (0..endpoints).map(|nth| format!("http://s{}:2379", (at + nth) % endpoints)).collect(),
            seed: Random::fork(self.plan.seed, (at as u64 + 1) << 20 | u64::from(life)).seed(),
            now: Instant::from_micros(client.local),
            in_flight: plan.in_flight,
            linger: plan.linger,
            remember: plan.remember,
            cache: client.cache.take(),
            faults: self.faults,
        };
        client.machine = Some((self.kind.client)(setup));
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
        client.closing = false;
        let (open, life) = (std::mem::take(&mut client.exchanges), client.life);
        self.say(|| format!("c{at}.{life} is gone"));
        for number in open.into_values() {
            let Some(exchange) = self.exchanges.get_mut(&number) else { continue };
            exchange.wanted = false;
            if exchange.held {
                let latency = self.links[at][exchange.endpoint].latency;
                self.after(latency, Event::Gone(number));
            }
        }
    }

    /// Sees to it that a want is registered.
    pub fn register(&mut self, at: usize, want: usize) {
        let now = self.now;
        let client = &mut self.clients[at];
        if client.suspended || want >= client.wants.len() {
            return;
        }
        client.wants[want].active = true;
        if !client.listens() {
            return;
        }
        client.commands.push(now);
        let it = &client.wants[want];
        let key = it.key.clone();
        let registration =
            Registration { namespace: key.namespace.clone(), instance: it.instance.clone(), ttl: Some(it.ttl) };
        let before = client.reg_of(want).filter(|&reg| !client.regs[reg].is_over());
        let before = before.map(|reg| client.regs[reg].id);
        let life = client.life;
        *self.past.explicit.entry(key.clone()).or_default() += 1;
        self.past.finished.remove(&(at, life, key.clone()));
        self.past.got.remove(&((at, life), key.clone()));
        self.past.zombies.remove(&key);
        self.say(|| format!("c{at} registers {}", Self::show_key(&key)));
        self.step_with(
            at,
            |machine, now| machine.register(&registration, now),
            |world, id| {
                let Ok(id) = id else {
                    world.violate("contract", || format!("c{at} cannot register: {id:?}"));
                    return;
                };
                let known = world.clients[at].regs.iter_mut().find(|reg| reg.id == id);
                match (before, known) {
                    (Some(before), Some(reg)) => {
                        reg.touched = now;
                        world.demand("contract", before == id, || format!("registered again: {before:?} is {id:?}"));
                    }
                    (Some(before), None) => {
                        world.violate("contract", || format!("registered again, {before:?} became {id:?}"));
                    }
                    (None, Some(_)) => world.violate("contract", || format!("{id:?} was given before")),
                    (None, None) => world.clients[at].regs.push(Reg {
                        id,
                        want,
                        state: RegistrationState::Registering,
                        leaving: false,
                        until: None,
                        rose: 0,
                        touched: now,
                    }),
                }
            },
        );
    }

    pub fn deregister(&mut self, at: usize, want: usize) {
        let now = self.now;
        let client = &mut self.clients[at];
        if client.suspended || want >= client.wants.len() {
            return;
        }
        client.wants[want].active = false;
        if !client.listens() {
            return;
        }
        client.commands.push(now);
        let Some(reg) = client.reg_of(want) else { return };
        let reg = &mut client.regs[reg];
        reg.leaving = true;
        reg.touched = now;
        let id = reg.id;
        self.say(|| format!("c{at} deregisters {id:?}"));
        self.step(at, |machine, now| machine.deregister(id, now));
    }

    pub fn watch(&mut self, at: usize, follow: &Follow) {
        if !self.clients[at].listens() {
            return;
        }
        let now = self.now;
        self.clients[at].commands.push(now);
        let wanted = self.kind.selector(follow.what);
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
        if !client.listens() || client.subs.is_empty() {
            return;
        }
        client.commands.push(self.now);
        let nth = nth % client.subs.len();
        let sub = client.subs.remove(nth);
        self.say(|| format!("c{at} ends {:?}", sub.id));
        self.step(at, |machine, now| machine.unwatch(sub.id, now));
    }

    /// Everything is taken out and the client closed; later its process ends, and starts again.
    pub fn close_client(&mut self, at: usize, down: Option<u64>) {
        let now = self.now;
        let client = &mut self.clients[at];
        if client.machine.is_none() || client.closing || client.suspended {
            return;
        }
        client.commands.push(now);
        client.closing = true;
        let life = client.life;
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
        let odd = client.odd_clock.max(client.resume_at) + 6 * SECOND > self.now;
        let closed = client.closed;
        self.demand("C8", closed || odd || client.suspended || client.clock.is_frozen(), || {
            format!("c{at} closed 5s ago and is not done")
        });
        self.kill(at);
        self.after(down, Event::Start(at));
    }
}

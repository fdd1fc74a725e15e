//! The world: true time, what is going to happen when, and everything that there is.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use periplus_core::fault::Faults;
use periplus_core::http::Request;

use super::clock::Clock;
use super::kind::Kind;
use super::link::Link;
use super::past::{Cause, Past};
use super::plan::{Plan, Return, SECOND};
use super::process::Client;
use super::random::Random;
use super::store::{self, ExchangeId, Store};
use super::tally::Tally;
use super::wire::Exchange;

/// A law was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    pub law: &'static str,
    pub at: u64,
    pub what: String,
}

/// A run, as it was.
pub struct Outcome {
    pub violation: Option<Violation>,
    pub tally: Tally,
    pub trace: Vec<String>,
    pub hash: u64,
}

/// What is still going to happen.
pub enum Event {
    /// The nth act of the plan.
    Act(usize),
    Start(usize),
    /// A client's timer rings.
    Wake {
        client: usize,
        life: u32,
    },
    StoreWake,
    /// A request arrives.
    Arrive {
        exchange: ExchangeId,
        request: Rc<Request>,
        endpoint: usize,
        boot: u32,
        of: (usize, u32),
        echo: bool,
    },
    /// Something of an answer arrives.
    Deliver(ExchangeId),
    /// The store learns that nobody waits for an answer any more.
    Gone(ExchangeId),
    /// Somebody looks at a subscription.
    Look {
        client: usize,
        life: u32,
        subscription: u64,
    },
    Resume {
        client: usize,
    },
    Thaw {
        client: usize,
    },
    LookBack {
        client: usize,
    },
    Quit {
        client: usize,
        life: u32,
        down: u64,
    },
    /// The store can be reached again.
    Up {
        outage: u32,
    },
    Calm,
    CheckCalm,
    CheckQuiet,
    CheckEnd,
}

struct Queued {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

pub struct World {
    pub kind: &'static Kind,
    pub plan: Plan,
    pub faults: Faults,
    /// True time, in microseconds.
    pub now: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    number: u64,
    pub random: Random,
    pub store: Box<dyn Store>,
    pub store_clock: Clock,
    store_wake: Option<u64>,
    /// Rises whenever the store's connections break.
    pub boot: u32,
    pub outage: Option<Outage>,
    outages: u32,
    pub clients: Vec<Client>,
    /// By client and address.
    pub links: Vec<Vec<Link>>,
    pub exchanges: BTreeMap<ExchangeId, Exchange>,
    pub last_exchange: ExchangeId,
    pub past: Past,
    pub tally: Tally,
    pub violation: Option<Violation>,
    trace: Option<Vec<String>>,
    hash: u64,
    pub calm: bool,
    pub ended: bool,
    steps: u64,
}

/// The store cannot be reached.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    pub number: u32,
    pub until: u64,
    pub silent: bool,
    pub comes_back: Return,
}

/// Lets a plan happen.
pub fn run(kind: &'static Kind, plan: &Plan, faults: Faults, trace: bool) -> Outcome {
    let mut world = World::new(kind, plan.clone(), faults, trace);
    world.run();
    let World { violation, tally, trace, hash, .. } = world;
    Outcome { violation, tally, trace: trace.unwrap_or_default(), hash }
}

impl World {
    pub fn new(kind: &'static Kind, plan: Plan, faults: Faults, trace: bool) -> Self {
        let seed = plan.seed;
        let mut random = Random::fork(seed, 2);
        let clients = plan.clients.iter().enumerate().map(|(at, it)| Client::new(at, it, &mut random)).collect();
        let link = |client: usize, endpoint: usize| {
            let tag = 10_000 + client as u64 * 16 + endpoint as u64;
            Link::new(plan.clients[client].latency, Random::fork(seed, tag))
        };
        let links = (0..plan.clients.len()).map(|client| (0..plan.endpoints).map(|at| link(client, at)).collect());
        let links = links.collect();
        let store_clock = Clock::new(random.between(1, 1 << 40), plan.drift);
        let store = (kind.store)(Random::fork(seed, 3).seed(), store_clock.read(0));
        let mut world = Self {
            kind,
            faults,
            now: 0,
            queue: BinaryHeap::new(),
            number: 0,
            random,
            store,
            store_clock,
            store_wake: None,
            boot: 0,
            outage: None,
            outages: 0,
            clients,
            links,
            exchanges: BTreeMap::new(),
            last_exchange: 0,
            past: Past::default(),
            tally: Tally::default(),
            violation: None,
            trace: trace.then(Vec::new),
            hash: 0xcbf2_9ce4_8422_2325,
            calm: false,
            ended: false,
            steps: 0,
            plan,
        };
        world.store_done(Cause::Act);
        for client in 0..world.clients.len() {
            if world.plan.clients[client].present {
                world.at(world.plan.clients[client].starts, Event::Start(client));
            }
        }
        if let Some(first) = world.plan.acts.first() {
            world.at(first.at, Event::Act(0));
        }
        world.at(world.plan.calm, Event::Calm);
        world
    }

    pub fn at(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.queue.push(Reverse(Queued { at: at.max(self.now), number: self.number, event }));
    }

    pub fn after(&mut self, span: u64, event: Event) {
        self.at(self.now.saturating_add(span), event);
    }

    fn run(&mut self) {
        while self.violation.is_none() && !self.ended {
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now = next.at;
            self.steps += 1;
            self.happen(next.event);
        }
        self.tally.micros = self.now;
        self.tally.runs = 1;
        self.tally.events = self.steps;
    }

    /// Lets time pass; for a test that says itself what happens.
    pub fn pass(&mut self, span: u64) {
        let until = self.now + span;
        while self.violation.is_none() && self.queue.peek().is_some_and(|Reverse(next)| next.at <= until) {
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now = next.at;
            self.steps += 1;
            self.happen(next.event);
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Act(nth) => {
                let what = self.plan.acts[nth].what.clone();
                if let Some(next) = self.plan.acts.get(nth + 1) {
                    self.at(next.at, Event::Act(nth + 1));
                }
                if !self.calm {
                    self.act(&what);
                }
            }
            Event::Start(client) => self.start_client(client),
            Event::Wake { client, life } => self.wake_client(client, life),
            Event::StoreWake => self.wake_store(),
            Event::Arrive { exchange, request, endpoint, boot, of, echo } => {
                self.arrive(exchange, &request, endpoint, boot, of, echo);
            }
            Event::Deliver(exchange) => self.deliver(exchange),
            Event::Gone(exchange) => {
                if self.exchanges.remove(&exchange).is_some_and(|it| it.boot == self.boot) {
                    self.store.handle_gone(exchange);
                    self.store_done(Cause::Read);
                }
            }
            Event::Look { client, life, subscription } => self.look(client, life, subscription),
            Event::Resume { client } => self.resume(client),
            Event::Thaw { client } => self.thaw(client),
            Event::LookBack { client } => self.look_back(client),
            Event::Quit { client, life, down } => self.quit(client, life, down),
            Event::Up { outage } => self.come_up(Some(outage)),
            Event::Calm => self.become_calm(),
            Event::CheckCalm => self.check_calm(),
            Event::CheckQuiet => self.check_quiet(),
            Event::CheckEnd => self.check_end(),
        }
    }

    // Saying what happens.

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>11.6}s  {}", self.now as f64 / SECOND as f64, what()));
        }
    }

    /// What was said so far.
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// The run is told apart by what it did.
    pub fn note(&mut self, what: u64) {
        self.hash = (self.hash ^ what ^ self.now).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    pub fn mark(&mut self, mark: &'static str) {
        self.tally.mark(mark);
    }

    pub fn violate(&mut self, law: &'static str, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let what = what();
            self.say(|| format!("VIOLATION of {law}: {what}"));
            self.violation = Some(Violation { law, at: self.now, what });
        }
    }

    pub fn demand(&mut self, law: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violate(law, what);
        }
    }

    // The store.

    fn is_dead(&self) -> bool {
        self.outage.is_some_and(|outage| outage.comes_back != Return::Untouched)
    }

    /// The store cannot be reached for a while.
    pub fn go_down(&mut self, lasts: u64, silent: bool, comes_back: Return) {
        if self.outage.is_some() {
            return;
        }
        self.outages += 1;
        let outage = Outage { number: self.outages, until: self.now + lasts, silent, comes_back };
        self.outage = Some(outage);
        self.past.trouble = self.now + lasts;
        self.break_all(silent);
        self.store_wake = None;
        self.arm_store();
        self.at(outage.until, Event::Up { outage: outage.number });
    }

    /// The store can be reached again.
    pub fn come_up(&mut self, number: Option<u32>) {
        let Some(outage) = self.outage.filter(|outage| number.is_none_or(|number| number == outage.number)) else {
            return;
        };
        self.outage = None;
        self.past.trouble = self.now.max(self.past.ails);
        let back = outage.comes_back;
        self.say(|| format!("the store is back: {back:?}"));
        match back {
            Return::Untouched => self.store_done(Cause::Act),
            Return::Restarted => self.store_act(&store::Act::Restart),
            Return::Empty => self.store_act(&store::Act::Forget),
            Return::Ahead => self.store_act(&store::Act::ForgetAhead),
        }
    }

    /// Something happens to the store.
    pub fn store_act(&mut self, act: &store::Act) {
        let forgets = matches!(act, store::Act::Forget | store::Act::ForgetAhead);
        if forgets || matches!(act, store::Act::Restart) {
            self.break_all(false);
        }
        let now = self.store_clock.read(self.now);
        self.store.act(act, now);
        if forgets {
            self.past.forget(self.now);
            self.mark("the store lost its memory");
        }
        self.store_done(Cause::Act);
    }

    fn wake_store(&mut self) {
        if self.store_wake != Some(self.now) || self.is_dead() {
            return;
        }
        self.store_wake = None;
        let now = self.store_clock.read(self.now);
        self.store.handle_timeout(now);
        let next = self.store.poll_timeout();
        self.demand("the fake", next.is_none_or(|next| next > now), || {
            format!("the store was called at {now:?} and wants to be called at {next:?}")
        });
        self.store_done(Cause::Time);
    }

    /// After anything that the store did: its past is written, its answers go out, its timer is set.
    pub fn store_done(&mut self, cause: Cause) {
        while let Some((place, holder)) = self.store.poll_put() {
            self.past.put(place, holder, cause);
        }
        self.record(cause);
        while let Some(mark) = self.store.poll_mark() {
            self.mark(mark);
        }
        while let Some((exchange, part)) = self.store.poll_part() {
            self.send_part(exchange, part);
        }
        self.arm_store();
    }

    fn arm_store(&mut self) {
        if self.is_dead() {
            return;
        }
        let when = self.store.poll_timeout().and_then(|due| self.store_clock.when(due)).map(|when| when.max(self.now));
        if when != self.store_wake {
            self.store_wake = when;
            if let Some(when) = when {
                self.at(when, Event::StoreWake);
            }
        }
    }
}

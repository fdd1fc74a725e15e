//! The world: true time, what is going to happen when, and everything that there is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use periplus_core::fault::Faults;
use periplus_core::http::{Input, Request, RequestId};
use periplus_core::{Config, Epoch, Key, Registry, Selector, WallTime};

use super::books::Books;
use super::clock::Clock;
use super::link::Link;
use super::node::Client;
use super::plan::{MINUTE, Plan, SECOND, ServerPlan};
use super::random::Random;
use super::server::{ExchangeId, Server};
use super::tally::{Mark, Tally};

/// A law was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    pub law: &'static str,
    pub at: u64,
    pub what: String,
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
    ServerWake {
        server: usize,
    },
    /// A request arrives.
    Arrive {
        exchange: ExchangeId,
        request: Rc<Request>,
        server: usize,
        boot: u32,
        echo: bool,
    },
    /// Something of an answer arrives.
    Deliver(ExchangeId),
    /// The registry learns that nobody reads a stream any more.
    Gone {
        exchange: ExchangeId,
        server: usize,
        boot: u32,
    },
    /// Somebody looks at a subscription.
    Look {
        client: usize,
        life: u32,
        subscription: u64,
    },
    /// A suspended client goes on.
    Resume {
        client: usize,
    },
    Thaw {
        client: usize,
    },
    Show {
        client: usize,
    },
    LookBack {
        client: usize,
    },
    /// A closing process ends, whether it has said everything or not.
    Quit {
        client: usize,
        life: u32,
        down: u64,
    },
    ServerStart {
        server: usize,
    },
    ServerResume {
        server: usize,
    },
    ReadOn {
        client: usize,
        server: usize,
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
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A place where a registry runs, or does not.
pub struct Node {
    pub plan: ServerPlan,
    pub server: Option<Server>,
    /// What a restart goes on from.
    pub kept: Option<(periplus_core::registry::State, bool)>,
    pub boot: u32,
    pub clock: Clock,
    /// Packets to it vanish instead of being refused.
    pub silent: bool,
    pub paused: bool,
    /// What arrived while it was paused.
    pub waiting: Vec<(ExchangeId, Rc<Request>, bool)>,
    pub wake: Option<u64>,
    /// When it was last down, paused for long, or had a strange clock.
    pub trouble: u64,
    /// When its clock last did anything but drift.
    pub odd_clock: u64,
    pub paused_at: u64,
}

/// A request and what comes of it.
pub struct Exchange {
    pub client: usize,
    pub life: u32,
    pub id: RequestId,
    pub server: usize,
    pub streaming: bool,
    pub sent: u64,
    pub sent_local: u64,
    /// What is watched, if it is a watch.
    pub selectors: Vec<Selector>,
    /// What was reported last of it as applied, by which request, and when by the client's clock.
    pub reported: Option<(u64, RequestId, u64)>,
    /// What is on its way to the client, in order.
    pub flights: std::collections::VecDeque<(u64, Input)>,
    pub last_at: u64,
    /// The client still wants it.
    pub wanted: bool,
    /// It was dropped before it left: it does not arrive.
    pub withdrawn: bool,
    pub arrived: bool,
    /// Nothing more gets through to the client.
    pub silent: bool,
    pub did: super::server::Did,
    /// The answer is as the registry gave it.
    pub intact: bool,
    pub status: u16,
    /// The next part breaks off in its middle.
    pub breaks: bool,
}

pub struct World {
    pub plan: Plan,
    pub faults: Faults,
    pub now: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    number: u64,
    pub random: Random,
    pub clients: Vec<Client>,
    pub nodes: Vec<Node>,
    /// By client and registry.
    pub links: Vec<Vec<Link>>,
    pub exchanges: BTreeMap<ExchangeId, Exchange>,
    pub last_exchange: ExchangeId,
    pub books: Books,
    pub tally: Tally,
    pub violation: Option<Violation>,
    pub trace: Option<Vec<String>>,
    pub hash: u64,
    /// Faults have ended.
    pub calm: bool,
    pub ended: bool,
    pub steps: u64,
    pub bound: u64,
}

/// Runs a plan to its end, or to the first violation.
pub fn run(plan: &Plan, faults: Faults, trace: bool) -> Outcome {
    let mut world = World::new(plan.clone(), faults, trace);
    world.run();
    Outcome { violation: world.violation, tally: world.tally, trace: world.trace.unwrap_or_default(), hash: world.hash }
}

pub struct Outcome {
    pub violation: Option<Violation>,
    pub tally: Tally,
    pub trace: Vec<String>,
    pub hash: u64,
}

impl World {
    pub fn new(plan: Plan, faults: Faults, trace: bool) -> Self {
        let seed = plan.seed;
        let mut random = Random::fork(seed, 2);
        let clients = plan.clients.iter().enumerate().map(|(at, it)| Client::new(at, it, &mut random)).collect();
        let nodes = plan.servers.iter().map(|it| Node {
            plan: it.clone(),
            server: None,
            kept: None,
            boot: 0,
            clock: Clock::new(random.between(1, 1 << 40), it.drift),
            silent: false,
            paused: false,
            waiting: Vec::new(),
            wake: None,
            trouble: 0,
            odd_clock: 0,
            paused_at: 0,
        });
        let nodes: Vec<Node> = nodes.collect();
        let link = |client: usize, server: usize| {
            let tag = 10_000 + client as u64 * 16 + server as u64;
            Link::new(plan.clients[client].latency, Random::fork(seed, tag))
        };
        let links = (0..plan.clients.len()).map(|client| (0..nodes.len()).map(|at| link(client, at)).collect());
        let links = links.collect();
        let mut world = Self {
            faults,
            now: 0,
            queue: BinaryHeap::new(),
            number: 0,
            random,
            clients,
            nodes,
            links,
            exchanges: BTreeMap::new(),
            last_exchange: 0,
            books: Books::default(),
            tally: Tally::default(),
            violation: None,
            trace: trace.then(Vec::new),
            hash: 0xcbf2_9ce4_8422_2325,
            calm: false,
            ended: false,
            steps: 0,
            bound: 0,
            plan,
        };
        for server in 0..world.nodes.len() {
            world.start_server(server);
        }
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
            Event::ServerWake { server } => self.wake_server(server),
            Event::Arrive { exchange, request, server, boot, echo } => {
                self.arrive(exchange, &request, server, boot, echo);
            }
            Event::Deliver(exchange) => self.deliver(exchange),
            Event::Gone { exchange, server, boot } => {
                self.exchanges.remove(&exchange);
                let node = &mut self.nodes[server];
                if node.boot == boot
                    && let Some(server) = &mut node.server
                {
                    server.handle_gone(exchange);
                }
            }
            Event::Look { client, life, subscription } => self.look(client, life, subscription),
            Event::Resume { client } => self.resume(client),
            Event::Thaw { client } => self.thaw(client),
            Event::Show { client } => self.show(client),
            Event::LookBack { client } => self.look_back(client),
            Event::Quit { client, life, down } => self.quit(client, life, down),
            Event::ServerStart { server } => self.start_server(server),
            Event::ServerResume { server } => self.resume_server(server),
            Event::ReadOn { client, server } => self.set_readers(client, server, false),
            Event::Calm => self.become_calm(),
            Event::CheckCalm => self.check_calm(),
            Event::CheckQuiet => self.check_quiet(),
            Event::CheckEnd => self.check_end(),
        }
    }

    // Saying what happens.

    pub fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let line = format!("{:>11.6}s  {}", self.now as f64 / SECOND as f64, what());
            trace.push(line);
        }
    }

    /// The run is told apart by what it did.
    pub fn note(&mut self, what: u64) {
        self.hash = (self.hash ^ what ^ self.now).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }

    pub fn mark(&mut self, mark: Mark) {
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

    // Registries.

    pub fn start_server(&mut self, at: usize) {
        if self.nodes[at].server.is_some() || (self.calm && at != self.plan.survivor) {
            return;
        }
        let node = &mut self.nodes[at];
        node.boot += 1;
        node.paused = false;
        node.silent = false;
        node.trouble = self.now;
        let seed = Random::fork(self.plan.seed, 1_000 + at as u64 * 100 + u64::from(node.boot)).seed();
        let mut config = Config { warm_up: node.plan.warm_up, faults: self.faults, ..Config::default() };
        config.ttl.min = std::time::Duration::from_secs(1);
        config.limits.log_entries = node.plan.log_entries;
        config.limits.watches = node.plan.watches;
        config.alarm.hold = node.plan.alarm_hold;
        let now = node.clock.read(self.now);
        let epoch = Epoch(format!("e{at}-{}", node.boot).into());
        let (kept, boot) = (node.kept.take(), node.boot);
        let server = match &kept {
            Some((state, new_epoch)) => {
                let epoch = new_epoch.then_some(epoch);
                let restored = Registry::restore(config, seed, state, epoch, now, WallTime(0));
                Server::around(restored.expect("it was exported"))
            }
            None => Server::new(config, seed, epoch, now),
        };
        let forgets = kept.is_none();
        self.books.on_start(at, &server.registry, forgets, now.as_micros(), self.now);
        self.nodes[at].server = Some(server);
        self.say(|| {
            format!("r{at} starts, boot {boot}, {}", if forgets { "knowing nothing" } else { "with its state" })
        });
        self.server_done(at);
    }

    /// A registry's process ends; whoever was connected learns it, unless packets just vanish.
    pub fn stop_server(&mut self, at: usize, silent: bool, keep: Option<bool>) {
        let Some(server) = self.nodes[at].server.take() else { return };
        let node = &mut self.nodes[at];
        node.kept = keep.map(|new_epoch| (server.registry.export(), new_epoch));
        node.silent = silent;
        node.paused = false;
        node.trouble = self.now;
        node.wake = None;
        node.waiting.clear();
        self.say(|| format!("r{at} is down"));
        let mut open: Vec<ExchangeId> =
            self.exchanges.iter().filter(|(_, it)| it.server == at && it.arrived).map(|(id, _)| *id).collect();
        open.sort_unstable();
        for id in open {
            if silent {
                if let Some(exchange) = self.exchanges.get_mut(&id) {
                    exchange.silent = true;
                }
            } else {
                self.break_off(id, "connection reset");
            }
        }
    }

    fn wake_server(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.wake != Some(self.now) {
            return;
        }
        node.wake = None;
        if node.paused {
            return;
        }
        self.server_timeout(at);
    }

    fn server_timeout(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let now = node.clock.read(self.now);
        let Some(server) = &mut node.server else { return };
        server.handle_timeout(now);
        if let Some(next) = server.poll_timeout() {
            let seen = server.registry.now();
            self.demand("L3", next > seen.min(now), || format!("r{at} wants to be called again at once: {next:?}"));
        }
        self.server_done(at);
    }

    fn resume_server(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.paused {
            return;
        }
        node.paused = false;
        if self.now - node.paused_at > 4 * SECOND {
            node.trouble = self.now;
        }
        self.say(|| format!("r{at} goes on"));
        // What was received goes first.
        for (exchange, request, echo) in std::mem::take(&mut self.nodes[at].waiting) {
            let boot = self.nodes[at].boot;
            self.arrive(exchange, &request, at, boot, echo);
        }
        let due = self.nodes[at].server.as_ref().and_then(Server::poll_timeout);
        if due.is_some_and(|due| due <= self.nodes[at].clock.read(self.now)) {
            self.server_timeout(at);
        } else {
            self.server_done(at);
        }
    }

    /// After anything that a registry did: its streams go out, its events into the books, its timer is set.
    pub fn server_done(&mut self, at: usize) {
        loop {
            let Some(server) = &mut self.nodes[at].server else { return };
            let events = server.take_events();
            if !events.is_empty() {
                self.on_events(at, events);
            }
            let Some(server) = &mut self.nodes[at].server else { return };
            let Some((exchange, part)) = server.poll_part() else { break };
            self.send_part(exchange, at, part);
        }
        self.arm_server(at);
    }

    pub fn arm_server(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(server) = &node.server else { return };
        let when = server.poll_timeout().and_then(|due| node.clock.when(due)).map(|when| when.max(self.now));
        if when != node.wake && !node.paused {
            node.wake = when;
            if let Some(when) = when {
                self.at(when, Event::ServerWake { server: at });
            }
        }
    }

    /// Which client process an incarnation is.
    pub fn process(&self, incarnation: u128) -> Option<(usize, u32)> {
        self.books.incarnations.get(&incarnation).copied()
    }

    /// Keys as the plan names them.
    pub fn show_key(key: &Key) -> String {
        format!("{}/{}/{}", key.namespace, key.service, key.id)
    }

    // The end.

    /// Faults end for those who are healed; for the others, they go on for good.
    fn become_calm(&mut self) {
        self.calm = true;
        self.say(|| "calm".into());
        let survivor = self.plan.survivor;
        for server in 0..self.nodes.len() {
            if server != survivor {
                let silent = self.random.percent(50);
                self.stop_server(server, silent, None);
                self.nodes[server].silent = silent;
            }
        }
        if self.nodes[survivor].server.is_none() {
            self.start_server(survivor);
        }
        self.resume_server(survivor);
        for client in 0..self.clients.len() {
            if !self.plan.clients[client].present {
                continue;
            }
            if self.plan.clients[client].healed {
                for server in 0..self.nodes.len() {
                    let readers = self.links[client][server].heal(self.now);
                    if readers {
                        self.set_readers(client, server, false);
                    }
                }
                self.thaw(client);
                self.show(client);
                self.resume(client);
                self.look_back(client);
                if self.clients[client].machine.is_none() || self.clients[client].closing {
                    self.kill(client);
                    self.start_client(client);
                }
            } else if self.random.percent(40) {
                self.kill(client);
            } else {
                self.worsen(client);
            }
        }
        let blocked = self.nodes[survivor].server.as_ref().map_or(0, |server| {
            let now = server.registry.now();
            let left = server.registry.blocks();
            left.iter().map(|(_, block)| block.until.saturating_since(now).as_micros() as u64).max().unwrap_or(0)
        });
        // Detection: a stream falls silent for a minute, a call for ten seconds, each dead registry once a turn. Then the
        // longest back-off, the spread, what a registry asked to wait, and a little for round trips and drift.
        let dead = self.nodes.len() as u64 - 1;
        let detection = 60 * SECOND + dead * 50 * SECOND;
        // What the network still holds back arrives yet, and a stream that then falls silent was heard until then.
        let healed = |it: &&Exchange| self.plan.clients[it.client].healed;
        let late = self.exchanges.values().filter(healed).filter_map(|it| it.flights.back()).map(|(at, _)| *at).max();
        let late = late.map_or(0, |at| at.saturating_sub(self.now));
        let bound = detection + (30 + 10 + 20 + 10) * SECOND + blocked + late;
        let warming = self.nodes[survivor].server.as_ref().and_then(|server| {
            let until = server.registry.warming_until()?;
            Some(until.saturating_since(server.registry.now()).as_micros() as u64 * 102 / 100)
        });
        // Who has not heard of the loss yet shows what is not confirmed for its own ttl from then on.
        let shown = if self.books.history(survivor).forgot { bound + 190 * SECOND } else { 0 };
        self.bound = bound.max(warming.map_or(0, |left| left + 5 * SECOND)).max(shown);
        self.after(self.bound, Event::CheckCalm);
    }

    fn check_calm(&mut self) {
        self.say(|| "everything that is healed must be right now".into());
        self.check_convergence();
        // And it stays so.
        let quiet = 2 * MINUTE + self.random.below(MINUTE);
        self.after(quiet, Event::CheckQuiet);
    }

    fn check_quiet(&mut self) {
        self.check_convergence();
        for client in 0..self.clients.len() {
            if self.plan.clients[client].present && self.plan.clients[client].healed {
                self.close_client(client, None);
            }
        }
        self.after(10 * SECOND, Event::CheckEnd);
    }

    fn check_end(&mut self) {
        self.check_closed();
        self.ended = true;
    }
}

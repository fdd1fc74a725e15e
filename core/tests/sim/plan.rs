//! What is going to happen, drawn before anything does: who there is, what they do, and what goes wrong when. A list, so
//! that a failure can be made small by leaving things out.

use std::fmt;
use std::time::Duration;

use super::random::Random;
use super::tally::Kind;

pub const MILLI: u64 = 1_000;
pub const SECOND: u64 = 1_000_000;
pub const MINUTE: u64 = 60 * SECOND;

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub servers: Vec<ServerPlan>,
    pub clients: Vec<ClientPlan>,
    /// In the order of time.
    pub acts: Vec<Act>,
    /// When everything that is to be healed is healed.
    pub calm: u64,
    /// The registry that is left then.
    pub survivor: usize,
}

#[derive(Clone, Debug)]
pub struct ServerPlan {
    pub drift: i64,
    pub log_entries: usize,
    pub warm_up: Duration,
    pub alarm_hold: Duration,
    pub watches: usize,
}

#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// It takes part; to make a failure smaller, it does not.
    pub present: bool,
    pub starts: u64,
    pub drift: i64,
    pub holds: Vec<Hold>,
    pub follows: Vec<Follow>,
    pub first_origin: usize,
    pub latency: u64,
    pub in_flight: usize,
    pub linger: Duration,
    pub remember: bool,
    /// Healed in the end, and then everything must come right.
    pub healed: bool,
}

/// An instance that a client is to register.
#[derive(Clone, Debug)]
pub struct Hold {
    pub service: usize,
    pub id: String,
    pub ttl: Duration,
}

/// Something that a client is to follow.
#[derive(Clone, Debug)]
pub struct Follow {
    pub what: usize,
    /// How long its holder takes to look, at most.
    pub pace: u64,
}

/// The namespaces and names of services.
pub const SERVICES: [(&str, &str); 6] = [
    ("default", "web"),
    ("default", "web-2"),
    ("default", "api"),
    ("b", "web"),
    ("default", "db"),
    ("b", "j\u{00f6}b s"),
];

/// What can be followed: a service, or a namespace and a prefix.
pub const SELECTORS: [Follows; 11] = [
    Follows::Service(0),
    Follows::Service(1),
    Follows::Service(2),
    Follows::Service(3),
    Follows::Service(4),
    Follows::Service(5),
    Follows::Prefix("default", "web"),
    Follows::Prefix("default", ""),
    Follows::Prefix("b", ""),
    Follows::Prefix("default", "none"),
    Follows::Prefix("default", "web-"),
];

#[derive(Clone, Copy, Debug)]
pub enum Follows {
    Service(usize),
    Prefix(&'static str, &'static str),
}

/// Something that happens.
#[derive(Clone, Debug)]
pub struct Act {
    pub at: u64,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// A condition of the link between a client and a registry, or all registries.
    Link {
        client: usize,
        server: Option<usize>,
        condition: Condition,
        lasts: u64,
    },
    /// The same of many clients at once, beginning with this one.
    Links {
        clients: Vec<usize>,
        condition: Condition,
        lasts: u64,
    },
    Cut {
        client: usize,
    },
    Reset {
        client: usize,
    },
    EndStreams {
        client: usize,
    },
    Crash {
        client: usize,
        down: u64,
    },
    Close {
        client: usize,
        down: u64,
    },
    Suspend {
        clients: Vec<usize>,
        lasts: u64,
    },
    Jump {
        client: usize,
        by: i64,
    },
    Freeze {
        client: usize,
        lasts: u64,
    },
    Hide {
        client: usize,
        lasts: u64,
    },
    Spurious {
        client: usize,
    },
    Online {
        client: usize,
    },
    /// Nobody looks at what the client follows.
    LookAway {
        client: usize,
        lasts: u64,
    },
    Update {
        client: usize,
        hold: usize,
        look: u64,
    },
    Storm {
        client: usize,
        hold: usize,
        times: u64,
    },
    Deregister {
        client: usize,
        hold: usize,
    },
    Register {
        client: usize,
        hold: usize,
    },
    RegisterTwice {
        client: usize,
        hold: usize,
        look: u64,
    },
    Race {
        client: usize,
        hold: usize,
        again: bool,
    },
    Watch {
        client: usize,
        what: usize,
        pace: u64,
    },
    Unwatch {
        client: usize,
        nth: usize,
    },
    WatchChurn {
        client: usize,
        what: usize,
        times: u64,
    },
    Collide {
        client: usize,
        other: usize,
        hold: usize,
    },
    ServerCrash {
        server: usize,
        down: u64,
        silent: bool,
    },
    ServerRestart {
        server: usize,
        down: u64,
        new_epoch: bool,
    },
    ServerBye {
        server: usize,
        down: u64,
    },
    ServerPause {
        server: usize,
        lasts: u64,
    },
    ServerJump {
        server: usize,
        by: i64,
    },
    Evict {
        server: usize,
        nth: usize,
        block: Option<u64>,
    },
    Overlay {
        server: usize,
        nth: usize,
        look: u64,
    },
    ClearOverlays {
        server: usize,
    },
}

/// How a link is for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Latency(u64),
    Jitter(u64),
    LoseRequests(u64),
    LoseAnswers(u64),
    Duplicate(u64),
    Partition,
    PartitionUp,
    PartitionDown,
    Hold(u64),
    Shred,
    ServerError(u64),
    Garbage(u64),
    Truncate(u64),
    Empty(u64),
    WrongNumber(u64),
    Throttle(u64),
    GarbageEvents(u64),
    HalfOpen,
    SlowAnswers(u64),
    SlowReader,
    Refuse,
    LateInputs,
}

impl Condition {
    pub const fn kind(self) -> Kind {
        match self {
            Self::Latency(_) => Kind::Latency,
            Self::Jitter(_) => Kind::Jitter,
            Self::LoseRequests(_) => Kind::LoseRequests,
            Self::LoseAnswers(_) => Kind::LoseAnswers,
            Self::Duplicate(_) => Kind::Duplicate,
            Self::Partition => Kind::Partition,
            Self::PartitionUp => Kind::PartitionUp,
            Self::PartitionDown => Kind::PartitionDown,
            Self::Hold(_) => Kind::Hold,
            Self::Shred => Kind::Shred,
            Self::ServerError(_) => Kind::ServerError,
            Self::Garbage(_) => Kind::Garbage,
            Self::Truncate(_) => Kind::Truncate,
            Self::Empty(_) => Kind::Empty,
            Self::WrongNumber(_) => Kind::WrongNumber,
            Self::Throttle(_) => Kind::Throttle,
            Self::GarbageEvents(_) => Kind::GarbageEvents,
            Self::HalfOpen => Kind::HalfOpen,
            Self::SlowAnswers(_) => Kind::SlowAnswers,
            Self::SlowReader => Kind::SlowReader,
            Self::Refuse => Kind::Refuse,
            Self::LateInputs => Kind::LateInputs,
        }
    }
}

impl What {
    /// The kind of fault that it is; `None`: everyday life.
    pub const fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Link { condition, .. } => condition.kind(),
            Self::Links { .. } => Kind::MassExpiry,
            Self::Cut { .. } => Kind::Cut,
            Self::Reset { .. } => Kind::Reset,
            Self::EndStreams { .. } => Kind::EndStreams,
            Self::Crash { .. } => Kind::ClientCrash,
            Self::Close { .. } => Kind::ClientClose,
            Self::Suspend { clients, .. } if clients.len() > 1 => Kind::ManySuspend,
            Self::Suspend { .. } => Kind::ClientSuspend,
            Self::Jump { by, .. } if *by < 0 => Kind::ClientBack,
            Self::Jump { .. } => Kind::ClientForward,
            Self::Freeze { .. } => Kind::ClientFreeze,
            Self::Hide { .. } => Kind::Hidden,
            Self::Spurious { .. } => Kind::Spurious,
            Self::Online { .. } => Kind::Online,
            Self::LookAway { .. } => Kind::LooksAway,
            Self::Storm { .. } => Kind::UpdateStorm,
            Self::RegisterTwice { .. } => Kind::RegisterTwice,
            Self::Race { .. } => Kind::DeregisterRace,
            Self::WatchChurn { .. } => Kind::WatchChurn,
            Self::Collide { .. } => Kind::Collision,
            Self::ServerCrash { .. } => Kind::ServerCrash,
            Self::ServerRestart { .. } => Kind::ServerRestart,
            Self::ServerBye { .. } => Kind::ServerBye,
            Self::ServerPause { .. } => Kind::ServerPause,
            Self::ServerJump { by, .. } if *by < 0 => Kind::ServerBack,
            Self::ServerJump { .. } => Kind::ServerForward,
            Self::Evict { block: Some(_), .. } => Kind::Block,
            Self::Evict { .. } => Kind::Evict,
            Self::Overlay { .. } => Kind::Overlay,
            Self::Update { .. }
            | Self::Deregister { .. }
            | Self::Register { .. }
            | Self::Watch { .. }
            | Self::Unwatch { .. }
            | Self::ClearOverlays { .. } => return None,
        })
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>11.6}s  {:?}", self.at as f64 / SECOND as f64, self.what)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}; calm from {}s on, when r{} is left", self.seed, self.calm / SECOND, self.survivor)?;
        for (at, server) in self.servers.iter().enumerate() {
            writeln!(f, "r{at}: {server:?}")?;
        }
        for (at, client) in self.clients.iter().enumerate().filter(|(_, client)| client.present) {
            writeln!(f, "c{at}: {client:?}")?;
        }
        self.acts.iter().try_for_each(|act| writeln!(f, "{act}"))
    }
}

const TTLS: [u64; 8] = [6, 10, 15, 30, 30, 60, 90, 180];

impl Plan {
    /// Draws an hour.
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::fork(seed, 1);
        let r = &mut random;
        let servers = match r.below(10) {
            0..=5 => 1,
            6..=8 => 2,
            _ => 3,
        };
        let servers: Vec<ServerPlan> = (0..servers)
            .map(|_| ServerPlan {
                drift: r.between(0, 20_000) as i64 - 10_000,
                log_entries: if r.percent(40) { r.between(1, 24) as usize } else { 65_536 },
                warm_up: Duration::from_secs(90),
                alarm_hold: Duration::from_secs(if r.percent(25) { 30 } else { 0 }),
                watches: if r.percent(8) { 8 } else { 200_000 },
            })
            .collect();
        let count = if r.percent(12) { r.between(16, 30) } else { r.between(10, 14) } as usize;
        let all_healed = r.percent(40);
        let fast = r.percent(25);
        let clients = (0..count)
            .map(|at| {
                let role = r.below(10);
                let most = if r.percent(20) { 4 } else { 2 };
                let holds = if role < 7 { r.between(1, most) } else { 0 };
                let follows = if role > 3 { r.between(1, 3) } else { 0 };
                let ttls = if fast { &TTLS[..5] } else { &TTLS[3..] };
                let ttl = Duration::from_secs(*r.pick(ttls));
                ClientPlan {
                    present: true,
                    starts: r.below(20 * SECOND),
                    drift: r.between(0, 20_000) as i64 - 10_000,
                    holds: (0..holds)
                        .map(|nth| Hold {
                            service: r.index(SERVICES.len()),
                            id: format!("c{at}-{nth}"),
                            ttl: if r.percent(70) { ttl } else { Duration::from_secs(*r.pick(ttls)) },
                        })
                        .collect(),
                    follows: (0..follows)
                        .map(|_| Follow { what: r.index(SELECTORS.len()), pace: r.spread(1_000, 20 * SECOND) })
                        .collect(),
                    first_origin: if r.percent(70) { 0 } else { r.index(servers.len()) },
                    latency: r.spread(100, 150_000),
                    in_flight: if r.percent(20) { 2 } else { 64 },
                    linger: Duration::from_secs(r.between(1, 60)),
                    remember: r.percent(25),
                    healed: all_healed || r.percent(70),
                }
            })
            .collect();
        let mut plan = Self { seed, survivor: r.index(servers.len()), servers, clients, acts: vec![], calm: 0 };
        plan.calm = r.between(50 * MINUTE, 54 * MINUTE);
        plan.draw_acts(r);
        // In a quarter of the runs, so that the others stay what they were.
        if seed % 4 == 2 {
            let r = &mut Random::fork(seed, 5);
            for _ in 0..r.between(1, 12) {
                let at = r.between(20 * SECOND, plan.calm - 5 * SECOND);
                let what = plan.fault(Kind::LooksAway, r);
                plan.acts.push(Act { at, what });
            }
            plan.acts.sort_by_key(|act| act.at);
        }
        plan
    }

    fn draw_acts(&mut self, r: &mut Random) {
        // Each run has its own mix: what is rare among everything is common among a few.
        let all: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| *kind != Kind::LooksAway).collect();
        let kinds: Vec<Kind> = all.iter().copied().filter(|_| r.percent(55)).collect();
        let kinds = if kinds.len() < 8 { all } else { kinds };
        let faults = r.between(110, 170);
        let last = self.calm - 5 * SECOND;
        for _ in 0..faults {
            let at = r.between(20 * SECOND, last);
            let kind = *r.pick(&kinds);
            let what = self.fault(kind, r);
            self.acts.push(Act { at, what });
        }
        for _ in 0..r.between(40, 120) {
            let at = r.between(10 * SECOND, last);
            let what = self.life(r);
            self.acts.push(Act { at, what });
        }
        self.acts.sort_by_key(|act| act.at);
    }

    fn holder(&self, r: &mut Random) -> (usize, usize) {
        let holders: Vec<usize> = (0..self.clients.len()).filter(|&at| !self.clients[at].holds.is_empty()).collect();
        let client = if holders.is_empty() { 0 } else { *r.pick(&holders) };
        (client, r.index(self.clients[client].holds.len()))
    }

    fn fault(&self, kind: Kind, r: &mut Random) -> What {
        let client = r.index(self.clients.len());
        let server = r.index(self.servers.len());
        let (holder, hold) = self.holder(r);
        let ttl = self.clients[client].holds.first().map_or(30 * SECOND, |hold| hold.ttl.as_micros() as u64);
        let lasts = if r.percent(30) { r.between(ttl / 2, ttl * 2) } else { r.spread(SECOND / 4, 4 * MINUTE) };
        let of = if r.percent(60) { None } else { Some(server) };
        let many = |r: &mut Random| {
            let percent = r.between(30, 100);
            let all: Vec<usize> = (0..self.clients.len()).filter(|_| r.percent(percent)).collect();
            all
        };
        let percent = *r.pick(&[10, 30, 60, 100]);
        let down = r.spread(SECOND / 10, 90 * SECOND);
        let link = |condition| What::Link { client, server: of, condition, lasts };
        match kind {
            Kind::Latency => link(Condition::Latency(r.spread(50_000, 8 * SECOND))),
            Kind::Jitter => link(Condition::Jitter(r.spread(10_000, 6 * SECOND))),
            Kind::LoseRequests => link(Condition::LoseRequests(percent)),
            Kind::LoseAnswers => link(Condition::LoseAnswers(percent)),
            Kind::Duplicate => link(Condition::Duplicate(percent)),
            Kind::Partition => link(Condition::Partition),
            Kind::PartitionUp => link(Condition::PartitionUp),
            Kind::PartitionDown => link(Condition::PartitionDown),
            Kind::Hold => link(Condition::Hold(r.between(ttl / 2, ttl * 4))),
            Kind::Cut => What::Cut { client },
            Kind::Reset => What::Reset { client },
            Kind::Shred => link(Condition::Shred),
            Kind::ServerError => link(Condition::ServerError(percent)),
            Kind::Garbage => link(Condition::Garbage(percent)),
            Kind::Truncate => link(Condition::Truncate(percent)),
            Kind::Empty => link(Condition::Empty(percent)),
            Kind::WrongNumber => link(Condition::WrongNumber(percent)),
            Kind::Throttle => link(Condition::Throttle(r.between(1, 20))),
            Kind::GarbageEvents => link(Condition::GarbageEvents(percent)),
            Kind::HalfOpen => link(Condition::HalfOpen),
            Kind::EndStreams => What::EndStreams { client },
            Kind::SlowAnswers => link(Condition::SlowAnswers(r.between(1, 12) * SECOND)),
            Kind::SlowReader => link(Condition::SlowReader),
            Kind::Refuse => link(Condition::Refuse),
            Kind::LateInputs => link(Condition::LateInputs),
            Kind::Spurious => What::Spurious { client },
            Kind::Online => What::Online { client },
            Kind::LooksAway => What::LookAway { client, lasts },
            Kind::ClientCrash => What::Crash { client, down },
            Kind::ClientClose => What::Close { client, down: down + 5 * SECOND },
            Kind::ClientSuspend => What::Suspend { clients: vec![client], lasts },
            Kind::ManySuspend => What::Suspend { clients: many(r), lasts },
            Kind::ClientForward => What::Jump { client, by: r.spread(1_000, 10 * MINUTE) as i64 },
            Kind::ClientBack => What::Jump { client, by: -(r.spread(1_000, MINUTE) as i64) },
            Kind::ClientFreeze => What::Freeze { client, lasts: lasts.min(2 * MINUTE) },
            Kind::Hidden => What::Hide { client, lasts: r.between(MINUTE, 10 * MINUTE) },
            Kind::ServerCrash => What::ServerCrash { server, down, silent: r.percent(30) },
            Kind::ServerRestart => What::ServerRestart { server, down, new_epoch: r.percent(25) },
            Kind::ServerBye => What::ServerBye { server, down: down.min(10 * SECOND) },
            Kind::ServerPause => What::ServerPause { server, lasts: lasts.min(MINUTE) },
            Kind::ServerForward => What::ServerJump { server, by: r.spread(1_000, MINUTE) as i64 },
            Kind::ServerBack => What::ServerJump { server, by: -(r.spread(1_000, MINUTE) as i64) },
            Kind::MassExpiry => {
                let condition = *r.pick(&[Condition::Partition, Condition::PartitionDown, Condition::PartitionUp]);
                What::Links { clients: many(r), condition, lasts: r.between(20, 120) * SECOND }
            }
            Kind::Collision => What::Collide { client, other: holder, hold },
            Kind::Evict => What::Evict { server, nth: r.index(64), block: None },
            Kind::Block => What::Evict { server, nth: r.index(64), block: Some(r.between(1, 60)) },
            Kind::Overlay => What::Overlay { server, nth: r.index(64), look: r.next() },
            Kind::UpdateStorm => What::Storm { client: holder, hold, times: r.between(3, 40) },
            Kind::WatchChurn => What::WatchChurn { client, what: r.index(SELECTORS.len()), times: r.between(1, 8) },
            Kind::RegisterTwice => What::RegisterTwice { client: holder, hold, look: r.next() },
            Kind::DeregisterRace => What::Race { client: holder, hold, again: r.percent(70) },
        }
    }

    fn life(&self, r: &mut Random) -> What {
        let client = r.index(self.clients.len());
        let server = r.index(self.servers.len());
        let (holder, hold) = self.holder(r);
        match r.below(12) {
            0..=4 => What::Update { client: holder, hold, look: r.next() },
            5 => What::Deregister { client: holder, hold },
            6..=8 => What::Register { client: holder, hold },
            9 => What::Watch { client, what: r.index(SELECTORS.len()), pace: r.spread(1_000, 20 * SECOND) },
            10 => What::Unwatch { client, nth: r.index(8) },
            _ => What::ClearOverlays { server },
        }
    }
}

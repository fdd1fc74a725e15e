//! What is going to happen, drawn before anything does: who there is, what they do, and what goes wrong when. A list, so
//! that a failure can be made small by leaving things out.

use std::fmt;
use std::time::Duration;

use super::kind::Kind;
use super::random::Random;

pub const MILLI: u64 = 1_000;
pub const SECOND: u64 = 1_000_000;
pub const MINUTE: u64 = 60 * SECOND;

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Parts per million that the store's clock runs fast, or slow.
    pub drift: i64,
    /// How many addresses the store has.
    pub endpoints: usize,
    pub clients: Vec<ClientPlan>,
    /// In the order of time.
    pub acts: Vec<Act>,
    /// When everything is healed.
    pub calm: u64,
}

#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// It takes part; to make a failure smaller, it does not.
    pub present: bool,
    pub starts: u64,
    pub drift: i64,
    pub holds: Vec<Hold>,
    pub follows: Vec<Follow>,
    pub latency: u64,
    pub in_flight: usize,
    pub linger: Duration,
    pub remember: bool,
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

/// The names of services; one is the beginning of others, and with a slash even of what a path to it is.
pub const SERVICES: [&str; 4] = ["web", "web-2", "api", "web/j\u{00f6}b s"];

/// Prefixes that are followed, numbered after the services.
pub const PREFIXES: [&str; 3] = ["", "web", "none"];

/// Something that happens.
#[derive(Clone, Debug)]
pub struct Act {
    pub at: u64,
    pub what: What,
}

#[derive(Clone, Debug)]
pub enum What {
    /// A condition of the link between a client and an address of the store, or all of them.
    Link {
        client: usize,
        endpoint: Option<usize>,
        condition: Condition,
        lasts: u64,
    },
    /// The same of many clients at once.
    Links {
        clients: Vec<usize>,
        condition: Condition,
        lasts: u64,
    },
    /// Connections break in the middle of what is said next.
    Cut {
        client: usize,
    },
    /// Connections break at once.
    Reset {
        client: usize,
    },
    /// Answers that are held end.
    EndHeld {
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
    /// The store cannot be reached; and what becomes of it meanwhile.
    Down {
        lasts: u64,
        silent: bool,
        comes_back: Return,
    },
    Compact,
    /// The nth of what is visible.
    Revoke {
        nth: usize,
    },
    Remove {
        nth: usize,
    },
    ForeignPut {
        service: usize,
        nth: u64,
        look: u64,
    },
    Garbage {
        service: usize,
        nth: u64,
    },
    /// One server is dead for a while.
    Agent {
        endpoint: usize,
        lasts: u64,
        empty: bool,
    },
    Datacenter {
        west: bool,
        lasts: u64,
    },
    Rights {
        rights: Rights,
        lasts: u64,
    },
    Rewind {
        west: bool,
        by: u64,
    },
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// It may read no service: lists are empty.
    HideAll,
    /// It may not read this one.
    Hide(usize),
    /// Nobody knows it: all is refused.
    Unknown,
}

/// How a store comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// It was there all the time, only unreachable.
    Untouched,
    /// Its process was dead, and has its state.
    Restarted,
    /// Its process was dead, and has nothing.
    Empty,
    /// The same, and its revisions are beyond all that were seen.
    Ahead,
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
    Throttle(u64),
    GarbageEvents(u64),
    HalfOpen,
    SlowAnswers(u64),
    SlowReader,
    Refuse,
    LateInputs,
}

impl What {
    /// What it is called when it is counted.
    pub fn label(&self) -> String {
        let shown = match self {
            Self::Link { condition, .. } | Self::Links { condition, .. } => format!("{condition:?}"),
            Self::Jump { by, .. } => return if *by < 0 { "JumpBack".into() } else { "JumpAhead".into() },
            Self::Down { comes_back, silent, .. } => {
                return format!("Down{comes_back:?}{}", if *silent { "Silently" } else { "" });
            }
            what => format!("{what:?}"),
        };
        shown.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>11.6}s  {:?}", self.at as f64 / SECOND as f64, self.what)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, drift, endpoints) = (self.seed, self.drift, self.endpoints);
        writeln!(
            f,
            "seed {seed}; the store drifts {drift} and has {endpoints} addresses; calm from {}s on",
            self.calm / SECOND
        )?;
        for (at, client) in self.clients.iter().enumerate().filter(|(_, client)| client.present) {
            writeln!(f, "c{at}: {client:?}")?;
        }
        self.acts.iter().try_for_each(|act| writeln!(f, "{act}"))
    }
}

const TTLS: [u64; 6] = [6, 10, 15, 15, 30, 60];

/// Kinds of faults, of which each run has its own mix.
const FAULTS: u64 = 40;

impl Plan {
    /// Draws twenty minutes and what follows.
    pub fn draw(kind: &Kind, seed: u64) -> Self {
        let mut random = Random::fork(seed, 1);
        let r = &mut random;
        let endpoints = if r.percent(50) { 1 } else { r.between(1, kind.endpoints as u64) as usize };
        let count = r.between(3, 8) as usize;
        let drift = |r: &mut Random| r.between(0, 20_000) as i64 - 10_000;
        let clients = (0..count).map(|at| {
            let role = r.below(10);
            let most = if r.percent(20) { 4 } else { 2 };
            let holds = if role < 7 || at == 0 { r.between(1, most) } else { 0 };
            let follows = if role > 3 || at == 1 { r.between(1, 3) } else { 0 };
            let ttl = Duration::from_secs(*r.pick(&TTLS));
            ClientPlan {
                present: true,
                starts: r.below(20 * SECOND),
                drift: drift(r),
                holds: (0..holds)
                    .map(|nth| Hold {
                        service: r.index(SERVICES.len()),
                        id: format!("c{at}-{nth}"),
                        ttl: if r.percent(70) { ttl } else { Duration::from_secs(*r.pick(&TTLS)) },
                    })
                    .collect(),
                follows: (0..follows).map(|_| Follow { what: kind.draw_selector(r), pace: pace(r) }).collect(),
                latency: r.spread(100, 150_000),
                in_flight: if r.percent(20) { 2 } else { 64 },
                linger: Duration::from_secs(r.between(1, 60)),
                remember: r.percent(25),
            }
        });
        let clients = clients.collect();
        let mut plan = Self { seed, drift: 0, endpoints, clients, acts: vec![], calm: 0 };
        plan.drift = drift(r);
        plan.calm = r.between(18 * MINUTE, 21 * MINUTE);
        plan.draw_acts(kind, r);
        // Where revisions can be told to go on. A quarter of the seeds, so that the others stay what they were.
        if kind.name == "etcd" && seed % 4 == 3 {
            let r = &mut Random::fork(seed, 5);
            for _ in 0..r.between(1, 3) {
                let (at, lasts) = (r.between(MINUTE, plan.calm - 5 * SECOND), r.spread(SECOND / 10, 30 * SECOND));
                let what = What::Down { lasts, silent: r.percent(30), comes_back: Return::Ahead };
                plan.acts.push(Act { at, what });
            }
            plan.acts.sort_by_key(|act| act.at);
        }
        // The same for those whom nobody looks at.
        if seed % 4 == 2 {
            let r = &mut Random::fork(seed, 6);
            for _ in 0..r.between(1, 8) {
                let (at, lasts) = (r.between(20 * SECOND, plan.calm - 5 * SECOND), r.spread(SECOND / 100, 5 * MINUTE));
                let what = What::LookAway { client: r.index(plan.clients.len()), lasts };
                plan.acts.push(Act { at, what });
            }
            plan.acts.sort_by_key(|act| act.at);
        }
        if kind.wide {
            plan.endpoints = kind.endpoints;
            plan.draw_wide(&mut Random::fork(seed, 4));
        }
        plan
    }

    /// What goes wrong where there is more than one server, datacenter and token.
    fn draw_wide(&mut self, r: &mut Random) {
        let mix: Vec<u64> = (0..5).filter(|_| r.percent(60)).collect();
        let last = self.calm - 5 * SECOND;
        for _ in 0..r.between(2, 24) {
            let (at, lasts) = (r.between(20 * SECOND, last), r.spread(SECOND, 3 * MINUTE));
            let what = match mix.get(r.index(mix.len().max(1))).copied().unwrap_or(4) {
                0 => What::Agent { endpoint: r.index(self.endpoints), lasts, empty: r.percent(20) },
                1 => What::Datacenter { west: r.percent(60), lasts },
                2 => {
                    let rights = [Rights::HideAll, Rights::Hide(r.index(SERVICES.len())), Rights::Unknown];
                    What::Rights { rights: *r.pick(&rights), lasts }
                }
                3 => What::Rewind { west: r.percent(30), by: r.spread(3, 2_000) },
                _ => What::ForeignPut { service: r.index(SERVICES.len()), nth: r.below(4), look: r.next() },
            };
            self.acts.push(Act { at, what });
        }
        self.acts.sort_by_key(|act| act.at);
    }

    fn draw_acts(&mut self, kind: &Kind, r: &mut Random) {
        // What is rare among everything is common among a few.
        let percent = *r.pick(&[15, 40, 80]);
        let mix: Vec<u64> = (0..FAULTS).filter(|_| r.percent(percent)).collect();
        let mix = if mix.is_empty() { (0..FAULTS).collect() } else { mix };
        let last = self.calm - 5 * SECOND;
        let faults = if r.percent(10) { 4 } else { r.between(15, 70) };
        for _ in 0..faults {
            let at = r.between(20 * SECOND, last);
            let what = self.fault(*r.pick(&mix), kind, r);
            self.acts.push(Act { at, what });
        }
        for _ in 0..r.between(15, 60) {
            let at = r.between(10 * SECOND, last);
            let what = self.life(kind, r);
            self.acts.push(Act { at, what });
        }
        self.acts.sort_by_key(|act| act.at);
    }

    fn holder(&self, r: &mut Random) -> (usize, usize) {
        let holders: Vec<usize> = (0..self.clients.len()).filter(|&at| !self.clients[at].holds.is_empty()).collect();
        let client = *r.pick(&holders);
        (client, r.index(self.clients[client].holds.len()))
    }

    fn fault(&self, nth: u64, kind: &Kind, r: &mut Random) -> What {
        let client = r.index(self.clients.len());
        let (holder, hold) = self.holder(r);
        let ttl = self.clients[client].holds.first().map_or(15 * SECOND, |hold| hold.ttl.as_micros() as u64);
        let lasts = if r.percent(30) { r.between(ttl / 2, ttl * 2) } else { r.spread(SECOND / 4, 3 * MINUTE) };
        let endpoint = if r.percent(60) { None } else { Some(r.index(self.endpoints)) };
        let percent = *r.pick(&[10, 30, 60, 100]);
        let down = r.spread(SECOND / 10, 90 * SECOND);
        let link = |condition| What::Link { client, endpoint, condition, lasts };
        let many = |r: &mut Random| {
            let percent = r.between(30, 100);
            (0..self.clients.len()).filter(|_| r.percent(percent)).collect::<Vec<usize>>()
        };
        match nth {
            0 => link(Condition::Latency(r.spread(50_000, 8 * SECOND))),
            1 => link(Condition::Jitter(r.spread(10_000, 6 * SECOND))),
            2 => link(Condition::LoseRequests(percent)),
            3 => link(Condition::LoseAnswers(percent)),
            4 => link(Condition::Duplicate(percent)),
            5 => link(Condition::Partition),
            6 => link(Condition::PartitionUp),
            7 => link(Condition::PartitionDown),
            8 => link(Condition::Hold(r.between(ttl / 2, ttl * 4))),
            9 => What::Cut { client },
            10 => What::Reset { client },
            11 => link(Condition::Shred),
            12 => link(Condition::ServerError(percent)),
            13 => link(Condition::Garbage(percent)),
            14 => link(Condition::Truncate(percent)),
            15 => link(Condition::Empty(percent)),
            16 => link(Condition::Throttle(r.between(1, 20))),
            17 => link(Condition::GarbageEvents(percent)),
            18 => link(Condition::HalfOpen),
            19 => What::EndHeld { client },
            20 => link(Condition::SlowAnswers(r.between(1, 12) * SECOND)),
            21 => link(Condition::Refuse),
            22 => link(Condition::LateInputs),
            23 => What::Spurious { client },
            24 => What::Online { client },
            25 => What::Crash { client, down },
            26 => What::Close { client, down: down + 5 * SECOND },
            27 => What::Suspend { clients: if r.percent(60) { vec![client] } else { many(r) }, lasts },
            28 => What::Jump { client, by: r.spread(1_000, 10 * MINUTE) as i64 },
            29 => What::Jump { client, by: -(r.spread(1_000, MINUTE) as i64) },
            30 => What::Freeze { client, lasts: lasts.min(2 * MINUTE) },
            31 => {
                let condition = *r.pick(&[Condition::Partition, Condition::PartitionDown, Condition::PartitionUp]);
                What::Links { clients: many(r), condition, lasts: r.between(20, 120) * SECOND }
            }
            32 => What::Collide { client, other: holder, hold },
            33 => What::Down { lasts: lasts.max(SECOND), silent: r.percent(30), comes_back: Return::Untouched },
            34 => What::Down { lasts: down, silent: r.percent(30), comes_back: Return::Restarted },
            35 => What::Down { lasts: down.min(30 * SECOND), silent: r.percent(30), comes_back: Return::Empty },
            36 => What::Compact,
            37 => What::Revoke { nth: r.index(64) },
            38 => What::Remove { nth: r.index(64) },
            _ if kind.laws.foreign && r.percent(50) => {
                What::ForeignPut { service: r.index(SERVICES.len()), nth: r.below(4), look: r.next() }
            }
            _ if kind.laws.foreign => What::Garbage { service: r.index(SERVICES.len()), nth: r.below(4) },
            _ => What::Spurious { client },
        }
    }

    fn life(&self, kind: &Kind, r: &mut Random) -> What {
        let client = r.index(self.clients.len());
        let (holder, hold) = self.holder(r);
        match r.below(16) {
            0..=5 => What::Update { client: holder, hold, look: r.next() },
            6 | 7 => What::Deregister { client: holder, hold },
            8..=10 => What::Register { client: holder, hold },
            11 => What::Watch { client, what: kind.draw_selector(r), pace: pace(r) },
            12 => What::Unwatch { client, nth: r.index(8) },
            13 => What::Storm { client: holder, hold, times: r.between(3, 40) },
            14 if r.percent(50) => What::RegisterTwice { client: holder, hold, look: r.next() },
            14 => What::WatchChurn { client, what: kind.draw_selector(r), times: r.between(1, 6) },
            _ => What::Race { client: holder, hold, again: r.percent(70) },
        }
    }
}

/// Some look at once, and see each step.
fn pace(r: &mut Random) -> u64 {
    if r.percent(50) { 0 } else { r.spread(1_000, 20 * SECOND) }
}

//! The life of an application: whatever happens in whatever order, nothing stays registered and nothing keeps running.

use core::time::Duration;

use periplus_core::Instant;
use periplus_core::app::{
    Action, Cause, Ending, Exit, Failure, Lifecycle, LifecycleConfig, LifecycleState, Phase, RegistryDown, WhenEnded,
};
#[cfg(not(target_family = "wasm"))]
use periplus_core::fault::Fault;
use periplus_core::fault::Faults;
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// One input: which, and of whom. Wrong, late and repeated ones are as likely as others.
type Op = (u8, u8);

const SECOND: Duration = Duration::from_secs(1);
const PHASES: [Phase; 4] = [Phase::BeforeStart, Phase::AfterStart, Phase::BeforeStop, Phase::AfterStop];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Idle,
    Binding,
    Bound,
    Serving { accepts: bool, told: bool },
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registrar {
    Unasked,
    Asked,
    Registered,
    Ended,
    Leaving { since: Instant },
    Gone { at: Instant },
}

/// A driver that keeps books of all that it was told to do, and holds it against the laws.
struct Stage {
    life: Lifecycle,
    config: LifecycleConfig,
    now: Instant,
    servers: Vec<Server>,
    registrars: Vec<Registrar>,
    hooks: Option<Phase>,
    ran: Vec<Phase>,
    signals: u32,
    left: Option<Instant>,
    exit: Option<Exit>,
}

impl Stage {
    fn new(kind: u8, faults: Faults) -> Self {
        let bit = |at: u8| usize::from(kind >> at & 1);
        let config = LifecycleConfig {
            servers: bit(0) + bit(1),
            registrars: bit(2) + bit(3),
            start_timeout: 7 * SECOND,
            hook_timeout: 5 * SECOND,
            registrar_timeout: 4 * SECOND,
            drain: if bit(4) == 1 { Duration::ZERO } else { 3 * SECOND },
            stop_timeout: 6 * SECOND,
            registry_down: if bit(5) == 1 { RegistryDown::KeepTrying } else { RegistryDown::Fail },
            when_ended: if bit(6) == 1 { WhenEnded::Stop } else { WhenEnded::KeepServing },
            faults,
        };
        let now = Instant::from_millis(5_000);
        let mut stage = Self {
            life: Lifecycle::new(config.clone(), now),
            now,
            servers: vec![Server::Idle; config.servers],
            registrars: vec![Registrar::Unasked; config.registrars],
            config,
            hooks: None,
            ran: Vec::new(),
            signals: 0,
            left: None,
            exit: None,
        };
        stage.drain();
        stage
    }

    fn drain(&mut self) {
        if self.life.state() >= LifecycleState::Leaving {
            self.left.get_or_insert(self.now);
        }
        while let Some(action) = self.life.poll_action() {
            assert_eq!(self.exit, None, "{action:?} after the end");
            self.act(action);
        }
        assert_eq!(self.life.poll_action(), None);
        self.judge();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Bind(at) => self.turn(at, Server::Idle, Server::Binding),
            Action::Serve(at) => {
                assert!(self.ran.contains(&Phase::BeforeStart) && self.hooks.is_none(), "served before its hooks");
                self.turn(at, Server::Bound, Server::Serving { accepts: false, told: false });
            }
            Action::Run(phase) => {
                assert_eq!(self.hooks.replace(phase), None, "two phases at once");
                assert!(self.ran.iter().all(|ran| *ran < phase), "{phase:?} after {:?}", self.ran);
                self.ran.push(phase);
            }
            Action::Cut(phase) => assert_eq!(self.hooks.take(), Some(phase)),
            Action::Register(at) => {
                assert_eq!(self.left, None, "registered by who leaves");
                let accepts = |server: &Server| matches!(server, Server::Serving { accepts: true, .. });
                assert!(self.servers.iter().all(accepts), "registered before its servers accept");
                assert_eq!(std::mem::replace(&mut self.registrars[at], Registrar::Asked), Registrar::Unasked);
            }
            Action::Deregister(at) => {
                let was = std::mem::replace(&mut self.registrars[at], Registrar::Leaving { since: self.now });
                assert!(!matches!(was, Registrar::Unasked | Registrar::Leaving { .. } | Registrar::Gone { .. }));
            }
            Action::Drain(at) => assert!(matches!(self.servers[at], Server::Serving { told: false, .. })),
            Action::Stop(at) => {
                let Server::Serving { accepts, told: false } = self.servers[at] else { panic!("told to stop twice") };
                assert_eq!(self.hooks, None, "stopped before its hooks");
                self.servers[at] = Server::Serving { accepts, told: true };
                let heard = self.registrars.iter().filter(|registrar| **registrar != Registrar::Unasked);
                for registrar in heard {
                    let until = match registrar {
                        Registrar::Gone { at } => *at,
                        Registrar::Leaving { since } => since.saturating_add(self.config.registrar_timeout),
                        other => panic!("stopped while {other:?}"),
                    };
                    let drained = until.saturating_add(self.config.drain);
                    assert!(drained <= self.now, "stopped before it had drained");
                }
            }
            Action::Abort(at) => {
                let was = std::mem::replace(&mut self.servers[at], Server::Over);
                assert!(!matches!(was, Server::Idle | Server::Over), "aborted what does not run");
            }
            Action::Exit(exit) => self.exit = Some(exit),
        }
    }

    fn turn(&mut self, at: usize, from: Server, to: Server) {
        assert_eq!(std::mem::replace(&mut self.servers[at], to), from);
    }

    fn judge(&self) {
        let leaving = self.left.is_some();
        let registered =
            |registrar: &Registrar| matches!(registrar, Registrar::Asked | Registrar::Registered | Registrar::Ended);
        if leaving {
            assert!(!self.registrars.iter().any(registered), "not deregistered at once");
        }
        assert_eq!(leaving, self.life.cause().is_some());
        let running = |server: &Server| !matches!(server, Server::Idle | Server::Over);
        if self.signals >= 2 {
            assert!(!self.servers.iter().any(running) && self.hooks.is_none(), "runs although it is to hurry");
        }
        if self.signals >= 3 {
            assert!(self.exit.is_some(), "waits although it is to wait no more");
        }
        assert_eq!(self.exit.is_some(), self.life.state() == LifecycleState::Ended);
        let Some(exit) = self.exit else {
            let waits = self.life.poll_timeout().is_some() || self.life.state() == LifecycleState::Running;
            assert!(waits, "waits for ever");
            return;
        };
        assert_eq!(self.life.poll_timeout(), None);
        assert!(!self.servers.iter().any(running), "a server was left running");
        assert_eq!(self.hooks, None, "hooks were left running");
        assert_eq!(Some(exit.cause), self.life.cause());
        let gone = |registrar: &Registrar| matches!(registrar, Registrar::Unasked | Registrar::Gone { .. });
        if exit.deregistered {
            assert!(self.registrars.iter().all(gone));
        }
    }

    fn play(&mut self, (kind, of): Op) {
        let before = self.life.cause();
        let mut failure = None;
        self.now = self.now.saturating_add(Duration::from_millis(u64::from(of) * 4));
        let (server, registrar) = (usize::from(of % 2), usize::from(of / 2 % 2));
        let phase = PHASES[usize::from(of / 4 % 4)];
        let well = of & 64 == 0;
        match kind % 16 {
            0..=2 => {
                if self.servers.get(server) == Some(&Server::Binding) {
                    self.servers[server] = Server::Bound;
                }
                self.life.handle_bound(server, self.now);
            }
            3..=4 => {
                if let Some(Server::Serving { accepts, .. }) = self.servers.get_mut(server) {
                    *accepts = true;
                }
                self.life.handle_accepting(server, self.now);
            }
            5 => {
                let was = self.servers.get(server).copied();
                match was {
                    Some(Server::Binding) => failure = Some(Failure::Bind(server)),
                    Some(Server::Serving { .. }) if !(well && self.left.is_some()) => {
                        failure = Some(Failure::Server(server));
                    }
                    _ => {}
                }
                if let Some(Server::Binding | Server::Serving { .. }) = was {
                    self.servers[server] = Server::Over;
                }
                self.life.handle_ended(server, well, self.now);
            }
            6..=8 => {
                if self.hooks == Some(phase) {
                    self.hooks = None;
                    failure = (!well).then_some(Failure::Hook(phase));
                }
                self.life.handle_hooks(phase, well, self.now);
            }
            9..=10 => {
                if let Some(place @ Registrar::Asked) = self.registrars.get_mut(registrar) {
                    *place = Registrar::Registered;
                }
                self.life.handle_registered(registrar, self.now);
            }
            11 => {
                match self.registrars.get_mut(registrar) {
                    Some(place @ Registrar::Asked) => {
                        *place = Registrar::Ended;
                        failure = Some(Failure::Register(registrar));
                    }
                    Some(place @ Registrar::Registered) => *place = Registrar::Ended,
                    _ => {}
                }
                self.life.handle_registration_ended(registrar, Ending::Superseded, self.now);
            }
            12 => {
                if let Some(place) = self.registrars.get_mut(registrar)
                    && let Registrar::Leaving { since } = *place
                {
                    // Whoever answers later than that was given up before.
                    *place = Registrar::Gone { at: self.now.min(since.saturating_add(self.config.registrar_timeout)) };
                }
                self.life.handle_deregistered(registrar, well, self.now);
            }
            13 => {
                self.signals += 1;
                self.life.signal(self.now);
            }
            14 => self.life.stop(self.now),
            _ => return self.sleep(),
        }
        self.drain();
        match (before, self.life.cause(), failure) {
            (Some(Cause::Failed(first)), now, _) => assert_eq!(now, Some(Cause::Failed(first)), "not the first"),
            (_, now, Some(failure)) => assert_eq!(now, Some(Cause::Failed(failure))),
            (Some(cause), now, None) => assert_eq!(now, Some(cause)),
            (None, _, None) => {}
        }
    }

    /// Sleeps to the next timeout, as a driver does, and looks that one that comes too early does nothing.
    fn sleep(&mut self) {
        let Some(due) = self.life.poll_timeout() else { return };
        let before = self.life.cause();
        if self.now < due {
            self.life.handle_timeout(Instant::from_micros(due.as_micros() - 1));
            assert_eq!((self.life.poll_action(), self.life.poll_timeout()), (None, Some(due)), "too early");
        }
        self.now = self.now.max(due);
        self.life.handle_timeout(self.now);
        assert!(self.life.poll_timeout().is_none_or(|next| next > self.now), "spins");
        self.drain();
        if let Some(Cause::Failed(_)) = before {
            assert_eq!(self.life.cause(), before, "not the first");
        }
    }

    /// Tells it to leave, and lets nobody answer any more.
    fn end(mut self) {
        self.life.stop(self.now);
        self.drain();
        let left = self.left.expect("it leaves");
        let from = self.now;
        for _ in 0..20 {
            self.sleep();
        }
        assert!(self.exit.is_some(), "never ends: {:?}", self.life.state());
        let config = &self.config;
        let most = config.registrar_timeout.max(config.hook_timeout)
            + config.drain
            + config.hook_timeout
            + config.stop_timeout;
        let took = self.now.saturating_since(left.max(from));
        assert!(took <= most, "took {took:?} to end");
        for op in 0..16 {
            let before = self.life.clone();
            self.play((op, 0));
            assert_eq!(format!("{:?}", before.cause()), format!("{:?}", self.life.cause()));
        }
    }
}

fn live(kind: u8, faults: Faults, ops: &[Op]) {
    let mut stage = Stage::new(kind, faults);
    for op in ops {
        stage.play(*op);
    }
    stage.end();
}

/// Brings an application up, before what happens to it.
fn lively(head: u8, ops: &[Op]) -> Vec<Op> {
    let up: [Op; 10] = [(0, 0), (0, 1), (6, 0), (3, 0), (3, 1), (9, 0), (9, 2), (6, 4), (13, 0), (12, 0)];
    let mut all = up[..usize::from(head) % (up.len() + 1)].to_vec();
    all.extend_from_slice(ops);
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn on_every_way_out_nothing_stays_registered_and_nothing_keeps_running(
        kind in any::<u8>(), head in any::<u8>(), ops in prop::collection::vec(any::<Op>(), 0..40),
    ) {
        live(kind, Faults::default(), &lively(head, &ops));
    }
}

#[cfg(not(target_family = "wasm"))]
#[test]
fn every_planted_bug_of_the_life_cycle_is_caught() {
    use std::panic::{self, AssertUnwindSafe};

    let faults = &Fault::ALL[Fault::AppRegistersEarly as usize..=Fault::AppBelievesCutHooks as usize];
    panic::set_hook(Box::new(|_| {}));
    let caught = |faults: Faults, seed: u64| {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let (kind, head) = (next(), next());
        let ops: Vec<Op> = (0..30).map(|_| (next(), next())).collect();
        panic::catch_unwind(AssertUnwindSafe(|| live(kind, faults, &lively(head, &ops)))).is_err()
    };
    let missed: Vec<_> =
        faults.iter().filter(|fault| !(0..2_000).any(|seed| caught(Faults::only(**fault), seed))).collect();
    let innocent = (0..2_000).find(|seed| caught(Faults::default(), *seed));
    drop(panic::take_hook());
    assert!(missed.is_empty(), "not caught: {missed:?}");
    assert_eq!(innocent, None, "caught without a bug");
}

#[test]
fn a_life_that_goes_well_has_all_its_steps_in_order() {
    let mut stage = Stage::new(0b0000_0101, Faults::default());
    for op in [(0, 0), (6, 0), (3, 0), (9, 0), (6, 4)] {
        stage.play(op);
    }
    assert_eq!((stage.life.state(), stage.life.is_registered()), (LifecycleState::Running, true));
    stage.play((13, 0));
    assert_eq!(stage.life.state(), LifecycleState::Leaving);
    stage.play((12, 0));
    stage.play((6, 8));
    assert_eq!(stage.life.state(), LifecycleState::Draining);
    stage.sleep();
    assert_eq!(stage.life.state(), LifecycleState::Stopping);
    stage.play((5, 0));
    stage.play((6, 12));
    let exit = Exit { cause: Cause::Signal, deregistered: true, forced: false };
    assert_eq!((stage.exit, stage.ran), (Some(exit), PHASES.to_vec()));
}

#[test]
fn an_application_without_a_registrar_stops_its_servers_at_once() {
    let mut stage = Stage::new(0b0000_0001, Faults::default());
    for op in [(0, 0), (6, 0), (3, 0), (6, 4), (14, 0), (6, 8)] {
        stage.play(op);
    }
    assert_eq!(stage.life.state(), LifecycleState::Stopping);
}

#[test]
fn an_application_that_keeps_trying_serves_and_is_registered_when_the_registry_is_there() {
    let mut stage = Stage::new(0b0010_0101, Faults::default());
    for op in [(0, 0), (6, 0), (3, 0)] {
        stage.play(op);
    }
    stage.sleep();
    stage.play((6, 4));
    assert_eq!((stage.life.state(), stage.life.is_registered()), (LifecycleState::Running, false));
    stage.play((9, 0));
    assert!(stage.life.is_registered());
    stage.end();
}

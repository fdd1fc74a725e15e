//! The machine.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use super::config::{LifecycleConfig, RegistryDown, WhenEnded};
use crate::fault::Fault;
use crate::time::Instant;

mod steps;

/// When hooks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Servers are bound and do not accept yet. What fails here fails before anybody has seen the application.
    BeforeStart,
    /// Servers accept, and the application is registered.
    AfterStart,
    /// The application is to stop, and is being deregistered.
    BeforeStop,
    /// All servers have stopped.
    AfterStop,
}

/// Where an application is in its life. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LifecycleState {
    /// Its servers bind.
    Binding,
    /// The hooks before the start run.
    BeforeStart,
    /// Its servers start to accept.
    Starting,
    /// It is being registered.
    Registering,
    /// The hooks after the start run.
    AfterStart,
    /// It serves.
    Running,
    /// It is being deregistered, and serves on.
    Leaving,
    /// It is deregistered and serves on, until everybody has heard.
    Draining,
    /// Its servers stop.
    Stopping,
    /// The hooks after the stop run.
    AfterStop,
    /// It has ended.
    Ended,
}

/// Something for the driver to do. Servers and registrars are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Bind a server; then [`Lifecycle::handle_bound`] or [`handle_ended`](Lifecycle::handle_ended).
    Bind(usize),
    /// Let a server serve; then [`Lifecycle::handle_accepting`], and [`handle_ended`](Lifecycle::handle_ended) at its
    /// end.
    Serve(usize),
    /// Run the hooks of a phase; then [`Lifecycle::handle_hooks`].
    Run(Phase),
    /// Drop the hooks of a phase.
    Cut(Phase),
    /// Register with a registrar; then [`Lifecycle::handle_registered`] or
    /// [`handle_registration_ended`](Lifecycle::handle_registration_ended).
    Register(usize),
    /// Deregister from a registrar, whatever has come of the registration; then [`Lifecycle::handle_deregistered`].
    Deregister(usize),
    /// Let a server say to those who ask for its health that it is leaving.
    Drain(usize),
    /// Let a server stop when its calls have ended; then [`Lifecycle::handle_ended`].
    Stop(usize),
    /// Drop all that there is of a server: its listener, its connections, its calls.
    Abort(usize),
    /// The application has ended. Nothing follows.
    Exit(Exit),
}

/// How a registration ended that was not asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Another holder has the id.
    Superseded,
    /// The registry refuses it.
    Refused,
    /// Somebody in this process has taken it out.
    Deregistered,
}

/// Why an application left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A signal.
    Signal,
    /// It was told to.
    Told,
    /// A registration ended, and it was to stop then ([`WhenEnded::Stop`]).
    RegistrationEnded {
        /// With which registrar.
        registrar: usize,
        /// How.
        ending: Ending,
    },
    /// Something failed.
    Failed(Failure),
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A server could not be bound.
    Bind(usize),
    /// A server was not bound, or did not accept, in time.
    StartTimeout(usize),
    /// A server ended that was not told to, or with an error.
    Server(usize),
    /// A hook failed.
    Hook(Phase),
    /// The hooks of a phase took too long.
    HookTimeout(Phase),
    /// A registrar refused the registration.
    Register(usize),
    /// A registrar did not answer in time ([`RegistryDown::Fail`]).
    RegisterTimeout(usize),
}

/// How an application ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The first failure; if there was none, what made the application leave.
    pub cause: Cause,
    /// Whether every registrar has confirmed that nothing is left. Otherwise a lease ends by itself.
    pub deregistered: bool,
    /// Whether a server was aborted that was serving.
    pub forced: bool,
}

/// The life of one application.
///
/// Each input costs O(servers + registrars). Inputs that come late, twice, or unasked do nothing.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    config: LifecycleConfig,
    now: Instant,
    state: LifecycleState,
    servers: Vec<Server>,
    registrars: Vec<Registrar>,
    /// The hooks that run, and until when they may.
    hooks: Option<(Phase, Instant)>,
    /// Whether start hooks were begun, so that stop hooks are due.
    hooked: bool,
    /// Until when what the state waits for may take: not the hooks.
    deadline: Option<Instant>,
    cause: Option<Cause>,
    signals: u8,
    forced: bool,
    actions: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Binding,
    Bound,
    Starting,
    Accepting,
    Stopping,
    Over,
}

impl Server {
    /// Whether it serves, or is about to.
    const fn runs(self) -> bool {
        matches!(self, Self::Starting | Self::Accepting | Self::Stopping)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Registrar {
    Unasked,
    Asked,
    Registered,
    /// The registration ended by itself.
    Ended,
    Leaving,
    /// Deregistered, or given up.
    Gone {
        confirmed: bool,
    },
}

impl Lifecycle {
    /// An application that starts now: its servers are to be bound.
    #[must_use]
    pub fn new(config: LifecycleConfig, now: Instant) -> Self {
        let mut this = Self {
            servers: vec![Server::Binding; config.servers],
            registrars: vec![Registrar::Unasked; config.registrars],
            now,
            state: LifecycleState::Binding,
            hooks: None,
            hooked: false,
            deadline: None,
            cause: None,
            signals: 0,
            forced: false,
            actions: (0..config.servers).map(Action::Bind).collect(),
            config,
        };
        this.deadline = Some(this.after(this.config.start_timeout));
        this.advance();
        this
    }

    /// A server is bound.
    pub fn handle_bound(&mut self, server: usize, now: Instant) {
        self.pass(now);
        if self.turn(server, Server::Binding, Server::Bound) {
            self.advance();
        }
    }

    /// A server accepts.
    pub fn handle_accepting(&mut self, server: usize, now: Instant) {
        self.pass(now);
        if self.turn(server, Server::Starting, Server::Accepting) {
            self.advance();
        }
    }

    /// What a server did has ended, well or not: binding it, or serving.
    pub fn handle_ended(&mut self, server: usize, well: bool, now: Instant) {
        self.pass(now);
        let Some(place) = self.servers.get_mut(server) else { return };
        let was = *place;
        match was {
            Server::Bound | Server::Over => return,
            Server::Binding | Server::Starting | Server::Accepting | Server::Stopping => *place = Server::Over,
        }
        match was {
            Server::Binding => self.fail(Failure::Bind(server)),
            _ if well && self.is_leaving() => {}
            _ => self.fail(Failure::Server(server)),
        }
        self.advance();
    }

    /// The hooks of a phase have ended, well or not.
    pub fn handle_hooks(&mut self, phase: Phase, well: bool, now: Instant) {
        self.pass(now);
        let late = self.config.faults.has(Fault::AppBelievesCutHooks) && phase == Phase::BeforeStart;
        if self.hooks.is_some_and(|(running, _)| running == phase) {
            self.hooks = None;
        } else if late && self.state == LifecycleState::Leaving {
            self.state = LifecycleState::BeforeStart;
        } else {
            return;
        }
        if !well {
            self.fail(Failure::Hook(phase));
        }
        self.advance();
    }

    /// A registrar has the registration.
    pub fn handle_registered(&mut self, registrar: usize, now: Instant) {
        self.pass(now);
        if let Some(place @ Registrar::Asked) = self.registrars.get_mut(registrar) {
            *place = Registrar::Registered;
            self.advance();
        }
    }

    /// A registration has ended that was not asked to, or was refused before it was made.
    pub fn handle_registration_ended(&mut self, registrar: usize, ending: Ending, now: Instant) {
        self.pass(now);
        let Some(place) = self.registrars.get_mut(registrar) else { return };
        match core::mem::replace(place, Registrar::Ended) {
            Registrar::Asked => self.fail(Failure::Register(registrar)),
            Registrar::Registered if self.config.when_ended == WhenEnded::Stop => {
                self.leave(Cause::RegistrationEnded { registrar, ending });
            }
            Registrar::Registered => {}
            was => *place = was,
        }
        self.advance();
    }

    /// A registrar was told that the application leaves; whether it has confirmed that nothing is left there.
    pub fn handle_deregistered(&mut self, registrar: usize, confirmed: bool, now: Instant) {
        self.pass(now);
        match self.registrars.get_mut(registrar) {
            Some(place @ Registrar::Leaving) => *place = Registrar::Gone { confirmed },
            Some(Registrar::Gone { confirmed: known }) if self.state != LifecycleState::Ended => *known |= confirmed,
            _ => return,
        }
        self.advance();
    }

    /// A signal. The first makes the application leave. The second makes it hurry: hooks are cut and servers aborted,
    /// and only deregistering goes on. With the third it does not even wait for that.
    pub fn signal(&mut self, now: Instant) {
        self.pass(now);
        self.signals = self.signals.saturating_add(1);
        match self.signals {
            1 => self.leave(Cause::Signal),
            2 if self.config.faults.has(Fault::AppSecondSignalIgnored) => {}
            2 => self.hurry(),
            _ => self.give_up(),
        }
        self.advance();
    }

    /// Makes the application leave. Again: does nothing.
    pub fn stop(&mut self, now: Instant) {
        self.pass(now);
        self.leave(Cause::Told);
        self.advance();
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pass(now);
        // What follows a timeout may be due at once, if it may take no time.
        while self.poll_timeout().is_some_and(|due| due <= self.now) {
            match self.hooks {
                Some((phase, until)) if until <= self.now => {
                    self.cut();
                    self.fail(Failure::HookTimeout(phase));
                }
                _ => {
                    self.deadline = None;
                    self.overdue();
                }
            }
            self.advance();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called. O(1).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let hooks = self.hooks.map(|(_, until)| until);
        self.deadline.into_iter().chain(hooks).min()
    }

    /// What is to be done next. O(1).
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Where the application is in its life. O(1).
    #[must_use]
    pub const fn state(&self) -> LifecycleState {
        self.state
    }

    /// Why it leaves, as far as is known; `None` before it does. A failure takes the place of another cause, and then
    /// stays. O(1).
    #[must_use]
    pub const fn cause(&self) -> Option<Cause> {
        self.cause
    }

    /// Whether a registrar has the registration, and has not said otherwise. O(registrars).
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.registrars.contains(&Registrar::Registered)
    }

    fn pass(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}

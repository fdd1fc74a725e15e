//! How one state follows another.

use core::time::Duration;

use super::{
    Action, Cause, Exit, Failure, Fault, Instant, Lifecycle, LifecycleState as State, Phase, Registrar, RegistryDown,
    Server,
};

impl Lifecycle {
    /// Goes on as far as there is nothing to wait for.
    pub(super) fn advance(&mut self) {
        while self.step() {}
    }

    fn step(&mut self) -> bool {
        match self.state {
            State::Binding if self.all(Server::Bound) => {
                self.hooked = true;
                self.enter(State::BeforeStart, None);
                self.run(Phase::BeforeStart);
            }
            State::BeforeStart if self.hooks.is_none() => {
                self.enter(State::Starting, Some(self.config.start_timeout));
                self.each(|server| (server == Server::Bound).then_some((Server::Starting, Action::Serve)));
            }
            State::Starting if self.all(Server::Accepting) || self.config.faults.has(Fault::AppRegistersEarly) => {
                self.enter(State::Registering, Some(self.config.registrar_timeout));
                for (at, registrar) in self.registrars.iter_mut().enumerate() {
                    *registrar = Registrar::Asked;
                    self.actions.push_back(Action::Register(at));
                }
            }
            State::Registering if !self.registrars.contains(&Registrar::Asked) => self.start_hooks(),
            State::AfterStart if self.hooks.is_none() => self.enter(State::Running, None),
            State::Leaving if !self.registrars.contains(&Registrar::Leaving) => {
                let known = self.registrars.iter().any(|registrar| *registrar != Registrar::Unasked);
                let heard = known && !self.config.faults.has(Fault::AppDrainSkipped);
                self.enter(State::Draining, heard.then_some(self.config.drain));
            }
            State::Draining if self.hooks.is_none() && (self.deadline.is_none() || !self.any_runs()) => {
                self.enter(State::Stopping, Some(self.config.stop_timeout));
                self.each(|server| server.runs().then_some((Server::Stopping, Action::Stop)));
            }
            State::Stopping if !self.any_runs() || self.config.faults.has(Fault::AppServersLeft) => {
                self.enter(State::AfterStop, None);
                if self.hooked && !self.is_hurried() {
                    self.run(Phase::AfterStop);
                }
            }
            State::AfterStop if self.hooks.is_none() => self.exit(),
            _ => return false,
        }
        true
    }

    /// Begins to leave, unless that has begun.
    pub(super) fn leave(&mut self, cause: Cause) {
        if self.is_leaving() {
            return;
        }
        self.cause.get_or_insert(cause);
        self.cut();
        self.enter(State::Leaving, Some(self.config.registrar_timeout));
        if self.config.faults.has(Fault::AppDeregisterUnbounded) {
            self.deadline = None;
        }
        let ghost = self.config.faults.has(Fault::AppCrashLeavesGhost) && matches!(cause, Cause::Failed(_));
        for (at, registrar) in self.registrars.iter_mut().enumerate() {
            if *registrar != Registrar::Unasked && !ghost {
                *registrar = Registrar::Leaving;
                self.actions.push_back(Action::Deregister(at));
            }
        }
        self.each(|server| match server {
            Server::Binding | Server::Bound => Some((Server::Over, Action::Abort)),
            Server::Starting | Server::Accepting => Some((server, Action::Drain)),
            Server::Stopping | Server::Over => None,
        });
        if self.hooked {
            self.run(Phase::BeforeStop);
        }
    }

    /// Notes the first failure, and begins to leave.
    pub(super) fn fail(&mut self, failure: Failure) {
        let known = matches!(self.cause, Some(Cause::Failed(_))) && !self.config.faults.has(Fault::AppLastCauseCounts);
        if !known {
            self.cause = Some(Cause::Failed(failure));
        }
        self.leave(Cause::Failed(failure));
    }

    /// Cuts all short but deregistering.
    pub(super) fn hurry(&mut self) {
        if self.state == State::Ended {
            return;
        }
        self.cut();
        self.abort();
        if self.state == State::Draining {
            self.deadline = None;
        }
    }

    /// Waits no longer for any registrar.
    pub(super) fn give_up(&mut self) {
        for registrar in &mut self.registrars {
            if *registrar == Registrar::Leaving {
                *registrar = Registrar::Gone { confirmed: false };
            }
        }
    }

    /// What the state waits for has not come in time.
    pub(super) fn overdue(&mut self) {
        match self.state {
            State::Binding | State::Starting => {
                let late = |server: &Server| matches!(server, Server::Binding | Server::Starting);
                if let Some(server) = self.servers.iter().position(late) {
                    self.fail(Failure::StartTimeout(server));
                }
            }
            State::Registering => match self.config.registry_down {
                RegistryDown::KeepTrying => self.start_hooks(),
                RegistryDown::Fail => {
                    if let Some(at) = self.registrars.iter().position(|registrar| *registrar == Registrar::Asked) {
                        self.fail(Failure::RegisterTimeout(at));
                    }
                }
            },
            State::Leaving => self.give_up(),
            State::Stopping => self.abort(),
            _ => {}
        }
    }

    /// Cuts the hooks that run, if some do.
    pub(super) fn cut(&mut self) {
        if let Some((phase, _)) = self.hooks.take() {
            self.actions.push_back(Action::Cut(phase));
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.state >= State::Leaving
    }

    pub(super) fn after(&self, span: Duration) -> Instant {
        self.now.saturating_add(span)
    }

    /// Moves a server on, if it is where that is possible.
    pub(super) fn turn(&mut self, at: usize, from: Server, to: Server) -> bool {
        match self.servers.get_mut(at) {
            Some(server) if *server == from => {
                *server = to;
                true
            }
            _ => false,
        }
    }

    fn start_hooks(&mut self) {
        self.enter(State::AfterStart, None);
        self.run(Phase::AfterStart);
    }

    fn abort(&mut self) {
        self.forced |= self.any_runs();
        self.each(|server| server.runs().then_some((Server::Over, Action::Abort)));
    }

    fn exit(&mut self) {
        self.enter(State::Ended, None);
        let left =
            |registrar: &Registrar| !matches!(registrar, Registrar::Unasked | Registrar::Gone { confirmed: true });
        self.actions.push_back(Action::Exit(Exit {
            cause: self.cause.expect("an application ends only after it has begun to leave"),
            deregistered: !self.registrars.iter().any(left),
            forced: self.forced,
        }));
    }

    fn enter(&mut self, state: State, timeout: Option<Duration>) {
        self.state = state;
        self.deadline = timeout.map(|span| self.after(span));
    }

    fn run(&mut self, phase: Phase) {
        self.hooks = Some((phase, self.after(self.config.hook_timeout)));
        self.actions.push_back(Action::Run(phase));
    }

    /// Gives each server what it is to be next and what is to be done with it, if anything is.
    fn each(&mut self, next: impl Fn(Server) -> Option<(Server, fn(usize) -> Action)>) {
        for (at, server) in self.servers.iter_mut().enumerate() {
            if let Some((to, action)) = next(*server) {
                *server = to;
                self.actions.push_back(action(at));
            }
        }
    }

    fn all(&self, state: Server) -> bool {
        self.servers.iter().all(|server| *server == state)
    }

    fn any_runs(&self) -> bool {
        self.servers.iter().any(|server| server.runs())
    }

    fn is_hurried(&self) -> bool {
        self.signals >= 2
    }
}

//! The loop that drives an application's machine. It decides nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use periplus_core::app::{Action, Cause, Ending, Exit, Failure, Lifecycle, LifecycleConfig, LifecycleState, Phase};
use periplus_core::{Endpoint, Instant, ServiceInstance};

use super::builder::{AppBuilder, SignalSource};
use super::error::{AppError, StopReason, Stopped};
use super::handle::AppHandle;
use super::hooks::Hooks;
use super::info::AppInfo;
use super::server::{BoxError, Stage};
use super::slots::{RegistrarNews, RegistrarSlot, ServerNews, ServerSlot};
use crate::error::RegisterError;
use crate::face::BoxFuture;
use crate::report::{report_app_ended, report_app_state, report_registration_ended};
use crate::runtime::{Runtime, Signals};

/// Turns that one poll takes before the application lets others run.
const TURNS: usize = 16;

/// An application that runs.
pub(super) struct Running<R: Runtime> {
    runtime: R,
    config: LifecycleConfig,
    /// `None` before the first poll.
    life: Option<Lifecycle>,
    state: LifecycleState,
    instance: ServiceInstance,
    explicit: bool,
    /// What each server said when it was bound.
    bound: Vec<Vec<Endpoint>>,
    info: Option<AppInfo>,
    source: Option<SignalSource>,
    signals: Option<Signals>,
    handle: AppHandle,
    hooks: Hooks,
    phase: Option<(Phase, BoxFuture<'static, Result<(), BoxError>>)>,
    servers: Vec<ServerSlot>,
    registrars: Vec<RegistrarSlot>,
    sleep: Option<(Instant, R::Sleep)>,
    failed: Option<Failed>,
}

/// What the first failure said of itself.
enum Failed {
    Other(BoxError),
    Register(RegisterError),
}

impl<R: Runtime> Running<R> {
    pub(super) fn new(parts: AppBuilder<R>, mut instance: ServiceInstance, handle: AppHandle) -> Self {
        let explicit = !parts.endpoints.is_empty();
        instance.endpoints = parts.endpoints;
        Self {
            runtime: parts.runtime,
            bound: vec![Vec::new(); parts.config.servers],
            config: parts.config,
            life: None,
            state: LifecycleState::Binding,
            instance,
            explicit,
            info: None,
            source: Some(parts.signals),
            signals: None,
            handle,
            hooks: parts.hooks,
            phase: None,
            servers: parts.servers.into_iter().map(ServerSlot::new).collect(),
            registrars: parts.registrars.into_iter().map(RegistrarSlot::new).collect(),
            sleep: None,
            failed: None,
        }
    }

    fn start(&mut self) -> Result<Lifecycle, AppError> {
        self.signals = match self.source.take() {
            Some(SignalSource::Runtime(wanted)) if wanted.is_empty() => None,
            Some(SignalSource::Runtime(wanted)) => Some(self.runtime.signals(&wanted).map_err(AppError::Signals)?),
            Some(SignalSource::Stream(signals)) => Some(signals),
            None => None,
        };
        self.handle.is_in(LifecycleState::Binding);
        Ok(Lifecycle::new(self.config.clone(), self.runtime.now()))
    }

    /// Does all that is to be done. Answers how it ended, if it has.
    fn act(&mut self, life: &mut Lifecycle) -> Option<Exit> {
        while let Some(action) = life.poll_action() {
            match action {
                Action::Bind(at) => self.servers[at].bind(),
                Action::Serve(at) => {
                    let info = self.info();
                    self.servers[at].serve(&info);
                }
                Action::Run(phase) => {
                    let info = self.info();
                    self.phase = Some((phase, self.hooks.run(phase, &info)));
                }
                Action::Cut(_) => self.phase = None,
                Action::Register(at) => {
                    let info = self.info();
                    self.registrars[at].register(info.instance());
                }
                Action::Deregister(at) => {
                    let info = self.info();
                    self.registrars[at].deregister(info.instance());
                }
                Action::Drain(at) => self.servers[at].stop(Stage::Drain),
                Action::Stop(at) => self.servers[at].stop(Stage::Stop),
                Action::Abort(at) => self.servers[at].abort(),
                Action::Exit(exit) => return Some(exit),
            }
        }
        if life.state() != self.state {
            self.state = life.state();
            self.handle.is_in(self.state);
            report_app_state(&self.instance, self.state);
        }
        None
    }

    /// What the application is, now that its servers are bound.
    fn info(&mut self) -> AppInfo {
        if let Some(info) = &self.info {
            return info.clone();
        }
        if !self.explicit {
            self.instance.endpoints = self.bound.drain(..).flatten().collect();
        }
        let info = AppInfo::new(self.instance.clone());
        self.handle.is(info.clone());
        self.info.insert(info).clone()
    }

    /// Feeds what has come. Answers whether there was anything.
    fn listen(&mut self, life: &mut Lifecycle, cx: &mut Context<'_>) -> bool {
        let mut heard = false;
        self.handle.waker().set(cx.waker());
        if self.handle.is_told_to_stop() && life.cause().is_none() {
            life.stop(self.runtime.now());
            heard = true;
        }
        if let Some(signals) = &mut self.signals {
            match signals.as_mut().poll_next(cx) {
                Poll::Ready(Some(_)) => {
                    life.signal(self.runtime.now());
                    heard = true;
                }
                Poll::Ready(None) => self.signals = None,
                Poll::Pending => {}
            }
        }
        heard |= self.hear_servers(life, cx);
        heard |= self.hear_registrars(life, cx);
        if let Some((phase, hooks)) = &mut self.phase
            && let Poll::Ready(result) = hooks.as_mut().poll(cx)
        {
            let (phase, well) = (*phase, result.is_ok());
            self.phase = None;
            feed(&mut self.failed, life, result.err().map(Failed::Other), |life| {
                life.handle_hooks(phase, well, self.runtime.now());
            });
            heard = true;
        }
        heard
    }

    fn hear_servers(&mut self, life: &mut Lifecycle, cx: &mut Context<'_>) -> bool {
        let mut heard = false;
        for (at, server) in self.servers.iter_mut().enumerate() {
            let Poll::Ready(news) = server.poll(cx) else { continue };
            heard = true;
            let now = self.runtime.now();
            match news {
                ServerNews::Bound(endpoints) => {
                    self.bound[at] = endpoints;
                    life.handle_bound(at, now);
                }
                ServerNews::Accepts => life.handle_accepting(at, now),
                ServerNews::CannotBind(error) => {
                    feed(&mut self.failed, life, Some(Failed::Other(error)), |life| {
                        life.handle_ended(at, false, now);
                    });
                }
                ServerNews::Ended(result) => {
                    let well = result.is_ok();
                    feed(&mut self.failed, life, result.err().map(Failed::Other), |life| {
                        life.handle_ended(at, well, now);
                    });
                }
            }
        }
        heard
    }

    fn hear_registrars(&mut self, life: &mut Lifecycle, cx: &mut Context<'_>) -> bool {
        let mut heard = false;
        for (at, registrar) in self.registrars.iter_mut().enumerate() {
            let Poll::Ready(news) = registrar.poll(cx) else { continue };
            heard = true;
            let now = self.runtime.now();
            match news {
                RegistrarNews::Registered(registration) => {
                    self.handle.holds(registration);
                    life.handle_registered(at, now);
                }
                RegistrarNews::CannotRegister(error) => {
                    let ending = match &error {
                        RegisterError::Superseded => Ending::Superseded,
                        RegisterError::Deregistered => Ending::Deregistered,
                        _ => Ending::Refused,
                    };
                    feed(&mut self.failed, life, Some(Failed::Register(error)), |life| {
                        life.handle_registration_ended(at, ending, now);
                    });
                }
                RegistrarNews::Ended(ending) => {
                    report_registration_ended(&self.instance, ending);
                    life.handle_registration_ended(at, ending, now);
                }
                RegistrarNews::Deregistered { confirmed } => life.handle_deregistered(at, confirmed, now),
            }
        }
        heard
    }

    /// Waits for the machine's next timeout. Answers whether it has come.
    fn sleep(&mut self, life: &mut Lifecycle, cx: &mut Context<'_>) -> bool {
        let Some(due) = life.poll_timeout() else {
            self.sleep = None;
            return false;
        };
        if self.sleep.as_ref().is_none_or(|(at, _)| *at != due) {
            self.sleep = Some((due, self.runtime.sleep_until(due)));
        }
        let Some((_, sleep)) = &mut self.sleep else { return false };
        if Pin::new(sleep).poll(cx).is_pending() {
            return false;
        }
        self.sleep = None;
        life.handle_timeout(self.runtime.now());
        true
    }

    fn result(&mut self, exit: Exit) -> Result<Stopped, AppError> {
        report_app_ended(&self.instance, &exit);
        let reason = match exit.cause {
            Cause::Signal => StopReason::Signal,
            Cause::Told => StopReason::Told,
            Cause::RegistrationEnded { ending, .. } => StopReason::RegistrationEnded(ending),
            Cause::Failed(failure) => return Err(self.error(failure)),
        };
        Ok(Stopped { reason, deregistered: exit.deregistered, forced: exit.forced })
    }

    fn error(&mut self, failure: Failure) -> AppError {
        let name = |at: usize| self.servers[at].name.clone();
        let failed = self.failed.take();
        match (failure, failed) {
            (Failure::Bind(at), Some(Failed::Other(source))) => AppError::Bind { server: name(at), source },
            (Failure::Server(at), Some(Failed::Other(source))) => AppError::Server { server: name(at), source },
            (Failure::Bind(at) | Failure::Server(at), _) => AppError::ServerEnded { server: name(at) },
            (Failure::StartTimeout(at), _) => {
                AppError::StartTimeout { server: name(at), waited: self.config.start_timeout }
            }
            (Failure::Hook(phase), Some(Failed::Other(source))) => AppError::Hook { phase, source },
            (Failure::Hook(phase) | Failure::HookTimeout(phase), _) => {
                AppError::HookTimeout { phase, waited: self.config.hook_timeout }
            }
            (Failure::Register(_), Some(Failed::Register(error))) => AppError::Register(error),
            (Failure::Register(_) | Failure::RegisterTimeout(_), _) => {
                AppError::RegistryDown { waited: self.config.registrar_timeout }
            }
        }
    }

    /// Drops all that runs, and all that is registered.
    fn clear(&mut self) {
        self.handle.let_go();
        self.handle.waker().clear();
        self.phase = None;
        self.servers.iter_mut().for_each(ServerSlot::abort);
        self.registrars.clear();
        self.signals = None;
        self.sleep = None;
    }
}

/// Feeds an input, and keeps what it says of itself if it is the first failure.
fn feed(kept: &mut Option<Failed>, life: &mut Lifecycle, failed: Option<Failed>, input: impl FnOnce(&mut Lifecycle)) {
    let before = life.cause();
    input(life);
    if life.cause() != before && matches!(life.cause(), Some(Cause::Failed(_))) {
        *kept = failed;
    }
}

impl<R: Runtime> Future for Running<R> {
    type Output = Result<Stopped, AppError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut life = match this.life.take() {
            Some(life) => life,
            None => match this.start() {
                Ok(life) => life,
                Err(error) => return Poll::Ready(Err(error)),
            },
        };
        for _ in 0..TURNS {
            if let Some(exit) = this.act(&mut life) {
                this.handle.is_in(LifecycleState::Ended);
                let result = this.result(exit);
                this.clear();
                return Poll::Ready(result);
            }
            if !this.listen(&mut life, cx) && !this.sleep(&mut life, cx) {
                this.life = Some(life);
                return Poll::Pending;
            }
        }
        this.life = Some(life);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R: Runtime> Drop for Running<R> {
    fn drop(&mut self) {
        self.clear();
    }
}

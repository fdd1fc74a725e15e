//! What an application holds of each server and of each registry.

use std::sync::Arc;
use std::task::{Context, Poll};

use periplus_core::app::Ending;
use periplus_core::client::RegistrationState;
use periplus_core::{Endpoint, ServiceInstance};

use super::info::AppInfo;
use super::server::{BoxError, Control, Server, Serving, Stage};
use crate::error::{RegisterError, UpdateError};
use crate::face::BoxFuture;
use crate::registrar::Registrar;
use crate::registration::Registration;

/// A server, wherever it is in its life.
pub(super) struct ServerSlot {
    pub(super) name: String,
    step: Step,
}

enum Step {
    Idle(Box<dyn Server>),
    Binding(BoxFuture<'static, (Box<dyn Server>, Bound)>),
    Serving { work: BoxFuture<'static, Result<(), BoxError>>, control: Control, accepting: Option<Accepting> },
    Over,
}

type Bound = Result<Vec<Endpoint>, BoxError>;

type Accepting = BoxFuture<'static, ()>;

/// What a server says.
pub(super) enum ServerNews {
    Bound(Vec<Endpoint>),
    CannotBind(BoxError),
    Accepts,
    Ended(Result<(), BoxError>),
}

impl ServerSlot {
    pub(super) fn new(server: Box<dyn Server>) -> Self {
        Self { name: server.name().to_owned(), step: Step::Idle(server) }
    }

    pub(super) fn bind(&mut self) {
        let Step::Idle(mut server) = std::mem::replace(&mut self.step, Step::Over) else { return };
        self.step = Step::Binding(Box::pin(async move {
            let bound = server.bind().await;
            (server, bound)
        }));
    }

    pub(super) fn serve(&mut self, info: &AppInfo) {
        let Step::Idle(server) = std::mem::replace(&mut self.step, Step::Over) else { return };
        let (serving, control) = Serving::new(info.clone());
        let accepting: Accepting = Box::pin(control.accepting());
        self.step = Step::Serving { work: server.serve(serving), control, accepting: Some(accepting) };
    }

    pub(super) fn stop(&self, stage: Stage) {
        if let Step::Serving { control, .. } = &self.step {
            control.stop(stage);
        }
    }

    /// Drops all that there is of it.
    pub(super) fn abort(&mut self) {
        self.step = Step::Over;
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ServerNews> {
        match &mut self.step {
            Step::Idle(_) | Step::Over => Poll::Pending,
            Step::Binding(binding) => {
                let Poll::Ready((server, bound)) = binding.as_mut().poll(cx) else { return Poll::Pending };
                Poll::Ready(match bound {
                    Ok(endpoints) => {
                        self.step = Step::Idle(server);
                        ServerNews::Bound(endpoints)
                    }
                    Err(error) => {
                        self.step = Step::Over;
                        ServerNews::CannotBind(error)
                    }
                })
            }
            Step::Serving { work, accepting, .. } => {
                if let Poll::Ready(result) = work.as_mut().poll(cx) {
                    self.step = Step::Over;
                    return Poll::Ready(ServerNews::Ended(result));
                }
                match accepting.as_mut().map(|accepting| accepting.as_mut().poll(cx)) {
                    Some(Poll::Ready(())) => {
                        *accepting = None;
                        Poll::Ready(ServerNews::Accepts)
                    }
                    _ => Poll::Pending,
                }
            }
        }
    }
}

/// A registry, and how far a registration there is.
pub(super) struct RegistrarSlot {
    registrar: Arc<dyn Registrar>,
    /// Kept until the instance is deregistered, because dropping it gives the registration up.
    making: Option<BoxFuture<'static, Result<Registration, RegisterError>>>,
    following: Option<BoxFuture<'static, Option<RegistrationState>>>,
    leaving: Option<BoxFuture<'static, bool>>,
}

/// What a registry says.
pub(super) enum RegistrarNews {
    Registered(Registration),
    CannotRegister(RegisterError),
    Ended(Ending),
    Deregistered { confirmed: bool },
}

impl RegistrarSlot {
    pub(super) const fn new(registrar: Arc<dyn Registrar>) -> Self {
        Self { registrar, making: None, following: None, leaving: None }
    }

    pub(super) fn register(&mut self, instance: &ServiceInstance) {
        let (registrar, instance) = (Arc::clone(&self.registrar), instance.clone());
        self.making = Some(Box::pin(async move { registrar.register(instance).await }));
    }

    pub(super) fn deregister(&mut self, instance: &ServiceInstance) {
        let (registrar, instance) = (Arc::clone(&self.registrar), instance.clone());
        self.leaving = Some(Box::pin(async move {
            match registrar.deregister(&instance).await {
                Ok(deregistered) => deregistered.confirmed,
                // It was never registered there, or has been taken out, or is another holder's.
                Err(error) => !matches!(error, UpdateError::Command(_)),
            }
        }));
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RegistrarNews> {
        if let Some(leaving) = &mut self.leaving {
            let Poll::Ready(confirmed) = leaving.as_mut().poll(cx) else { return Poll::Pending };
            (self.making, self.following, self.leaving) = (None, None, None);
            return Poll::Ready(RegistrarNews::Deregistered { confirmed });
        }
        if let Some(making) = &mut self.making {
            let Poll::Ready(made) = making.as_mut().poll(cx) else { return Poll::Pending };
            self.making = None;
            return Poll::Ready(match made {
                Ok(registration) => {
                    self.following = Some(Box::pin(follow(registration.clone())));
                    RegistrarNews::Registered(registration)
                }
                Err(error) => RegistrarNews::CannotRegister(error),
            });
        }
        let Some(following) = &mut self.following else { return Poll::Pending };
        let Poll::Ready(end) = following.as_mut().poll(cx) else { return Poll::Pending };
        self.following = None;
        Poll::Ready(RegistrarNews::Ended(match end {
            Some(RegistrationState::Superseded) => Ending::Superseded,
            Some(RegistrationState::Refused(_)) => Ending::Refused,
            _ => Ending::Deregistered,
        }))
    }
}

/// The last state of a registration, when it has ended; `None` if its client has.
async fn follow(mut registration: Registration) -> Option<RegistrationState> {
    loop {
        let state = registration.changed().await?;
        if state.is_final() {
            return Some(state);
        }
    }
}

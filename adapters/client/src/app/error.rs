//! How an application ended.

use std::io;
use std::time::Duration;

use periplus_core::app::{Ending, Phase};

use super::server::BoxError;
use crate::error::RegisterError;

/// An application that ended as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// Why.
    pub reason: StopReason,
    /// Whether every registry has confirmed that nothing is left there. Otherwise a lease ends by itself.
    pub deregistered: bool,
    /// Whether calls were cut short, because they took too long or a second signal came.
    pub forced: bool,
}

/// Who told an application to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// A signal.
    Signal,
    /// [`AppHandle::stop`](super::AppHandle::stop).
    Told,
    /// A registration ended, and the application was to stop then.
    RegistrationEnded(Ending),
}

/// What failed first in an application. It has left all the same: nothing is registered, and nothing runs any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// Signals cannot be listened to. Nothing was bound.
    #[error("cannot listen to signals: {0}")]
    Signals(#[source] io::Error),
    /// A server could not be bound.
    #[error("cannot bind the server {server}: {source}")]
    Bind {
        /// Its name.
        server: String,
        /// Why not.
        source: BoxError,
    },
    /// A server was not bound, or did not accept, in time.
    #[error("the server {server} did not accept within {waited:?}: see what it waits for, or raise `start_timeout`")]
    StartTimeout {
        /// Its name.
        server: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A server failed while it was serving.
    #[error("the server {server} failed: {source}")]
    Server {
        /// Its name.
        server: String,
        /// Why.
        source: BoxError,
    },
    /// A server ended that was not told to.
    #[error("the server {server} ended although nobody had told it to: a server serves until it is stopped")]
    ServerEnded {
        /// Its name.
        server: String,
    },
    /// A hook failed.
    #[error("a hook failed ({phase:?}): {source}")]
    Hook {
        /// When it ran.
        phase: Phase,
        /// Why.
        source: BoxError,
    },
    /// The hooks of a phase took too long.
    #[error("the hooks of {phase:?} took longer than {waited:?}: make them faster, or raise `hook_timeout`")]
    HookTimeout {
        /// When they ran.
        phase: Phase,
        /// How long it was waited for them.
        waited: Duration,
    },
    /// It could not be registered.
    #[error("cannot register: {0}")]
    Register(#[from] RegisterError),
    /// A registry did not answer when the application started.
    #[error("the registry did not answer within {waited:?}: check its address, or choose `RegistryDown::KeepTrying`")]
    RegistryDown {
        /// How long it was waited for.
        waited: Duration,
    },
}

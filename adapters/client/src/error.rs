//! Why something could not be done: one type an operation.

use std::time::Duration;

use periplus_core::client::{AdvertiseError, CommandError, RegistrationState};
use periplus_core::protocol::Problem;
use periplus_core::{Key, NameError};

/// Why an instance is not registered. Nothing is left behind.
///
/// A registry that is down is no reason: registering waits for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// An endpoint would lead others to themselves.
    #[error(transparent)]
    Advertise(#[from] AdvertiseError),
    /// The client refuses it: the instance breaks a limit, or the client is closed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Another holder has the id.
    #[error("another holder has registered this id since: use another id, or stop the other one")]
    Superseded,
    /// The registry refuses it, and would do so again.
    #[error("the registry refuses the registration ({}): {}", .0.code, .0.message)]
    Refused(Problem),
    /// It was taken out while it was being made.
    #[error("the instance was deregistered while it was being registered: register anew")]
    Deregistered,
}

impl RegisterError {
    pub(crate) fn of(state: RegistrationState) -> Self {
        match state {
            RegistrationState::Superseded => Self::Superseded,
            RegistrationState::Refused(problem) => Self::Refused(problem),
            _ => Self::Deregistered,
        }
    }
}

/// Why an instance was not changed, or will not be. After the first three nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// This client has registered no such instance.
    #[error("this client has not registered {0:?}: register it first")]
    NotRegistered(Key),
    /// An endpoint would lead others to themselves.
    #[error(transparent)]
    Advertise(#[from] AdvertiseError),
    /// The client refuses it: the instance breaks a limit, the registration has ended, or the client is closed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Another holder has the id.
    #[error("another holder has registered this id since: it is theirs")]
    Superseded,
    /// The registry refuses it, and would do so again.
    #[error("the registry refuses the change ({}): {}", .0.code, .0.message)]
    Refused(Problem),
    /// The instance was taken out.
    #[error("the instance was deregistered: register it anew")]
    Deregistered,
}

impl UpdateError {
    pub(crate) fn of(state: RegistrationState) -> Self {
        match state {
            RegistrationState::Superseded => Self::Superseded,
            RegistrationState::Refused(problem) => Self::Refused(problem),
            _ => Self::Deregistered,
        }
    }
}

/// Why nothing is known of a service. Nothing is left behind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// It is no name of a service.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The client refuses it: it follows too much, or is closed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The registry was not heard, now or ever: whether there are instances is not known.
    #[error("the registry was not heard within {waited:?}: check its address, or wait longer")]
    NotHeard {
        /// How long it was waited for.
        waited: Duration,
    },
}

/// Why something is not watched. Nothing is left behind.
///
/// A registry that is down is no reason: the watch begins when it can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// It is no name of a service.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The client refuses it: it follows too much, or is closed.
    #[error(transparent)]
    Command(#[from] CommandError),
}

//! Whether calls go, wait or fail.

use smol_str::SmolStr;

use crate::dial::slot::Phase;
use crate::dial::{Address, Dial, EmptyPolicy, Listed};

/// Whether calls go, wait or fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Somebody can be called.
    Ready,
    /// Nobody can be called yet. A call that has waited long enough fails with this reason.
    Waiting(NotReady),
    /// Nobody can be called, and waiting is of no use.
    Failing(NotReady),
}

/// Why nobody can be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// The registry has not said who is there.
    #[error("the registry has not said yet who is there: is it up?")]
    Unknown,
    /// The registry says that nobody is there.
    #[error("no instance is registered")]
    Empty,
    /// Nobody has an endpoint of the scheme.
    #[error("no instance has an endpoint of the scheme `{scheme}`")]
    NoEndpoint {
        /// The scheme that is dialled.
        scheme: SmolStr,
    },
    /// No connection is made yet.
    #[error("no connection to any instance is made yet")]
    Connecting,
    /// Every connection has failed, or leads to somebody who does not serve.
    #[error("no instance can be reached; the latest reason, at {address}: {reason}")]
    Unreachable {
        /// Who failed last.
        address: Address,
        /// Why.
        reason: SmolStr,
    },
}

pub(super) fn of(dial: &Dial) -> Readiness {
    let mut untried = false;
    for slot in dial.slots.values() {
        if matches!(slot.phase, Phase::Ready { .. }) && dial.gathering.is_none() {
            return Readiness::Ready;
        }
        untried |= !slot.failed;
    }
    if !dial.slots.is_empty() {
        return match &dial.last_error {
            Some((address, reason)) if !untried => {
                Readiness::Failing(NotReady::Unreachable { address: address.clone(), reason: reason.clone() })
            }
            _ => Readiness::Waiting(NotReady::Connecting),
        };
    }
    let reason = match dial.listed {
        // There was somebody, and it is not said what became of them.
        Listed::Nothing | Listed::Some => return Readiness::Waiting(NotReady::Unknown),
        Listed::Empty => NotReady::Empty,
        Listed::NoEndpoint => NotReady::NoEndpoint { scheme: dial.config.scheme.clone() },
    };
    match dial.config.empty {
        EmptyPolicy::Wait => Readiness::Waiting(reason),
        EmptyPolicy::Fail | EmptyPolicy::KeepLast(_) => Readiness::Failing(reason),
    }
}

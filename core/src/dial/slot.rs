//! One address that is to be called.

use crate::client::Backoff;
use crate::dial::ConnectionId;
use crate::packed::Instance;
use crate::time::Instant;

/// An address that is to be called, and how far that is.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Who listens there, as listed last.
    pub(super) instance: Instance,
    pub(super) phase: Phase,
    pub(super) backoff: Backoff,
    /// Whether the latest attempt came to nothing, or whoever is there does not serve.
    pub(super) failed: bool,
}

/// How far it is with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// For the next attempt.
    Waiting { until: Instant },
    /// A connection is being made.
    Connecting { id: ConnectionId, until: Instant },
    /// It was asked whether it serves.
    Checking { id: ConnectionId, until: Instant },
    /// It takes calls.
    Ready { id: ConnectionId },
    /// It does not serve.
    Unhealthy { id: ConnectionId },
}

impl Phase {
    /// When this phase ends by itself.
    pub(super) const fn due(self) -> Option<Instant> {
        match self {
            Self::Waiting { until } | Self::Connecting { until, .. } | Self::Checking { until, .. } => Some(until),
            Self::Ready { .. } | Self::Unhealthy { .. } => None,
        }
    }

    /// The connection, made or being made.
    pub(super) const fn connection(self) -> Option<ConnectionId> {
        match self {
            Self::Waiting { .. } => None,
            Self::Connecting { id, .. } | Self::Checking { id, .. } | Self::Ready { id } | Self::Unhealthy { id } => {
                Some(id)
            }
        }
    }

    /// Whether the connection has not been of use yet.
    pub(super) const fn is_attempt(self) -> bool {
        matches!(self, Self::Connecting { .. } | Self::Checking { .. })
    }
}

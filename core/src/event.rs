//! What happened, why, and by whom.

use alloc::sync::Arc;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::name::{Namespace, ServiceKey};
use crate::packed::Instance;
use crate::set::Revision;
use crate::time::WallTime;

/// Who gave a command or opened a watch: as far as the driver knows, for people to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Caller {
    /// The name it goes by, or nothing.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub who: SmolStr,
    /// The address it called from, or nothing.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub from: SmolStr,
    /// The program it called with, or nothing.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub client: SmolStr,
}

/// Why an instance changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// Its holder registered it.
    Registered,
    /// Another holder registered its id.
    Superseded,
    /// Its holder changed it in place.
    Updated,
    /// Its holder deregistered it.
    Deregistered,
    /// Its lease was not renewed.
    Expired,
    /// An operator took it out.
    Evicted,
    /// An operator laid something over it.
    Overlaid,
    /// An operator took off what lay over it.
    OverlayCleared,
    /// The registry that is mirrored here says so.
    Mirrored,
}

impl Cause {
    /// The word for it on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Superseded => "superseded",
            Self::Updated => "updated",
            Self::Deregistered => "deregistered",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Overlaid => "overlaid",
            Self::OverlayCleared => "overlay_cleared",
            Self::Mirrored => "mirrored",
        }
    }
}

/// Something that happened in a registry, for metrics, history and people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, by the wall clock.
    pub time: WallTime,
    /// The revision after it.
    pub revision: Revision,
    /// What.
    pub kind: EventKind,
    /// Who did it; nobody, if time did.
    pub caller: Option<Arc<Caller>>,
}

/// The instance that an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its service.
    pub service: Arc<ServiceKey>,
    /// How it looks, or looked last.
    pub instance: Instance,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A holder got a lease.
    Registered {
        /// The instance.
        subject: Subject,
        /// Which holder of the id it is.
        generation: u64,
    },
    /// A holder lost its lease to another, who registered the same id.
    Superseded {
        /// The instance as the new holder registered it.
        subject: Subject,
        /// Which holder of the id the new one is.
        generation: u64,
    },
    /// A holder changed its instance.
    Updated(Subject),
    /// A renewal came with less than a quarter of the ttl left.
    RenewedLate(Subject),
    /// A holder deregistered.
    Deregistered(Subject),
    /// A lease was not renewed.
    Expired(Subject),
    /// An operator took an instance out.
    Evicted {
        /// The instance.
        subject: Subject,
        /// The operator's reason.
        reason: SmolStr,
    },
    /// An operator laid something over an instance.
    Overlaid {
        /// The instance as it looks now.
        subject: Subject,
        /// The operator's reason.
        reason: SmolStr,
    },
    /// An operator took off what lay over an instance.
    OverlayCleared {
        /// The instance as it looks now.
        subject: Subject,
        /// The operator's reason.
        reason: SmolStr,
    },
    /// The driver came late, and the leases got the time back.
    Stalled {
        /// How late.
        late: Duration,
        /// How many leases would have ended too early.
        extended: usize,
    },
    /// What this registry does not list is not there.
    Settled,
    /// Too many instances expired at once.
    AlarmRaised(Alarm),
    /// No longer.
    AlarmEnded {
        /// Where.
        namespace: Namespace,
    },
}

impl EventKind {
    /// The word for it on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "registered",
            Self::Superseded { .. } => "superseded",
            Self::Updated(_) => "updated",
            Self::RenewedLate(_) => "renewed_late",
            Self::Deregistered(_) => "deregistered",
            Self::Expired(_) => "expired",
            Self::Evicted { .. } => "evicted",
            Self::Overlaid { .. } => "overlaid",
            Self::OverlayCleared { .. } => "overlay_cleared",
            Self::Stalled { .. } => "stalled",
            Self::Settled => "settled",
            Self::AlarmRaised(_) => "alarm",
            Self::AlarmEnded { .. } => "alarm_ended",
        }
    }

    /// The instance it is about, if it is about one.
    #[must_use]
    pub const fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Registered { subject, .. }
            | Self::Superseded { subject, .. }
            | Self::Updated(subject)
            | Self::RenewedLate(subject)
            | Self::Deregistered(subject)
            | Self::Expired(subject)
            | Self::Evicted { subject, .. }
            | Self::Overlaid { subject, .. }
            | Self::OverlayCleared { subject, .. } => Some(subject),
            Self::Stalled { .. } | Self::Settled | Self::AlarmRaised(_) | Self::AlarmEnded { .. } => None,
        }
    }
}

/// More of a namespace expired within the window than one would believe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Where.
    pub namespace: Namespace,
    /// How many expired within the window.
    pub expired: usize,
    /// Of how many.
    pub of: usize,
}

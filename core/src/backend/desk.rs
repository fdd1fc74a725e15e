//! What servers that hold nothing themselves want of a store, and what becomes of it: the words that the desks of
//! [etcd](super::etcd::desk) and [Consul](super::consul::desk) share.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use smol_str::SmolStr;

use crate::client::CommandError;
use crate::instance::{InstanceError, InstanceLimits, Patch, ServiceInstance};
use crate::lease::{Lease, LeaseError};
use crate::name::Key;
use crate::registry::{Incarnation, Outcome};

/// What a holder wants to be registered.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where.
    pub key: Key,
    /// What.
    pub instance: ServiceInstance,
    /// For how long without a renewal.
    pub ttl: Option<Duration>,
    /// The holder's life, if it says so.
    pub incarnation: Option<Incarnation>,
    /// Whether it had the id before, and wants it only if nobody took it since.
    pub reclaim: bool,
}

/// What a holder wants to look different.
#[derive(Clone, Debug)]
pub struct Change {
    /// What.
    pub patch: Patch,
    /// What an instance may say at most.
    pub limits: InstanceLimits,
}

/// What an operation has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The instance is registered.
    Registered {
        /// What its holder renews.
        lease: Lease,
        /// The revision at which it was taken; of a store that has none, 1.
        generation: u64,
        /// How long it lives without a renewal.
        ttl: Duration,
        /// What became of whoever had it.
        outcome: Outcome,
    },
    /// The instance looks as it is to look.
    Updated {
        /// Whether that is news.
        changed: bool,
        /// Since when.
        revision: u64,
    },
    /// These of the leases were not renewed, all others were.
    Renewed(Vec<(usize, LeaseError)>),
    /// It is not there any more.
    Gone {
        /// Whether it was.
        was: bool,
        /// Since when, at the latest.
        revision: u64,
    },
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Somebody else has taken the instance.
    #[error("another holder has taken the id since it was lost")]
    Superseded,
    /// The lease is good for nothing.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The instance would break a limit.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The store's readers would choke on it.
    #[error("{field}: {problem}")]
    Unfit {
        /// What of it.
        field: SmolStr,
        /// Why, and what to do.
        problem: String,
    },
    /// The store does not want it.
    #[error("the upstream refuses it: {0}")]
    Refused(String),
    /// The store is not in a state to say anything. It may have been done.
    #[error("the upstream does not answer: {0}")]
    Silent(String),
}

/// What comes of an operation.
pub type Result<T = Done> = core::result::Result<T, Denied>;

impl From<CommandError> for Denied {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Unfit { field, problem } => Self::Unfit { field, problem },
            other => Self::Unfit {
                field: SmolStr::new_static("instance"),
                problem: alloc::string::ToString::to_string(&other),
            },
        }
    }
}

/// A hash that is the same everywhere and in every version: FNV-1a, its bits mixed once more.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

//! What a registry refuses, and why.

use core::time::Duration;

use smol_str::SmolStr;

use crate::instance::InstanceError;
use crate::lease::LeaseError;

/// A limit that a registration would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// Which: a field of [`Limits`](crate::config::Limits).
    pub limit: &'static str,
    /// How much there may be.
    pub value: usize,
}

/// Why a registration was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// An operator evicted the instance and blocked it for a time.
    #[error("an operator has blocked this instance for another {remaining:?}: {reason}")]
    Blocked {
        /// For how long.
        remaining: Duration,
        /// Why.
        reason: SmolStr,
    },
    /// The holder has given this command up before it arrived.
    #[error("this registration was given up by a later command: send a new one with a higher sequence")]
    Ended,
    /// `since` is later than the command.
    #[error("since is {given}, the limit is {limit}: send the sequence of this registration's first command, or none")]
    Since {
        /// What was given.
        given: u64,
        /// The command's own sequence.
        limit: u64,
    },
    /// `reclaim` is too large.
    #[error("reclaim is {given}, the limit is {limit}: send the generation that the registration was answered with")]
    Generation {
        /// What was given.
        given: u64,
        /// The largest.
        limit: u64,
    },
    /// The instance breaks a limit.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The registry is full.
    #[error("the registry holds {} {} and no more: deregister some, or raise the limit", .0.value, .0.limit)]
    Limit(LimitReached),
    /// The sequence was used for another registration.
    #[error("sequence {sequence} was used for another command: use a higher one")]
    OperationReused {
        /// The sequence.
        sequence: u64,
    },
    /// A later command of the same holder has arrived before.
    #[error("a command with sequence {latest} came first: this one is out of date")]
    Outdated {
        /// The latest sequence.
        latest: u64,
    },
    /// Another holder registered the id after the caller did.
    #[error("another holder has registered this id since: it is theirs")]
    Superseded,
    /// Another holder has the id, and this registry lets them keep it.
    #[error("another holder has this id: use another one, or wait for its lease to end")]
    Taken,
    /// The ttl is too short or too long.
    #[error("ttl is {given:?}: use {min:?} to {max:?}")]
    Ttl {
        /// What was given.
        given: Duration,
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
}

/// Why an instance was not changed. Nothing was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The lease is good for nothing.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The instance would break a limit.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// The registry is full.
    #[error("the registry holds {} {} and no more: deregister some, or raise the limit", .0.value, .0.limit)]
    Limit(LimitReached),
    /// A later command of the same holder has arrived before.
    #[error("a command with sequence {latest} came first: this one is out of date")]
    Outdated {
        /// The latest sequence.
        latest: u64,
    },
}

/// Why an operator's command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// No such instance.
    #[error("no such instance: look at the list of the service")]
    NotFound,
    /// The instance would break a limit.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// There are too many overlays or blocks, or the registry is full.
    #[error("the registry holds {} {} and no more: clear some, or raise the limit", .0.value, .0.limit)]
    Limit(LimitReached),
    /// An overlay cannot change version or endpoints.
    #[error("an overlay changes metadata only: weight, status and other keys")]
    MetadataOnly,
    /// A block is longer than a day.
    #[error("block_for is {given:?}, the limit is {limit:?}")]
    BlockTooLong {
        /// What was given.
        given: Duration,
        /// The longest.
        limit: Duration,
    },
}

/// Why a state could not be restored. There is no registry then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The state was written by a later version.
    #[error("the state has format {found}, this version reads up to {known}: use a newer version")]
    Format {
        /// What it has.
        found: u32,
        /// What is read.
        known: u32,
    },
    /// The state contradicts itself.
    #[error("the state is corrupt: {problem}")]
    Corrupt {
        /// How.
        problem: &'static str,
    },
}

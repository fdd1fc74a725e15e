//! Answers of the registry, as far as the commands read them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::units;

/// What every answer carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Dated {
    /// The registry's epoch.
    pub epoch: String,
    /// Its revision.
    pub revision: u64,
    /// Whether what it does not list may still come back.
    pub warming: bool,
}

/// The answer to a registration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Registered {
    /// `registered`, `repeated`, `replaced` or `superseded`.
    pub outcome: String,
    /// What proves that the holder is the holder.
    pub lease: String,
    /// Rises with each holder of the id.
    pub generation: u64,
    /// How long the registration lives without a renewal.
    pub ttl: String,
    /// When.
    #[serde(flatten)]
    pub dated: Dated,
}

impl Registered {
    /// The time to live; half a minute if the registry writes it in a way unknown here.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        units::parse_duration(&self.ttl).unwrap_or(Duration::from_secs(30))
    }
}

/// The answer to a renewal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Renewed {
    /// How many were renewed.
    pub renewed: usize,
    /// Those that were not.
    pub failed: Vec<NotRenewed>,
}

/// A lease that was not renewed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NotRenewed {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Why: `lease_expired`, `lease_superseded`, …
    pub code: String,
}

/// An answer of which only the date counts.
pub type Done = Dated;

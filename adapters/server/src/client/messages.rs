//! Answers of the registry that the client reads in its own way.

use periplus_core::protocol::{Dated, Span};
use serde::{Deserialize, Serialize};

/// The answer to a registration. Unlike the registry's own form of it, it takes the lease for any text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Registered {
    /// What became of it: `registered`, `repeated`, `replaced` or `superseded`.
    pub outcome: String,
    /// What proves that the holder is the holder.
    pub lease: String,
    /// Rises with each holder of the id.
    pub generation: u64,
    /// How long the registration lives without a renewal.
    pub ttl: Span,
    /// When.
    #[serde(flatten)]
    pub dated: Dated,
}

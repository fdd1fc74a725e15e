//! The messages that are read more often than all others, read without copies.

use std::borrow::Cow;

use serde::Deserialize;

/// The body of a batch of renewals.
#[derive(Debug, Deserialize)]
pub struct RenewMessage<'a> {
    #[serde(borrow)]
    pub leases: Vec<Cow<'a, str>>,
    #[serde(default)]
    pub number: Option<u64>,
}

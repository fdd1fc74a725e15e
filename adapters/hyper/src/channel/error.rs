//! What goes wrong with a call.

use std::fmt::Display;
use std::time::Duration;

use crate::routing::Picked;

/// A call that got no response, or whose response was cut.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// Unavailable: there was nobody to call, or nobody who took the request. No server has begun with it.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// Why, with the target.
        reason: String,
        /// Whom it was tried with last, if there was somebody.
        picked: Option<Picked>,
    },
    /// The connection was lost when the request was under way. The server may have begun with it.
    #[error("{target}: {}: lost during the call: {reason}", .picked.instance().id)]
    Lost {
        /// What was called.
        target: String,
        /// Why.
        reason: String,
        /// Who was called.
        picked: Picked,
    },
    /// The response has not begun in time. The server may have begun with the request.
    #[error("{target}: no response within {limit:?}")]
    TimedOut {
        /// What was called.
        target: String,
        /// The time there was.
        limit: Duration,
        /// Who was called last, if there was somebody.
        picked: Option<Picked>,
    },
    /// The request cannot be said in HTTP/1.1. It was not sent.
    #[error("{target}: the request makes no sense: {reason}")]
    Invalid {
        /// What was called.
        target: String,
        /// Why.
        reason: String,
    },
}

impl HttpError {
    pub(crate) fn invalid(target: &str, error: &dyn Display) -> Self {
        Self::Invalid { target: target.to_owned(), reason: error.to_string() }
    }

    /// The instance that the call went to, if it went to one.
    #[must_use]
    pub const fn picked(&self) -> Option<&Picked> {
        match self {
            Self::Unavailable { picked, .. } | Self::TimedOut { picked, .. } => picked.as_ref(),
            Self::Lost { picked, .. } => Some(picked),
            Self::Invalid { .. } => None,
        }
    }

    /// Whether a server may have begun with the request, so that to send it again may be to do it twice.
    #[must_use]
    pub const fn was_begun(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Invalid { .. } => false,
            Self::TimedOut { picked, .. } => picked.is_some(),
            Self::Lost { .. } => true,
        }
    }
}

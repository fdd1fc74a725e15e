//! Why a call to the registry failed.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There was no answer.
    #[error("cannot reach the registry {address}: {reason}")]
    Unreachable {
        /// The registry.
        address: String,
        /// What the network says.
        reason: String,
        /// The request certainly never arrived.
        not_sent: bool,
    },
    /// The registry said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What answers there does not speak the protocol.
    #[error("what answers at {address} is no registry of this protocol: {problem}")]
    Garbled {
        /// The registry.
        address: String,
        /// What was wrong with the answer.
        problem: String,
    },
}

impl CallError {
    /// Whether the request certainly never arrived.
    #[must_use]
    pub const fn is_not_sent(&self) -> bool {
        matches!(self, Self::Unreachable { not_sent: true, .. })
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Garbled { .. } => true,
            Self::Refused(refusal) => refusal.is_passing(),
        }
    }

    /// The registry's word, if it was one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// How long the registry asks to wait, if it does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.refusal()?.retry_after
    }
}

/// The registry said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry refused ({code}): {message}")]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// Its short name, made for programs.
    pub code: String,
    /// What it is about, made for people.
    pub message: String,
    /// How long to wait before asking again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Problem {
            code: String,
            message: String,
        }
        let Problem { mut code, mut message } = serde_json::from_slice(body).unwrap_or_default();
        if code.is_empty() {
            code = status.as_u16().to_string();
        }
        if message.is_empty() {
            message = status.canonical_reason().unwrap_or("no reason given").to_lowercase();
        }
        Self { status, code, message, retry_after }
    }

    /// Whether the same request may succeed later: the registry is busy, or the id is held or blocked for now.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        let passing = ["taken", "behind", "outdated", "operation_reused", "ended"];
        let busy = self.status.is_server_error() || matches!(self.status.as_u16(), 408 | 423 | 429);
        busy || passing.contains(&self.code.as_str())
    }

    /// Whether it says that a lease is no more, or that somebody else has the id.
    #[must_use]
    pub fn is_lease_lost(&self) -> bool {
        self.code.starts_with("lease_") || self.code == "superseded"
    }
}

/// The innermost reason of an error: the outer ones only say that something failed.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_registry_says() {
        let body = br#"{"code":"blocked","message":"evicted by an operator","field":"id"}"#;
        let refusal = Refusal::new(StatusCode::LOCKED, body, None);
        assert_eq!(refusal.to_string(), "the registry refused (blocked): evicted by an operator");
        assert!(refusal.is_passing() && !refusal.is_lease_lost());
    }

    #[test]
    fn a_refusal_without_a_body_still_says_something() {
        let refusal = Refusal::new(StatusCode::NOT_FOUND, b"<html>", None);
        assert_eq!(refusal.to_string(), "the registry refused (404): not found");
        assert!(!refusal.is_passing());
    }
}

//! HTTP without the network: what a machine wants sent, and what the driver hands back.
//!
//! A machine names a request by a [`RequestId`], yields it as [`Transmit::Send`], and is told what came of it as a
//! sequence of inputs: the head of the answer, the chunks of its body, and its end; or a failure. A request that the
//! machine no longer wants is a [`Transmit::Cancel`]: the driver drops it, and whatever still arrives for it is ignored.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub mod base64;
pub mod body;
pub mod lines;
pub mod origin;
pub mod sse;
pub mod target;

/// Names a request within one machine. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "they are HTTP's")]
pub enum Method {
    Get,
    Put,
    Post,
    Patch,
    Delete,
}

impl Method {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// Of whom: scheme, host, port, path and query, encoded.
    pub url: String,
    /// Names in lower case. `host`, `content-length` and the like are the driver's.
    pub headers: Vec<(SmolStr, SmolStr)>,
    /// The body; empty if there is none.
    pub body: Vec<u8>,
    /// Whether the answer is a stream that goes on as long as it is wanted: it occupies a connection.
    pub streaming: bool,
}

impl Request {
    /// Sets a header, whose name is given in lower case, or replaces it.
    pub fn set_header(&mut self, name: &'static str, value: impl Into<SmolStr>) {
        self.headers.retain(|(key, _)| key != name);
        self.headers.push((SmolStr::new_static(name), value.into()));
    }
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Names in lower case, values as far as they are text.
    pub headers: Vec<(SmolStr, SmolStr)>,
}

impl Head {
    /// A head without headers.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self { status, headers: Vec::new() }
    }

    /// The value of a header, whose name is given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the request succeeded.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }

    /// How long the server asks to wait, if it says so in seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// Why there is no answer, or no more of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whether the request may have taken effect.
    pub reach: Reach,
    /// What the network says, for people.
    pub reason: String,
}

impl Failure {
    /// The request certainly never arrived.
    #[must_use]
    pub fn not_sent(reason: impl Into<String>) -> Self {
        Self { reach: Reach::NotSent, reason: reason.into() }
    }

    /// Nobody knows what became of it.
    #[must_use]
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self { reach: Reach::Unknown, reason: reason.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// How far a failed request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// It certainly never arrived: no connection was made.
    NotSent,
    /// It may have arrived.
    Unknown,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// Send a request, and hand in what comes of it under this id.
    Send(RequestId, Request),
    /// Drop the request of this id, with its connection if that is busy with it.
    Cancel(RequestId),
}

/// What came of a request: what the driver hands to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The head of the answer; once, before anything else but a failure.
    Response(Head),
    /// A piece of the body, as it came; cut anywhere.
    Chunk(Vec<u8>),
    /// The body is complete. Nothing follows.
    End,
    /// There is no answer, or no more of it. Nothing follows.
    Failure(Failure),
}

//! What etcd answers, as its gateway writes it in JSON.
//!
//! 64-bit numbers are texts, or numbers; what is zero or empty is left out; bytes are base64. An error is told by its
//! gRPC code and not by the HTTP status; its shape differs: up to etcd 3.5 `{"error": "…", "message": "…", "code": 5}`,
//! from 3.6 `{"code": 5, "message": "…"}`, and in a stream `{"error": {"grpc_code": 14, "message": "…"}}` or
//! `{"error": {"code": 14, "message": "…"}}`.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::http::base64;

/// The id of a lease. It is written as a text, because it may be beyond what a JSON number holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(pub(super) i64);

impl Serialize for LeaseId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for LeaseId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        number(deserializer).map(Self)
    }
}

/// Bytes, in base64.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        base64::decode(&text).map(Self).ok_or_else(|| D::Error::custom("found what is not base64"))
    }
}

/// A whole number, as a text or as a number.
fn number<'de, D: Deserializer<'de>, T: TryFrom<i128>>(deserializer: D) -> Result<T, D::Error> {
    struct Number<T>(PhantomData<T>);
    impl<T: TryFrom<i128>> Visitor<'_> for Number<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number, in quotes or not")
        }
        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<T, E> {
            i128::from(number).try_into().map_err(|_| E::custom("found a number out of range"))
        }
        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
            i128::from(number).try_into().map_err(|_| E::custom("found a number out of range"))
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            let number: i128 = text.parse().map_err(|_| E::custom("found a text that is no whole number"))?;
            number.try_into().map_err(|_| E::custom("found a number out of range"))
        }
    }
    deserializer.deserialize_any(Number(PhantomData))
}

/// What every answer is dated with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Header {
    #[serde(deserialize_with = "number")]
    pub(super) cluster_id: u64,
    #[serde(deserialize_with = "number")]
    pub(super) member_id: u64,
    #[serde(deserialize_with = "number")]
    pub(super) revision: u64,
    #[serde(deserialize_with = "number")]
    pub(super) raft_term: u64,
}

/// A key and its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Pair {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    #[serde(deserialize_with = "number")]
    pub(super) mod_revision: u64,
    pub(super) lease: LeaseId,
}

/// The answer to a grant, to a keepalive of one lease, and a line of the answer to one of several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Leased {
    pub(super) header: Header,
    #[serde(rename = "ID")]
    pub(super) id: LeaseId,
    /// Zero: the lease is not there.
    #[serde(rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: i64,
    pub(super) error: String,
}

/// The answer to a transaction.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Transacted {
    pub(super) header: Header,
    pub(super) succeeded: bool,
    pub(super) responses: Vec<Done>,
}

/// What came of one operation of a transaction.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Done {
    pub(super) response_range: Option<Ranged>,
    pub(super) response_put: Option<Put>,
    pub(super) response_delete_range: Option<Deleted>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ranged {
    pub(super) kvs: Vec<Pair>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Put {
    pub(super) prev_kv: Option<Pair>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Deleted {
    pub(super) prev_kvs: Vec<Pair>,
}

/// The answer to a login. It is a secret.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Token {
    pub(super) token: String,
}

/// A line of a stream.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub(super) struct Line<T> {
    pub(super) result: Option<T>,
    pub(super) error: Option<Words>,
}

/// What a watch says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Watched {
    pub(super) header: Header,
    #[serde(deserialize_with = "number")]
    pub(super) watch_id: i64,
    pub(super) created: bool,
    pub(super) canceled: bool,
    #[serde(deserialize_with = "number")]
    pub(super) compact_revision: u64,
    pub(super) cancel_reason: String,
    pub(super) events: Vec<Event>,
}

/// A change of a key.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(rename = "type")]
    kind: Kind,
    pub(super) kv: Pair,
}

impl Event {
    pub(super) const fn is_delete(&self) -> bool {
        matches!(self.kind, Kind::Name(Name::Delete) | Kind::Number(1))
    }
}

/// The name of it, or its number.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Kind {
    Name(Name),
    Number(u8),
}

impl Default for Kind {
    fn default() -> Self {
        Self::Name(Name::Put)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Name {
    Put,
    Delete,
}

/// An error: a text, or an object.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Words {
    Text(String),
    Object {
        #[serde(alias = "grpc_code")]
        code: Option<u32>,
        #[serde(default)]
        message: String,
    },
}

/// Why etcd does not do what it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    /// gRPC's code.
    pub(super) code: u32,
    /// What it says.
    pub(super) message: String,
}

impl Refusal {
    /// Reads the body of an answer that is no success; `None`: that is not etcd's.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            error: Option<Words>,
            message: Option<String>,
            code: Option<u32>,
        }
        let Body { error, message, code } = serde_json::from_slice(body).ok()?;
        let inner = error.map(Self::from);
        let code = code.or_else(|| inner.as_ref().map(|inner| inner.code).filter(|code| *code != UNKNOWN))?;
        let message = message.or_else(|| inner.map(|inner| inner.message)).unwrap_or_default();
        Some(Self { code, message })
    }

    /// Whether the token is not good, or there is none where one is needed.
    pub(super) fn wants_login(&self) -> bool {
        let says = |text: &str| self.message.contains(text);
        self.code == UNAUTHENTICATED
            || says("invalid auth token")
            || says("revision of auth store is old")
            || says("user name is empty")
    }

    /// Whether etcd is not in a state to say anything: nobody knows whether what was asked for is done.
    pub(super) const fn is_outage(&self) -> bool {
        matches!(self.code, 1 | UNKNOWN | 4 | 10 | 12 | 13 | 14 | 15)
    }
}

impl From<Words> for Refusal {
    fn from(words: Words) -> Self {
        match words {
            Words::Text(message) => Self { code: UNKNOWN, message },
            Words::Object { code, message } => Self { code: code.unwrap_or(UNKNOWN), message },
        }
    }
}

/// gRPC's codes, as far as they are told apart.
pub(super) const UNKNOWN: u32 = 2;
pub(super) const NOT_FOUND: u32 = 5;
pub(super) const DENIED: u32 = 7;
pub(super) const EXHAUSTED: u32 = 8;
pub(super) const FAILED_PRECONDITION: u32 = 9;
pub(super) const UNAUTHENTICATED: u32 = 16;

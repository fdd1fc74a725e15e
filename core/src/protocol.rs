//! The messages of the native protocol: JSON over HTTP, as both ends write and read them.
//!
//! Unknown keys are ignored, so that either end may be the newer one. Durations are texts with units, leases and epochs
//! opaque texts, times milliseconds since the Unix epoch.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use smol_str::SmolStr;

use crate::endpoint::Endpoint;
use crate::instance::{Patch, ServiceInstance, Status};
use crate::lease::Lease;
use crate::name::{InstanceId, ServiceName};
use crate::registry::{Incarnation, Operation, Outcome};
use crate::set::{Cursor, Epoch, Revision};

/// The most leases that one request may renew.
pub const RENEWALS_LIMIT: usize = 10_000;

/// A duration as people write it: `15s`, `500ms`, `1m30s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// The units, the longest first, in nanoseconds.
const UNITS: [(u64, &str); 6] = [
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
    (1, "ns"),
];

/// The text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a duration with its unit, such as 15s, 500ms or 1m30s")]
pub struct SpanError;

impl FromStr for Span {
    type Err = SpanError;
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let mut total: u128 = 0;
        let mut longest = u64::MAX;
        let mut rest = text;
        loop {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(SpanError)?;
            let number: u64 = rest[..digits].parse().map_err(|_| SpanError)?;
            rest = &rest[digits..];
            let end = rest.find(|c: char| !c.is_ascii_lowercase());
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            let unit = UNITS.iter().find(|(_, name)| *name == word);
            let (unit, _) = *unit.ok_or(SpanError)?;
            // Each unit once, the longer ones first.
            if unit >= longest {
                return Err(SpanError);
            }
            longest = unit;
            total += u128::from(number) * u128::from(unit);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let seconds = u64::try_from(total / 1_000_000_000).map_err(|_| SpanError)?;
        Ok(Self(Duration::new(seconds, (total % 1_000_000_000) as u32)))
    }
}

impl fmt::Display for Span {
    /// Writes the longest unit that divides the duration: `90s` rather than `1m30s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let divides = |&&(unit, _): &&(u64, &str)| nanos > 0 && nanos.is_multiple_of(unit.into());
        let (unit, name) = UNITS.iter().find(divides).unwrap_or(&UNITS[2]);
        write!(f, "{}{name}", nanos / u128::from(*unit))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as \"15s\", \"500ms\" or \"1m30s\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// What every answer that is an object carries. Those that say more have the same fields beside their own: to put them
/// there by `flatten` would cost serde a copy of each answer, and a page some kilobytes of code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dated {
    /// The registry's epoch.
    pub epoch: Epoch,
    /// Its revision.
    pub revision: Revision,
    /// Whether what it does not list may be there all the same.
    #[serde(default)]
    pub warming: bool,
}

/// What a refusal says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its name, for programs.
    pub code: SmolStr,
    /// What is wrong and what to do about it, for people.
    pub message: String,
    /// The field that is wrong, as a path into the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The limit that would be broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// The body of a registration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterMessage {
    /// The instance's id, if it is repeated here: the one of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<InstanceId>,
    /// The service's name, if it is repeated here: the one of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ServiceName>,
    /// The version of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<SmolStr>,
    /// What the instance says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Where it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Endpoint>>,
    /// How long the lease is to live without a renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// The holder's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// The command's number in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The generation that the holder had, if it wants the id back only if nobody took it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim: Option<u64>,
    /// The number of the first command of this registration, if it is not this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

impl RegisterMessage {
    /// Which command it is.
    #[must_use]
    pub fn operation(&self) -> Operation {
        let sequence = self.sequence.unwrap_or_default();
        self.incarnation.map_or(Operation::ANONYMOUS, |incarnation| Operation { incarnation, sequence })
    }

    /// The instance that it registers under these names.
    #[must_use]
    pub fn instance(self, service: ServiceName, id: InstanceId) -> ServiceInstance {
        ServiceInstance {
            id,
            name: service,
            version: self.version.unwrap_or_default(),
            metadata: self.metadata.unwrap_or_default(),
            endpoints: self.endpoints.unwrap_or_default(),
        }
    }
}

/// The answer to a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredMessage {
    /// What became of it.
    pub outcome: Outcome,
    /// The right to act for the instance.
    pub lease: Lease,
    /// Which holder of the id this is.
    pub generation: u64,
    /// How long the lease lives without a renewal.
    pub ttl: Span,
    /// The registry's epoch.
    pub epoch: Epoch,
    /// Its revision.
    pub revision: Revision,
    /// Whether what it does not list may be there all the same.
    #[serde(default)]
    pub warming: bool,
}

/// The body of an update by the holder: what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateMessage {
    /// The holder's lease.
    pub lease: SmolStr,
    /// The command's number in the holder's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<SmolStr>,
    /// The new endpoints, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Endpoint>>,
    /// Metadata to set, or with `null` to remove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, Option<String>>>,
    /// The new weight, in the metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The new status, in the metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

impl UpdateMessage {
    /// What is to change. Weight and status win over metadata of the same key.
    #[must_use]
    pub fn patch(self) -> Patch {
        let patch =
            Patch { version: self.version, metadata: self.metadata.unwrap_or_default(), endpoints: self.endpoints };
        with_views(patch, self.weight, self.status)
    }
}

fn with_views(mut patch: Patch, weight: Option<u32>, status: Option<Status>) -> Patch {
    if let Some(weight) = weight {
        patch = patch.with_weight(weight);
    }
    if let Some(status) = status {
        patch = patch.with_status(status);
    }
    patch
}

/// The body of a deregistration: by the lease, or by the command whose answer never came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeregisterMessage {
    /// The holder's lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<SmolStr>,
    /// The holder's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// The command's number in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// The body of a batch of renewals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewMessage {
    /// The leases.
    pub leases: Vec<SmolStr>,
    /// A number that the answer repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// The answer to a batch of renewals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewedMessage {
    /// How many were renewed.
    pub renewed: usize,
    /// Those that were not.
    #[serde(default)]
    pub failed: Vec<NotRenewed>,
    /// The number of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// The registry's epoch.
    pub epoch: Epoch,
    /// Its revision.
    pub revision: Revision,
    /// Whether what it does not list may be there all the same.
    #[serde(default)]
    pub warming: bool,
}

/// A lease that was not renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRenewed {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Why: `lease_expired` and so on.
    pub code: SmolStr,
}

/// The body of an overlay: what is not named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayMessage {
    /// Metadata to show, or with `null` to hide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, Option<String>>>,
    /// The weight to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The status to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Why.
    #[serde(default)]
    pub reason: SmolStr,
}

impl OverlayMessage {
    /// What is to look different. Weight and status win over metadata of the same key.
    #[must_use]
    pub fn patch(self) -> Patch {
        let patch = Patch { metadata: self.metadata.unwrap_or_default(), ..Patch::default() };
        with_views(patch, self.weight, self.status)
    }
}

/// The body of a request to clear an overlay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearOverlayMessage {
    /// The metadata keys, `weight` and `status` among them; all, if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
    /// Why.
    #[serde(default)]
    pub reason: SmolStr,
}

/// The body of an eviction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvictMessage {
    /// Why.
    #[serde(default)]
    pub reason: SmolStr,
    /// For how long the id may not register again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_for: Option<Span>,
}

/// The body of a watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchMessage {
    /// What to watch.
    pub watch: Vec<WatchedMessage>,
}

/// One service or prefix to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedMessage {
    /// The namespace; `default`, if it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns: Option<SmolStr>,
    /// The service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<SmolStr>,
    /// The prefix, if it is no service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<SmolStr>,
    /// What was seen of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<SmolStr>,
}

impl WatchedMessage {
    /// What was seen of it, as a cursor.
    ///
    /// # Errors
    /// If it is none.
    pub fn cursor(&self) -> Result<Option<Cursor>, crate::set::CursorError> {
        self.since.as_deref().map(str::parse).transpose()
    }
}

/// The body of a report: up to where a watcher has applied what it was handed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedMessage {
    /// The watch, as its [`OpenedMessage`] called it.
    pub watch: SmolStr,
    /// The cursor. Its revision is 0 if nothing was applied yet.
    pub applied: SmolStr,
}

/// The answer to a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenMessage {
    /// Whether it was taken. If not, there is no such watch in this epoch, or it has said or been handed something else:
    /// the same report would not be taken later either.
    pub taken: bool,
    /// The registry's epoch.
    pub epoch: Epoch,
    /// Its revision.
    pub revision: Revision,
    /// Whether what it does not list may be there all the same.
    #[serde(default)]
    pub warming: bool,
}

// The events of a watch.

/// The data of a `watch` event, the first of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedMessage {
    /// What the watch is called in reports. Opaque, and nobody else's to know.
    pub watch: SmolStr,
}

/// The data of a `snapshot` event: so many of the next `put` events are all there is of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMessage {
    /// The service, if it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<SmolStr>,
    /// The prefix, if it is of all services that begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<SmolStr>,
    /// How many instances there are.
    pub count: usize,
    /// The namespace, if it is not the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<SmolStr>,
}

/// What the data of a `put` event says beside the instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutMessage {
    /// How long the instance lives without a renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// The namespace, if it is not the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<SmolStr>,
}

/// The data of a `remove` event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveMessage {
    /// The service.
    pub name: SmolStr,
    /// The instance's id.
    pub id: SmolStr,
    /// Why it went: `expired`, `deregistered`, …
    #[serde(default)]
    pub cause: SmolStr,
    /// The namespace, if it is not the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<SmolStr>,
}

/// The data of an `alarm` event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmMessage {
    /// The namespace.
    pub namespace: SmolStr,
    /// How many instances have expired.
    pub expired: u64,
    /// Of how many.
    pub of: u64,
}

/// The data of an `alarm_ended` event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmEndedMessage {
    /// The namespace.
    pub namespace: SmolStr,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn millis(text: &str) -> Option<u128> {
        text.parse().ok().map(|Span(span)| span.as_millis())
    }

    #[test]
    fn a_duration_has_numbers_with_units_that_fall() {
        for (text, expected) in [("15s", 15_000), ("500ms", 500), ("1m30s", 90_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
        for text in ["", "15", "s", "15 s", "1.5s", "-1s", "1s1s", "1s1m", "1x", "15S"] {
            assert_eq!(millis(text), None, "{text}");
        }
        assert_eq!("99999999999999999999h".parse::<Span>(), Err(SpanError));
        assert_eq!("18446744073709551615h".parse::<Span>(), Err(SpanError));
    }

    #[test]
    fn a_duration_is_written_in_the_longest_unit_that_divides_it() {
        for (text, span) in [
            ("90s", Duration::from_secs(90)),
            ("15s", Duration::from_secs(15)),
            ("1500ms", Duration::from_millis(1500)),
            ("2m", Duration::from_secs(120)),
            ("0s", Duration::ZERO),
        ] {
            assert_eq!(Span(span).to_string(), text);
            assert_eq!(text.parse(), Ok(Span(span)));
        }
    }

    #[test]
    fn messages_ignore_keys_they_do_not_know_and_nulls() {
        let message: RegisterMessage =
            serde_json::from_str(r#"{"metadata":null,"endpoints":null,"ttl":"15s","of_a_later_version":[1]}"#).unwrap();
        assert_eq!(message.ttl, Some(Span(Duration::from_secs(15))));
        assert!(message.operation() == Operation::ANONYMOUS);
    }

    #[test]
    fn weight_and_status_are_metadata() {
        let message: UpdateMessage =
            serde_json::from_str(r#"{"lease":"x","weight":3,"status":"up","metadata":{"a":null}}"#).unwrap();
        let patch = message.patch();
        assert_eq!(patch.metadata["weight"].as_deref(), Some("3"));
        assert_eq!(patch.metadata["status"], None);
        assert_eq!(patch.metadata["a"], None);
    }
}

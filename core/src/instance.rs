//! What registers: a [`ServiceInstance`], the five fields of Kratos, with typed views of what metadata says.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use crate::endpoint::{Endpoint, EndpointError};
use crate::json::Document;
use crate::name::{InstanceId, NameError, ServiceName};

/// The metadata key that holds the weight.
pub const WEIGHT: &str = "weight";
/// The metadata key that holds the zone.
pub const ZONE: &str = "zone";
/// The metadata key that holds the status.
pub const STATUS: &str = "status";

/// One instance of a service, as users build and read it.
///
/// Its JSON is the one that Kratos writes to etcd and ZooKeeper and reads from there. Two instances are equal
/// if all they say is equal; the order of endpoints is part of what they say (the first of a scheme is dialled).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceInstance {
    /// Unique within the service.
    pub id: InstanceId,
    /// The service's name.
    pub name: ServiceName,
    /// The version of the program, or nothing.
    pub version: SmolStr,
    /// What else the instance says of itself.
    pub metadata: BTreeMap<String, String>,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
}

impl ServiceInstance {
    /// An instance without version, metadata or endpoints.
    #[must_use]
    pub const fn new(name: ServiceName, id: InstanceId) -> Self {
        Self { id, name, version: SmolStr::new_static(""), metadata: BTreeMap::new(), endpoints: Vec::new() }
    }

    /// Adds an endpoint.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Sets a metadata value.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets the version.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<SmolStr>) -> Self {
        self.version = version.into();
        self
    }

    /// The weight for balancing, if the metadata has one: a whole number, zero for "no new calls".
    ///
    /// What is not such a number counts as none, as it does for Kratos's balancers.
    #[must_use]
    pub fn weight(&self) -> Option<u32> {
        self.metadata.get(WEIGHT)?.parse().ok()
    }

    /// The zone, if the metadata has one.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        self.metadata.get(ZONE).map(String::as_str)
    }

    /// The status that the metadata says; without one, or with one of another vocabulary, [`Status::Up`].
    #[must_use]
    pub fn status(&self) -> Status {
        self.metadata.get(STATUS).map_or(Status::Up, |text| Status::from_metadata(text))
    }

    /// Reads an instance as Kratos would, from one JSON document.
    ///
    /// # Errors
    /// Where Kratos fails, and where Kratos would hold an instance that nobody can name: without id or name.
    pub fn from_json(bytes: &[u8]) -> Result<Self, InstanceError> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| InstanceError::Json { problem: error.to_string() })?;
        Self::from_document(document).map_err(InstanceError::Name)
    }

    /// The instance as Kratos would write it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.write_json(&mut out);
        out
    }

    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        crate::json::write_instance(
            out,
            &self.id,
            &self.name,
            &self.version,
            self.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())),
            self.endpoints.iter().map(Endpoint::as_str),
        );
    }

    fn from_document(document: Document) -> Result<Self, NameError> {
        Ok(Self {
            id: InstanceId::new(document.id)?,
            name: ServiceName::new(document.name)?,
            version: document.version.into(),
            metadata: document.metadata,
            endpoints: document.endpoints.into_iter().map(Endpoint::foreign).collect(),
        })
    }

    /// Applies what a patch says.
    pub fn apply(&mut self, patch: &Patch) {
        if let Some(version) = &patch.version {
            self.version = version.clone();
        }
        if let Some(endpoints) = &patch.endpoints {
            self.endpoints.clone_from(endpoints);
        }
        for (key, value) in &patch.metadata {
            match value {
                Some(value) => drop(self.metadata.insert(key.clone(), value.clone())),
                None => drop(self.metadata.remove(key)),
            }
        }
    }
}

impl Serialize for ServiceInstance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            id: &'a str,
            name: &'a str,
            version: &'a str,
            metadata: Option<&'a BTreeMap<String, String>>,
            endpoints: Option<&'a [Endpoint]>,
        }
        Fields {
            id: &self.id,
            name: &self.name,
            version: &self.version,
            metadata: (!self.metadata.is_empty()).then_some(&self.metadata),
            endpoints: (!self.endpoints.is_empty()).then_some(&self.endpoints),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ServiceInstance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Document::deserialize(deserializer)?;
        Self::from_document(document).map_err(serde::de::Error::custom)
    }
}

/// What an instance says of its readiness. Absent from the metadata, it is [`Status::Up`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Status {
    /// Registered, but not ready for calls yet.
    Starting,
    /// Ready.
    #[default]
    Up,
    /// Listed, but to be given no new calls.
    Draining,
    /// Listed, but not working.
    Down,
}

impl Status {
    /// Every status, in the order of a life.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Up, Self::Draining, Self::Down];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
        }
    }

    pub(crate) fn from_metadata(text: &str) -> Self {
        text.parse().unwrap_or_default()
    }

    /// The metadata value that says it: none for [`Status::Up`].
    #[must_use]
    pub fn to_metadata(self) -> Option<String> {
        (self != Self::Up).then(|| self.as_str().to_string())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is none of `starting`, `up`, `draining`, `down`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("status must be one of starting, up, draining, down")]
pub struct StatusError;

impl FromStr for Status {
    type Err = StatusError;
    fn from_str(text: &str) -> Result<Self, StatusError> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(StatusError)
    }
}

/// A change to an instance in place: what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// The new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<SmolStr>,
    /// Metadata to set, or with `None` to remove.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Option<String>>,
    /// The new endpoints, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Endpoint>>,
}

impl Patch {
    /// A patch that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the weight.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.metadata.insert(WEIGHT.into(), Some(weight.to_string()));
        self
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.metadata.insert(STATUS.into(), status.to_metadata());
        self
    }

    /// Sets a metadata value, or with `None` removes it.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: Option<String>) -> Self {
        self.metadata.insert(key.into(), value);
        self
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.version.is_none() && self.metadata.is_empty() && self.endpoints.is_none()
    }
}

/// Bounds on what one instance may say. Lengths are in bytes of UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstanceLimits {
    /// Metadata pairs.
    pub metadata_pairs: usize,
    /// The length of a metadata key.
    pub metadata_key: usize,
    /// The length of a metadata value.
    pub metadata_value: usize,
    /// Endpoints.
    pub endpoints: usize,
    /// The length of an endpoint.
    pub endpoint: usize,
    /// The length of the version.
    pub version: usize,
    /// The length of the whole instance as JSON.
    pub total: usize,
}

impl Default for InstanceLimits {
    fn default() -> Self {
        Self {
            metadata_pairs: 64,
            metadata_key: 128,
            metadata_value: 512,
            endpoints: 16,
            endpoint: 512,
            version: 128,
            total: 16 * 1024,
        }
    }
}

impl InstanceLimits {
    /// Checks everything but the total, which is known once the instance is written.
    pub(crate) fn check(&self, instance: &ServiceInstance) -> Result<(), InstanceError> {
        within("version", instance.version.len(), self.version)?;
        text("version", &instance.version)?;
        within("metadata", instance.metadata.len(), self.metadata_pairs)?;
        for (key, value) in &instance.metadata {
            if key.is_empty() {
                return Err(InstanceError::EmptyKey);
            }
            if key.len() > self.metadata_key || value.len() > self.metadata_value {
                let shown = key.chars().take(40).collect::<String>();
                within_metadata("key of metadata", &shown, key.len(), self.metadata_key)?;
                within_metadata("metadata", &shown, value.len(), self.metadata_value)?;
            }
            text("metadata", key)?;
            text("metadata", value)?;
        }
        within("endpoints", instance.endpoints.len(), self.endpoints)?;
        for (at, endpoint) in instance.endpoints.iter().enumerate() {
            if endpoint.as_str().len() > self.endpoint {
                let (field, len, limit) = (alloc::format!("endpoints[{at}]"), endpoint.as_str().len(), self.endpoint);
                return Err(InstanceError::Limit { field, len, limit });
            }
            endpoint.parts().map_err(|problem| InstanceError::Endpoint { at, problem })?;
        }
        Ok(())
    }

    pub(crate) fn check_total(&self, len: usize) -> Result<(), InstanceError> {
        within("instance", len, self.total)
    }
}

fn within(field: &str, len: usize, limit: usize) -> Result<(), InstanceError> {
    if len > limit { Err(InstanceError::Limit { field: field.into(), len, limit }) } else { Ok(()) }
}

fn within_metadata(what: &str, key: &str, len: usize, limit: usize) -> Result<(), InstanceError> {
    within(&alloc::format!("{what} {key:?}"), len, limit)
}

/// Control characters have no business in metadata, and bidirectional overrides make one text look like another.
fn text(field: &'static str, text: &str) -> Result<(), InstanceError> {
    let hostile = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // Most text is ASCII, where the check is one comparison a byte.
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) || !text.contains(hostile) {
        Ok(())
    } else {
        Err(InstanceError::Text { field })
    }
}

/// Why an instance was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceError {
    /// An endpoint is malformed.
    #[error("endpoints[{at}]: {problem}")]
    Endpoint {
        /// Its place in the list, from 0.
        at: usize,
        /// What is wrong.
        problem: EndpointError,
    },
    /// A metadata key is empty.
    #[error("metadata has an empty key: give it a name")]
    EmptyKey,
    /// The document is not an instance.
    #[error("not an instance: {problem}")]
    Json {
        /// What the decoder says, with line and column.
        problem: String,
    },
    /// There is too much of something.
    #[error("{field} has {len}, the limit is {limit}: shorten it")]
    Limit {
        /// Of what.
        field: String,
        /// How much there is: bytes for texts and for the instance, a number for lists.
        len: usize,
        /// How much there may be.
        limit: usize,
    },
    /// Id or name are not names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A text has control characters or bidirectional overrides.
    #[error("{field} has control characters or text direction overrides: remove them")]
    Text {
        /// Which text.
        field: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn instance() -> ServiceInstance {
        ServiceInstance::new(ServiceName::new("web").unwrap(), InstanceId::new("a").unwrap())
    }

    #[test]
    fn metadata_gives_weight_zone_and_status() {
        let plain = instance();
        assert_eq!((plain.weight(), plain.zone(), plain.status()), (None, None, Status::Up));
        let full = instance().with_metadata("weight", "0").with_metadata("zone", "z").with_metadata("status", "down");
        assert_eq!((full.weight(), full.zone(), full.status()), (Some(0), Some("z"), Status::Down));
        let foreign = instance().with_metadata("weight", "-1").with_metadata("status", "UP!");
        assert_eq!((foreign.weight(), foreign.status()), (None, Status::Up));
    }

    #[test]
    fn equality_sees_every_key_and_changes_nothing() {
        let with_empty = instance().with_metadata("k", "");
        let with_other = instance().with_metadata("j", "");
        assert_ne!(with_empty, with_other);
        assert_ne!(with_empty, instance());
    }

    #[test]
    fn json_is_the_same_through_serde_and_by_hand() {
        let full = instance()
            .with_version("1")
            .with_metadata("b", "2")
            .with_metadata("a", "1")
            .with_endpoint(Endpoint::new("http://h:1/p?q").unwrap());
        for instance in [instance(), full] {
            assert_eq!(serde_json::to_vec(&instance).unwrap(), instance.to_json());
            assert_eq!(ServiceInstance::from_json(&instance.to_json()).unwrap(), instance);
        }
    }

    #[test]
    fn an_instance_that_nobody_can_name_is_refused() {
        let error = ServiceInstance::from_json(br#"{"id":"","name":"n"}"#).unwrap_err();
        assert_eq!(error, InstanceError::Name(NameError::Empty { field: "id" }));
    }

    #[test]
    fn errors_name_the_field_and_the_limit() {
        let limits = InstanceLimits::default();
        let long = instance().with_metadata("note", "x".repeat(513));
        assert_eq!(
            limits.check(&long).unwrap_err().to_string(),
            "metadata \"note\" has 513, the limit is 512: shorten it"
        );
        let bad = instance().with_endpoint(Endpoint::foreign("127.0.0.1:80"));
        assert!(limits.check(&bad).unwrap_err().to_string().starts_with("endpoints[0]: endpoint has no scheme"));
        let bidi = instance().with_metadata("a", "x\u{202e}y");
        assert_eq!(limits.check(&bidi), Err(InstanceError::Text { field: "metadata" }));
    }

    #[test]
    fn a_patch_sets_and_removes() {
        let mut patched = instance().with_metadata("keep", "1").with_metadata("status", "down");
        patched.apply(&Patch::new().with_status(Status::Up).with_weight(3).with_metadata("new", Some("x".into())));
        let expected = instance().with_metadata("keep", "1").with_metadata("weight", "3").with_metadata("new", "x");
        assert_eq!(patched, expected);
    }
}

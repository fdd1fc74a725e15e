//! Names, validated once: of namespaces, of services, of instances.

use alloc::string::String;
use core::borrow::Borrow;
use core::fmt;
use core::ops::Deref;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;

/// The longest name there is, in bytes of UTF-8.
pub const NAME_LIMIT: usize = 255;

/// Why a text is not a name. The text was not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text has no characters.
    #[error("{field} is empty: give it 1 to {NAME_LIMIT} bytes")]
    Empty {
        /// Which name it was to be.
        field: &'static str,
    },
    /// The text is longer than [`NAME_LIMIT`].
    #[error("{field} has {len} bytes: the limit is {NAME_LIMIT}")]
    TooLong {
        /// Which name it was to be.
        field: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// The text holds a control character.
    #[error("{field} has a control character at byte {at}: remove it")]
    Control {
        /// Which name it was to be.
        field: &'static str,
        /// Where the character starts, in bytes.
        at: usize,
    },
}

impl NameError {
    /// The name that was refused: `namespace`, `service` or `id`.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Empty { field } | Self::TooLong { field, .. } | Self::Control { field, .. } => field,
        }
    }
}

fn check(field: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { field });
    }
    if text.len() > NAME_LIMIT {
        return Err(NameError::TooLong { field, len: text.len() });
    }
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, _)) => Err(NameError::Control { field, at }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $field:literal) => {
        $(#[$doc])*
        ///
        /// UTF-8 without control characters, 1 to 255 bytes. Clones in O(1), compares and hashes as its text.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $type(SmolStr);

        impl $type {
            /// Checks the text and takes it as a name. O(length).
            ///
            /// # Errors
            /// Says which rule the text breaks.
            pub fn new(text: impl AsRef<str> + Into<SmolStr>) -> Result<Self, NameError> {
                check($field, text.as_ref())?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Takes a text that was checked before.
            #[allow(dead_code)]
            pub(crate) fn trusted(text: &str) -> Self {
                debug_assert!(check($field, text).is_ok(), "not a name: {text:?}");
                Self(SmolStr::new(text))
            }
        }

        impl Deref for $type {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = NameError;
            fn try_from(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = SmolStr::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// A namespace: services of one never meet those of another.
    Namespace, "namespace"
}
name! {
    /// The name under which instances of one service are found.
    ServiceName, "service"
}
name! {
    /// The name of one instance within its service.
    InstanceId, "id"
}

impl Namespace {
    /// The namespace of those who name none.
    #[must_use]
    pub fn default_namespace() -> Self {
        Self(SmolStr::new_static("default"))
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::default_namespace()
    }
}

/// A service as the registry knows it: a name within a namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceKey {
    /// The namespace.
    pub namespace: Namespace,
    /// The service's name in it.
    pub service: ServiceName,
}

impl ServiceKey {
    /// Joins a namespace and a name.
    #[must_use]
    pub const fn new(namespace: Namespace, service: ServiceName) -> Self {
        Self { namespace, service }
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.service)
    }
}

/// An instance as the registry knows it: an id within a service.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The namespace.
    pub namespace: Namespace,
    /// The service's name in it.
    pub service: ServiceName,
    /// The instance's id in the service.
    pub id: InstanceId,
}

impl Key {
    /// Joins the three names.
    #[must_use]
    pub const fn new(namespace: Namespace, service: ServiceName, id: InstanceId) -> Self {
        Self { namespace, service, id }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.service, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_name_has_1_to_255_bytes_and_no_control_characters() {
        assert_eq!(ServiceName::new(""), Err(NameError::Empty { field: "service" }));
        assert!(InstanceId::new("a".repeat(255)).is_ok());
        assert_eq!(InstanceId::new("a".repeat(256)), Err(NameError::TooLong { field: "id", len: 256 }));
        assert_eq!(Namespace::new("a\u{85}"), Err(NameError::Control { field: "namespace", at: 1 }));
        assert!(ServiceName::new("支付 / billing").is_ok());
    }

    #[test]
    fn an_error_says_what_to_do() {
        let error = ServiceName::new("a\n").unwrap_err();
        assert_eq!(error.to_string(), "service has a control character at byte 1: remove it");
    }
}

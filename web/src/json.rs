//! Reading what the registry answers: a value that is not there, or not what it should be, is nothing.

use periplus_core::{Instance, ServiceInstance};
use serde_json::Value;
use smol_str::SmolStr;

/// Nothing, for what is not there.
static NULL: Value = Value::Null;

/// Reads parts of an answer. Unknown keys are passed over and missing ones are empty, so that either end may be newer.
pub trait Read {
    /// The part of this name.
    fn part(&self, key: &str) -> &Value;
    /// The text of this name, or the empty one.
    fn text(&self, key: &str) -> SmolStr;
    /// The number of this name.
    fn number(&self, key: &str) -> Option<u64>;
    /// The list of this name, or the empty one.
    fn list(&self, key: &str) -> &[Value];
    /// Whether this is said, and so.
    fn is(&self, key: &str) -> bool;
}

impl Read for Value {
    fn part(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(&NULL)
    }

    fn text(&self, key: &str) -> SmolStr {
        self.part(key).as_str().unwrap_or_default().into()
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.part(key).as_u64()
    }

    fn list(&self, key: &str) -> &[Value] {
        self.part(key).as_array().map_or(&[], Vec::as_slice)
    }

    fn is(&self, key: &str) -> bool {
        self.part(key).as_bool() == Some(true)
    }
}

/// An instance as an answer tells it.
#[must_use]
pub fn instance(value: &Value) -> Option<Instance> {
    if !value.is_object() {
        return None;
    }
    let text = value.to_string();
    ServiceInstance::from_json(text.as_bytes()).ok().map(|instance| Instance::pack(&instance))
}

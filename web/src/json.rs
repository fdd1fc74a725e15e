//! Reading what the registry answers: a value that is not there, or not what it should be, is nothing.

use periplus_core::json::write_string;
use periplus_core::{Instance, ServiceInstance};
use serde_json::Value;
use smol_str::{SmolStr, ToSmolStr as _};

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

/// The most telling name of a caller; nothing, if nobody did it.
#[must_use]
pub fn actor(caller: &Value) -> SmolStr {
    let names = ["who", "from", "client"].map(|key| caller.text(key));
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}

/// An instance as an answer tells it.
#[must_use]
pub fn instance(value: &Value) -> Option<Instance> {
    if !value.is_object() {
        return None;
    }
    let mut text = Vec::with_capacity(512);
    write(&mut text, value, None);
    ServiceInstance::from_json(&text).ok().map(|instance| Instance::pack(&instance))
}

/// A value as requests carry it.
#[must_use]
pub fn plain(value: &Value) -> String {
    let mut out = Vec::with_capacity(128);
    write(&mut out, value, None);
    String::from_utf8(out).unwrap_or_default()
}

/// A value as people read it.
#[must_use]
pub fn pretty(value: &Value) -> SmolStr {
    let mut out = Vec::with_capacity(1024);
    write(&mut out, value, Some(0));
    String::from_utf8(out).unwrap_or_default().into()
}

/// Appends a value; with a depth, on lines that are set in so deep.
fn write(out: &mut Vec<u8>, value: &Value, depth: Option<usize>) {
    let inner = depth.map(|depth| depth + 1);
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(yes) => out.extend_from_slice(if *yes { b"true" } else { b"false" }),
        Value::Number(number) => out.extend_from_slice(number.to_smolstr().as_bytes()),
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                separate(out, at > 0, inner);
                write(out, item, inner);
            }
            close(out, items.is_empty(), depth, b']');
        }
        Value::Object(pairs) => {
            out.push(b'{');
            for (at, (key, value)) in pairs.iter().enumerate() {
                separate(out, at > 0, inner);
                write_string(out, key);
                out.extend_from_slice(if depth.is_some() { b": " } else { b":" });
                write(out, value, inner);
            }
            close(out, pairs.is_empty(), depth, b'}');
        }
    }
}

fn separate(out: &mut Vec<u8>, after: bool, depth: Option<usize>) {
    if after {
        out.push(b',');
    }
    indent(out, depth);
}

fn close(out: &mut Vec<u8>, empty: bool, depth: Option<usize>, end: u8) {
    if !empty {
        indent(out, depth);
    }
    out.push(end);
}

fn indent(out: &mut Vec<u8>, depth: Option<usize>) {
    if let Some(depth) = depth {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * depth));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_written_as_others_write_it() {
        let value = json!({"a": [1, -2, 2.5, true, null, []], "b": {}, "c": {"d\"": "e\n\u{7f}é"}});
        assert_eq!(pretty(&value), serde_json::to_string_pretty(&value).expect("it is JSON"));
        assert_eq!(plain(&value), value.to_string());
    }
}

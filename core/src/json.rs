//! The JSON of an instance as Go's `encoding/json` writes and reads it, because that is what Kratos uses.
//!
//! Written: the five keys always and in order, metadata sorted by key, empty metadata and endpoints as `null`,
//! and `<`, `>`, `&`, U+2028 and U+2029 escaped. Read: keys in any case, unknown keys ignored, `null` for any
//! field or metadata value, invalid UTF-16 escapes as U+FFFD; a metadata value that is not a string is an error.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Appends one instance document.
pub(crate) fn write_instance<'a>(
    out: &mut Vec<u8>,
    id: &str,
    name: &str,
    version: &str,
    metadata: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
    endpoints: impl ExactSizeIterator<Item = &'a str>,
) {
    out.extend_from_slice(b"{\"id\":");
    write_string(out, id);
    out.extend_from_slice(b",\"name\":");
    write_string(out, name);
    out.extend_from_slice(b",\"version\":");
    write_string(out, version);
    out.extend_from_slice(b",\"metadata\":");
    if metadata.len() == 0 {
        out.extend_from_slice(b"null");
    } else {
        let mut open = b'{';
        for (key, value) in metadata {
            out.push(open);
            write_string(out, key);
            out.push(b':');
            write_string(out, value);
            open = b',';
        }
        out.push(b'}');
    }
    out.extend_from_slice(b",\"endpoints\":");
    if endpoints.len() == 0 {
        out.extend_from_slice(b"null");
    } else {
        let mut open = b'[';
        for endpoint in endpoints {
            out.push(open);
            write_string(out, endpoint);
            open = b',';
        }
        out.push(b']');
    }
    out.push(b'}');
}

/// Appends a text in quotes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(needs_care) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let c = special.chars().next().expect("the position is inside the text and starts a character");
        write_escaped(out, c);
        rest = &special[c.len_utf8()..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// Whether a character that starts with this byte may be written as an escape. 0xE2 starts U+2028 and U+2029.
const fn needs_care(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2)
}

fn write_escaped(out: &mut Vec<u8>, c: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match c {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
            out.extend_from_slice(b"\\u");
            let code = c as u32;
            for shift in [12, 8, 4, 0] {
                out.push(HEX[(code >> shift & 0xf) as usize]);
            }
            return;
        }
        _ => {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// The five fields as Kratos reads them, before any of them is checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) endpoints: Vec<String>,
}

impl<'de> serde::Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Document;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an instance: an object with id, name, version, metadata, endpoints")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut document = Document::default();
                while let Some(key) = map.next_key_seed(Text)? {
                    let key = key.unwrap_or_default();
                    let into = match fold(&key).as_ref() {
                        "id" => &mut document.id,
                        "name" => &mut document.name,
                        "version" => &mut document.version,
                        "metadata" => {
                            map.next_value_seed(Metadata(&mut document.metadata))?;
                            continue;
                        }
                        "endpoints" => {
                            map.next_value_seed(Endpoints(&mut document.endpoints))?;
                            continue;
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    if let Some(text) = map.next_value_seed(Text)? {
                        *into = text.into_owned();
                    }
                }
                Ok(document)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Go matches keys by simple case folding, which also maps these two characters into ASCII.
fn fold(key: &str) -> Cow<'_, str> {
    if key.bytes().all(|b| b.is_ascii_lowercase()) {
        return Cow::Borrowed(key);
    }
    let folded = key.chars().map(|c| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    Cow::Owned(folded.collect())
}

/// A text, or `null`. Surrogates without a partner and bytes that are not UTF-8 become U+FFFD, as in Go.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<Cow<'de, str>>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Option<Cow<'de, str>>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or null")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Some(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Some(Cow::Owned(text.into())))
            }
            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Some(lossy(bytes)))
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Some(Cow::Owned(lossy(bytes).into_owned())))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_none<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                deserializer.deserialize_bytes(self)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
                Err(A::Error::custom("found an array where a string belongs"))
            }
        }
        deserializer.deserialize_option(Bytes)
    }
}

/// A lone surrogate arrives as the three bytes that UTF-8 would give it if it were allowed to.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = core::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let is_surrogate = |w: &[u8]| w[0] == 0xed && w[1] >= 0xa0;
    let mut text = String::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(3).position(is_surrogate) {
        text.push_str(&String::from_utf8_lossy(&rest[..at]));
        text.push(char::REPLACEMENT_CHARACTER);
        rest = &rest[at + 3..];
    }
    text.push_str(&String::from_utf8_lossy(rest));
    Cow::Owned(text)
}

/// A map from texts to texts, or `null`, merged into what is there, as Go does.
struct Metadata<'a>(&'a mut BTreeMap<String, String>);

impl<'de> DeserializeSeed<'de> for Metadata<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata: an object whose values are strings, or null")
    }
    fn visit_none<E>(self) -> Result<(), E> {
        self.0.clear();
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.clear();
        Ok(())
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Text)? {
            let value = map.next_value_seed(Text)?;
            self.0.insert(key.unwrap_or_default().into_owned(), value.unwrap_or_default().into_owned());
        }
        Ok(())
    }
}

struct Endpoints<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for Endpoints<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Endpoints<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("endpoints: an array of strings, or null")
    }
    fn visit_none<E>(self) -> Result<(), E> {
        self.0.clear();
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.clear();
        Ok(())
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.clear();
        while let Some(text) = seq.next_element_seed(Text)? {
            self.0.push(text.unwrap_or_default().into_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn written(id: &str, metadata: &[(&str, &str)], endpoints: &[&str]) -> String {
        let mut out = Vec::new();
        let name = if id.is_empty() { "" } else { "n" };
        write_instance(&mut out, id, name, "", metadata.iter().copied(), endpoints.iter().copied());
        String::from_utf8(out).unwrap()
    }

    fn read(text: &str) -> Result<Document, serde_json::Error> {
        serde_json::from_slice(text.as_bytes())
    }

    #[test]
    fn documents_are_written_as_go_writes_them() {
        assert_eq!(
            written("a<b>&\u{2028}", &[("a", "2"), ("z", "1")], &["grpc://1.2.3.4:9000?a=1&b=2"]),
            "{\"id\":\"a\\u003cb\\u003e\\u0026\\u2028\",\"name\":\"n\",\"version\":\"\",\
             \"metadata\":{\"a\":\"2\",\"z\":\"1\"},\"endpoints\":[\"grpc://1.2.3.4:9000?a=1\\u0026b=2\"]}"
        );
        assert_eq!(written("", &[], &[]), r#"{"id":"","name":"","version":"","metadata":null,"endpoints":null}"#);
    }

    #[test]
    fn quotes_controls_and_other_scripts_survive_the_round_trip() {
        let text = "\"\\\u{1}\n\u{8}\u{c}\t\r â – 支付 \u{2029}\u{7f}";
        let mut out = Vec::new();
        write_string(&mut out, text);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        assert!(out.windows(6).any(|w| w == b"\\u0001"));
    }

    #[test]
    fn documents_are_read_as_go_reads_them() {
        let full = read(r#"{"ID":"i","Name":"n","verſion":"v","extra":[1,{}],"METADATA":{"a":null,"b":"c"},"endpoints":["e",null]}"#).unwrap();
        assert_eq!((full.id.as_str(), full.name.as_str(), full.version.as_str()), ("i", "n", "v"));
        assert_eq!(full.metadata, BTreeMap::from([("a".into(), "".into()), ("b".into(), "c".into())]));
        assert_eq!(full.endpoints, vec!["e", ""]);
        assert_eq!(read(r#"{"metadata":null,"endpoints":null,"id":null}"#).unwrap(), Document::default());
        assert_eq!(read("{}").unwrap(), Document::default());
        assert_eq!(read(r#"{"id":"a","ID":"b"}"#).unwrap().id, "b");
        assert_eq!(read(r#"{"id":"x\ud800y\ud83d\ude00"}"#).unwrap().id, "x\u{fffd}y😀");
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "",
            "null",
            "[]",
            "{} x",
            "\u{feff}{}",
            r#"{"id":1}"#,
            r#"{"metadata":{"a":1}}"#,
            r#"{"metadata":{"a":true}}"#,
            r#"{"metadata":{"a":{}}}"#,
            r#"{"endpoints":"e"}"#,
            r#"{"endpoints":[1]}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}

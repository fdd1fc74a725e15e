//! Paths and queries of requests.

use alloc::string::String;
use core::fmt::{self, Write as _};

/// A path with its query, encoded.
///
/// ```
/// use periplus_core::http::target::Target;
///
/// let target = Target::new("/v1/services").segment("a/b").query("ns", "x y").query_if("from", None::<u64>);
/// assert_eq!(target.to_string(), "/v1/services/a%2Fb?ns=x%20y");
/// assert_eq!(target.url("http://h:1"), "http://h:1/v1/services/a%2Fb?ns=x%20y");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    path: String,
    query: String,
}

impl Target {
    /// Starts with a path that needs no encoding.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self { path: path.into(), query: String::new() }
    }

    /// Adds one segment to the path, whatever is in it.
    #[must_use]
    pub fn segment(mut self, segment: &str) -> Self {
        self.path.push('/');
        match segment {
            // Some proxies take these as steps in the tree, encoded or not; the registry does not.
            "." => self.path.push_str("%2E"),
            ".." => self.path.push_str("%2E%2E"),
            _ => encode(segment, &mut self.path),
        }
        self
    }

    /// Adds a pair to the query, whatever is in it. The same key may be added again.
    #[must_use]
    pub fn query(mut self, key: &str, value: impl fmt::Display) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        encode(key, &mut self.query);
        self.query.push('=');
        // Writing to a text does not fail; a value that cannot be printed is left as far as it came.
        let _ = write!(Encoder(&mut self.query), "{value}");
        self
    }

    /// Adds a pair to the query if there is a value.
    #[must_use]
    pub fn query_if(self, key: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.query(key, value),
            None => self,
        }
    }

    /// The whole address, at an origin such as `http://10.0.0.5:7171`. One allocation.
    #[must_use]
    pub fn url(&self, origin: &str) -> String {
        let mut url = String::with_capacity(origin.len() + self.path.len() + 1 + self.query.len());
        url.push_str(origin);
        url.push_str(&self.path);
        if !self.query.is_empty() {
            url.push('?');
            url.push_str(&self.query);
        }
        url
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.query.is_empty() { Ok(()) } else { write!(f, "?{}", self.query) }
    }
}

/// Encodes what is written to it.
struct Encoder<'a>(&'a mut String);

impl fmt::Write for Encoder<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        encode(text, self.0);
        Ok(())
    }
}

/// Percent-encodes all but letters, digits and `-._~`.
pub(crate) fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let length = special.bytes().position(is_plain).unwrap_or(special.len());
        for byte in special[..length].bytes() {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 0xf)]));
        }
        rest = &special[length..];
    }
    out.push_str(rest);
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Undoes percent-encoding. A plus sign is a plus sign. `None`: a percent sign is not followed by two hexadecimal
/// digits, or what comes out is not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = alloc::vec::Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            bytes.push(u8::try_from(digit(0)? << 4 | digit(1)?).ok()?);
            rest = tail;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn segments_and_queries_are_encoded() {
        let target =
            Target::new("/v1/services").segment("a/b c").segment("ä").query("ns", "x&y=z").query_if("at", Some(7));
        assert_eq!(target.to_string(), "/v1/services/a%2Fb%20c/%C3%A4?ns=x%26y%3Dz&at=7");
        assert_eq!(target.query_if("b", None::<u8>).query("k&", "+").to_string().split_once("7&"), {
            Some(("/v1/services/a%2Fb%20c/%C3%A4?ns=x%26y%3Dz&at=", "k%26=%2B"))
        });
    }

    #[test]
    fn a_segment_of_dots_stays_a_segment() {
        assert_eq!(Target::new("").segment("..").segment(".").segment("...").to_string(), "/%2E%2E/%2E/...");
    }

    #[test]
    fn an_address_is_an_origin_and_a_target() {
        assert_eq!(Target::new("/a").url("http://h:1"), "http://h:1/a");
        assert_eq!(Target::new("/a").query("b", true).url("http://h:1"), "http://h:1/a?b=true");
    }

    #[test]
    fn what_is_encoded_is_decoded_the_same() {
        for text in ["", "plain-._~", "ä%+ &=?#/\0\u{10ffff}", "%41"] {
            let mut encoded = String::new();
            encode(text, &mut encoded);
            assert_eq!(decode(&encoded).as_deref(), Some(text));
        }
        assert_eq!(decode("%e4%F6"), None, "not UTF-8");
        for text in ["%", "%4", "%4g", "%+1", "a%ä", "%c3"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}

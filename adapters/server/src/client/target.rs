//! Paths and queries of requests.

use std::fmt::{self, Write as _};

/// A path with its query, encoded.
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

    /// Adds a pair to the query.
    #[must_use]
    pub fn query(mut self, key: &str, value: &str) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(key);
        self.query.push('=');
        encode(value, &mut self.query);
        self
    }

    /// Adds a pair to the query if there is a value.
    #[must_use]
    pub fn query_if(self, key: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.query(key, &value.to_string()),
            None => self,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.query.is_empty() { Ok(()) } else { write!(f, "?{}", self.query) }
    }
}

/// Percent-encodes all but letters, digits and `-._~`.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_and_queries_are_encoded() {
        let target =
            Target::new("/v1/services").segment("a/b c").segment("ä").query("ns", "x&y=z").query_if("at", Some(7));
        assert_eq!(target.to_string(), "/v1/services/a%2Fb%20c/%C3%A4?ns=x%26y%3Dz&at=7");
    }

    #[test]
    fn a_segment_of_dots_stays_a_segment() {
        assert_eq!(Target::new("").segment("..").segment(".").segment("...").to_string(), "/%2E%2E/%2E/...");
    }
}

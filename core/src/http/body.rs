//! A body that is read when all of it has come, and the JSON in it.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde::de::DeserializeOwned;

/// So many bytes of what the parser says are kept: it may quote the document, which is long, or secret.
const REASON: usize = 120;

/// Why a body is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than the limit.
    #[error("the body is longer than {limit} bytes: ask for less, or raise the limit")]
    TooLong {
        /// How many bytes it may have.
        limit: usize,
    },
    /// There is nothing in it.
    #[error("the body is empty where a JSON document was expected: check that the address is that of a registry")]
    Empty,
    /// It is not JSON, or it ends too early, or it says something else than was expected.
    #[error("the body is not the JSON that was expected: {reason} at line {line} column {column}")]
    Json {
        /// In which line it went wrong, from 1.
        line: usize,
        /// At which byte of the line, from 1; 0 if it is where the line starts.
        column: usize,
        /// What went wrong. Never more than a few words of the body.
        reason: String,
    },
}

/// Reads a JSON document: a body, a line, or the data of an event. O(bytes).
///
/// # Errors
/// If it is empty, or not the JSON of a `T`.
pub fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, BodyError> {
    if json.iter().all(u8::is_ascii_whitespace) {
        return Err(BodyError::Empty);
    }
    serde_json::from_slice(json).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        BodyError::Json { line, column, reason: shortened(reason) }
    })
}

fn shortened(reason: &str) -> String {
    if reason.len() <= REASON {
        return reason.into();
    }
    let mut short = String::from(&reason[..reason.floor_char_boundary(REASON)]);
    short.push('…');
    short
}

/// Collects a body up to a limit.
///
/// ```
/// use periplus_core::http::body::{BodyBuffer, BodyError};
///
/// # fn main() -> Result<(), BodyError> {
/// let mut body = BodyBuffer::new(1024);
/// body.push(b"[1,")?;
/// body.push(b"2]")?;
/// assert_eq!(body.finish::<Vec<u8>>()?, [1, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BodyBuffer {
    limit: usize,
    bytes: Vec<u8>,
    failed: bool,
}

impl BodyBuffer {
    /// An empty body, of up to `limit` bytes. Allocates nothing.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, bytes: Vec::new(), failed: false }
    }

    /// Appends the next piece. O(bytes), amortised.
    ///
    /// # Errors
    /// If the body is longer than the limit. What has come of it is dropped; from now on there is only this error.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), BodyError> {
        if self.failed || chunk.len() > self.limit - self.bytes.len() {
            self.failed = true;
            self.bytes = Vec::new();
            return Err(BodyError::TooLong { limit: self.limit });
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// What has come, as it came.
    ///
    /// # Errors
    /// If the body was longer than the limit.
    pub const fn bytes(&self) -> Result<&[u8], BodyError> {
        if self.failed { Err(BodyError::TooLong { limit: self.limit }) } else { Ok(self.bytes.as_slice()) }
    }

    /// The body is complete: reads it as JSON. O(bytes).
    ///
    /// # Errors
    /// If it was longer than the limit, is empty, or not the JSON of a `T`.
    pub fn finish<T: DeserializeOwned>(&self) -> Result<T, BodyError> {
        parse(self.bytes()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn error<T: DeserializeOwned>(json: &[u8]) -> (usize, usize, String) {
        match parse::<T>(json).err() {
            Some(BodyError::Json { line, column, reason }) => (line, column, reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
        let mut body = BodyBuffer::new(3);
        assert_eq!(body.push(b"[1"), Ok(()));
        assert_eq!(body.push(b"]"), Ok(()));
        assert_eq!(body.push(b""), Ok(()));
        assert_eq!(body.finish(), Ok([1]));
        assert_eq!(body.push(b" "), Err(BodyError::TooLong { limit: 3 }));
        assert_eq!(body.push(b""), Err(BodyError::TooLong { limit: 3 }));
        assert_eq!(body.bytes(), Err(BodyError::TooLong { limit: 3 }));
        assert_eq!(body.finish::<[u8; 1]>(), Err(BodyError::TooLong { limit: 3 }));
    }

    #[test]
    fn an_empty_body_is_told_from_garbage() {
        assert_eq!(BodyBuffer::new(3).finish::<u8>(), Err(BodyError::Empty));
        assert_eq!(parse::<u8>(b" \r\n"), Err(BodyError::Empty));
        assert_eq!(error::<u8>(b"<html>"), (1, 1, "expected value".into()));
    }

    #[test]
    fn an_error_says_where_and_what() {
        assert_eq!(error::<[u8; 2]>(b"[1,\n x]"), (2, 2, "expected value".into()));
        assert_eq!(error::<[u8; 2]>(b"[1,2"), (1, 4, "EOF while parsing a list".into()));
        assert_eq!(error::<u8>(b"1 2"), (1, 3, "trailing characters".into()));
        assert_eq!(
            parse::<u8>(b"\"a\"").map_err(|error| error.to_string()),
            Err("the body is not the JSON that was expected: \
                 invalid type: string \"a\", expected u8 at line 1 column 3"
                .into())
        );
    }

    #[test]
    fn an_error_never_quotes_a_whole_long_body() {
        let long = alloc::format!("\"{}\"", "ä".repeat(1_000));
        let (.., reason) = error::<u8>(long.as_bytes());
        assert!(reason.starts_with("invalid type: string \"ää") && reason.ends_with("ä…"), "{reason}");
        assert!(reason.len() <= REASON + '…'.len_utf8());
    }
}

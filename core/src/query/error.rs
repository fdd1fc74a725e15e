//! Why a text is not a query.

use core::ops::Range;

use smol_str::SmolStr;

use super::{LENGTH_LIMIT, TERMS_LIMIT};

/// Why a text is not a query, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (bytes {} to {})", range.start, range.end)]
pub struct QueryError {
    /// What is wrong.
    pub problem: QueryProblem,
    /// The bytes of the text that it is about, between characters; it may be empty at the text's end.
    pub range: Range<usize>,
}

/// What is wrong with a text that is to be a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryProblem {
    /// There is no such key.
    #[error(
        "there is no key {key:?}: use name, id, version, zone, status, weight, scheme, endpoint or meta.KEY; \
         a text with ':' or '=' that is looked for is put in quotes"
    )]
    Key {
        /// As it was written.
        key: SmolStr,
    },
    /// The key has no value, or an empty alternative.
    #[error(
        "{key} has an empty value: write one, or {key}:* for any value and !{key}:* for none; \
         an empty value of metadata is \"\""
    )]
    Empty {
        /// Of which key.
        key: SmolStr,
    },
    /// There is no text to look for.
    #[error("there is no text to look for: write a word, or key:value")]
    Nothing,
    /// There is no such status.
    #[error("{status:?} is no status: use up, starting, draining or down")]
    Status {
        /// As it was written.
        status: SmolStr,
    },
    /// What has to be a number is none.
    #[error("{text:?} is no number for {key}: write one such as 50")]
    Number {
        /// Of which key.
        key: SmolStr,
        /// As it was written.
        text: SmolStr,
    },
    /// The key has no order.
    #[error(
        "{key} has no order to compare by: only version, weight and meta.KEY have; a value with the sign is put in quotes"
    )]
    Order {
        /// Of which key.
        key: SmolStr,
    },
    /// A comparison has several values or a wildcard.
    #[error("a comparison has one value without '*': write a term for each, such as version:>=1 version:<2")]
    Several,
    /// A sign is where it means nothing.
    #[error(
        "{sign:?} means nothing here: it comes first in a term or a value, once; one that is looked for is put in quotes"
    )]
    Sign {
        /// Which.
        sign: char,
    },
    /// A quote has no end.
    #[error("the quote has no end: close it with '\"'")]
    Quote,
    /// A backslash in quotes stands before another character than a quote or a backslash.
    #[error("in quotes, '\\' stands before '\"' and '\\' only: write it twice for one")]
    Escape,
    /// The text is longer than [`LENGTH_LIMIT`].
    #[error("query has {len} bytes, the limit is {LENGTH_LIMIT}: shorten it")]
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// The text has more terms than [`TERMS_LIMIT`].
    #[error(
        "query has more than {TERMS_LIMIT} terms: leave some out, or put values of one key into one term, as in zone:a,b"
    )]
    Terms,
}

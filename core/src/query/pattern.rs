//! A text with wildcards.

use alloc::string::String;
use alloc::vec::Vec;

use smol_str::SmolStr;

/// Literal parts with anything between them: `a*b` is two, and `*` is two empty ones.
///
/// Only the first and the last may be empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pattern(Vec<SmolStr>);

impl Pattern {
    /// The pattern of these parts, of which there is one at least.
    pub(super) fn new(parts: Vec<String>) -> Self {
        let last = parts.len() - 1;
        let parts = parts.into_iter().enumerate();
        Self(
            parts
                .filter(|(at, part)| *at == 0 || *at == last || !part.is_empty())
                .map(|(_, part)| part.into())
                .collect(),
        )
    }

    /// The same anywhere in a text.
    pub(super) fn anywhere(mut parts: Vec<String>) -> Self {
        parts.insert(0, String::new());
        parts.push(String::new());
        Self::new(parts)
    }

    /// The text that it is, if it has no wildcard.
    pub(super) fn literal(&self) -> Option<&str> {
        if let [text] = &*self.0 { Some(text) } else { None }
    }

    /// Whether every text matches.
    pub(super) fn is_any(&self) -> bool {
        self.0.len() == 2 && self.0.iter().all(|part| part.is_empty())
    }

    /// The parts without the wildcards around them, if it matches anywhere in a text.
    pub(super) fn inner(&self) -> Option<&[SmolStr]> {
        match &*self.0 {
            [first, inner @ .., last] if first.is_empty() && last.is_empty() && !inner.is_empty() => Some(inner),
            _ => None,
        }
    }

    pub(super) fn parts(&self) -> &[SmolStr] {
        &self.0
    }

    /// Whether a text matches. O(length of both): each part is taken where it comes first.
    pub(super) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = &*self.0 else {
            return self.0.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
            return false;
        };
        for part in middle {
            let Some(at) = rest.find(part.as_str()) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

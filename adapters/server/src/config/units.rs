//! Durations and sizes as people write them: `90s`, `256KiB`.

use std::time::Duration;

use periplus_core::protocol::{Span, SpanError};

/// The units of size, the largest first, in bytes.
const SIZES: [(usize, &str); 4] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];

/// Reads a duration such as `15s`, `500ms` or `1m30s`.
///
/// # Errors
/// Says how to write it; a number without a unit is refused.
pub fn parse_duration(text: &str) -> Result<Duration, SpanError> {
    text.parse().map(|Span(duration)| duration)
}

/// Reads a size such as `256KiB`, `16MiB` or `4096`.
///
/// # Errors
/// Says how to write it.
pub fn parse_size(text: &str) -> Result<usize, String> {
    const HINT: &str = "write a size in bytes, or with B, KiB, MiB or GiB, such as 256KiB";
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let unit = if unit.is_empty() { "B" } else { unit };
    let factor = SIZES.iter().find(|(_, name)| name.eq_ignore_ascii_case(unit)).ok_or(HINT)?.0;
    let number: usize = number.parse().map_err(|_| HINT)?;
    number.checked_mul(factor).ok_or_else(|| "this is more than any machine has".into())
}

/// Writes a size in the largest unit that divides it; [`parse_size`] reads it back.
#[must_use]
pub fn size_text(size: usize) -> String {
    let unit = SIZES.iter().find(|(unit, _)| size > 0 && size.is_multiple_of(*unit));
    let (unit, name) = unit.copied().unwrap_or((1, "B"));
    format!("{}{name}", size / unit)
}

/// Durations in files: always a text.
pub(super) mod duration {
    use std::time::Duration;

    use periplus_core::protocol::Span;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        Span(*duration).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Span::deserialize(deserializer).map(|Span(duration)| duration)
    }
}

/// Sizes in files: a text, or a number of bytes.
pub(super) mod size {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Bytes(usize),
        Text(String),
    }

    pub(crate) fn serialize<S: Serializer>(size: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::size_text(*size))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Bytes(size) => Ok(size),
            Written::Text(text) => super::parse_size(&text).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        assert!(parse_duration("15").unwrap_err().to_string().contains("unit"));
        assert_eq!(parse_duration("1m30s"), Ok(Duration::from_secs(90)));
    }

    #[test]
    fn a_size_is_written_in_the_largest_unit_that_divides_it() {
        for (text, bytes) in
            [("0B", 0), ("1000B", 1000), ("256KiB", 256 << 10), ("512MiB", 512 << 20), ("3GiB", 3 << 30)]
        {
            assert_eq!(size_text(bytes), text);
            assert_eq!(parse_size(text), Ok(bytes));
        }
        assert_eq!(parse_size(" 4096 "), Ok(4096));
        assert_eq!(parse_size("1 kib"), Ok(1024));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "KiB", "1.5MiB", "10KB", "-1", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}

//! How versions and numbers compare, as texts.

use core::cmp::Ordering;

/// On which side of a given value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Relation {
    AtLeast,
    AtMost,
    Above,
    Below,
}

impl Relation {
    /// Every relation with its sign, longer ones first.
    pub(super) const ALL: [(Self, &'static str); 4] =
        [(Self::AtLeast, ">="), (Self::AtMost, "<="), (Self::Above, ">"), (Self::Below, "<")];

    /// The sign for it.
    pub(super) fn sign(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::AtLeast => order.is_ge(),
            Self::AtMost => order.is_le(),
            Self::Above => order.is_gt(),
            Self::Below => order.is_lt(),
        }
    }
}

/// Compares versions part by part: `1.9` is below `1.10`, `v2` is `2.0`, and `2.0-rc.1` is below `2.0`.
///
/// What follows a `+` does not count. A part that is no number is above all numbers.
pub(super) fn versions(one: &str, other: &str) -> Ordering {
    let ((one, early_one), (other, early_other)) = (split(one), split(other));
    dotted(one, other, Some("0")).then_with(|| match (early_one, early_other) {
        (Some(one), Some(other)) => dotted(one, other, None),
        (one, other) => one.is_none().cmp(&other.is_none()),
    })
}

/// The release, and the pre-release if it is one.
fn split(version: &str) -> (&str, Option<&str>) {
    let bare = version.strip_prefix(['v', 'V']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let version = bare.unwrap_or(version);
    let version = version.split_once('+').map_or(version, |(version, _)| version);
    version.split_once('-').map_or((version, None), |(release, early)| (release, Some(early)))
}

/// Compares part by part; a part that is missing is `missing`, or below all.
fn dotted(one: &str, other: &str, missing: Option<&str>) -> Ordering {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        let order = match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (one, other) => match (one.or(missing), other.or(missing)) {
                (Some(one), Some(other)) => part(one, other),
                (one, other) => one.is_some().cmp(&other.is_some()),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

fn part(one: &str, other: &str) -> Ordering {
    match (digits(one), digits(other)) {
        (true, true) => {
            let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
            (one.len(), one).cmp(&(other.len(), other))
        }
        (false, false) => one.cmp(other),
        (is_number, _) => {
            if is_number {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
    }
}

fn digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// A decimal number of any length: its sign, and its digits without idle zeros.
#[derive(Clone, Copy)]
struct Number<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

fn number(text: &str) -> Option<Number<'_>> {
    let (negative, plain) = text.strip_prefix('-').map_or((false, text), |plain| (true, plain));
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, "0"));
    if whole.is_empty() || fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let is_zero = whole.is_empty() && fraction.is_empty();
    Some(Number { negative: negative && !is_zero, whole, fraction })
}

/// Whether a text is a number as `-12.5` is one.
pub(super) fn is_number(text: &str) -> bool {
    number(text).is_some()
}

/// Compares numbers, if both are.
pub(super) fn numbers(one: &str, other: &str) -> Option<Ordering> {
    let (one, other) = (number(one)?, number(other)?);
    if one.negative != other.negative {
        return Some(other.negative.cmp(&one.negative));
    }
    let order = (one.whole.len(), one.whole, one.fraction).cmp(&(other.whole.len(), other.whole, other.fraction));
    Some(if one.negative { order.reverse() } else { order })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn versions_rise_by_number_and_a_pre_release_comes_before_its_release() {
        let rising = [
            "0.9",
            "1.0-0",
            "1.0-1",
            "1.0-2",
            "1.0-10",
            "1.0-alpha",
            "1.0-alpha.1",
            "1.0-beta",
            "v1",
            "1.0.1",
            "1.2",
            "1.10",
            "1.10.x",
            "2",
            "10",
            "main",
            "next",
        ];
        for (at, one) in rising.iter().enumerate() {
            for (other_at, other) in rising.iter().enumerate() {
                assert_eq!(versions(one, other), at.cmp(&other_at), "{one} {other}");
            }
        }
    }

    #[test]
    fn versions_that_say_the_same_are_equal() {
        for (one, other) in [("1", "v1.0.0"), ("V1.02", "1.2"), ("1.2+build.7", "1.2"), ("1-rc.01", "v1.0-rc.1")] {
            assert_eq!(versions(one, other), Ordering::Equal, "{one} {other}");
        }
    }

    #[test]
    fn numbers_of_any_length_compare_by_value() {
        let rising = [
            "-100000000000000000000000",
            "-10",
            "-9.5",
            "-9.49",
            "0",
            "0.05",
            "0.5",
            "0.51",
            "9",
            "10",
            "99999999999999999999.1",
        ];
        for (at, one) in rising.iter().enumerate() {
            for (other_at, other) in rising.iter().enumerate() {
                assert_eq!(numbers(one, other), Some(at.cmp(&other_at)), "{one} {other}");
            }
        }
        assert_eq!(numbers("-0", "00.00"), Some(Ordering::Equal));
        for text in ["", "-", ".", "1.", ".5", "+1", "1e3", "1.2.3", "0x1", "١", "1 "] {
            assert!(!is_number(text), "{text}");
        }
    }
}

//! What a figure should be, and whether it is.

use std::fmt;

use serde::Serialize;

use crate::table;

/// Which side of a number is good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
}

/// One figure beside what was wanted of it.
#[derive(Clone, Debug, Serialize)]
pub struct Wanted {
    what: String,
    value: f64,
    bound: Bound,
    reached: bool,
}

impl Wanted {
    /// Judges a figure.
    #[must_use]
    pub fn new(what: impl Into<String>, value: f64, bound: Bound) -> Self {
        let reached = match bound {
            Bound::AtLeast(least) => value >= least,
            Bound::AtMost(most) => value <= most,
        };
        Self { what: what.into(), value, bound, reached }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.reached { "reached" } else { "MISSED " };
        let (sign, bound) = match self.bound {
            Bound::AtLeast(least) => (">=", least),
            Bound::AtMost(most) => ("<=", most),
        };
        write!(
            f,
            "{verdict}  {:<48} {:>12}  wanted {sign} {}",
            self.what,
            table::count(self.value),
            table::count(bound)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_judge_on_their_side() {
        assert!(Wanted::new("", 2.0, Bound::AtLeast(2.0)).reached);
        assert!(!Wanted::new("", 1.9, Bound::AtLeast(2.0)).reached);
        assert!(Wanted::new("", 2.0, Bound::AtMost(2.0)).reached);
        assert!(!Wanted::new("", f64::NAN, Bound::AtMost(2.0)).reached);
    }
}

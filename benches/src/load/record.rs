//! What was measured, by what it was measured of.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats::median;

/// A figure's name: which work, and what of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Name {
    /// The work.
    pub work: String,
    /// What was measured of it, with its unit.
    pub figure: &'static str,
}

/// One value of each repetition.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<f64>);

impl Values {
    /// The median.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(&mut self.0.clone())
    }

    /// The least and the most.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        let fold = |start, of: fn(f64, f64) -> f64| self.0.iter().copied().fold(start, of);
        (fold(f64::INFINITY, f64::min), fold(f64::NEG_INFINITY, f64::max))
    }
}

/// The figures of one registry.
#[derive(Clone, Debug, Default)]
pub struct Record {
    values: BTreeMap<Name, Values>,
    /// The names in the order in which they came up first.
    order: Vec<Name>,
}

impl Record {
    /// Adds a repetition's value.
    pub fn add(&mut self, work: &str, figure: &'static str, value: f64) {
        let name = Name { work: work.to_owned(), figure };
        if !self.values.contains_key(&name) {
            self.order.push(name.clone());
        }
        self.values.entry(name).or_default().0.push(value);
    }

    /// The values of a figure.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&Values> {
        self.values.get(name)
    }

    /// The median of a figure.
    #[must_use]
    pub fn median(&self, work: &str, figure: &'static str) -> Option<f64> {
        self.values.get(&Name { work: work.to_owned(), figure }).map(Values::median)
    }

    /// All figures, in the order in which they came up.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.order.iter()
    }
}

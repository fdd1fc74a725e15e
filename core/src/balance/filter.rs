//! Which of the instances a call may go to.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use smol_str::SmolStr;

use crate::instance::{ServiceInstance, ZONE};
use crate::query::Query;

/// A condition on instances. Filters compose, and are values: equal ones have one view.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Filter {
    /// Every instance.
    #[default]
    Any,
    /// Instances of this version.
    Version(SmolStr),
    /// Instances whose metadata has this value under this key.
    Metadata(String, String),
    /// Instances that match this query.
    Query(Query),
    /// What passes all of these, one after the other.
    All(Vec<Self>),
    /// What passes one of these.
    OneOf(Vec<Self>),
    /// What does not pass this.
    Not(Box<Self>),
    /// What passes the first of these that lets anybody pass: fallbacks, in order.
    Prefer(Vec<Self>),
}

impl Filter {
    /// Instances of this version.
    #[must_use]
    pub fn version(version: impl Into<SmolStr>) -> Self {
        Self::Version(version.into())
    }

    /// Instances whose metadata has this value under this key.
    #[must_use]
    pub fn metadata(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Metadata(key.into(), value.into())
    }

    /// Instances of this zone.
    #[must_use]
    pub fn zone(zone: impl Into<String>) -> Self {
        Self::metadata(ZONE, zone)
    }

    /// Instances of the first of these zones that has any, and everybody if none has.
    #[must_use]
    pub fn prefer_zones(zones: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Prefer(zones.into_iter().map(Self::zone).chain([Self::Any]).collect())
    }

    /// What passes this and then the other.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::All(mut all) => {
                all.push(other);
                Self::All(all)
            }
            first => Self::All(vec![first, other]),
        }
    }

    /// What passes this, and the other's if that is nobody.
    #[must_use]
    pub fn or_else(self, other: Self) -> Self {
        match self {
            Self::Prefer(mut all) => {
                all.push(other);
                Self::Prefer(all)
            }
            first => Self::Prefer(vec![first, other]),
        }
    }

    /// Says of each instance whether it passes. O(n) for each condition.
    ///
    /// "Anybody" in [`Filter::Prefer`] means: of these instances, and of those that the filters before it in a
    /// [`Filter::All`] have let pass.
    #[must_use]
    pub fn passes(&self, instances: &[&ServiceInstance]) -> Vec<bool> {
        let mut passing = vec![true; instances.len()];
        self.narrow(instances, &mut passing);
        passing
    }

    /// Takes out who does not pass.
    fn narrow(&self, instances: &[&ServiceInstance], passing: &mut Vec<bool>) {
        let keep = |passing: &mut Vec<bool>, condition: &dyn Fn(&ServiceInstance) -> bool| {
            passing.iter_mut().zip(instances).for_each(|(passes, instance)| *passes = *passes && condition(instance));
        };
        match self {
            Self::Any => {}
            Self::Version(version) => keep(passing, &|instance| instance.version == *version),
            Self::Metadata(key, value) => keep(passing, &|instance| instance.metadata.get(key) == Some(value)),
            Self::Query(query) => keep(passing, &|instance| query.matches_unpacked(instance)),
            Self::All(all) => all.iter().for_each(|filter| filter.narrow(instances, passing)),
            Self::OneOf(some) => {
                let mut union = vec![false; passing.len()];
                for filter in some {
                    let mut one = passing.clone();
                    filter.narrow(instances, &mut one);
                    union.iter_mut().zip(one).for_each(|(any, one)| *any |= one);
                }
                *passing = union;
            }
            Self::Not(filter) => {
                let mut inner = passing.clone();
                filter.narrow(instances, &mut inner);
                passing.iter_mut().zip(inner).for_each(|(passes, inner)| *passes = *passes && !inner);
            }
            Self::Prefer(order) => {
                let attempts = order.iter().map(|filter| {
                    let mut one = passing.clone();
                    filter.narrow(instances, &mut one);
                    one
                });
                let first = attempts.into_iter().find(|one| one.contains(&true));
                *passing = first.unwrap_or_else(|| vec![false; passing.len()]);
            }
        }
    }
}

impl From<Query> for Filter {
    fn from(query: Query) -> Self {
        Self::Query(query)
    }
}

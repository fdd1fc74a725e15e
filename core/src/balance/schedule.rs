//! Smooth weighted round robin, worked out beforehand: a pick is one step of a cursor.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::ordered::sort;

/// The order of one cycle, as the textbook's algorithm gives it: at each step every place gains its weight, the first
/// of those that have most is next, and pays the sum of all weights.
///
/// A cycle that would be longer than `bound`, or four times the number of places if that is more, has the weights
/// rounded to it; each place is in it at least once. O(cycle · different weights), and there are few different ones in a
/// short cycle: at most the square root of twice its length.
pub(super) fn smooth(weights: &[u64], bound: usize) -> Box<[u32]> {
    let counts = counts(weights, bound.max(weights.len().saturating_mul(4)));
    let total: i64 = counts.iter().sum();
    let mut groups = groups(&counts);
    let mut cycle = Vec::with_capacity(total as usize);
    for step in 1..=total {
        let best = groups.iter_mut().max_by_key(|group| (group.count * step - total * group.turns, !group.front()));
        let Some(best) = best else { break };
        cycle.push(best.front());
        best.advance();
    }
    cycle.into()
}

/// How often each place is in a cycle of at most about `bound` steps.
fn counts(weights: &[u64], bound: usize) -> Vec<i64> {
    let reduced = reduce(weights);
    let total: u128 = reduced.iter().map(|&weight| u128::from(weight)).sum();
    let bound = bound as u128;
    if total <= bound {
        return reduced.into_iter().map(u64::cast_signed).collect();
    }
    let rounded = reduced.iter().map(|&weight| ((u128::from(weight) * bound + total / 2) / total).max(1) as u64);
    reduce(&rounded.collect::<Vec<_>>()).into_iter().map(u64::cast_signed).collect()
}

fn reduce(weights: &[u64]) -> Vec<u64> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    weights.iter().map(|weight| weight / divisor).collect()
}

const fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Places of one weight. They take turns in their order, so that only the first of them has to be looked at.
struct Group {
    count: i64,
    places: Vec<u32>,
    next: usize,
    /// How often the place that is next has had its turn.
    turns: i64,
}

impl Group {
    fn front(&self) -> u32 {
        self.places[self.next]
    }

    fn advance(&mut self) {
        self.next += 1;
        if self.next == self.places.len() {
            self.next = 0;
            self.turns += 1;
        }
    }
}

fn groups(counts: &[i64]) -> Vec<Group> {
    let mut order: Vec<(i64, u32)> = counts.iter().copied().zip(0..).collect();
    sort(&mut order);
    let group = |alike: &[(i64, u32)]| {
        let places = alike.iter().map(|&(_, place)| place).collect();
        Group { count: alike[0].0, places, next: 0, turns: 0 }
    };
    order.chunk_by(|a, b| a.0 == b.0).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The algorithm as it is usually written.
    fn textbook(weights: &[u64]) -> Vec<u32> {
        let total: u64 = weights.iter().sum();
        let mut current = vec![0; weights.len()];
        let mut step = || {
            for (current, weight) in current.iter_mut().zip(weights) {
                *current += weight.cast_signed();
            }
            let first_of_most = (0..weights.len()).rev().max_by_key(|&place| current[place]).unwrap();
            current[first_of_most] -= total.cast_signed();
            first_of_most as u32
        };
        (0..total).map(|_| step()).collect()
    }

    #[test]
    fn five_one_one_is_a_a_b_a_c_a_a() {
        assert_eq!(smooth(&[5, 1, 1], 100)[..], [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(smooth(&[500, 100, 100], 100)[..], [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn nobody_is_scheduled_where_nobody_is() {
        assert!(smooth(&[], 100).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_cycle_is_the_one_of_the_textbook(weights in proptest::collection::vec(1u64..40, 1..12)) {
            let divisor = weights.iter().copied().fold(0, gcd);
            let reduced: Vec<u64> = weights.iter().map(|weight| weight / divisor).collect();
            prop_assert_eq!(smooth(&weights, 1_000).to_vec(), textbook(&reduced));
        }

        #[test]
        fn a_cycle_is_bounded_and_has_everyone_by_weight(weights in proptest::collection::vec(1u64..1_000_000, 1..60)) {
            let bound = 500;
            let cycle = smooth(&weights, bound);
            prop_assert!(cycle.len() <= bound + weights.len());
            let total: u64 = weights.iter().sum();
            for (place, weight) in weights.iter().enumerate() {
                let has = cycle.iter().filter(|&&other| other as usize == place).count() as f64;
                let (share, fair) = (has / cycle.len() as f64, *weight as f64 / total as f64);
                prop_assert!(has >= 1.0);
                // Each count is rounded by at most one, and so the whole by at most one for each.
                let places = weights.len() as f64;
                let slack = if total as usize <= bound { 1e-9 } else { (1.0 + fair * places) / (bound as f64 - places) };
                prop_assert!((share - fair).abs() <= slack, "{share} instead of {fair}");
            }
        }
    }
}

//! Drawing by weight in constant time: an alias table after Walker and Vose, in whole numbers.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::hash::below;

/// Draws places in proportion to their weights.
#[derive(Debug)]
pub(super) struct Draw {
    places: usize,
    /// Nothing, if all weights are equal.
    columns: Box<[Column]>,
}

/// A place, kept with this share of 2³² and exchanged for another otherwise.
#[derive(Clone, Copy, Debug)]
struct Column {
    keep: u32,
    other: u32,
}

impl Draw {
    /// The table of these weights, none of which is zero. O(n).
    pub(super) fn new(weights: &[u64]) -> Self {
        let equal = weights.windows(2).all(|pair| pair[0] == pair[1]);
        Self { places: weights.len(), columns: if equal { Box::default() } else { columns(weights) } }
    }

    /// The place of these random bits. O(1).
    pub(super) fn place(&self, random: u64) -> usize {
        let place = below((random >> 32) as u32, self.places);
        match self.columns.get(place) {
            Some(column) if random as u32 > column.keep => column.other as usize,
            _ => place,
        }
    }
}

fn columns(weights: &[u64]) -> Box<[Column]> {
    let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    // What each column holds, where `total` fills it.
    let mut held: Vec<u128> = weights.iter().map(|&weight| u128::from(weight) * weights.len() as u128).collect();
    let (mut poor, mut rich): (Vec<usize>, Vec<usize>) = (0..held.len()).partition(|&place| held[place] < total);
    let mut columns = vec![Column { keep: u32::MAX, other: 0 }; held.len()];
    while let (Some(&giver), Some(taker)) = (rich.last(), poor.pop()) {
        let keep = u32::try_from((held[taker] << 32) / total).unwrap_or(u32::MAX);
        columns[taker] = Column { keep, other: giver as u32 };
        held[giver] -= total - held[taker];
        if held[giver] < total {
            rich.pop();
            poor.push(giver);
        }
    }
    columns.into()
}

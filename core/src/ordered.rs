//! Ordered maps and sets, as large as they pay.
//!
//! A B-tree is fast at any size, and each kind of it is some ten kilobytes of code. That is nothing to a program, and a
//! third of what a web page loads. So in wasm these are [sorted lists](sorted), whose code is a tenth of it: finding is
//! as fast, and putting something in between moves what comes after it, which a page of some ten thousand instances does
//! not feel. Both keep the same order, and so everything comes out the same.
//!
//! The same goes for [`sort`] and [`least`].

use alloc::vec::Vec;

pub mod heap;
pub mod sorted;

/// Sorts. Equal items end in any order. O(n log n).
pub fn sort<T: Ord>(items: &mut [T]) {
    #[cfg(not(target_family = "wasm"))]
    items.sort_unstable();
    #[cfg(target_family = "wasm")]
    heap::sort(items);
}

/// Keeps only the least, in any order. O(n), in wasm O(n log n).
pub fn least<T: Ord>(items: &mut Vec<T>, count: usize) {
    if count < items.len() {
        #[cfg(not(target_family = "wasm"))]
        items.select_nth_unstable(count);
        #[cfg(target_family = "wasm")]
        heap::sort(items);
        items.truncate(count);
    }
}

/// An ordered map.
#[cfg(not(target_family = "wasm"))]
pub type OrderedMap<K, V> = alloc::collections::BTreeMap<K, V>;
/// An ordered set.
#[cfg(not(target_family = "wasm"))]
pub type OrderedSet<T> = alloc::collections::BTreeSet<T>;
/// A place in an ordered map.
#[cfg(not(target_family = "wasm"))]
pub use alloc::collections::btree_map::Entry;

#[cfg(target_family = "wasm")]
pub use sorted::{Entry, SortedMap as OrderedMap, SortedSet as OrderedSet};

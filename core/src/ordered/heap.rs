//! Sorting in place with little code.

/// Sorts. Equal items end in any order. O(n log n).
pub fn sort<T: Ord>(items: &mut [T]) {
    for top in (0..items.len() / 2).rev() {
        sink(items, top);
    }
    for end in (1..items.len()).rev() {
        items.swap(0, end);
        sink(&mut items[..end], 0);
    }
}

/// Lets an item sink to its place in the heap below it. The greatest is at the top.
fn sink<T: Ord>(heap: &mut [T], mut at: usize) {
    loop {
        let mut child = 2 * at + 1;
        if child + 1 < heap.len() && heap[child] < heap[child + 1] {
            child += 1;
        }
        if child >= heap.len() || heap[child] <= heap[at] {
            return;
        }
        heap.swap(at, child);
        at = child;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    proptest! {
        #[test]
        fn the_order_is_that_of_the_standard_library(mut items in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut sorted: Vec<u8> = items.clone();
            sorted.sort_unstable();
            sort(&mut items);
            prop_assert_eq!(items, sorted);
        }
    }
}

//! A sorted list does what a B-tree does.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use periplus_core::ordered::sorted::{Entry, SortedMap, SortedSet};
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, u32),
    Remove(u8),
    Add(u8),
    Take(u8),
    PopFirst,
    PopLast,
    KeepEven,
    Double,
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<u8>(), any::<u32>()).prop_map(|(key, value)| Step::Insert(key, value)),
        3 => any::<u8>().prop_map(Step::Remove),
        3 => any::<u8>().prop_map(Step::Add),
        2 => any::<u8>().prop_map(Step::Take),
        1 => Just(Step::PopFirst),
        1 => Just(Step::PopLast),
        1 => Just(Step::KeepEven),
        1 => Just(Step::Double),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 0..200)
}

fn bound(kind: u8, key: u8) -> Bound<u8> {
    match kind % 3 {
        0 => Bound::Unbounded,
        1 => Bound::Included(key),
        _ => Bound::Excluded(key),
    }
}

proptest! {
    #[test]
    fn a_sorted_list_does_what_a_tree_does(steps in steps(), at in any::<u8>(), from in any::<(u8, u8)>(), to in any::<(u8, u8)>()) {
        let (mut list, mut tree) = (SortedMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Insert(key, value) => prop_assert_eq!(list.insert(key, value), tree.insert(key, value)),
                Step::Remove(key) => prop_assert_eq!(list.remove(&key), tree.remove(&key)),
                Step::Add(key) => {
                    *list.entry(key).or_default() ^= 1;
                    *tree.entry(key).or_default() ^= 1;
                }
                Step::Take(key) => {
                    let taken = match list.entry(key) {
                        Entry::Occupied(entry) => Some(entry.remove()),
                        Entry::Vacant(_) => None,
                    };
                    prop_assert_eq!(taken, tree.remove(&key));
                }
                Step::PopFirst => prop_assert_eq!(list.pop_first(), tree.pop_first()),
                Step::PopLast => prop_assert_eq!(list.pop_last(), tree.pop_last()),
                Step::KeepEven => {
                    list.retain(|key, _| key % 2 == 0);
                    tree.retain(|key, _| key % 2 == 0);
                }
                Step::Double => {
                    list.values_mut().for_each(|value| *value = value.wrapping_mul(2));
                    tree.values_mut().for_each(|value| *value = value.wrapping_mul(2));
                }
                Step::Clear => {
                    list.clear();
                    tree.clear();
                }
            }
            prop_assert!(list.iter().eq(tree.iter()), "{list:?} {tree:?}");
            prop_assert_eq!(list.len(), tree.len());
            prop_assert_eq!(list.get(&at), tree.get(&at));
            prop_assert_eq!(list.first_key_value(), tree.first_key_value());
            prop_assert_eq!(list.last_key_value(), tree.last_key_value());
        }
        let (from, to) = (bound(from.0, from.1), bound(to.0, to.1));
        // A tree panics where a range is upside down; a list has nothing there.
        let key = |bound: Bound<u8>, open| match bound { Bound::Unbounded => open, Bound::Included(key) | Bound::Excluded(key) => key };
        let upside_down = key(from, 0) > key(to, 255) || matches!((from, to), (Bound::Excluded(a), Bound::Excluded(b)) if a == b);
        if upside_down {
            prop_assert_eq!(list.range((from, to)).count(), 0);
        } else {
            prop_assert!(list.range((from, to)).eq(tree.range((from, to))));
        }
    }

    #[test]
    fn a_sorted_set_does_what_a_tree_does(items in proptest::collection::vec(any::<u8>(), 0..100), out in any::<u8>()) {
        let (mut list, mut tree): (SortedSet<u8>, BTreeSet<u8>) = (items.iter().copied().collect(), items.iter().copied().collect());
        prop_assert!(list.iter().eq(tree.iter()));
        prop_assert_eq!(list.insert(out), tree.insert(out));
        prop_assert!(list.contains(&out));
        prop_assert!(list.range(out..).eq(tree.range(out..)));
        prop_assert_eq!(list.remove(&out), tree.remove(&out));
        prop_assert_eq!(list.pop_first(), tree.pop_first());
        prop_assert_eq!((list.first(), list.last()), (tree.first(), tree.last()));
        prop_assert!((&list).into_iter().eq(&tree));
    }
}

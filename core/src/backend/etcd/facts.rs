//! How to tell that a history is the one that was seen: what was there of late, and since which revision.
//!
//! A cluster that lost its history may be further than the one before was, when it is heard again. So before a watch is
//! resumed, a few keys are read that were written last, as far as that was heard: one that is as it was is there in no
//! other history, and one that was written in a past where it was not, is of another. What a client has written itself
//! counts only once a watch or a listing has told it: it may have been written into a new history already.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::message::{Bytes, LeaseId, Pair};

/// How many keys are remembered.
pub(super) const FACTS: usize = 16;

/// What was heard of keys.
#[derive(Debug, Default)]
pub(super) struct Facts {
    keys: BTreeMap<Vec<u8>, Fact>,
}

/// What was heard of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    written: u64,
    lease: LeaseId,
    /// It was so until here.
    until: u64,
}

/// What keys say of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is the same.
    Kept,
    /// It is another one.
    Lost,
    /// All has changed since: nobody knows.
    Open,
}

impl Facts {
    /// A key was so until this revision. O(log n), or O(n) for one that is newer than all.
    pub(super) fn note(&mut self, pair: &Pair, until: u64) {
        let Pair { key: Bytes(key), mod_revision: written, lease, .. } = pair;
        let oldest = self.keys.iter().map(|(key, fact)| (fact.written, key)).min();
        let full = self.keys.len() >= FACTS && !self.keys.contains_key(key);
        if let Some((before, old)) = oldest.filter(|_| full) {
            if before > *written {
                return;
            }
            let old = old.clone();
            self.keys.remove(&old);
        }
        self.keys.insert(key.clone(), Fact { written: *written, lease: *lease, until });
    }

    /// A key is gone.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.keys.remove(key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
    }

    /// What is to be read; `told` says up to where all was told of a key.
    pub(super) fn to_prove(&self, told: impl Fn(&[u8]) -> u64) -> Vec<(Vec<u8>, Fact)> {
        let until = |key: &[u8], fact: &Fact| Fact { until: fact.until.max(told(key)), ..*fact };
        self.keys.iter().map(|(key, fact)| (key.clone(), until(key, fact))).collect()
    }
}

/// What was read at a revision, of what was to be proven.
pub(super) fn proof<'a>(revision: u64, facts: impl Iterator<Item = (&'a Fact, Option<&'a Pair>)>) -> Proof {
    let mut proof = Proof::Open;
    for (fact, found) in facts {
        let same = |found: &&Pair| found.mod_revision == fact.written && found.lease == fact.lease;
        match found {
            Some(_) if found.filter(same).is_some() => proof = Proof::Kept,
            Some(found) if found.mod_revision <= fact.until => return Proof::Lost,
            // It cannot have gone without a revision.
            None if revision <= fact.until => return Proof::Lost,
            _ => {}
        }
    }
    proof
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn pair(key: &str, written: u64, lease: i64) -> Pair {
        Pair { key: Bytes(key.into()), mod_revision: written, lease: LeaseId(lease), ..Pair::default() }
    }

    fn proven(found: &[Option<Pair>]) -> Proof {
        let facts =
            [Fact { written: 5, lease: LeaseId(1), until: 9 }, Fact { written: 6, lease: LeaseId(2), until: 9 }];
        proof(20, facts.iter().zip(found.iter().map(Option::as_ref)))
    }

    #[test]
    fn a_key_that_is_as_it_was_proves_the_history_and_one_that_cannot_be_so_disproves_it() {
        assert_eq!(proven(&[Some(pair("a", 5, 1)), None]), Proof::Kept);
        assert_eq!(proven(&[Some(pair("a", 5, 1)), Some(pair("b", 12, 7))]), Proof::Kept);
        assert_eq!(proven(&[Some(pair("a", 5, 7)), Some(pair("b", 6, 2))]), Proof::Lost);
        assert_eq!(proven(&[Some(pair("a", 8, 1)), None]), Proof::Lost);
        assert_eq!(proven(&[Some(pair("a", 3, 1)), None]), Proof::Lost);
        assert_eq!(proven(&[None, Some(pair("b", 10, 2))]), Proof::Open);
        assert_eq!(proven(&[None, None]), Proof::Open);
        let fact = Fact { written: 5, lease: LeaseId(1), until: 9 };
        assert_eq!(proof(9, [(&fact, None)].into_iter()), Proof::Lost, "nothing has happened since");
    }

    #[test]
    fn the_latest_are_remembered() {
        let mut facts = Facts::default();
        for at in 1..=40 {
            facts.note(&pair(&alloc::format!("{at}"), at, 1), at);
        }
        facts.note(&pair("old", 3, 1), 50);
        let written: Vec<u64> = facts.to_prove(|_| 0).iter().map(|(_, fact)| fact.written).collect();
        assert_eq!((written.len(), written.iter().min()), (16, Some(&25)));
        facts.forget(b"40");
        assert!(!facts.to_prove(|_| 0).iter().any(|(key, _)| key == b"40"));
    }
}

//! A map of instances, and an ordered map of deadlines that each renewal rearranges.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use super::table::{Key, Table};
use super::{Contestant, KeyLease, Request};
use crate::fleet::{Entry, Micros, TTL};

/// When, and a number that tells equal times apart.
type Deadline = (Micros, u64);

/// `HashMap` + `BTreeMap` of deadlines.
#[derive(Debug)]
pub struct BTree {
    table: Table<Deadline>,
    deadlines: BTreeMap<Deadline, Key>,
    /// How many deadlines were ever set.
    set: u64,
}

impl BTree {
    fn deadline(&mut self, now: Micros) -> Deadline {
        self.set += 1;
        (now + TTL, self.set)
    }
}

impl Contestant for BTree {
    const NAME: &'static str = "HashMap + BTreeMap";
    type Prepared = Request;
    type Edit = Request;
    type Granted = u128;
    type Lease = KeyLease;

    fn new() -> Self {
        Self { table: Table::new(), deadlines: BTreeMap::new(), set: 0 }
    }

    fn prepare(entry: &Entry) -> Request {
        Request::new(entry)
    }

    fn edit(entry: &Entry) -> Request {
        Request::new(entry)
    }

    fn register(&mut self, request: &Request, now: Micros) -> u128 {
        let deadline = self.deadline(now);
        let (token, replaced) = self.table.put(request, |service, id| {
            self.deadlines.insert(deadline, (Arc::clone(service), Arc::clone(id)));
            deadline
        });
        if let Some(replaced) = replaced {
            self.deadlines.remove(&replaced);
        }
        token
    }

    fn lease(entry: &Entry, token: &u128) -> KeyLease {
        KeyLease::new(entry, *token)
    }

    fn renew(&mut self, lease: &KeyLease, now: Micros) -> bool {
        let deadline = self.deadline(now);
        let Some(instance) = self.table.find(lease) else {
            return false;
        };
        let key = self.deadlines.remove(&instance.deadline).expect("every instance has a deadline");
        self.deadlines.insert(deadline, key);
        instance.deadline = deadline;
        true
    }

    fn change(&mut self, lease: &KeyLease, request: &Request, _now: Micros) -> bool {
        self.table.change(lease, request)
    }

    fn expire(&mut self, now: Micros) {
        while let Some(first) = self.deadlines.first_entry()
            && first.key().0 <= now
        {
            let key = first.remove();
            self.table.remove(&key);
        }
    }

    fn watch(&mut self, service: &str, _now: Micros) {
        self.table.watch(service);
    }

    fn deliver(&mut self) -> usize {
        self.table.deliver()
    }

    fn idle(&mut self, _now: Micros) {
        black_box(self.deadlines.first_key_value());
    }

    fn list(&self, service: &str) -> usize {
        self.table.list(service)
    }
}

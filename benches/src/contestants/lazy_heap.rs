//! A map of instances, and a heap of deadlines that renewals leave alone: what comes up too early goes back in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::sync::Arc;

use super::table::{Key, Table};
use super::{Contestant, KeyLease, Request};
use crate::fleet::{Entry, Micros, TTL};

/// `HashMap` + lazy `BinaryHeap`.
#[derive(Debug)]
pub struct LazyHeap {
    table: Table<Micros>,
    /// When to look at which instance.
    heap: BinaryHeap<Reverse<(Micros, Key)>>,
}

impl Contestant for LazyHeap {
    const NAME: &'static str = "HashMap + lazy heap";
    type Prepared = Request;
    type Edit = Request;
    type Granted = u128;
    type Lease = KeyLease;

    fn new() -> Self {
        Self { table: Table::new(), heap: BinaryHeap::new() }
    }

    fn prepare(entry: &Entry) -> Request {
        Request::new(entry)
    }

    fn edit(entry: &Entry) -> Request {
        Request::new(entry)
    }

    fn register(&mut self, request: &Request, now: Micros) -> u128 {
        let deadline = now + TTL;
        let (token, _) = self.table.put(request, |service, id| {
            self.heap.push(Reverse((deadline, (Arc::clone(service), Arc::clone(id)))));
            deadline
        });
        token
    }

    fn lease(entry: &Entry, token: &u128) -> KeyLease {
        KeyLease::new(entry, *token)
    }

    fn renew(&mut self, lease: &KeyLease, now: Micros) -> bool {
        let Some(instance) = self.table.find(lease) else {
            return false;
        };
        instance.deadline = now + TTL;
        true
    }

    fn change(&mut self, lease: &KeyLease, request: &Request, _now: Micros) -> bool {
        self.table.change(lease, request)
    }

    fn expire(&mut self, now: Micros) {
        while self.heap.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, key))) = self.heap.pop() else {
                return;
            };
            match self.table.get(&key).map(|instance| instance.deadline) {
                Some(deadline) if deadline > now => self.heap.push(Reverse((deadline, key))),
                Some(_) => self.table.remove(&key),
                None => {}
            }
        }
    }

    fn watch(&mut self, service: &str, _now: Micros) {
        self.table.watch(service);
    }

    fn deliver(&mut self) -> usize {
        self.table.deliver()
    }

    fn idle(&mut self, _now: Micros) {
        black_box(self.heap.peek());
    }

    fn list(&self, service: &str) -> usize {
        self.table.list(service)
    }
}

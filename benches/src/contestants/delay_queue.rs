//! A map of instances, and tokio's timer wheel for their deadlines.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::runtime::Runtime;
use tokio::task::coop::unconstrained;
use tokio::time::{Duration, Instant};
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key as Timer;

use super::table::{Key, Table};
use super::{Contestant, KeyLease, Request};
use crate::fleet::{Entry, Micros, TTL};

/// `HashMap` + tokio's `DelayQueue`.
pub struct Delay {
    table: Table<Timer>,
    timers: DelayQueue<Key>,
    /// Its clock stands still but for [`Delay::expire`].
    runtime: Runtime,
    start: Instant,
}

impl Delay {
    fn at(&self, time: Micros) -> Instant {
        self.start + Duration::from_micros(time)
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delay").field("timers", &self.timers.len()).finish_non_exhaustive()
    }
}

impl Contestant for Delay {
    const NAME: &'static str = "HashMap + DelayQueue";
    type Prepared = Request;
    type Edit = Request;
    type Granted = u128;
    type Lease = KeyLease;

    fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().expect("a runtime without IO can be had");
        let (start, timers) = runtime.block_on(async { (Instant::now(), DelayQueue::new()) });
        Self { table: Table::new(), timers, runtime, start }
    }

    fn prepare(entry: &Entry) -> Request {
        Request::new(entry)
    }

    fn edit(entry: &Entry) -> Request {
        Request::new(entry)
    }

    fn register(&mut self, request: &Request, now: Micros) -> u128 {
        let deadline = self.at(now + TTL);
        let _runtime = self.runtime.enter();
        let (token, replaced) = self
            .table
            .put(request, |service, id| self.timers.insert_at((Arc::clone(service), Arc::clone(id)), deadline));
        if let Some(replaced) = replaced {
            self.timers.remove(&replaced);
        }
        token
    }

    fn lease(entry: &Entry, token: &u128) -> KeyLease {
        KeyLease::new(entry, *token)
    }

    fn renew(&mut self, lease: &KeyLease, now: Micros) -> bool {
        let deadline = self.at(now + TTL);
        let Some(instance) = self.table.find(lease) else {
            return false;
        };
        self.timers.reset_at(&instance.deadline, deadline);
        true
    }

    fn change(&mut self, lease: &KeyLease, request: &Request, _now: Micros) -> bool {
        self.table.change(lease, request)
    }

    fn expire(&mut self, now: Micros) {
        let ahead = self.at(now);
        let Self { table, timers, runtime, .. } = self;
        runtime.block_on(async {
            // The wheel turns in whole milliseconds, and one late.
            tokio::time::advance(ahead.saturating_duration_since(Instant::now()) + Duration::from_millis(1)).await;
            let all_due = poll_fn(|context| {
                while let Poll::Ready(Some(due)) = timers.poll_expired(context) {
                    table.remove(&due.into_inner());
                }
                Poll::Ready(())
            });
            // Or else tokio would have the loop make room for others, of whom there are none.
            unconstrained(all_due).await;
        });
    }

    fn watch(&mut self, service: &str, _now: Micros) {
        self.table.watch(service);
    }

    fn deliver(&mut self) -> usize {
        self.table.deliver()
    }

    fn idle(&mut self, _now: Micros) {
        let _runtime = self.runtime.enter();
        assert!(self.timers.poll_expired(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    fn list(&self, service: &str) -> usize {
        self.table.list(service)
    }
}

//! Requests under way: who waits for which answer, and until when.

use alloc::collections::VecDeque;

use crate::http::body::BodyBuffer;
use crate::http::{Head, Request, RequestId, Transmit};
use crate::ordered::{OrderedMap, OrderedSet};
use crate::time::Instant;

/// The requests of one machine. `T` says what each is about.
#[derive(Debug)]
pub(crate) struct Calls<T> {
    last: u64,
    open: OrderedMap<RequestId, Call<T>>,
    deadlines: OrderedSet<(Instant, RequestId)>,
    out: VecDeque<Transmit>,
    body_limit: usize,
}

/// The way that a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// Whom it was sent to: a place in the configuration.
    pub(crate) origin: usize,
    /// The era of the link.
    pub(crate) era: u64,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Call<T> {
    /// What it is about.
    pub(crate) what: T,
    /// Which way it went.
    pub(crate) way: Way,
    /// The head of the answer, once it is there.
    pub(crate) head: Option<Head>,
    /// What there is of the body; streams keep none here.
    pub(crate) body: BodyBuffer,
    deadline: Option<Instant>,
}

impl<T> Calls<T> {
    pub(crate) const fn new(body_limit: usize) -> Self {
        Self { last: 0, open: OrderedMap::new(), deadlines: OrderedSet::new(), out: VecDeque::new(), body_limit }
    }

    /// Sends a request. Without an answer until the deadline, [`overdue`](Self::overdue) names it.
    pub(crate) fn send(&mut self, what: T, request: Request, way: Way, deadline: Option<Instant>) -> RequestId {
        self.last += 1;
        let id = RequestId(self.last);
        self.open.insert(id, Call { what, way, head: None, body: BodyBuffer::new(self.body_limit), deadline });
        self.deadlines.extend(deadline.map(|deadline| (deadline, id)));
        self.out.push_back(Transmit::Send(id, request));
        id
    }

    /// The request of this id, if it is under way, to look at.
    pub(crate) fn of(&self, id: RequestId) -> Option<&Call<T>> {
        self.open.get(&id)
    }

    /// The request of this id, if it is under way.
    pub(crate) fn of_mut(&mut self, id: RequestId) -> Option<&mut Call<T>> {
        self.open.get_mut(&id)
    }

    /// Moves a deadline, or lifts it.
    pub(crate) fn set_deadline(&mut self, id: RequestId, deadline: Option<Instant>) {
        if let Some(call) = self.open.get_mut(&id) {
            self.deadlines.extend(deadline.map(|deadline| (deadline, id)));
            if let Some(old) = core::mem::replace(&mut call.deadline, deadline).filter(|old| Some(*old) != deadline) {
                self.deadlines.remove(&(old, id));
            }
        }
    }

    /// The request has ended: it is not under way any more.
    pub(crate) fn end(&mut self, id: RequestId) -> Option<Call<T>> {
        let call = self.open.remove(&id)?;
        if let Some(deadline) = call.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        Some(call)
    }

    /// The request is not wanted any more: the driver drops it.
    pub(crate) fn cancel(&mut self, id: RequestId) -> Option<Call<T>> {
        let call = self.end(id)?;
        let unsent = self.out.iter().position(|transmit| matches!(transmit, Transmit::Send(it, _) if *it == id));
        match unsent {
            Some(at) => drop(self.out.remove(at)),
            None => self.out.push_back(Transmit::Cancel(id)),
        }
        Some(call)
    }

    /// A request whose deadline has passed. O(log requests).
    pub(crate) fn overdue(&self, now: Instant) -> Option<RequestId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| *id)
    }

    /// The next deadline. O(log requests).
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    /// The request that was sent last.
    pub(crate) const fn latest(&self) -> RequestId {
        RequestId(self.last)
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }
}

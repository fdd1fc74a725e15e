//! What has happened lately, for those who ask.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::ACCEPT;
use periplus_core::event::Subject;
use periplus_core::json::write_string;
use periplus_core::protocol::Span;
use periplus_core::{Caller, Event, EventKind};
use tokio::time::{Instant, Sleep};

use super::answer::{self, Answer};
use super::body::Body;
use super::call::Call;
use super::encode;
use super::hub::Hub;
use super::{Server, watch};

/// How many events a follower is given at a time.
const TURN: usize = 256;

/// How many followers wait at once before all are made to look.
const WAITING: usize = 1024;

/// The latest events, numbered from 1.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Event>,
    /// The number of the next one.
    next: u64,
    kept: usize,
    /// Those who wait for the next one.
    pub(super) waiting: Vec<Waker>,
}

impl Ring {
    pub(super) const fn new(kept: usize) -> Self {
        Self { events: VecDeque::new(), next: 1, kept, waiting: Vec::new() }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.next += 1;
        self.events.push_back(event);
        if self.events.len() > self.kept {
            self.events.pop_front();
        }
    }

    fn wait(&mut self, waker: &Waker) {
        if self.waiting.iter().any(|known| known.will_wake(waker)) {
            return;
        }
        // Those who left are woken in vain.
        if self.waiting.len() >= WAITING {
            self.waiting.drain(..).for_each(Waker::wake);
        }
        self.waiting.push(waker.clone());
    }

    /// The number of the latest event.
    fn latest(&self) -> u64 {
        self.next - 1
    }

    /// Events after a number, oldest first, at most `limit`; those that are forgotten are passed over.
    fn after(&self, number: u64, limit: usize) -> Vec<(u64, Event)> {
        let first = self.next - self.events.len() as u64;
        let skip = (number + 1).saturating_sub(first);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let events = (first..).zip(&self.events).skip(skip).take(limit);
        events.map(|(at, event)| (at, event.clone())).collect()
    }
}

/// `GET /v1/events`: the latest, and for who accepts a stream, all that follow.
pub(super) fn events(call: &Call<'_>) -> Answer {
    let kept = call.server.config.events_kept.max(1);
    let limit = call.query.limit(100.min(kept), kept)?;
    let last_id = call.last_event_id()?;
    let accept = call.head.headers.get(ACCEPT);
    let stream =
        accept.and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/event-stream"));
    let back = |ring: &Ring| ring.latest().saturating_sub(limit as u64);
    if stream {
        let resumed = last_id.and_then(|id| id.parse().ok());
        let latest = call.hub.events(|ring| (back(ring), ring.latest()));
        // A number that was never given out is of another life of the server.
        let seen = resumed.filter(|&seen| seen <= latest.1);
        let body = EventsBody::new(Arc::clone(call.server), Arc::clone(&call.hub), seen.unwrap_or(latest.0));
        return Ok(answer::stream(Body::events(body)));
    }
    let events = call.hub.events(|ring| ring.after(back(ring), limit));
    let (_, date) = call.hub.read(|_| ());
    let mut out = answer::dated(call.hub.epoch(), date, events.len() * 256);
    answer::field(&mut out, "events");
    out.push(b'[');
    for (at, (number, it)) in events.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        event(&mut out, *number, it);
    }
    out.push(b']');
    Ok(answer::dated_end(out))
}

/// Appends an event as JSON.
fn event(out: &mut Vec<u8>, number: u64, event: &Event) {
    out.extend_from_slice(b"{\"number\":");
    encode::number(out, number);
    answer::field(out, "time");
    encode::number(out, event.time.0);
    answer::field(out, "revision");
    encode::number(out, event.revision.0);
    text(out, "event", event.kind.name());
    if let Some(Subject { service, instance }) = event.kind.subject() {
        text(out, "namespace", &service.namespace);
        text(out, "service", &service.service);
        text(out, "id", instance.id());
    }
    match &event.kind {
        EventKind::Registered { generation, .. } | EventKind::Superseded { generation, .. } => {
            count(out, "generation", *generation);
        }
        EventKind::Evicted { reason, .. }
        | EventKind::Overlaid { reason, .. }
        | EventKind::OverlayCleared { reason, .. } => text(out, "reason", reason),
        EventKind::Stalled { late, extended } => {
            text(out, "late", &Span(*late).to_string());
            count(out, "extended", *extended as u64);
        }
        EventKind::AlarmRaised(alarm) => {
            text(out, "namespace", &alarm.namespace);
            count(out, "expired", alarm.expired as u64);
            count(out, "of", alarm.of as u64);
        }
        EventKind::AlarmEnded { namespace } => text(out, "namespace", namespace),
        _ => {}
    }
    if let Some(by) = &event.caller {
        answer::field(out, "caller");
        caller(out, by);
    }
    out.push(b'}');
}

fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    answer::field(out, key);
    write_string(out, value);
}

fn count(out: &mut Vec<u8>, key: &str, n: u64) {
    answer::field(out, key);
    encode::number(out, n);
}

/// Appends a caller as JSON; what is not known of it is left out.
pub(super) fn caller(out: &mut Vec<u8>, caller: &Caller) {
    let known = [("who", &caller.who), ("from", &caller.from), ("client", &caller.client)];
    let mut open = b'{';
    for (key, value) in known.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(open);
        encode::pair(out, key, value);
        open = b',';
    }
    if open == b'{' {
        out.push(open);
    }
    out.push(b'}');
}

/// The stream of what happens.
pub(super) struct EventsBody {
    server: Arc<Server>,
    hub: Arc<Hub>,
    /// The number of the last event that was sent.
    seen: u64,
    quiet_until: Pin<Box<Sleep>>,
    begun: bool,
    ended: bool,
}

impl std::fmt::Debug for EventsBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventsBody(after {})", self.seen)
    }
}

impl EventsBody {
    fn new(server: Arc<Server>, hub: Arc<Hub>, seen: u64) -> Self {
        let quiet_until = Box::pin(tokio::time::sleep(server.config.keep_alive));
        Self { server, hub, seen, quiet_until, begun: false, ended: false }
    }

    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let events = self.hub.events(|ring| {
            let events = ring.after(self.seen, TURN);
            if events.is_empty() {
                ring.wait(cx.waker());
            }
            events
        });
        let mut out = Vec::new();
        for (number, it) in &events {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(it.kind.name().as_bytes());
            out.extend_from_slice(b"\ndata: ");
            event(&mut out, *number, it);
            out.extend_from_slice(b"\nid: ");
            encode::number(&mut out, *number);
            out.extend_from_slice(b"\n\n");
            self.seen = *number;
        }
        if out.is_empty() && (self.server.is_stopping() || self.hub.is_retired()) {
            self.ended = true;
            watch::bye(&mut out, self.seen);
        } else if out.is_empty() && !std::mem::replace(&mut self.begun, true) {
            // Something must be sent for the head of the answer to go out.
            out.extend_from_slice(b": nothing yet\n\n");
        } else if out.is_empty() {
            std::task::ready!(self.quiet_until.as_mut().poll(cx));
            let next = Instant::now() + self.server.config.keep_alive;
            self.quiet_until.as_mut().reset(next);
            out.extend_from_slice(b": still here\n\n");
        }
        self.begun = true;
        Poll::Ready(Some(out.into()))
    }
}

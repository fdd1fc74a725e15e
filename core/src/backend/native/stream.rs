//! The watch stream: opening it where the one before was, and making deliveries of its events.
//!
//! There is one at a time. Two would not do for a moment: what a registry sends to a cursor is the difference from there,
//! and means nothing to a set that another stream has brought further meanwhile.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use smol_str::SmolStr;

use super::report::Report;
use super::{Aside, Native};
use crate::catalog::Selector;
use crate::client::calls::Way;
use crate::client::link::Fall;
use crate::client::subscription::{Delivery, Following, Told};
use crate::client::{Channel, ClientEvent};
use crate::fault::Fault;
use crate::http::body::parse;
use crate::http::sse::{Event, SseDecoder};
use crate::http::target::Target;
use crate::http::{Head, Method, RequestId};
use crate::instance::ServiceInstance;
use crate::name::{InstanceId, NameError, Namespace, ServiceKey, ServiceName};
use crate::packed::Instance;
use crate::protocol::{
    AlarmEndedMessage, AlarmMessage, OpenedMessage, PutMessage, RemoveMessage, SnapshotMessage, Span, WatchMessage,
    WatchedMessage,
};
use crate::set::{Cursor, Revision};
use crate::time::Instant;

/// What is asked for within this time is asked for with one request.
const GATHER: Duration = Duration::from_millis(2);

/// The stream of a client.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Option<Stream>,
    /// Sent, and not answered yet.
    opening: Option<Stream>,
    /// What the one before followed, and when it was last heard, until the new one is answered.
    before: Option<(Following, Instant)>,
    /// When a new one is to be opened.
    due: Option<Instant>,
    opened: bool,
}

impl Streams {
    /// How many requests they have under way, their reports among them.
    pub(super) fn calls(&self) -> usize {
        let reports = self.open.as_ref().and_then(|open| open.report.call());
        self.len() + usize::from(reports.is_some())
    }

    /// How many there are.
    const fn len(&self) -> usize {
        self.open.is_some() as usize + self.opening.is_some() as usize
    }

    /// The one that is answered.
    pub(super) const fn open_mut(&mut self) -> Option<&mut Stream> {
        self.open.as_mut()
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) call: RequestId,
    pub(super) following: Following,
    events: SseDecoder,
    gathered: Gathered,
    heard: Instant,
    warming: bool,
    pub(super) last: Option<Cursor>,
    /// What the registry asked for at its goodbye.
    retry: Option<Duration>,
    pub(super) report: Report,
}

/// The events of a delivery that is not complete.
#[derive(Debug, Default)]
struct Gathered {
    delivery: Delivery,
    /// How many of the next puts belong to the last snapshot.
    announced: usize,
    bytes: usize,
}

/// What an event means.
enum Meaning {
    /// Nothing, or nothing yet.
    None,
    /// It belongs to a delivery but is no instance, or none that has a name.
    Skipped(String),
    /// What the watch is called.
    Opened(SmolStr),
    Warming,
    Settled,
    Alarm(AlarmMessage),
    AlarmEnded(AlarmEndedMessage),
    Bye(Option<Duration>),
    /// The registry is behind what the client has seen.
    Behind,
    /// The stream makes no sense.
    Nonsense(String),
}

impl Native {
    /// Opens a stream if one is needed and may be opened now.
    pub(super) fn open_streams(&mut self, now: Instant) {
        if self.subscriptions.take_changed_interests() {
            let gathers = self.wire.streams.len() > 0 && !self.subscriptions.is_suspended();
            let at = if gathers { now.saturating_add(GATHER) } else { now };
            self.wire.streams.due = Some(self.wire.streams.due.map_or(at, |due| due.min(at)));
        }
        if self.wire.streams.due.is_none_or(|due| due > now) {
            return;
        }
        if self.subscriptions.interests().next().is_none() {
            return self.close_streams();
        }
        if !self.watch.is_ready(now) {
            return;
        }
        self.wire.streams.due = None;
        if let Some(opening) = self.wire.streams.opening.take() {
            self.calls.cancel(opening.call);
        }
        if let Some(open) = self.wire.streams.open.take() {
            self.drop_stream(&open);
            self.wire.streams.before = Some((open.following, open.heard));
        }
        let mut selectors = Vec::new();
        let mut watch = Vec::new();
        for (_, selector, since) in self.subscriptions.interests() {
            watch.push(watched(selector, since));
            selectors.push(selector.clone());
        }
        let body = serde_json::to_vec(&WatchMessage { watch }).expect("a message has only text keys");
        let way = self.watch.way();
        let mut request = self.request(way.origin, Method::Post, &Target::new("/v1/watch"), body);
        request.streaming = true;
        request.set_header("accept", "text/event-stream");
        let call = self.send_aside(Aside::Watch, way, request, Some(now.saturating_add(self.config.call_timeout)));
        self.wire.streams.opening = Some(Stream {
            call,
            following: Following::new(selectors),
            events: SseDecoder::new(self.config.limits.event),
            gathered: Gathered::default(),
            heard: now,
            warming: false,
            last: None,
            retry: None,
            report: Report::default(),
        });
    }

    /// A stream is not wanted any more, nor what it has to report.
    fn drop_stream(&mut self, stream: &Stream) {
        for call in [Some(stream.call), stream.report.call()].into_iter().flatten() {
            self.calls.cancel(call);
        }
    }

    /// Nothing is followed any more.
    pub(super) fn close_streams(&mut self) {
        let Streams { open, opening, opened, .. } = mem::take(&mut self.wire.streams);
        self.wire.streams.opened = opened;
        for stream in open.into_iter().chain(opening) {
            self.drop_stream(&stream);
        }
    }

    /// The connection may have died unnoticed: a new stream takes over.
    pub(super) fn refresh_streams(&mut self, now: Instant) {
        if self.wire.streams.len() > 0 {
            let at = now.saturating_add(self.rng.time_below(GATHER * 50));
            self.wire.streams.due = Some(self.wire.streams.due.map_or(at, |due| due.min(at)));
        }
    }

    /// When the streams want to be looked at.
    pub(super) fn streams_timeout(&self) -> Option<Instant> {
        let due = self.wire.streams.due.map(|due| self.watch.retry().map_or(due, |retry| due.max(retry)));
        let Streams { open, before, .. } = &self.wire.streams;
        let heard = open.as_ref().map(|open| open.heard).or_else(|| before.as_ref().map(|(_, heard)| *heard));
        let silent = heard.map(|heard| heard.saturating_add(self.config.silence));
        let silent = silent.filter(|_| !self.config.faults.has(Fault::SilenceForgotten));
        let report = open.as_ref().and_then(|open| open.report.due());
        due.into_iter().chain(silent).chain(report).min()
    }

    /// Gives up a stream that has been silent for too long. One that takes over from a stream has until that would have
    /// been: whoever watches this and that, again and again, would else never hear that nothing is heard.
    pub(super) fn watch_silence(&mut self, now: Instant) {
        if self.config.faults.has(Fault::SilenceForgotten) {
            return;
        }
        let silent = |heard: Instant| heard.saturating_add(self.config.silence) <= now;
        if let Some(open) = self.wire.streams.open.as_ref().filter(|open| silent(open.heard)) {
            let id = open.call;
            self.break_off(id, Fall::Bad(None), "the registry has gone silent", now);
        } else if let Some((mut following, heard)) = self.wire.streams.before.take_if(|(_, heard)| silent(*heard)) {
            self.subscriptions.stale(&mut following, heard);
        }
    }

    /// A stream is answered.
    pub(super) fn on_stream_head(&mut self, id: RequestId, head: &Head, now: Instant) {
        if !head.is_success() || self.wire.streams.opening.as_ref().is_none_or(|opening| opening.call != id) {
            return;
        }
        let kind = head.header("content-type").unwrap_or("");
        if !kind.starts_with("text/event-stream") {
            let reason = format!("a stream of events was expected, not {kind:?}");
            return self.break_off(id, Fall::Bad(None), &reason, now);
        }
        let Some(mut stream) = self.wire.streams.opening.take() else {
            return;
        };
        stream.heard = now;
        self.calls.set_deadline(id, None);
        self.wire.streams.open = Some(stream);
        self.wire.streams.before = None;
        if mem::replace(&mut self.wire.streams.opened, true) {
            self.counters.reconnects += 1;
        }
        if let Some(way) = self.calls.of_mut(id).map(|call| call.way) {
            self.on_answer(Channel::Watch, way, now);
        }
    }

    /// A piece of a stream has come.
    pub(super) fn on_stream_chunk(&mut self, id: RequestId, chunk: &[u8], now: Instant) {
        let mut rest = chunk;
        loop {
            let Some(stream) = self.wire.streams.open.as_mut().filter(|open| open.call == id) else {
                return;
            };
            stream.heard = now;
            let event = match stream.events.decode(&mut rest) {
                Ok(Some(event)) => event,
                Ok(None) => return,
                Err(error) => return self.break_off(id, Fall::Bad(None), &error.to_string(), now),
            };
            self.on_stream_event(id, event, now);
        }
    }

    fn on_stream_event(&mut self, id: RequestId, mut event: Event, now: Instant) {
        let Some(stream) = &mut self.wire.streams.open else {
            return;
        };
        let cursor = event.id.take();
        match stream.gathered.take(&event, self.config.limits.delivery) {
            Meaning::None => {}
            Meaning::Skipped(problem) => {
                self.counters.skipped += 1;
                self.emit(ClientEvent::Skipped { problem });
            }
            Meaning::Opened(watch) => stream.report.name(watch),
            Meaning::Warming => stream.warming = !self.config.faults.has(Fault::WarmingIgnored),
            // It has settled with the delivery that this belongs to: what came back may be in it.
            Meaning::Settled => stream.warming = false,
            Meaning::Alarm(AlarmMessage { namespace, expired, of }) => {
                self.emit(ClientEvent::Alarm { namespace, expired, of });
            }
            Meaning::AlarmEnded(AlarmEndedMessage { namespace }) => {
                self.emit(ClientEvent::AlarmEnded { namespace });
            }
            Meaning::Bye(retry) => stream.retry = retry,
            Meaning::Behind => {
                return self.break_off(id, Fall::Bad(None), "the registry is behind what was seen before", now);
            }
            Meaning::Nonsense(reason) => return self.break_off(id, Fall::Bad(None), &reason, now),
        }
        if let Some(cursor) = cursor {
            self.on_cursor(id, &cursor, now);
        }
    }

    /// A delivery is complete.
    fn on_cursor(&mut self, id: RequestId, text: &str, now: Instant) {
        let Some(stream) = &mut self.wire.streams.open else {
            return;
        };
        let Gathered { mut delivery, announced, .. } = mem::take(&mut stream.gathered);
        let cursor: Cursor = match text.parse() {
            Ok(cursor) if announced == 0 => cursor,
            Ok(_) => return self.break_off(id, Fall::Bad(None), "a snapshot has less than it announced", now),
            Err(_) => return self.break_off(id, Fall::Bad(None), "an event's id is no cursor", now),
        };
        stream.last = Some(cursor.clone());
        let tells = !delivery.snapshots.is_empty() || !delivery.changes.is_empty();
        stream.report.delivered(&cursor, tells);
        delivery.cursor = Some(cursor);
        delivery.warming = stream.warming;
        let taken = self.subscriptions.deliver(&mut stream.following, &delivery, now);
        if let Err(error) = taken {
            self.break_off(id, Fall::Bad(None), &error.to_string(), now);
        }
    }

    /// A stream is over.
    pub(super) fn on_stream_over(&mut self, id: RequestId, way: Way, fall: Fall, reason: &str, now: Instant) {
        let mut fall = fall;
        if self.wire.streams.opening.as_ref().is_some_and(|opening| opening.call == id) {
            self.wire.streams.opening = None;
            if let Some((mut following, heard)) = self.wire.streams.before.take() {
                self.subscriptions.stale(&mut following, heard);
            }
        } else if let Some(mut open) = self.wire.streams.open.take_if(|open| open.call == id) {
            if self.config.faults.has(Fault::HalfDelivery) {
                let half = mem::take(&mut open.gathered).delivery;
                let next = |Cursor { epoch, revision }| Cursor { epoch, revision: Revision(revision.0 + 1) };
                let half = Delivery { cursor: open.last.take().map(next), ..half };
                if !half.changes.is_empty() {
                    let _ = self.subscriptions.deliver(&mut open.following, &half, now);
                }
            }
            self.drop_stream(&open);
            if !self.config.faults.has(Fault::StaleNotTold) {
                self.subscriptions.stale(&mut open.following, open.heard);
            }
            if let Some(retry) = open.retry {
                fall = Fall::Asked(retry);
            }
        } else {
            return;
        }
        self.wire.streams.due = Some(now);
        self.on_fall(Channel::Watch, way, fall, reason, now);
    }
}

impl Gathered {
    /// Takes an event. Its id, if it has one, is dealt with after it.
    fn take(&mut self, event: &Event, limit: usize) -> Meaning {
        self.bytes += event.data.len();
        if self.bytes > limit {
            return Meaning::Nonsense(format!("a delivery is longer than {limit} bytes"));
        }
        let data = event.data.as_bytes();
        let taken = match event.event.as_str() {
            "snapshot" => return self.on_snapshot(data),
            "put" => self.on_put(data),
            "remove" => self.on_remove(data),
            "watch" => return parse(data).map_or(Meaning::None, |OpenedMessage { watch }| Meaning::Opened(watch)),
            "warming" => return Meaning::Warming,
            "settled" => return Meaning::Settled,
            "alarm_ended" => return parse(data).map_or(Meaning::None, Meaning::AlarmEnded),
            "alarm" => return parse(data).map_or(Meaning::None, Meaning::Alarm),
            "behind" => return Meaning::Behind,
            "bye" => return Meaning::Bye(event.retry),
            // A bookmark, or an event of a later version.
            _ => Ok(()),
        };
        taken.map_or_else(Meaning::Skipped, |()| Meaning::None)
    }

    fn on_snapshot(&mut self, data: &[u8]) -> Meaning {
        if self.announced > 0 {
            return Meaning::Nonsense("a snapshot has less than it announced".into());
        }
        let read = || {
            let message: SnapshotMessage = parse(data).map_err(|error| error.to_string())?;
            let namespace = namespace(message.namespace).map_err(|error| error.to_string())?;
            let selector = match message.service {
                Some(service) => {
                    let service = ServiceName::new(service).map_err(|error| error.to_string())?;
                    Selector::Service(ServiceKey::new(namespace, service))
                }
                None => Selector::Prefix { namespace, prefix: message.prefix.unwrap_or_default() },
            };
            Ok((selector, message.count))
        };
        match read() {
            Ok((selector, count)) => {
                self.announced = count;
                self.delivery.snapshots.push((selector, Vec::new()));
                Meaning::None
            }
            Err(error) => Meaning::Nonsense(error),
        }
    }

    fn on_put(&mut self, data: &[u8]) -> Result<(), String> {
        let listed = self.announced > 0;
        self.announced = self.announced.saturating_sub(1);
        let instance = ServiceInstance::from_json(data).map_err(|error| error.to_string())?;
        let PutMessage { ttl, namespace } = parse(data).map_err(|error| error.to_string())?;
        let ttl = ttl.map(|Span(ttl)| ttl);
        let packed = Instance::pack(&instance);
        if let Some((_, instances)) = self.delivery.snapshots.last_mut().filter(|_| listed) {
            instances.push((packed, ttl));
        } else {
            let namespace = self::namespace(namespace).map_err(|error| error.to_string())?;
            self.delivery.changes.push((ServiceKey::new(namespace, instance.name), Told::Put(packed, ttl)));
        }
        Ok(())
    }

    fn on_remove(&mut self, data: &[u8]) -> Result<(), String> {
        let RemoveMessage { name, id, cause, namespace } = parse(data).map_err(|error| error.to_string())?;
        let read = || {
            let service = ServiceKey::new(self::namespace(namespace)?, ServiceName::new(name)?);
            Ok((service, Told::Remove(InstanceId::new(id)?, cause)))
        };
        let change = read().map_err(|error: NameError| error.to_string())?;
        self.delivery.changes.push(change);
        Ok(())
    }
}

fn namespace(name: Option<SmolStr>) -> Result<Namespace, NameError> {
    name.map_or_else(|| Ok(Namespace::default()), Namespace::new)
}

fn watched(selector: &Selector, since: Option<&Cursor>) -> WatchedMessage {
    let ns = Some(SmolStr::new(selector.namespace().as_str()));
    let since = since.map(|cursor| SmolStr::new(cursor.to_string()));
    match selector {
        Selector::Service(key) => {
            WatchedMessage { ns, service: Some(SmolStr::new(key.service.as_str())), prefix: None, since }
        }
        Selector::Prefix { prefix, .. } => WatchedMessage { ns, service: None, prefix: Some(prefix.clone()), since },
    }
}

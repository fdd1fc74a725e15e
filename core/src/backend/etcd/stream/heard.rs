//! What a stream says.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::super::cluster::Past;
use super::super::listing::Target;
use super::super::message::{self, Event, Line, Refusal, Watched};
use super::super::{Etcd, keys};
use super::Streams;
use crate::client::Channel;
use crate::client::backoff::Backoff;
use crate::client::link::Fall;
use crate::client::subscription::Delivery;
use crate::fault::Fault;
use crate::http::RequestId;
use crate::http::body::parse;
use crate::time::Instant;

impl Etcd {
    pub(in crate::backend::etcd) fn on_stream_chunk(&mut self, id: RequestId, chunk: &[u8], now: Instant) {
        let mut rest = chunk;
        let mut heard = false;
        loop {
            let Streams { open, opening, .. } = &mut self.wire.streams;
            let Some(stream) = open.iter_mut().chain(opening).find(|stream| stream.call == id) else {
                return;
            };
            let line = match stream.lines.decode(&mut rest) {
                Ok(Some(line)) => parse::<Line<Watched>>(line),
                Ok(None) => break,
                Err(error) => return self.break_off(id, Fall::Bad(None), &error.to_string(), now),
            };
            match line {
                Ok(Line { result: Some(watched), .. }) => {
                    if !self.take_over(id, &watched, now) {
                        return;
                    }
                    heard = true;
                    self.on_watched(id, watched, now);
                }
                Ok(Line { error, .. }) => {
                    let refusal = error.map(Refusal::from).unwrap_or_default();
                    if refusal.wants_login() {
                        self.on_token_refused(id);
                    }
                    return self.break_off(id, Fall::Bad(None), &refusal.message, now);
                }
                Err(error) => return self.break_off(id, Fall::Bad(None), &error.to_string(), now),
            }
        }
        if heard {
            self.on_heard(now);
        }
    }

    /// The first word of a stream: it takes over from the one before. Whether the stream is any good.
    fn take_over(&mut self, id: RequestId, watched: &Watched, now: Instant) -> bool {
        let Some(opening) = self.wire.streams.opening.as_ref().filter(|opening| opening.call == id) else {
            return true;
        };
        let blind = self.config.faults.has(Fault::EtcdRegressUnseen);
        let from = opening.watches.iter().map(|watch| watch.from).max().unwrap_or(0);
        match opening.floor.past(&watched.header, from) {
            _ if blind => {}
            Past::Kept => {}
            Past::Lost => {
                self.on_history_lost(&watched.header, now);
                return false;
            }
            Past::Doubtful => {
                // A listing tells, which no member that lags answers, unless it is asked so late that a new history has
                // caught up.
                self.wire.streams.relist.extend(opening.watches.iter().map(|watch| watch.target.clone()));
                if let Some(opening) = self.wire.streams.opening.take() {
                    self.calls.cancel(opening.call);
                }
                let again = self.wire.streams.doubted.replace(now);
                let wait = match again.filter(|before| now.saturating_since(*before) < Backoff::STABLE) {
                    Some(_) => self.wire.streams.backoff.next(&mut self.rng, Backoff::CAP, None, now),
                    None => Duration::ZERO,
                };
                self.wire.streams.due = Some(now.saturating_add(wait));
                return false;
            }
        }
        // A watch is denied in the same words if its token is not good any more: the one before need not end for that.
        if watched.canceled && watched.compact_revision == 0 && self.on_token_refused(id) {
            if let Some(opening) = self.wire.streams.opening.take() {
                self.calls.cancel(opening.call);
            }
            self.wire.streams.due_at(now);
            return false;
        }
        self.wire.streams.listed.clear();
        let old = mem::replace(&mut self.wire.streams.open, self.wire.streams.opening.take());
        if let Some(old) = old {
            self.calls.cancel(old.call);
        }
        self.calls.set_deadline(id, None);
        if mem::replace(&mut self.wire.streams.opened, true) {
            self.counters.reconnects += 1;
        }
        if let Some(way) = self.calls.of_mut(id).map(|call| call.way) {
            self.on_answer(Channel::Watch, way, now);
        }
        true
    }

    fn on_watched(&mut self, id: RequestId, watched: Watched, now: Instant) {
        let Some(stream) = &mut self.wire.streams.open else {
            return;
        };
        // What etcd says when it cancels a watch is not dated.
        if watched.header.revision > 0 {
            self.wire.cluster.heard(&watched.header);
        }
        let at = match watched.created {
            true => {
                let at = stream.answered;
                stream.answered += 1;
                // One that was refused has no id of its own.
                if watched.watch_id >= 0 {
                    stream.ids.insert(watched.watch_id, at);
                }
                Some(at)
            }
            false => stream.ids.get(&watched.watch_id).copied(),
        };
        if at.is_none() && watched.watch_id < 0 && !watched.canceled {
            return self.on_progress(&watched, now);
        }
        let Some((at, watch)) = at.and_then(|at| Some((at, stream.watches.get_mut(at)?))) else {
            return;
        };
        if watched.canceled {
            return self.on_canceled(id, at, watched, now);
        }
        if watched.created {
            self.wire.door.proven();
            if watched.header.revision == watch.from || !stream.tells_progress {
                let warming = self.wire.cluster.is_warming(now);
                self.subscriptions.live(&mut watch.following, warming, now);
            }
        } else {
            self.on_events(at, watched, now);
        }
    }

    /// The watches are asked how far they are. Until 3.4.24 and 3.5.7, etcd answers at once, whatever is still to be
    /// told: that it lives is all that this proves.
    fn on_progress(&mut self, watched: &Watched, now: Instant) {
        let Some(stream) = &mut self.wire.streams.open else {
            return;
        };
        let warming = self.wire.cluster.is_warming(now);
        let believed = self.config.faults.has(Fault::EtcdProgressBelieved);
        for watch in stream.watches.iter_mut().filter(|watch| !watch.over) {
            if believed && watched.header.revision > watch.from {
                watch.from = watched.header.revision;
                let cursor = Some(self.wire.cluster.cursor(watch.from));
                let delivery = Delivery { cursor, warming, ..Delivery::default() };
                let _ = self.subscriptions.deliver(&mut watch.following, &delivery, now);
            }
            self.subscriptions.live(&mut watch.following, warming, now);
        }
    }

    /// Changes of one watch, whole revisions of them; or, without any, how far it is.
    fn on_events(&mut self, at: usize, watched: Watched, now: Instant) {
        let Some(watch) = self.wire.streams.open.as_mut().and_then(|stream| stream.watches.get_mut(at)) else {
            return;
        };
        let last = watched.events.last().map_or(watched.header.revision, |event| event.kv.mod_revision);
        if watch.over || last <= watch.from {
            return;
        }
        watch.from = last;
        self.wire.cluster.seen(last);
        match watch.target.clone() {
            Target::Own(id) => {
                for event in &watched.events {
                    self.on_fact(event, last);
                    self.on_own_event(id, event, now);
                }
                if let Some(claim) = self.wire.claims.of_mut(id).filter(|claim| claim.news.is_none()) {
                    claim.since = claim.since.max(Some(last));
                }
            }
            Target::Followed(selector) => {
                let mut changes = Vec::new();
                for event in &watched.events {
                    self.on_fact(event, last);
                    let prefix = &self.wire.options.prefix;
                    let said = if event.is_delete() {
                        keys::remove(prefix, &selector, &event.kv.key.0)
                    } else {
                        keys::put(prefix, &selector, &event.kv, self.config.faults)
                    };
                    changes.extend(said.changes);
                    self.on_skipped(said.problem);
                }
                let cursor = Some(self.wire.cluster.cursor(last));
                let warming = self.wire.cluster.is_warming(now);
                let delivery = Delivery { cursor, snapshots: Vec::new(), changes, warming };
                if let Some(watch) = self.wire.streams.open.as_mut().and_then(|stream| stream.watches.get_mut(at)) {
                    // There is no snapshot in it that could be refused.
                    let _ = self.subscriptions.deliver(&mut watch.following, &delivery, now);
                }
            }
        }
    }

    fn on_fact(&mut self, event: &Event, until: u64) {
        if event.is_delete() {
            self.wire.streams.facts.forget(&event.kv.key.0);
        } else {
            self.wire.streams.facts.note(&event.kv, until);
        }
    }

    /// etcd has ended one watch. The stream goes on.
    fn on_canceled(&mut self, id: RequestId, at: usize, watched: Watched, now: Instant) {
        if self.config.faults.has(Fault::EtcdCompactionIgnored) && watched.compact_revision > 0 {
            return;
        }
        let Some(stream) = &mut self.wire.streams.open else {
            return;
        };
        let Some(watch) = stream.watches.get_mut(at) else {
            return;
        };
        watch.over = true;
        let target = watch.target.clone();
        if watched.compact_revision > 0 {
            // What has changed since is not known any more, but what is there is. It may have to be told more than once
            // that it is too late, but not all the time.
            self.wire.streams.relist.insert(target);
            let wait = self.wire.streams.backoff.next(&mut self.rng, Backoff::CAP, None, now);
            return self.wire.streams.due_at(now.saturating_add(wait));
        }
        self.subscriptions.stale(&mut watch.following, stream.heard);
        let refusal = Refusal { code: message::DENIED, message: watched.cancel_reason };
        if self.on_token_refused(id) {
            let wait = self.wire.streams.backoff.next(&mut self.rng, Backoff::CAP, None, now);
            return self.wire.streams.due_at(now.saturating_add(wait));
        }
        self.put_aside(target, refusal, now);
    }
}

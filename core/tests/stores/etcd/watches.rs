//! Watches: what they are told when.

use periplus_core::Instant;
use periplus_core::http::{Head, Request};
use serde_json::{Value as Json, json};

use super::mvcc::{Change, within};
use super::{BATCH, EtcdStore, ExchangeId, OK, Part, Reply, SYNC, Stream, Watch};
use super::{bytes, documents, end, event, integer};

impl EtcdStore {
    pub fn watch(&mut self, exchange: ExchangeId, request: &Request, now: Instant) -> Reply {
        let admitted = self.admitted(request, now).is_ok();
        let mut stream = Stream { watches: vec![], sync: None, asked: false };
        self.parts.push_back((exchange, Part::Head(Head::new(OK))));
        for asked in documents(&request.body) {
            let Some(create) = asked.get("create_request") else {
                stream.asked = true;
                continue;
            };
            if !admitted {
                let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
                let denied = json!({ "watch_id": "-1", "created": true, "canceled": true, "cancel_reason": reason });
                self.say(exchange, denied);
                stream.watches.push(Watch { key: vec![], end: None, next: 0, synced: true, over: true });
                continue;
            }
            let id = stream.watches.len();
            let next = integer(&create["start_revision"]).unsigned_abs();
            let synced = next > self.mvcc.revision;
            stream.watches.push(Watch { key: bytes(&create["key"]), end: end(create), next, synced, over: false });
            self.say(exchange, json!({ "watch_id": id.to_string(), "created": true }));
        }
        if stream.watches.iter().any(|watch| !watch.synced) {
            stream.sync = Some(now.saturating_add(SYNC));
        }
        if stream.asked && self.make.path == "/v3" && (self.make.hasty || stream.sync.is_none()) {
            stream.asked = false;
            self.say(exchange, json!({ "watch_id": "-1" }));
        }
        self.streams.insert(exchange, stream);
        Reply::Held
    }

    pub fn say(&mut self, exchange: ExchangeId, mut result: Json) {
        result["header"] = self.header();
        if result["watch_id"] == "0" {
            result.as_object_mut().expect("an object").remove("watch_id");
        }
        let mut line = json!({ "result": result }).to_string().into_bytes();
        line.push(b'\n');
        self.parts.push_back((exchange, Part::Chunk(line)));
    }

    /// Those who have heard everything so far hear what is new, a revision at a time.
    pub fn notify(&mut self) {
        for revision in self.told + 1..=self.mvcc.revision {
            for exchange in self.streams.keys().copied().collect::<Vec<_>>() {
                for at in 0..self.streams[&exchange].watches.len() {
                    let watch = &self.streams[&exchange].watches[at];
                    if watch.synced && !watch.over && watch.next <= revision {
                        self.tell(exchange, at, revision..=revision);
                    }
                }
            }
        }
        self.told = self.mvcc.revision;
    }

    pub fn tell(&mut self, exchange: ExchangeId, at: usize, revisions: std::ops::RangeInclusive<u64>) {
        let Some(watch) = self.streams.get_mut(&exchange).and_then(|stream| stream.watches.get_mut(at)) else {
            return;
        };
        watch.next = revisions.end() + 1;
        let of_it =
            |it: &&Change| revisions.contains(&it.revision) && within(&it.key, &watch.key, watch.end.as_deref());
        let events: Vec<Json> = self.mvcc.history.iter().filter(of_it).map(event).collect();
        if !events.is_empty() {
            self.say(exchange, json!({ "watch_id": at.to_string(), "events": events }));
        }
    }

    /// Those who asked for the past are told it.
    pub fn sync(&mut self, exchange: ExchangeId) {
        for at in 0..self.streams[&exchange].watches.len() {
            let watch = &self.streams[&exchange].watches[at];
            if watch.synced {
                continue;
            }
            let (next, revision) = (watch.next, self.mvcc.revision);
            let late = next <= self.mvcc.compacted;
            if late {
                let compacted = self.mvcc.compacted.to_string();
                let canceled = json!({ "watch_id": at.to_string(), "canceled": true, "compact_revision": compacted });
                self.say(exchange, canceled);
            } else {
                for from in (next..=revision).step_by(BATCH) {
                    self.tell(exchange, at, from..=revision.min(from + BATCH as u64 - 1));
                }
            }
            let watch = self.streams.get_mut(&exchange).and_then(|stream| stream.watches.get_mut(at));
            let watch = watch.expect("it is there");
            (watch.synced, watch.over, watch.next) = (true, late, revision + 1);
        }
        let asked = self.streams.get_mut(&exchange).is_some_and(|stream| std::mem::take(&mut stream.asked));
        if asked && self.make.path == "/v3" {
            self.say(exchange, json!({ "watch_id": "-1" }));
        }
    }
}

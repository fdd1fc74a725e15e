//! The machine, fed by hand.

mod faults;
mod followed;
mod held;
mod let_in;
mod table;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde_json::{Value, json};

use super::{Etcd, EtcdOptions};
use crate::catalog::Selector;
use crate::client::{
    Backend, ClientConfig, ClientEvent, Provenance, Registration, RegistrationId, RegistrationState, SubscriptionId,
};
use crate::fault::Faults;
use crate::http::base64::{decode, encode};
use crate::http::{Failure, Head, Request, RequestId, Transmit};
use crate::instance::ServiceInstance;
use crate::name::{InstanceId, Namespace, ServiceKey, ServiceName};
use crate::time::Instant;

/// A machine and the requests that it has sent.
struct Hand {
    etcd: Etcd,
    now: Instant,
    /// Sent, and not looked at yet.
    sent: VecDeque<(RequestId, Request)>,
    cancelled: Vec<RequestId>,
}

/// A request as it was sent.
struct Asked {
    id: RequestId,
    request: Request,
    /// What follows the version in the path.
    path: String,
    /// The documents of the body.
    body: Vec<Value>,
}

impl Asked {
    fn new((id, request): (RequestId, Request)) -> Self {
        let path = request.url.split_once("/v3").map_or("", |(_, path)| path).to_string();
        let body = serde_json::Deserializer::from_slice(&request.body).into_iter().map(Result::unwrap).collect();
        Self { id, request, path, body }
    }

    /// Whether it writes a key, or reads it for want of the state that was expected.
    fn is_write(&self) -> bool {
        self.body[0].get("compare").is_some()
    }
}

fn instance(id: &str) -> ServiceInstance {
    ServiceInstance::new(ServiceName::new("web").unwrap(), InstanceId::new(id).unwrap()).with_metadata("k", "v")
}

fn registration(id: &str) -> Registration {
    Registration { ttl: Some(Duration::from_secs(15)), ..Registration::new(instance(id)) }
}

fn web() -> Selector {
    Selector::Service(ServiceKey::new(Namespace::default(), ServiceName::new("web").unwrap()))
}

fn header(revision: u64) -> Value {
    json!({ "cluster_id": "77", "member_id": "5", "revision": revision.to_string(), "raft_term": "2" })
}

/// A pair as etcd lists it.
fn pair(id: &str, written: u64, lease: i64) -> Value {
    let value = String::from_utf8(instance(id).to_json()).unwrap();
    pair_of(&format!("/microservices/web/{id}"), &value, written, lease)
}

fn pair_of(key: &str, value: &str, written: u64, lease: i64) -> Value {
    json!({ "key": encode(key.as_bytes()), "value": encode(value.as_bytes()), "mod_revision": written.to_string(),
        "create_revision": written.to_string(), "version": "1", "lease": lease.to_string() })
}

fn gone(id: &str, revision: u64) -> Value {
    let key = encode(format!("/microservices/web/{id}").as_bytes());
    json!({ "type": "DELETE", "kv": { "key": key, "mod_revision": revision.to_string() } })
}

fn text(base64: &Value) -> String {
    String::from_utf8(decode(base64.as_str().unwrap()).unwrap()).unwrap()
}

impl Hand {
    fn new() -> Self {
        Self::with(EtcdOptions::default(), &["http://a:1"], Faults::default())
    }

    fn faulty(faults: Faults) -> Self {
        Self::with(EtcdOptions::default(), &["http://a:1"], faults)
    }

    fn with(options: EtcdOptions, origins: &[&str], faults: Faults) -> Self {
        let origins = origins.iter().map(ToString::to_string).collect();
        let config = ClientConfig { origins, faults, ..ClientConfig::default() };
        let now = Instant::from_millis(5_000);
        let etcd = Etcd::new(config, options, [3; 32], now);
        Self { etcd, now, sent: VecDeque::new(), cancelled: Vec::new() }
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.etcd.poll_transmit() {
            match transmit {
                Transmit::Send(id, request) => self.sent.push_back((id, request)),
                Transmit::Cancel(id) => self.cancelled.push(id),
            }
        }
    }

    /// The next request that was sent, if there is one.
    fn asked(&mut self) -> Option<Asked> {
        self.drain();
        self.sent.pop_front().map(Asked::new)
    }

    /// The next request that goes there, however long that takes. Others are left for later.
    fn ask(&mut self, path: &str) -> Asked {
        self.ask_for(path, |_| true)
    }

    fn ask_for(&mut self, path: &str, like: fn(&Asked) -> bool) -> Asked {
        for _ in 0..1_000 {
            self.drain();
            let fits = |sent: &(RequestId, Request)| {
                let asked = Asked::new(sent.clone());
                asked.path == path && like(&asked)
            };
            if let Some(at) = self.sent.iter().position(fits) {
                return Asked::new(self.sent.remove(at).unwrap());
            }
            let Some(at) = self.etcd.poll_timeout() else { break };
            self.now = at.max(self.now);
            self.etcd.handle_timeout(self.now);
        }
        panic!("nothing goes to {path}, but {:?}", self.sent);
    }

    fn answer(&mut self, id: RequestId, status: u16, body: &Value) {
        self.answer_text(id, status, &body.to_string());
    }

    fn answer_text(&mut self, id: RequestId, status: u16, body: &str) {
        self.etcd.handle_response(id, &Head::new(status), self.now);
        self.etcd.handle_chunk(id, body.as_bytes(), self.now);
        self.etcd.handle_end(id, self.now);
    }

    fn fail(&mut self, id: RequestId) {
        self.etcd.handle_failure(id, &Failure::unknown("reset"), self.now);
    }

    /// A line of a stream.
    fn say(&mut self, id: RequestId, result: &Value) {
        let line = json!({ "result": result }).to_string() + "\n";
        self.etcd.handle_chunk(id, line.as_bytes(), self.now);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.saturating_add(time);
        while let Some(at) = self.etcd.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.etcd.handle_timeout(self.now);
            assert!(self.etcd.poll_timeout().is_none_or(|next| next > self.now), "it spins");
        }
        self.now = end;
        self.etcd.handle_timeout(self.now);
    }

    fn events(&mut self) -> Vec<ClientEvent> {
        core::iter::from_fn(|| self.etcd.poll_event()).collect()
    }

    fn state(&self, id: RegistrationId) -> RegistrationState {
        self.etcd.registration(id).unwrap().state
    }

    fn shown(&self, id: SubscriptionId) -> Vec<String> {
        self.etcd.view(id).unwrap().instances.iter().map(|instance| instance.id().to_string()).collect()
    }

    fn provenance(&self, id: SubscriptionId) -> Provenance {
        self.etcd.view(id).unwrap().provenance
    }

    // What etcd does, as far as it goes well.

    /// Answers a grant. Gives the lease.
    fn grant(&mut self, revision: u64) -> i64 {
        let asked = self.ask("/lease/grant");
        let lease = asked.body[0]["ID"].as_str().unwrap().to_string();
        let ttl = &asked.body[0]["TTL"];
        self.answer(asked.id, 200, &json!({ "header": header(revision), "ID": lease, "TTL": ttl }));
        lease.parse().unwrap()
    }

    /// Answers a write that found the key as expected.
    fn written(&mut self, revision: u64) -> Asked {
        let asked = self.ask_for("/kv/txn", Asked::is_write);
        let done = json!({ "header": header(revision), "succeeded": true, "responses": [{ "response_put": {} }] });
        self.answer(asked.id, 200, &done);
        asked
    }

    /// Answers a write that found something else.
    fn found(&mut self, revision: u64, pairs: &[Value]) -> Asked {
        let asked = self.ask_for("/kv/txn", Asked::is_write);
        let found = json!({ "header": header(revision), "responses": [{ "response_range": { "kvs": pairs } }] });
        self.answer(asked.id, 200, &found);
        asked
    }

    /// Registers, granted at the revision before. Gives the lease.
    fn registered(&mut self, id: &str, revision: u64) -> (RegistrationId, i64) {
        let id = self.etcd.register(&registration(id), self.now).unwrap();
        let lease = self.grant(revision - 1);
        self.written(revision);
        assert_eq!(self.state(id), RegistrationState::Registered);
        (id, lease)
    }

    /// Answers a listing, one range after the other.
    fn listed(&mut self, revision: u64, ranges: &[&[Value]]) -> Asked {
        let asked = self.ask_for("/kv/txn", |asked| !asked.is_write());
        let ranges: Vec<Value> = ranges.iter().map(|kvs| json!({ "response_range": { "kvs": kvs } })).collect();
        self.answer(asked.id, 200, &json!({ "header": header(revision), "responses": ranges }));
        asked
    }

    /// Answers a watch: all that was asked for is created.
    fn watched(&mut self, revision: u64) -> Asked {
        let asked = self.ask("/watch");
        self.etcd.handle_response(asked.id, &Head::new(200), self.now);
        let creates = asked.body.iter().filter(|it| it.get("create_request").is_some()).count();
        for at in 0..creates {
            self.say(asked.id, &json!({ "header": header(revision), "watch_id": at.to_string(), "created": true }));
        }
        self.drain();
        asked
    }

    /// Follows `web`, of which these are there at revision 7. Gives the stream.
    fn following(&mut self, ids: &[&str]) -> (SubscriptionId, RequestId) {
        let id = self.etcd.watch(&web(), self.now).unwrap();
        let pairs: Vec<Value> = ids.iter().zip(2..).map(|(id, written)| pair(id, written, 99)).collect();
        self.listed(7, &[&pairs]);
        let stream = self.watched(7).id;
        assert_eq!((self.provenance(id), self.shown(id).len()), (Provenance::Live, ids.len()));
        self.events();
        (id, stream)
    }

    fn events_of(&mut self, stream: RequestId, watch: u64, revision: u64, events: &[Value]) {
        let mut said = json!({ "header": header(revision), "events": events });
        // What is zero is left out.
        if watch > 0 {
            said["watch_id"] = watch.to_string().into();
        }
        self.say(stream, &said);
    }
}

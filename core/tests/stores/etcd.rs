//! etcd as a store: one member behind its JSON gateway, as a machine in virtual time.
//!
//! What real ones do that matters to clients: numbers are texts and what is zero is left out; a lease that exists is not
//! granted twice; a transaction with a lease that is gone fails whole; a watch tells its past a little later than that it
//! was created; until 3.4.24 a question for progress is answered before that; a watch into a past that is compacted is
//! canceled in a stream that stays open, and so is one without a good token; a cluster made anew counts from the start.

mod mvcc;
mod watches;

use std::collections::BTreeMap;
use std::time::Duration;

use periplus_core::backend::etcd::{Etcd, EtcdOptions};
use periplus_core::http::base64::{decode, encode};
use periplus_core::http::{Head, Request};
use periplus_core::{InstanceId, Instant, Namespace, ServiceInstance, ServiceName};
use serde_json::{Value as Json, json};

use super::kind::{Kind, Laws};
use super::store::{Act, ExchangeId, Part, Place, Reply, Store};
use mvcc::{Change, Mvcc, Value};

/// How long a watch that starts in the past waits to be told it.
const SYNC: Duration = Duration::from_millis(100);
/// How many revisions it is told at once.
const BATCH: usize = 3;
/// How long a token is good.
const TOKEN: Duration = Duration::from_secs(40);

const OK: u16 = 200;

/// What differs between etcds.
#[derive(Clone, Copy, Debug)]
struct Make {
    path: &'static str,
    /// From 3.6 on, errors look otherwise.
    new_errors: bool,
    /// A question for progress is answered at once.
    hasty: bool,
    auth: bool,
}

#[derive(Debug)]
struct Watch {
    key: Vec<u8>,
    end: Option<Vec<u8>>,
    /// The next revision that it is told.
    next: u64,
    synced: bool,
    over: bool,
}

#[derive(Debug)]
struct Stream {
    watches: Vec<Watch>,
    /// When those that start in the past are told it.
    sync: Option<Instant>,
    asked: bool,
}

pub struct EtcdStore {
    make: Make,
    term: u64,
    mvcc: Mvcc,
    /// How much of the history the streams have been told.
    told: u64,
    streams: BTreeMap<ExchangeId, Stream>,
    tokens: BTreeMap<String, Instant>,
    logins: u64,
    parts: std::collections::VecDeque<(ExchangeId, Part)>,
}

type Answer = Result<Json, (u32, &'static str)>;

impl EtcdStore {
    pub fn new(seed: [u8; 32]) -> Self {
        let old = seed[0].is_multiple_of(4);
        let make = Make {
            path: if old { "/v3beta" } else { "/v3" },
            new_errors: !old && seed[1].is_multiple_of(2),
            hasty: seed[2].is_multiple_of(2),
            auth: seed[3].is_multiple_of(3),
        };
        Self {
            make,
            term: 2,
            mvcc: Mvcc::new(),
            told: 1,
            streams: BTreeMap::new(),
            tokens: BTreeMap::new(),
            logins: 0,
            parts: std::collections::VecDeque::new(),
        }
    }

    fn header(&self) -> Json {
        let (revision, term) = (self.mvcc.revision.to_string(), self.term.to_string());
        json!({ "cluster_id": "15118272727272727272", "member_id": "136", "revision": revision, "raft_term": term })
    }

    fn error(&self, code: u32, message: &str) -> (u16, Json) {
        let status = match code {
            3 | 11 => 400,
            5 => 404,
            7 => 403,
            9 if self.make.new_errors => 400,
            9 => 412,
            16 => 401,
            _ => 500,
        };
        let message = format!("etcdserver: {message}");
        let body = if self.make.new_errors {
            json!({ "code": code, "message": message, "details": [] })
        } else {
            json!({ "error": message, "message": message, "code": code })
        };
        (status, body)
    }

    /// Whether whoever asks may.
    fn admitted(&self, request: &Request, now: Instant) -> Result<(), (u32, &'static str)> {
        let token = request.headers.iter().find(|(name, _)| name == "authorization").map(|(_, token)| token.as_str());
        match token {
            _ if !self.make.auth => Ok(()),
            None => Err((3, "user name is empty")),
            Some(token) if self.tokens.get(token).is_some_and(|end| *end > now) => Ok(()),
            Some(_) => Err((16, "invalid auth token")),
        }
    }

    fn call(&mut self, path: &str, body: &Json, request: &Request, now: Instant) -> Answer {
        match path {
            "/auth/authenticate" if !self.make.auth => Err((9, "authentication is not enabled")),
            "/auth/authenticate" if body["name"] == "web" && body["password"] == "secret" => {
                self.logins += 1;
                let token = format!("token.{}", self.logins);
                self.tokens.insert(token.clone(), now.saturating_add(TOKEN));
                Ok(json!({ "header": self.header(), "token": token }))
            }
            "/auth/authenticate" => Err((3, "authentication failed, invalid user ID or password")),
            "/lease/grant" => {
                let (id, ttl) = (integer(&body["ID"]), integer(&body["TTL"]).max(2).unsigned_abs());
                if self.mvcc.leases.contains_key(&id) {
                    return Err((9, "lease already exists"));
                }
                let end = now.saturating_add(Duration::from_secs(ttl));
                self.mvcc.leases.insert(id, mvcc::Lease { ttl, end });
                Ok(json!({ "header": self.header(), "ID": id.to_string(), "TTL": ttl.to_string() }))
            }
            "/lease/revoke" | "/kv/lease/revoke" => {
                if path.starts_with("/kv") != (self.make.path != "/v3") {
                    return Err((12, "Not Found"));
                }
                self.admitted(request, now)?;
                let known = self.mvcc.revoke(integer(&body["ID"]));
                if known { Ok(json!({ "header": self.header() })) } else { Err((5, "requested lease not found")) }
            }
            "/lease/timetolive" => {
                let id = integer(&body["ID"]);
                let lives = self.mvcc.leases.contains_key(&id);
                let all = self.mvcc.range(&[0], Some(&[0]));
                let keys = all.into_iter().filter(|(_, value)| lives && value.lease == id);
                let keys: Vec<Json> = keys.map(|(key, _)| encode(key).into()).collect();
                let ttl = if lives { "1" } else { "-1" };
                Ok(json!({ "header": self.header(), "ID": id.to_string(), "TTL": ttl, "keys": keys }))
            }
            "/kv/deleterange" => {
                self.admitted(request, now)?;
                self.mvcc.delete(&bytes(&body["key"]), None, self.mvcc.revision + 1);
                Ok(json!({ "header": self.header() }))
            }
            "/kv/txn" => {
                self.admitted(request, now)?;
                self.txn(body)
            }
            _ => Err((12, "Not Found")),
        }
    }

    fn txn(&mut self, body: &Json) -> Answer {
        let holds = list(&body["compare"]).iter().all(|compare| {
            let at = self.mvcc.at(&bytes(&compare["key"]));
            let (is, than) = match compare["target"].as_str() {
                Some("MOD") => (at.modified.cast_signed(), integer(&compare["mod_revision"])),
                Some("CREATE") => (at.create.cast_signed(), integer(&compare["create_revision"])),
                Some("LEASE") => (at.lease, integer(&compare["lease"])),
                _ => panic!("a comparison of {compare}"),
            };
            match compare["result"].as_str() {
                Some("EQUAL") | None => is == than,
                Some("LESS") => is < than,
                Some("GREATER") => is > than,
                _ => is != than,
            }
        });
        let operations = list(&body[if holds { "success" } else { "failure" }]);
        if operations.len() > 128 {
            return Err((3, "too many operations in txn request"));
        }
        // A lease that is not there fails the whole, before anything is done.
        let lease = |it: &Json| integer(&it["request_put"]["lease"]);
        if operations.iter().map(lease).any(|lease| lease != 0 && !self.mvcc.leases.contains_key(&lease)) {
            return Err((5, "requested lease not found"));
        }
        let revision = self.mvcc.revision + 1;
        let done: Vec<Json> = operations.iter().map(|it| self.operate(it, revision)).collect();
        let mut answer = json!({ "header": self.header() });
        if holds {
            answer["succeeded"] = true.into();
        }
        if !done.is_empty() {
            answer["responses"] = done.into();
        }
        Ok(answer)
    }

    fn operate(&mut self, operation: &Json, revision: u64) -> Json {
        if let Some(put) = operation.get("request_put") {
            let key = bytes(&put["key"]);
            let before = self.mvcc.put(&key, bytes(&put["value"]), integer(&put["lease"]), revision);
            let mut done = json!({ "header": { "revision": revision.to_string() } });
            if let Some(before) = before.filter(|_| put["prev_kv"] == true) {
                done["prev_kv"] = pair(&key, &before);
            }
            return json!({ "response_put": done });
        }
        if let Some(delete) = operation.get("request_delete_range") {
            let gone = self.mvcc.delete(&bytes(&delete["key"]), end(delete).as_deref(), revision);
            let mut done = json!({});
            if !gone.is_empty() {
                done["deleted"] = gone.len().to_string().into();
                done["prev_kvs"] = gone.iter().map(|(key, value)| pair(key, value)).collect();
            }
            return json!({ "response_delete_range": done });
        }
        let range = &operation["request_range"];
        let found = self.mvcc.range(&bytes(&range["key"]), end(range).as_deref());
        let mut done = json!({});
        if !found.is_empty() {
            done["count"] = found.len().to_string().into();
            done["kvs"] = found.into_iter().map(|(key, value)| pair(key, value)).collect();
        }
        json!({ "response_range": done })
    }

    fn keep_alive(&mut self, body: &[u8], now: Instant) -> Vec<u8> {
        let mut lines = Vec::new();
        for asked in documents(body) {
            let id = integer(&asked["ID"]);
            let mut result = json!({ "header": self.header(), "ID": id.to_string() });
            match self.mvcc.keep_alive(id, now) {
                0 => {}
                ttl => result["TTL"] = ttl.to_string().into(),
            }
            lines.extend(json!({ "result": result }).to_string().into_bytes());
            lines.push(b'\n');
        }
        lines
    }
}

impl Store for EtcdStore {
    fn handle_request(&mut self, exchange: ExchangeId, request: &Request, now: Instant) -> Reply {
        self.handle_timeout(now);
        let path = request.url.split_once("://").and_then(|(_, rest)| Some(&rest[rest.find('/')?..])).unwrap_or("");
        let Some(path) = path.strip_prefix(self.make.path).filter(|path| path.starts_with('/')) else {
            return Reply::Whole(Head::new(404), b"Not Found\n".to_vec());
        };
        let reply = match path {
            "/watch" => self.watch(exchange, request, now),
            "/lease/keepalive" => Reply::Whole(Head::new(OK), self.keep_alive(&request.body, now)),
            _ => {
                let body = documents(&request.body).into_iter().next().unwrap_or_default();
                let (status, body) = match self.call(path, &body, request, now) {
                    Ok(body) => (OK, body),
                    Err((12, text)) => return Reply::Whole(Head::new(404), text.into()),
                    Err((code, message)) => self.error(code, message),
                };
                Reply::Whole(Head::new(status), body.to_string().into_bytes())
            }
        };
        self.notify();
        reply
    }

    fn handle_gone(&mut self, exchange: ExchangeId) {
        self.streams.remove(&exchange);
        self.parts.retain(|(of, _)| *of != exchange);
    }

    fn act(&mut self, act: &Act, now: Instant) {
        self.handle_timeout(now);
        let key = |namespace: &Namespace, service: &str, id: &str| {
            let root = if *namespace == Namespace::default() { "microservices" } else { namespace };
            format!("/{root}/{service}/{id}").into_bytes()
        };
        let next = self.mvcc.revision + 1;
        match act {
            Act::Forget => {
                (self.mvcc, self.term, self.told) = (Mvcc::new(), 2, 1);
                self.streams.clear();
                self.parts.clear();
                self.tokens.clear();
            }
            Act::ForgetAhead => {
                let ahead = self.mvcc.revision + 1_000;
                (self.mvcc, self.term, self.told) = (Mvcc::new(), self.term, ahead);
                self.mvcc.revision = ahead;
                self.streams.clear();
                self.parts.clear();
                self.tokens.clear();
            }
            Act::Restart => {
                self.term += 1;
                self.mvcc.promote(now);
                self.streams.clear();
                self.parts.clear();
                self.tokens.clear();
            }
            Act::Compact => self.mvcc.compact(),
            Act::Revoke(namespace, service, id) => {
                let lease = self.mvcc.at(&key(namespace, service, id)).lease;
                self.mvcc.revoke(lease);
            }
            Act::Remove(namespace, service, id) => {
                self.mvcc.delete(&key(namespace, service, id), None, next);
            }
            Act::ForeignPut(namespace, instance) => {
                self.mvcc.put(&key(namespace, &instance.name, &instance.id), instance.to_json(), 0, next);
            }
            Act::Garbage(namespace, service, id, value) => {
                self.mvcc.put(&key(namespace, service, id), value.clone(), 0, next);
            }
            Act::Heal => {}
            _ => unreachable!("its members are one, and nobody is denied anything"),
        }
        self.notify();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.mvcc.expire(now);
        self.notify();
        let due = |stream: &Stream| stream.sync.is_some_and(|at| at <= now);
        let due: Vec<ExchangeId> =
            self.streams.iter().filter(|(_, it)| due(it)).map(|(exchange, _)| *exchange).collect();
        for exchange in due {
            self.sync(exchange);
            if let Some(stream) = self.streams.get_mut(&exchange) {
                stream.sync = None;
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let leases = self.mvcc.leases.values().map(|lease| lease.end);
        leases.chain(self.streams.values().filter_map(|stream| stream.sync)).min()
    }

    fn poll_part(&mut self) -> Option<(ExchangeId, Part)> {
        self.parts.pop_front()
    }

    fn visible(&self, _now: Instant) -> BTreeMap<Place, ServiceInstance> {
        let seen = |(key, value): (&Vec<u8>, &Value)| {
            let rest = std::str::from_utf8(key).ok()?.strip_prefix('/')?;
            let (root, place) = rest.split_once('/')?;
            let namespace = if root == "microservices" { Namespace::default() } else { Namespace::new(root).ok()? };
            let instance = ServiceInstance::from_json(&value.value).ok()?;
            let same = place == format!("{}/{}", instance.name, instance.id);
            same.then(|| ((namespace, instance.name.clone(), instance.id.clone()), instance))
        };
        self.mvcc.keys.iter().filter_map(seen).collect()
    }

    fn holder(&self, (namespace, service, id): &Place) -> Option<(String, Instant)> {
        let (service, id): (&ServiceName, &InstanceId) = (service, id);
        let root = if *namespace == Namespace::default() { "microservices" } else { namespace };
        let lease = self.mvcc.keys.get(format!("/{root}/{service}/{id}").as_bytes())?.lease;
        self.mvcc.leases.get(&lease).map(|it| (lease.to_string(), it.end))
    }

    fn revision(&self) -> Option<u64> {
        Some(self.mvcc.revision)
    }
}

fn event(change: &Change) -> Json {
    match &change.value {
        Some(value) => json!({ "kv": pair(&change.key, value) }),
        None => {
            let revision = change.revision.to_string();
            json!({ "type": "DELETE", "kv": { "key": encode(&change.key), "mod_revision": revision } })
        }
    }
}

fn pair(key: &[u8], value: &Value) -> Json {
    let Value { value, create, modified, version, lease } = value;
    let mut pair = json!({ "key": encode(key), "create_revision": create.to_string(),
        "mod_revision": modified.to_string(), "version": version.to_string(), "value": encode(value) });
    if *lease != 0 {
        pair["lease"] = lease.to_string().into();
    }
    pair
}

/// A number, in quotes or not.
fn integer(json: &Json) -> i64 {
    json.as_i64().or_else(|| json.as_str()?.parse().ok()).unwrap_or(0)
}

fn bytes(json: &Json) -> Vec<u8> {
    decode(json.as_str().unwrap_or_default()).expect("base64")
}

fn end(range: &Json) -> Option<Vec<u8>> {
    range.get("range_end").map(bytes)
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

fn documents(body: &[u8]) -> Vec<Json> {
    serde_json::Deserializer::from_slice(body).into_iter().map(|it| it.expect("JSON")).collect()
}

pub const ETCD: Kind = Kind {
    name: "etcd",
    endpoints: 3,
    wide: false,
    client: |setup| {
        let options = EtcdOptions::default().with_user("web", "secret");
        let mut etcd = Etcd::new(setup.config(), options, setup.seed, setup.now);
        if let Some(cache) = &setup.cache {
            etcd.restore(cache, setup.now).expect("what it kept itself");
        }
        Box::new(etcd)
    },
    store: |seed, _| Box::new(EtcdStore::new(seed)),
    is_read: |request| {
        let says = |text: &[u8]| request.body.windows(text.len()).any(|it| it == text);
        let reads = request.url.ends_with("/kv/txn") && !says(b"request_put") && !says(b"request_delete_range");
        request.streaming || reads || request.url.ends_with("/auth/authenticate")
    },
    normal: |_| {},
    laws: Laws {
        fences: true,
        prefixes: true,
        foreign: true,
        silence: Duration::from_secs(60),
        warm_up: Duration::from_secs(90),
        // A stream that is quiet is opened anew, after a look at the history; and a login now and then.
        polls: 8,
        renewals: 1,
        lists: false,
        blank_is_yes: false,
        zombie: Duration::from_secs(62),
    },
};

//! How requests are written for the gateway, and whether what comes back is an answer.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use smol_str::SmolStr;

use super::claim::Guard;
use super::message::{LeaseId, Refusal};
use super::{Etcd, Wire};
use crate::client::calls::{Call, Way};
use crate::client::machine::What;
use crate::http::target::Target;
use crate::http::{Head, Method, Request, RequestId, base64};

/// Where gateways are, the newest first: etcd 3.4 and later, 3.3, 3.2.
const PATHS: [&str; 3] = ["/v3", "/v3beta", "/v3alpha"];

/// Where the gateway of each origin is, as far as that was found out.
#[derive(Debug)]
pub(super) struct Paths(Vec<usize>);

impl Paths {
    pub(super) fn new(origins: usize) -> Self {
        Self(alloc::vec![0; origins])
    }

    /// Where something is at an origin.
    pub(super) fn target(&self, origin: usize, path: &str) -> Target {
        let at = self.of(origin);
        // Before 3.4, a revocation was one of the operations on keys.
        let kind = if at > 0 && path == "/lease/revoke" { "/kv" } else { "" };
        Target::new(&format!("{}{kind}{path}", PATHS[at]))
    }

    fn of(&self, origin: usize) -> usize {
        self.0.get(origin).copied().unwrap_or(0)
    }

    /// Nothing was found where this request went. Whether there is another place to look at.
    pub(super) fn missed(&mut self, origin: usize) -> bool {
        let Some(path) = self.0.get_mut(origin) else {
            return false;
        };
        *path = (*path + 1) % PATHS.len();
        *path != 0
    }
}

/// What came of a request.
pub(super) enum Answer {
    /// It was done.
    Good,
    /// etcd refuses it.
    Refused(Refusal, Option<Duration>),
    /// There is no gateway here.
    Elsewhere,
    /// Whatever answered, it was not etcd, or not in a state to.
    Nonsense(String, Option<Duration>),
}

impl Answer {
    /// Reads what there is of an answer that is complete.
    pub(super) fn read(call: &Call<What<Wire>>) -> Self {
        match &call.head {
            Some(head) => Self::of(head, call.body.bytes().ok()),
            None => Self::Nonsense("the answer has no head".into(), None),
        }
    }

    /// Reads an answer; without a body: it could not be taken.
    pub(super) fn of(head: &Head, body: Option<&[u8]>) -> Self {
        let hint = head.retry_after();
        if head.is_success() {
            return Self::Good;
        }
        let refusal = body.and_then(Refusal::read);
        match refusal {
            Some(refusal) if refusal.is_outage() || (head.status >= 500 && !refusal.wants_login()) => {
                Self::Nonsense(refusal.message, hint)
            }
            Some(refusal) => Self::Refused(refusal, hint),
            None if head.status == 404 => Self::Elsewhere,
            None => Self::Nonsense(format!("answered with status {}", head.status), hint),
        }
    }
}

impl Etcd {
    /// A request to the gateway of an origin.
    pub(super) fn post(&self, way: Way, path: &str, body: Vec<u8>) -> Request {
        let target = self.wire.paths.target(way.origin, path);
        let mut request = self.request(way.origin, Method::Post, &target, body);
        if let Some(token) = self.wire.door.token() {
            request.set_header("authorization", token);
        }
        request
    }

    /// Whether the gateway tells progress when it is asked to: from 3.4 on.
    pub(super) fn tells_progress(&self, way: Way) -> bool {
        self.wire.paths.of(way.origin) == 0
    }

    /// etcd does not take the token that a request had. Whether another one is asked for at once.
    pub(super) fn on_token_refused(&mut self, id: RequestId) -> bool {
        self.wire.options.credentials().is_some() && self.wire.door.shut(id)
    }
}

pub(super) fn body(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("a message has only text keys")
}

pub(super) fn grant(lease: LeaseId, seconds: u64) -> Vec<u8> {
    body(&json!({ "ID": lease, "TTL": seconds.to_string() }))
}

/// Names one lease: to renew it, to end it. Several in a row renew several.
pub(super) fn lease(lease: LeaseId) -> Vec<u8> {
    body(&json!({ "ID": lease }))
}

/// Reads what is at these keys, all at one revision. With an end, all from the key up to there.
pub(super) fn read<'a>(ranges: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Vec<u8> {
    let range = |(key, end): (&[u8], Option<&[u8]>)| match end {
        Some(end) => json!({ "request_range": { "key": base64::encode(key), "range_end": base64::encode(end) } }),
        None => json!({ "request_range": { "key": base64::encode(key) } }),
    };
    body(&json!({ "success": ranges.map(range).collect::<Vec<_>>() }))
}

/// Writes a key under a lease, or removes it, if it is as expected; otherwise reads it.
pub(super) fn write(key: &str, guard: Guard, value: Option<&[u8]>, lease: LeaseId) -> Vec<u8> {
    let key = base64::encode(key.as_bytes());
    let revision = |result: &str, revision: u64| json!({ "key": key, "target": "MOD", "result": result, "mod_revision": revision.to_string() });
    let mut compare: Vec<Value> = Vec::new();
    match guard {
        Guard::Read => {}
        Guard::AsOf(at) => compare.push(revision("LESS", at.saturating_add(1))),
        Guard::Theirs(at) => compare.push(revision("EQUAL", at)),
        Guard::Ours(at, lease) => {
            compare.push(revision("EQUAL", at));
            compare.push(json!({ "key": key, "target": "LEASE", "result": "EQUAL", "lease": lease }));
        }
        Guard::Absent => compare.push(revision("EQUAL", 0)),
    }
    let found = json!([{ "request_range": { "key": key } }]);
    let done = match (guard, value) {
        (Guard::Read, _) => return body(&json!({ "success": found })),
        (_, Some(value)) => {
            let value = base64::encode(value);
            json!([{ "request_put": { "key": key, "value": value, "lease": lease, "prev_kv": true } }])
        }
        (_, None) => json!([{ "request_delete_range": { "key": key, "prev_kv": true } }]),
    };
    body(&json!({ "compare": compare, "success": done, "failure": found }))
}

/// One watch of a stream.
pub(super) fn create(key: &[u8], end: Option<&[u8]>, from: u64) -> Vec<u8> {
    let mut request =
        json!({ "key": base64::encode(key), "start_revision": from.to_string(), "progress_notify": true });
    if let Some(end) = end {
        request["range_end"] = base64::encode(end).into();
    }
    body(&json!({ "create_request": request }))
}

/// What a refusal is, for programs.
pub(super) fn name(code: u32) -> SmolStr {
    SmolStr::new_static(match code {
        3 => "invalid_argument",
        5 => "not_found",
        7 => "permission_denied",
        8 => "resource_exhausted",
        9 => "failed_precondition",
        11 => "out_of_range",
        16 => "unauthenticated",
        _ => "refused",
    })
}

/// Removes a key.
pub(super) fn delete(key: &str) -> Vec<u8> {
    body(&json!({ "key": base64::encode(key.as_bytes()) }))
}

//! What the client asks for: work as requests.

use alloc::string::ToString;
use alloc::vec::Vec;

use serde::Serialize;
use smol_str::SmolStr;

use super::Native;
use crate::client::RegistrationId;
use crate::client::holding::Work;
use crate::http::Method;
use crate::http::target::Target;
use crate::name::Key;
use crate::protocol::{DeregisterMessage, RegisterMessage, Span, UpdateMessage};
use crate::time::Instant;

impl Native {
    /// Sends the request that does a piece of work.
    pub(super) fn ask(&mut self, work: Work, now: Instant) {
        let written = match &work {
            Work::Register(id) => self.write_register(*id),
            Work::Update(id) => self.write_update(*id),
            Work::Deregister(id) => self.write_deregister(*id),
            Work::Renew(ids) => Some(self.write_renew(ids)),
        };
        let Some((method, target, body)) = written else {
            debug_assert!(false, "work is asked for by what it is about");
            return;
        };
        let way = self.link.way();
        let request = self.request(way.origin, method, &target, body);
        let call = self.send_work(work.clone(), self.wire.number, way, request, now);
        self.holdings.started(&work, call, now);
    }

    fn write_register(&mut self, id: RegistrationId) -> Option<(Method, Target, Vec<u8>)> {
        let sequence = self.holdings.operation(id);
        let since = self.holdings.first_operation(id).filter(|&first| first != sequence);
        let wanted = self.holdings.wanted(id)?;
        let message = RegisterMessage {
            version: Some(wanted.version.clone()),
            metadata: Some(wanted.metadata.clone()),
            endpoints: Some(wanted.endpoints.clone()),
            ttl: self.holdings.wanted_ttl(id).map(Span),
            incarnation: Some(self.wire.incarnation),
            sequence: Some(sequence),
            reclaim: self.holdings.generation(id),
            since,
            ..RegisterMessage::default()
        };
        Some((Method::Put, instance(self.holdings.key(id)?), json(&message)))
    }

    /// All that is wanted, not only what has changed: so it is right whatever became of the update before.
    fn write_update(&mut self, id: RegistrationId) -> Option<(Method, Target, Vec<u8>)> {
        let sequence = self.holdings.operation(id);
        let wanted = self.holdings.wanted(id)?;
        let unwanted = self.holdings.unwanted_keys(id).map(|key| (key.clone(), None));
        let kept = wanted.metadata.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
        let message = UpdateMessage {
            lease: text(self.holdings.lease(id)?.to_text()),
            sequence: Some(sequence),
            version: Some(wanted.version.clone()),
            endpoints: Some(wanted.endpoints.clone()),
            metadata: Some(unwanted.chain(kept).collect()),
            ..UpdateMessage::default()
        };
        Some((Method::Patch, instance(self.holdings.key(id)?), json(&message)))
    }

    /// By the command's number and not by the lease: it ends the lease, if there is one, and whatever arrives late.
    fn write_deregister(&mut self, id: RegistrationId) -> Option<(Method, Target, Vec<u8>)> {
        let sequence = Some(self.holdings.operation(id));
        let message = DeregisterMessage { lease: None, incarnation: Some(self.wire.incarnation), sequence };
        Some((Method::Delete, instance(self.holdings.key(id)?), json(&message)))
    }

    fn write_renew(&mut self, ids: &[RegistrationId]) -> (Method, Target, Vec<u8>) {
        self.wire.number += 1;
        let mut body = Vec::with_capacity(ids.len() * 35 + 48);
        body.extend_from_slice(b"{\"number\":");
        body.extend_from_slice(self.wire.number.to_string().as_bytes());
        body.extend_from_slice(b",\"leases\":[");
        for (at, lease) in ids.iter().filter_map(|id| self.holdings.lease(*id)).enumerate() {
            body.extend_from_slice(if at > 0 { b",\"" } else { b"\"" });
            body.extend_from_slice(&lease.to_text());
            body.push(b'"');
        }
        body.extend_from_slice(b"]}");
        (Method::Post, Target::new("/v1/leases/renew"), body)
    }
}

fn instance(key: &Key) -> Target {
    let target = Target::new("/v1/services").segment(&key.service).segment("instances").segment(&key.id);
    target.query("ns", &key.namespace)
}

fn json(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("a message has only text keys")
}

fn text(lease: [u8; 32]) -> SmolStr {
    core::str::from_utf8(&lease).map(SmolStr::new).unwrap_or_default()
}

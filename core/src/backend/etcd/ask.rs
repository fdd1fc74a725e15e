//! What the client asks for: work as requests, of which a registration takes two.

use alloc::vec::Vec;

use super::claim::{Claim, Claims, Guard};
use super::message::LeaseId;
use super::{Aside, Etcd, Step, gateway, keys};
use crate::client::RegistrationId;
use crate::client::holding::Work;
use crate::fault::Fault;
use crate::http::RequestId;
use crate::instance::{ServiceInstance, Status};
use crate::time::Instant;

impl Etcd {
    /// Sends the first request of a piece of work.
    pub(super) fn ask(&mut self, work: Work, now: Instant) {
        let first = match &work {
            Work::Register(id) => self.grant(*id),
            Work::Update(id) => self.rewrite(*id),
            Work::Deregister(id) => self.revoke(*id, 0),
            Work::Renew(ids) => Some(self.renew(ids)),
        };
        let Some((path, step, body)) = first else {
            // It was never asked for: there is nothing to be taken out.
            return self.skip(&work, now);
        };
        let call = self.send(work.clone(), path, step, body, now);
        self.holdings.started(&work, call, now);
    }

    fn send(&mut self, work: Work, path: &str, step: Step, body: Vec<u8>, now: Instant) -> RequestId {
        let way = self.link.way();
        let request = self.post(way, path, body);
        self.send_work(work, step, way, request, now)
    }

    /// Sends the next request of a piece of work that belongs to one registration. `counts`: from when its cover counts,
    /// if not from the first request.
    pub(super) fn go_on(
        &mut self,
        (work, id, from): (&Work, RegistrationId, RequestId),
        (path, step, body): (&str, Step, Vec<u8>),
        counts: Option<Instant>,
        now: Instant,
    ) {
        let call = self.send(work.clone(), path, step, body, now);
        self.holdings.passed_on(id, from, call, counts);
    }

    /// There is nothing to ask for.
    fn skip(&mut self, work: &Work, now: Instant) {
        let (Work::Deregister(id) | Work::Register(id) | Work::Update(id)) = work else {
            return;
        };
        debug_assert!(matches!(work, Work::Deregister(_)), "work is asked for by what it is about");
        let call = RequestId(0);
        self.holdings.started(work, call, now);
        self.holdings.on_deregistered(*id, &self.config, now);
    }

    fn grant(&mut self, id: RegistrationId) -> Option<(&'static str, Step, Vec<u8>)> {
        self.holdings.operation(id);
        let key = self.holdings.key(id)?.clone();
        if self.wire.claims.wants_sweep() {
            let holdings = &self.holdings;
            self.wire.claims.sweep(|id| holdings.is_over(id));
        }
        let seconds = self.wire.options.seconds(self.holdings.wanted_ttl(id));
        let drawn = self.rng.next_u64();
        let claim = self.wire.claims.enter(id, &key);
        Claims::lease(claim, seconds, drawn);
        Some(("/lease/grant", Step::Grant, gateway::grant(claim.lease(), seconds)))
    }

    /// The write that says what is wanted now; `None`: the registration is not known.
    pub(super) fn write(
        &mut self,
        id: RegistrationId,
        guard: Guard,
        retry: bool,
        round: u32,
    ) -> Option<(&'static str, Step, Vec<u8>)> {
        self.holdings.operation(id);
        let value = self.holdings.wanted(id).and_then(listed);
        let claim = self.wire.claims.of_mut(id)?;
        let retry = retry || claim.doubt;
        claim.doubt |= guard != Guard::Read;
        let key = keys::instance(&self.wire.options.prefix, &claim.key);
        let body = gateway::write(&key, guard, value.as_deref(), claim.lease());
        Some(("/kv/txn", Step::Write { guard, value, retry, round }, body))
    }

    fn rewrite(&mut self, id: RegistrationId) -> Option<(&'static str, Step, Vec<u8>)> {
        let guard = self.wire.claims.of(id).map(Claim::ours)?;
        self.write(id, guard, false, 0)
    }

    /// Ends the leases of a registration, one after the other.
    pub(super) fn revoke(&self, id: RegistrationId, at: usize) -> Option<(&'static str, Step, Vec<u8>)> {
        let claim = self.wire.claims.of(id)?;
        let lease = *claim.leases.get(at)?;
        if self.config.faults.has(Fault::EtcdLeaseLeft) {
            let key = keys::instance(&self.wire.options.prefix, &claim.key);
            return Some(("/kv/deleterange", Step::Revoke(at), gateway::delete(&key)));
        }
        Some(("/lease/revoke", Step::Revoke(at), gateway::lease(lease)))
    }

    fn renew(&self, ids: &[RegistrationId]) -> (&'static str, Step, Vec<u8>) {
        let leases: Vec<LeaseId> = ids.iter().map(|id| self.holdings.lease(*id).copied().unwrap_or_default()).collect();
        let body = leases.iter().flat_map(|lease| gateway::lease(*lease)).collect();
        ("/lease/keepalive", Step::Renew(leases), body)
    }

    /// Ends a lease that nothing hangs on any more. If that fails, it ends by itself.
    pub(super) fn revoke_quietly(&mut self, lease: LeaseId, now: Instant) {
        if self.wire.revoking >= self.config.in_flight || !self.link.is_up() {
            return;
        }
        let way = self.link.way();
        let request = self.post(way, "/lease/revoke", gateway::lease(lease));
        self.send_aside(Aside::Revoke, way, request, Some(now.saturating_add(self.config.call_timeout)));
        self.wire.revoking += 1;
    }
}

/// What others are to read of an instance. Readers of etcd know no status, so that one that is to get no calls must not
/// be there.
pub(super) fn listed(wanted: &ServiceInstance) -> Option<Vec<u8>> {
    (!matches!(wanted.status(), Status::Draining | Status::Down)).then(|| wanted.to_json())
}

//! Registering and changing: a lease, and a key that is written if it is as expected.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::super::ask::listed;
use super::super::claim::Guard;
use super::super::gateway;
use super::super::message::{FAILED_PRECONDITION, LeaseId, Leased, Line, NOT_FOUND, Pair, Ranged, Refusal, Transacted};
use super::super::work::outcome;
use super::{Next, ROUNDS};
use crate::backend::desk::{Change, Denied, Done, Wanted, hash};
use crate::http::body::parse;
use crate::instance::ServiceInstance;
use crate::lease::{Lease, LeaseError};
use crate::packed::Instance;
use crate::registry::Outcome;

#[derive(Debug)]
enum Step {
    Grant,
    Revive,
    Write(Guard),
}

/// An instance is registered.
#[derive(Debug)]
pub(super) struct Registering {
    key: String,
    lease: LeaseId,
    seconds: u64,
    /// What others are to read; nothing, if it is to get no calls.
    value: Option<Vec<u8>>,
    reclaim: bool,
    step: Step,
    ttl: u64,
    /// Whether a write may have taken effect of which nothing is known.
    doubt: bool,
    rounds: u32,
}

impl Registering {
    pub(super) fn new(wanted: Wanted, key: String, lease: LeaseId, seconds: u64) -> Self {
        let value = listed(&wanted.instance);
        let Wanted { reclaim, .. } = wanted;
        Self { key, lease, seconds, value, reclaim, step: Step::Grant, ttl: 0, doubt: false, rounds: 0 }
    }

    pub(super) fn ask(&self) -> (&'static str, Vec<u8>) {
        match self.step {
            Step::Grant => ("/lease/grant", gateway::grant(self.lease, self.seconds)),
            Step::Revive => ("/lease/keepalive", gateway::lease(self.lease)),
            Step::Write(guard) => ("/kv/txn", gateway::write(&self.key, guard, self.value.as_deref(), self.lease)),
        }
    }

    /// What is under way may have been done.
    pub(super) fn doubt(&mut self) {
        self.doubt |= matches!(self.step, Step::Write(_));
    }

    pub(super) fn take(&mut self, body: &[u8]) -> Result<Next, String> {
        match self.step {
            Step::Grant => {
                let granted: Leased = parse(body).map_err(|error| error.to_string())?;
                if granted.ttl <= 0 {
                    return Err(granted.error);
                }
                Ok(self.granted(&granted))
            }
            Step::Revive => {
                let line: Line<Leased> = parse(body).map_err(|error| error.to_string())?;
                match (line.result, line.error) {
                    (Some(kept), _) if kept.ttl > 0 => Ok(self.granted(&kept)),
                    // It has ended in between.
                    (Some(_), _) => Ok(self.again(Step::Grant)),
                    (None, error) => Err(error.map(|error| Refusal::from(error).message).unwrap_or_default()),
                }
            }
            Step::Write(_) => {
                let done: Transacted = parse(body).map_err(|error| error.to_string())?;
                Ok(self.written(done))
            }
        }
    }

    pub(super) fn refused(&mut self, refusal: Refusal) -> Result<Next, String> {
        Ok(match (&self.step, refusal.code) {
            // It is there already: this is sent again, or the same holder registers anew.
            (Step::Grant, FAILED_PRECONDITION) => self.again(Step::Revive),
            (_, NOT_FOUND) => self.again(Step::Grant),
            _ => Next::denied(Denied::Refused(refusal.message)),
        })
    }

    fn again(&mut self, step: Step) -> Next {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Next::denied(Denied::Silent("others write the same key all the time".into()));
        }
        self.step = step;
        Next::Go
    }

    fn granted(&mut self, leased: &Leased) -> Next {
        self.ttl = leased.ttl.unsigned_abs();
        // A lease that was there says that this may be a repetition: it is looked at before it is written.
        let repeated = matches!(self.step, Step::Revive);
        let guard = if self.reclaim || repeated { Guard::Absent } else { Guard::AsOf(leased.header.revision) };
        self.again(Step::Write(guard))
    }

    fn written(&mut self, done: Transacted) -> Next {
        let revision = done.header.revision;
        let answer = done.responses.into_iter().next().unwrap_or_default();
        if done.succeeded {
            return self.registered(revision, outcome(&answer, &[self.lease]));
        }
        let found = answer.response_range.and_then(|Ranged { kvs }| kvs.into_iter().next());
        match found {
            None if self.value.is_none() => self.registered(revision, Outcome::Registered),
            None => self.again(Step::Write(Guard::Absent)),
            Some(pair) if pair.lease == self.lease => {
                if self.value.as_ref() == Some(&pair.value.0) {
                    return self.registered(pair.mod_revision, Outcome::Repeated);
                }
                self.again(Step::Write(Guard::Ours(pair.mod_revision, pair.lease)))
            }
            Some(_) if self.reclaim || self.doubt => Next::denied(Denied::Superseded),
            Some(pair) => self.again(Step::Write(Guard::Theirs(pair.mod_revision))),
        }
    }

    fn registered(&self, generation: u64, outcome: Outcome) -> Next {
        let taken = if self.value.is_some() { generation } else { 0 };
        let lease = Lease::of_words([self.lease.0.cast_unsigned(), hash(self.key.as_bytes()), taken]);
        Next::done(Done::Registered { lease, generation, ttl: Duration::from_secs(self.ttl), outcome })
    }
}

/// An instance is changed.
#[derive(Debug)]
pub(super) struct Updating {
    key: String,
    lease: Lease,
    change: Change,
    /// What is written, and over what; nothing: it is read.
    write: Option<(Guard, Vec<u8>)>,
    rounds: u32,
}

impl Updating {
    pub(super) const fn new(key: String, lease: Lease, change: Change) -> Self {
        Self { key, lease, change, write: None, rounds: 0 }
    }

    fn id(&self) -> LeaseId {
        LeaseId(self.lease.words()[0].cast_signed())
    }

    pub(super) fn ask(&self) -> (&'static str, Vec<u8>) {
        let (guard, value) = match &self.write {
            Some((guard, value)) => (*guard, Some(value.as_slice())),
            None => (Guard::Read, None),
        };
        ("/kv/txn", gateway::write(&self.key, guard, value, self.id()))
    }

    pub(super) fn take(&mut self, body: &[u8]) -> Result<Next, String> {
        let done: Transacted = parse(body).map_err(|error| error.to_string())?;
        if done.succeeded && self.write.is_some() {
            return Ok(Next::done(Done::Updated { changed: true, revision: done.header.revision }));
        }
        let answer = done.responses.into_iter().next().unwrap_or_default();
        let found = answer.response_range.and_then(|Ranged { kvs }| kvs.into_iter().next());
        Ok(self.found(found).unwrap_or_else(Next::denied))
    }

    fn found(&mut self, found: Option<Pair>) -> Result<Next, Denied> {
        // What is not there cannot be changed: its holder registers anew, with all of it.
        let pair = found.filter(|_| self.lease.words()[1] == hash(self.key.as_bytes())).ok_or(LeaseError::Unknown)?;
        if pair.lease != self.id() {
            return Err(LeaseError::Superseded.into());
        }
        let held = ServiceInstance::from_json(&pair.value.0).map_err(|_| LeaseError::Unknown)?;
        let wanted = Instance::pack(&held).patched(&self.change.patch, &self.change.limits)?.decode();
        // What is to get no calls must not be there, and what it looks like would be lost: that is a registration.
        let value = listed(&wanted).ok_or(LeaseError::Unknown)?;
        if value == pair.value.0 {
            return Ok(Next::done(Done::Updated { changed: self.write.is_some(), revision: pair.mod_revision }));
        }
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return Err(Denied::Silent("others write the same key all the time".into()));
        }
        self.write = Some((Guard::Ours(pair.mod_revision, pair.lease), value));
        Ok(Next::Go)
    }
}

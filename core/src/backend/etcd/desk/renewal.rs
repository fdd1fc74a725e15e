//! Renewing: a keepalive for many leases, and a look at whether they still have their keys. A lease in etcd lives on when
//! its key was taken by somebody else.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use serde_json::json;

use super::super::gateway;
use super::super::listing::RANGES;
use super::super::message::{Bytes, LeaseId, Leased, Line, Pair, Refusal, Transacted};
use super::Next;
use crate::backend::desk::{Done, hash};
use crate::http::body::parse;
use crate::lease::{Lease, LeaseError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// These many are renewed.
    Keep,
    /// It is read what has their keys.
    Read,
    /// What hangs on the first of those whose keys are not known?
    Ask,
}

/// Leases are renewed, some at a time.
#[derive(Debug)]
pub(super) struct Renewing {
    leases: Vec<(Lease, Option<String>)>,
    failed: Vec<(usize, LeaseError)>,
    /// Where those begin that are renewed now.
    at: usize,
    step: Step,
    /// Those that live, whose keys are known.
    known: Vec<usize>,
    /// Those that live, whose keys are not.
    unknown: Vec<usize>,
}

impl Renewing {
    pub(super) const fn new(leases: Vec<(Lease, Option<String>)>) -> Self {
        Self { leases, failed: Vec::new(), at: 0, step: Step::Keep, known: Vec::new(), unknown: Vec::new() }
    }

    fn id(&self, at: usize) -> LeaseId {
        self.leases.get(at).map_or(LeaseId(0), |(lease, _)| LeaseId(lease.words()[0].cast_signed()))
    }

    fn now(&self) -> core::ops::Range<usize> {
        self.at..self.leases.len().min(self.at + RANGES)
    }

    pub(super) fn ask(&self) -> (&'static str, Vec<u8>) {
        match self.step {
            Step::Keep => ("/lease/keepalive", self.now().flat_map(|at| gateway::lease(self.id(at))).collect()),
            Step::Read => {
                let keys = self.known.iter().filter_map(|at| self.leases.get(*at)?.1.as_ref());
                ("/kv/txn", gateway::read(keys.map(|key| (key.as_bytes(), None))))
            }
            Step::Ask => {
                let lease = self.unknown.last().map_or(LeaseId(0), |at| self.id(*at));
                ("/lease/timetolive", gateway::body(&json!({ "ID": lease, "keys": true })))
            }
        }
    }

    pub(super) fn take(&mut self, body: &[u8]) -> Result<Next, String> {
        match self.step {
            Step::Keep => self.kept(body)?,
            Step::Read => self.read(body)?,
            Step::Ask => self.told(body)?,
        }
        Ok(self.go_on())
    }

    /// The lease that was asked for has ended in between.
    pub(super) fn not_found(&mut self) -> Result<Next, String> {
        if self.step == Step::Ask
            && let Some(at) = self.unknown.pop()
        {
            self.failed.push((at, LeaseError::Expired));
            return Ok(self.go_on());
        }
        Err("a lease was not found".into())
    }

    fn go_on(&mut self) -> Next {
        if !self.known.is_empty() {
            self.step = Step::Read;
        } else if !self.unknown.is_empty() {
            self.step = Step::Ask;
        } else {
            self.at = self.now().end;
            self.step = Step::Keep;
            if self.at >= self.leases.len() {
                let mut failed = core::mem::take(&mut self.failed);
                failed.sort_unstable_by_key(|(at, _)| *at);
                return Next::done(Done::Renewed(failed));
            }
        }
        Next::Go
    }

    /// A line for each, in any order; several may have the same id.
    fn kept(&mut self, body: &[u8]) -> Result<(), String> {
        let mut lives: BTreeMap<LeaseId, bool> = BTreeMap::new();
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace)) {
            let line: Line<Leased> = parse(line).map_err(|error| error.to_string())?;
            match (line.result, line.error) {
                (Some(kept), _) => drop(lives.insert(kept.id, kept.ttl > 0)),
                (None, error) => return Err(error.map(|error| Refusal::from(error).message).unwrap_or_default()),
            }
        }
        let now = self.now();
        if !now.clone().all(|at| lives.contains_key(&self.id(at))) {
            return Err("not every lease was answered for".into());
        }
        for at in now {
            let Some((lease, key)) = self.leases.get(at) else { continue };
            let hidden = lease.words()[2] == 0;
            match lives.get(&self.id(at)) {
                Some(true) if hidden => {}
                Some(true) if key.is_some() => self.known.push(at),
                Some(true) => self.unknown.push(at),
                _ => self.failed.push((at, LeaseError::Expired)),
            }
        }
        Ok(())
    }

    fn read(&mut self, body: &[u8]) -> Result<(), String> {
        let done: Transacted = parse(body).map_err(|error| error.to_string())?;
        if done.responses.len() != self.known.len() {
            return Err("not every key was answered for".into());
        }
        for (at, answer) in core::mem::take(&mut self.known).into_iter().zip(done.responses) {
            let found = answer.response_range.and_then(|range| range.kvs.into_iter().next());
            match found {
                Some(Pair { lease, .. }) if lease == self.id(at) => {}
                Some(_) => self.failed.push((at, LeaseError::Superseded)),
                // Somebody took it out.
                None => self.failed.push((at, LeaseError::Unknown)),
            }
        }
        Ok(())
    }

    fn told(&mut self, body: &[u8]) -> Result<(), String> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Hanging {
            keys: Vec<Bytes>,
        }
        let Hanging { keys } = parse(body).map_err(|error| error.to_string())?;
        let Some(at) = self.unknown.pop() else { return Ok(()) };
        let of = self.leases.get(at).map_or(0, |(lease, _)| lease.words()[1]);
        if !keys.iter().any(|key| hash(&key.0) == of) {
            self.failed.push((at, LeaseError::Unknown));
        }
        Ok(())
    }
}

//! What a client knows of the keys that it claims, and when it may write one.
//!
//! Whatever is written is written by a transaction that names the state of the key that it expects. So a request that
//! arrives late, or twice, does nothing once anything else has happened to the key, and no retry can take an id from
//! whoever took it meanwhile.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::message::{LeaseId, Pair};
use crate::client::RegistrationId;
use crate::fault::{Fault, Faults};
use crate::name::Key;

/// How many leases of one key are remembered.
const LEASES: usize = 3;
/// How many claims there may be before those that are over are looked for.
const SWEEP: usize = 1_024;

/// The state of the key that a write expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// As it was at this revision of the store, whatever it was: what a first registration takes, it takes knowingly.
    AsOf(u64),
    /// Somebody's, written last at this revision.
    Theirs(u64),
    /// Ours, written last at this revision under this lease.
    Ours(u64, LeaseId),
    /// Nothing there.
    Absent,
    /// Nothing is known: it is read, and not written.
    Read,
}

/// What a registration knows of its key.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) key: Key,
    /// The leases under which something may have been written, the present one last.
    pub(super) leases: Vec<LeaseId>,
    /// The ttl that the present one is asked for with, in seconds.
    pub(super) seconds: u64,
    /// Whether the key was written under it: when it is registered again, another one is drawn.
    pub(super) spent: bool,
    /// The ttl that it has, as etcd says.
    pub(super) granted: u64,
    /// Whether the key was ours once.
    pub(super) held: bool,
    /// The first registration's guard: what it may take.
    pub(super) decided: Option<Guard>,
    /// Whether a write is out whose outcome is not known.
    pub(super) doubt: bool,
    /// Our last write, with its lease; `None`: we wrote nothing, or took it out.
    pub(super) written: Option<(u64, LeaseId)>,
    /// Up to where the key's history is known; `None`: it has to be read.
    pub(super) since: Option<u64>,
    /// Whether the key is to be absent: its status says that nobody should call it.
    pub(super) hidden: bool,
    /// The latest that was heard of the key while a write was out.
    pub(super) news: Option<(u64, News)>,
}

/// What was heard of a key of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It is there, and under a lease of ours.
    Ours(Pair),
    /// Somebody else has written it.
    Theirs,
    /// It is gone.
    Gone,
}

/// What follows from a key that is not as it was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is as it is wanted already.
    Done,
    /// It is written, if it stays like this.
    Write(Guard),
    /// It is somebody else's by now.
    Superseded,
    /// It is gone.
    Gone,
}

impl Claim {
    pub(super) fn lease(&self) -> LeaseId {
        self.leases.last().copied().unwrap_or_default()
    }

    /// What the first write of a registration expects, if the store is at this revision.
    pub(super) fn guard(&mut self, revision: u64, faults: Faults) -> Guard {
        if faults.has(Fault::EtcdTakesBack) {
            return Guard::AsOf(revision);
        }
        match self.decided {
            _ if self.held => self.ours(),
            // The same again, so that nothing is taken that came since; unless the store has lost its history, and with
            // it whatever was written.
            Some(Guard::AsOf(decided)) if self.doubt && decided > revision => Guard::Absent,
            Some(decided) if self.doubt => decided,
            _ => self.decide(Guard::AsOf(revision)),
        }
    }

    pub(super) fn decide(&mut self, guard: Guard) -> Guard {
        self.decided = Some(guard);
        guard
    }

    /// What a write expects of a key that is ours.
    pub(super) fn ours(&self) -> Guard {
        match self.written {
            Some((revision, lease)) => Guard::Ours(revision, lease),
            None => Guard::Absent,
        }
    }

    /// What follows from what is there, found at a revision; `retry`: somebody else's is not to be taken any more.
    pub(super) fn next(&mut self, found: Option<&Pair>, wanted: Option<&[u8]>, retry: bool) -> Next {
        match found {
            None if wanted.is_none() => Next::Done,
            None if self.held && !self.hidden => Next::Gone,
            None => Next::Write(Guard::Absent),
            Some(pair) if self.leases.contains(&pair.lease) => {
                if pair.lease == self.lease() && wanted == Some(pair.value.0.as_slice()) {
                    Next::Done
                } else {
                    Next::Write(Guard::Ours(pair.mod_revision, pair.lease))
                }
            }
            Some(_) if self.held || retry => Next::Superseded,
            Some(pair) => Next::Write(self.decide(Guard::Theirs(pair.mod_revision))),
        }
    }

    /// The key is as it is wanted, since this revision at the latest; `written`: when that was, if it is there.
    pub(super) fn settle(&mut self, revision: u64, written: Option<u64>) {
        let lease = self.lease();
        (self.held, self.spent) = (true, true);
        self.doubt = false;
        self.decided = None;
        self.written = written.map(|at| (at, lease));
        self.hidden = written.is_none();
        self.since = Some(revision);
    }
}

/// The claims of a client.
#[derive(Debug, Default)]
pub(super) struct Claims {
    claims: BTreeMap<RegistrationId, Claim>,
    /// The latest of each key.
    latest: BTreeMap<Key, RegistrationId>,
    sweep: usize,
}

impl Claims {
    pub(super) fn of(&self, id: RegistrationId) -> Option<&Claim> {
        self.claims.get(&id)
    }

    pub(super) fn of_mut(&mut self, id: RegistrationId) -> Option<&mut Claim> {
        self.claims.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (RegistrationId, &Claim)> {
        self.claims.iter().map(|(id, claim)| (*id, claim))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Claim> {
        self.claims.values_mut()
    }

    /// The claim of a registration, made now if there is none: with the leases of an earlier registration of the same
    /// key whose end was never confirmed.
    pub(super) fn enter(&mut self, id: RegistrationId, key: &Key) -> &mut Claim {
        let before = if self.claims.contains_key(&id) { None } else { self.latest.insert(key.clone(), id) };
        let inherited = before.and_then(|before| self.claims.get(&before)).map(|it| it.leases.clone());
        self.claims.entry(id).or_insert_with(|| Claim {
            key: key.clone(),
            leases: inherited.unwrap_or_default(),
            seconds: 0,
            spent: false,
            granted: 0,
            held: false,
            decided: None,
            doubt: false,
            written: None,
            since: None,
            hidden: false,
            news: None,
        })
    }

    /// Draws a lease for a claim, if it needs another one.
    pub(super) fn lease(claim: &mut Claim, seconds: u64, drawn: u64) {
        if claim.spent || claim.seconds != seconds {
            (claim.spent, claim.seconds) = (false, seconds);
            // 63 bits, and not zero: that is no lease.
            claim.leases.push(LeaseId((drawn >> 1).max(1).cast_signed()));
            if claim.leases.len() > LEASES {
                claim.leases.remove(0);
            }
        }
    }

    pub(super) fn remove(&mut self, id: RegistrationId) -> Option<Claim> {
        let claim = self.claims.remove(&id)?;
        if self.latest.get(&claim.key) == Some(&id) {
            self.latest.remove(&claim.key);
        }
        Some(claim)
    }

    /// Whether there are so many that it is time to look for those that are over. O(1), amortised.
    pub(super) fn wants_sweep(&self) -> bool {
        self.claims.len() >= self.sweep.max(SWEEP)
    }

    pub(super) fn sweep(&mut self, is_over: impl Fn(RegistrationId) -> bool) {
        let over: Vec<RegistrationId> = self.claims.keys().copied().filter(|id| is_over(*id)).collect();
        for id in over {
            self.remove(id);
        }
        self.sweep = self.claims.len() * 2;
    }
}

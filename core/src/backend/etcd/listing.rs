//! What is there, all of it at one revision: where watches start.

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::cluster::{Cluster, Floor};
use super::facts::{self, Fact, Proof};
use super::gateway::{self, Answer};
use super::message::{DENIED, Header, Pair, Refusal, Transacted};
use super::{Aside, Etcd, Wire, keys};
use crate::catalog::Selector;
use crate::client::calls::{Call, Way};
use crate::client::link::Fall;
use crate::client::machine::What;
use crate::client::subscription::{Delivery, Following, Told};
use crate::client::{Channel, ClientEvent, RegistrationId};
use crate::fault::Fault;
use crate::http::RequestId;
use crate::http::body::BodyError;
use crate::name::InstanceId;
use crate::packed::Instance;
use crate::time::Instant;

/// The most operations that etcd takes in one transaction, unless it is told otherwise.
pub(super) const RANGES: usize = 128 - facts::FACTS;

/// Something that a watch is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// What is followed.
    Followed(Selector),
    /// The key of a registration of our own.
    Own(RegistrationId),
}

/// A listing under way.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) call: RequestId,
    targets: Vec<Target>,
    /// What is read besides, to prove that the history is the one that was seen.
    facts: Vec<(Vec<u8>, Fact)>,
    floor: Floor,
}

impl Etcd {
    /// Where the entries of a target are: a key, and the end of the range if it is one.
    pub(super) fn range(&self, target: &Target) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        Some(match target {
            Target::Followed(selector) => {
                let start = keys::start(&self.wire.options.prefix, selector);
                let end = keys::end(&start);
                (start.into_bytes(), Some(end))
            }
            Target::Own(id) => (self.own_key(*id)?.into_bytes(), None),
        })
    }

    /// Asks for what there is of these, and for what proves the history.
    pub(super) fn list(&mut self, targets: Vec<Target>, now: Instant) {
        let known = self.targets();
        let told: Vec<_> = known.iter().filter_map(|(target, from)| Some((self.range(target)?, (*from)?))).collect();
        let within = |key: &[u8], (start, end): &(Vec<u8>, Option<Vec<u8>>)| match end {
            Some(end) => *start.as_slice() <= *key && *key < *end.as_slice(),
            None => start.as_slice() == key,
        };
        let facts = self.wire.streams.facts.to_prove(|key| {
            let told = told.iter().filter(|(range, _)| within(key, range)).map(|(_, from)| *from);
            told.max().unwrap_or(0)
        });
        let mut ranges: Vec<_> = targets.iter().filter_map(|target| self.range(target)).collect();
        ranges.extend(facts.iter().map(|(key, _)| (key.clone(), None)));
        let body = gateway::read(ranges.iter().map(|(key, end)| (key.as_slice(), end.as_deref())));
        let way = self.watch.way();
        let request = self.post(way, "/kv/txn", body);
        let floor = self.wire.cluster.floor();
        let call = self.send_aside(Aside::List, way, request, Some(now.saturating_add(self.config.call_timeout)));
        self.wire.streams.listing = Some(Listing { call, targets, facts, floor });
    }

    pub(super) fn on_listing_over(&mut self, way: Way, fall: Fall, reason: &str, now: Instant) {
        self.wire.streams.listing = None;
        self.on_unheard();
        self.on_fall(Channel::Watch, way, fall, reason, now);
    }

    pub(super) fn on_listed(&mut self, id: RequestId, call: Call<What<Wire>>, now: Instant) {
        let Some(listing) = self.wire.streams.listing.take() else {
            return;
        };
        match Answer::read(&call) {
            Answer::Good => match call.body.finish::<Transacted>() {
                Ok(answer) => self.on_listing(call.way, listing, answer, now),
                Err(error) => self.on_bad_listing(call.way, &error, now),
            },
            Answer::Refused(refusal, hint) if refusal.wants_login() && self.wire.options.credentials().is_some() => {
                if !self.on_token_refused(id) {
                    self.on_fall(Channel::Watch, call.way, Fall::Bad(hint), &refusal.message, now);
                }
            }
            Answer::Refused(refusal, hint) => self.on_listing_refused(call.way, listing, refusal, hint, now),
            Answer::Elsewhere if self.wire.paths.missed(call.way.origin) => {}
            Answer::Elsewhere => {
                self.on_fall(Channel::Watch, call.way, Fall::Bad(None), "there is no gateway of etcd", now);
            }
            Answer::Nonsense(reason, hint) => {
                self.on_unheard();
                self.on_fall(Channel::Watch, call.way, Fall::Bad(hint), &reason, now);
            }
        }
    }

    fn on_bad_listing(&mut self, way: Way, error: &BodyError, now: Instant) {
        self.on_unheard();
        self.on_fall(Channel::Watch, way, Fall::Bad(None), &error.to_string(), now);
    }

    /// One of several may not be read, and the others may: each is asked for alone.
    fn on_listing_refused(
        &mut self,
        way: Way,
        listing: Listing,
        refusal: Refusal,
        hint: Option<core::time::Duration>,
        now: Instant,
    ) {
        match <[Target; 1]>::try_from(listing.targets) {
            Ok([target]) if refusal.code == DENIED || refusal.wants_login() => self.put_aside(target, refusal, now),
            Err(several) if refusal.code == DENIED => self.wire.streams.alone.extend(several),
            _ => {
                self.on_unheard();
                self.on_fall(Channel::Watch, way, Fall::Bad(hint), &refusal.message, now);
            }
        }
    }

    fn on_listing(&mut self, way: Way, listing: Listing, answer: Transacted, now: Instant) {
        let Listing { targets, facts, floor, .. } = listing;
        let Transacted { header, responses, .. } = answer;
        let ranged = |done: super::message::Done| done.response_range.map(|range| range.kvs);
        let found: Option<Vec<Vec<Pair>>> = responses.into_iter().map(ranged).collect();
        let Some(found) = found.filter(|found| found.len() == targets.len() + facts.len()) else {
            return self.on_fall(Channel::Watch, way, Fall::Bad(None), "a listing lists something else", now);
        };
        if self.config.faults.has(Fault::EtcdRegressUnseen) {
            self.wire.cluster.heard(&header);
        } else {
            let (listed, read) = found.split_at(targets.len());
            let read = facts.iter().map(|(_, fact)| fact).zip(read.iter().map(|pairs| pairs.first()));
            let mut proof = facts::proof(header.revision, read);
            // Where nothing was, something can be only at another revision.
            let known = self.targets();
            let followed = |target: &Target| matches!(target, Target::Followed(_));
            let at = |it: &Target| followed(it) && known.get(it).copied().flatten() == Some(header.revision);
            if facts.is_empty() && targets.iter().zip(listed).any(|(target, pairs)| at(target) && !pairs.is_empty()) {
                proof = Proof::Lost;
            }
            let open = proof == Proof::Open && (self.wire.streams.unproven || !self.wire.streams.proven);
            if open && targets.iter().zip(listed).any(|(target, pairs)| self.lacks(target, pairs)) {
                proof = Proof::Lost;
            }
            self.on_proof(&header, floor, proof, now);
        }
        self.wire.cluster.seen(header.revision);
        self.wire.door.proven();
        self.on_answer(Channel::Watch, way, now);
        for (target, pairs) in targets.into_iter().zip(found) {
            self.wire.streams.relist.remove(&target);
            match target {
                Target::Followed(selector) => self.on_snapshot(way, selector, &pairs, &header, now),
                Target::Own(id) => {
                    if let Some(pair) = pairs.first() {
                        self.wire.streams.facts.note(pair, header.revision);
                    }
                    if let Some(claim) = self.wire.claims.of_mut(id) {
                        // Whatever is there counts, even if it was there before.
                        claim.since = None;
                    }
                    self.on_own_listed(id, pairs.first(), header.revision, now);
                }
            }
        }
    }

    /// Whether a listing lacks what is held. A history that nothing proves to be the same may be another one, in which
    /// those who have not come back yet are not listed: they are not gone before they had the time to.
    fn lacks(&self, target: &Target, pairs: &[Pair]) -> bool {
        let Target::Followed(selector) = target else {
            return false;
        };
        let put = |pair| keys::put(&self.wire.options.prefix, selector, pair, self.config.faults).changes;
        let listed = pairs.iter().flat_map(put).filter_map(|(service, told)| match told {
            Told::Put(instance, _) => Some((service.service, instance.instance_id())),
            Told::Remove(..) => None,
        });
        !self.config.faults.has(Fault::EtcdOpenBelieved) && self.subscriptions.lacks(selector, &listed.collect())
    }

    /// What a listing says of the history.
    fn on_proof(&mut self, header: &Header, floor: Floor, proof: Proof, now: Instant) {
        if proof == Proof::Lost || !Cluster::goes_on(header, floor) {
            self.on_history_lost(header, now);
        } else if proof == Proof::Open && !self.wire.streams.proven {
            // What is there now is right, whichever history it is.
            let known = self.targets().into_iter().filter(|(_, from)| from.is_some());
            let known: Vec<Target> = known.map(|(target, _)| target).collect();
            self.wire.streams.relist.extend(known);
            self.wire.streams.unproven = true;
        }
        self.wire.cluster.heard(header);
        self.wire.streams.proven = true;
    }

    fn on_own_listed(&mut self, id: RegistrationId, pair: Option<&Pair>, revision: u64, now: Instant) {
        let Some(claim) = self.wire.claims.of_mut(id) else {
            return;
        };
        // What was written since the listing is newer than it.
        if claim.written.is_some_and(|(written, _)| written > revision) {
            claim.since = Some(revision);
            return;
        }
        self.on_own(id, revision, pair, now);
    }

    fn on_snapshot(&mut self, way: Way, selector: Selector, pairs: &[Pair], header: &Header, now: Instant) {
        let revision = header.revision;
        let mut listed: BTreeMap<(alloc::string::String, InstanceId), Instance> = BTreeMap::new();
        for pair in pairs {
            let said = keys::put(&self.wire.options.prefix, &selector, pair, self.config.faults);
            self.on_skipped(said.problem);
            self.wire.streams.facts.note(pair, revision);
            for (service, told) in said.changes {
                if let Told::Put(instance, _) = told {
                    listed.insert((service.service.to_string(), instance.instance_id()), instance);
                }
            }
        }
        let listed = listed.into_values().map(|instance| (instance, None)).collect();
        let mut following = Following::new(alloc::vec![selector.clone()]);
        let target = Target::Followed(selector.clone());
        let delivery = Delivery {
            cursor: Some(self.wire.cluster.cursor(revision)),
            snapshots: alloc::vec![(selector, listed)],
            changes: Vec::new(),
            warming: self.wire.cluster.is_warming(now),
        };
        if let Err(error) = self.subscriptions.deliver(&mut following, &delivery, now) {
            // A former life of the client has seen more of it: that history is gone.
            self.on_history_lost(header, now);
            self.on_fall(Channel::Watch, way, Fall::Bad(None), &error.to_string(), now);
        } else {
            self.wire.streams.listed.push((target, following, now));
        }
    }

    pub(super) fn on_skipped(&mut self, problem: Option<alloc::string::String>) {
        if let Some(problem) = problem {
            self.counters.skipped += 1;
            self.emit(ClientEvent::Skipped { problem });
        }
    }
}

//! The watch stream: one for all that is followed and for the keys of all registrations, resumed where each of them was.
//!
//! What etcd says is dated and says how a key is, not how it differs. So a stream may be opened while the one before is
//! still heard, and takes over with its first word.

mod heard;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use super::cluster::Floor;
use super::facts::Facts;
use super::gateway::{self, Answer};
use super::listing::{Listing, RANGES, Target};
use super::message::{Header, Refusal};
use super::{Aside, Etcd, Wire};
use crate::catalog::Selector;
use crate::client::backoff::Backoff;
use crate::client::calls::{Call, Way};
use crate::client::link::Fall;
use crate::client::machine::What;
use crate::client::subscription::Following;
use crate::client::{Channel, ClientEvent, RegistrationId};
use crate::fault::Fault;
use crate::http::RequestId;
use crate::http::lines::LineDecoder;
use crate::protocol::Problem;
use crate::time::Instant;

/// What is asked for within this time is asked for with one request.
const GATHER: Duration = Duration::from_millis(2);
/// The same for keys of our own: their watches start in the past, so that they may wait for others.
const OWN_GATHER: Duration = Duration::from_millis(250);

/// What a client has under way to hear what it follows.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Option<Stream>,
    /// Sent, and nothing heard of it yet.
    opening: Option<Stream>,
    pub(super) listing: Option<Listing>,
    /// What was listed, and when, until a stream follows it.
    pub(super) listed: Vec<(Target, Following, Instant)>,
    /// When it is time to see to it that everything is heard.
    due: Option<Instant>,
    /// Those that are to be listed although it is known where they are.
    pub(super) relist: BTreeSet<Target>,
    /// Those that are listed alone, because one of them may not be read.
    pub(super) alone: BTreeSet<Target>,
    /// Those that were refused, until then.
    aside: BTreeSet<Target>,
    aside_until: Option<Instant>,
    backoff: Backoff,
    /// When the stream is to show that it lives.
    refresh: Option<Instant>,
    /// What proves that the history is the one that was seen.
    pub(super) facts: Facts,
    /// Whether it was proven since a stream was last opened.
    pub(super) proven: bool,
    /// Whether nothing could prove it: what is not listed may be there.
    pub(super) unproven: bool,
    /// When a stream last began behind what was seen.
    doubted: Option<Instant>,
    opened: bool,
}

impl Streams {
    /// How many requests they have under way.
    pub(super) const fn len(&self) -> usize {
        self.open.is_some() as usize + self.opening.is_some() as usize + self.listing.is_some() as usize
    }

    pub(super) const fn is_due(&self) -> bool {
        self.due.is_some()
    }

    fn due_at(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

#[derive(Debug)]
struct Stream {
    call: RequestId,
    lines: LineDecoder,
    watches: Vec<Watch>,
    /// Which watch has which id, as far as that was told.
    ids: BTreeMap<i64, usize>,
    /// How many were answered: answers come in order.
    answered: usize,
    heard: Instant,
    /// What was known when it was opened.
    floor: Floor,
    /// Whether it will tell when all of the past has been told.
    tells_progress: bool,
}

/// One watch of a stream.
#[derive(Debug)]
struct Watch {
    target: Target,
    following: Following,
    /// What is known already.
    from: u64,
    over: bool,
}

impl Etcd {
    /// Sees to it that everything that is followed is heard: lists what is not known, then opens a stream.
    pub(super) fn follow(&mut self, now: Instant) {
        if self.subscriptions.take_changed_interests() {
            let gathers = self.wire.streams.len() > 0 && !self.subscriptions.is_suspended();
            let gather = if gathers { GATHER } else { Duration::ZERO };
            self.wire.streams.due_at(now.saturating_add(gather));
        }
        let due = self.wire.streams.due.is_some_and(|due| due <= now);
        let waits = self.wire.streams.listing.is_some() || !self.is_let_in();
        if !due || (waits && !self.subscriptions.is_suspended()) {
            return;
        }
        let wanted = self.targets();
        let Streams { relist, alone, aside, .. } = &mut self.wire.streams;
        relist.retain(|target| wanted.contains_key(target));
        alone.retain(|target| wanted.contains_key(target));
        aside.retain(|target| wanted.contains_key(target));
        if wanted.is_empty() {
            return self.close_streams();
        }
        if waits || !self.watch.is_ready(now) {
            return;
        }
        let blind = self.config.faults.has(Fault::EtcdRegressUnseen);
        if self.wire.streams.facts.is_empty() && !self.wire.streams.proven && !blind {
            // Nothing could prove the history: what is there now is right, whichever it is.
            self.wire.streams.relist.extend(wanted.keys().cloned());
            (self.wire.streams.proven, self.wire.streams.unproven) = (true, true);
        }
        let Streams { relist, alone, aside, .. } = &self.wire.streams;
        let heard = |target: &Target| !aside.contains(target);
        let unknown: Vec<Target> = wanted
            .iter()
            .filter(|(target, from)| heard(target) && (from.is_none() || relist.contains(*target)))
            .map(|(target, _)| target.clone())
            .collect();
        let together: Vec<Target> = unknown.iter().filter(|it| !alone.contains(*it)).take(RANGES).cloned().collect();
        if !together.is_empty() {
            return self.list(together, now);
        }
        if let Some(target) = unknown.into_iter().next() {
            return self.list(alloc::vec![target], now);
        }
        if !self.wire.streams.proven && !blind {
            return self.list(Vec::new(), now);
        }
        let watches = wanted.into_iter().filter(|(target, _)| heard(target));
        let watches: Vec<Watch> = watches.filter_map(|(target, from)| Some(Watch::new(target, from?))).collect();
        self.wire.streams.due = None;
        (self.wire.streams.proven, self.wire.streams.unproven) = (false, false);
        if !watches.is_empty() {
            self.open(watches, now);
        }
    }

    /// What is to be heard, and from where on.
    pub(super) fn targets(&self) -> BTreeMap<Target, Option<u64>> {
        let epoch = self.wire.cluster.epoch();
        let mut targets = BTreeMap::new();
        let wide: Vec<&Selector> = self.subscriptions.interests().map(|(_, selector, _)| selector).collect();
        let wide: Vec<&Selector> = wide.into_iter().filter(|it| matches!(it, Selector::Prefix { .. })).collect();
        for (_, selector, cursor) in self.subscriptions.interests() {
            if wide.iter().any(|wide| *wide != selector && wide.covers(selector)) {
                continue;
            }
            let forgiving = self.config.faults.has(Fault::EtcdRegressUnseen);
            let cursor = cursor.filter(|cursor| cursor.epoch == epoch || forgiving);
            targets.insert(Target::Followed(selector.clone()), cursor.map(|cursor| cursor.revision.0));
        }
        if !self.config.faults.has(Fault::EtcdKeyUnwatched) {
            let held = self.wire.claims.iter().filter(|(id, claim)| claim.held && self.holdings.lease(*id).is_some());
            // What is at a key that is being written says nothing until that is done.
            let held = held.filter(|(_, claim)| claim.since.is_some() || !claim.doubt);
            targets.extend(held.map(|(id, claim)| (Target::Own(id), claim.since)));
        }
        targets
    }

    fn open(&mut self, watches: Vec<Watch>, now: Instant) {
        if let Some(opening) = self.wire.streams.opening.take() {
            self.calls.cancel(opening.call);
        }
        let skipped = u64::from(self.config.faults.has(Fault::EtcdResumeOffByOne));
        let way = self.watch.way();
        let tells_progress = self.tells_progress(way);
        let mut body = Vec::new();
        for watch in &watches {
            let Some((key, end)) = self.range(&watch.target) else { continue };
            let from = watch.from.saturating_add(1 + skipped);
            body.extend(gateway::create(&key, end.as_deref(), from));
        }
        if tells_progress {
            body.extend_from_slice(b"{\"progress_request\":{}}");
        }
        let mut request = self.post(way, "/watch", body);
        request.streaming = true;
        let call = self.send_aside(Aside::Watch, way, request, Some(now.saturating_add(self.config.call_timeout)));
        self.wire.streams.opening = Some(Stream {
            call,
            // A line is a delivery.
            lines: LineDecoder::new(self.config.limits.delivery),
            watches,
            ids: BTreeMap::new(),
            answered: 0,
            heard: now,
            floor: self.wire.cluster.floor(),
            tells_progress,
        });
    }

    /// Nothing is followed any more.
    pub(super) fn close_streams(&mut self) {
        let Streams { open, opening, listing, facts, opened, .. } = mem::take(&mut self.wire.streams);
        // What was seen proves the history of whatever is followed next.
        (self.wire.streams.facts, self.wire.streams.opened) = (facts, opened);
        for stream in open.into_iter().chain(opening) {
            self.calls.cancel(stream.call);
        }
        if let Some(listing) = listing {
            self.calls.cancel(listing.call);
        }
    }

    /// The connection may have died unnoticed: a new stream takes over.
    pub(super) fn refresh_streams(&mut self, now: Instant) {
        if self.wire.streams.open.is_some() || self.wire.streams.opening.is_some() {
            let at = now.saturating_add(self.rng.time_below(GATHER * 50));
            self.wire.streams.due_at(at);
        }
    }

    /// A registration has its key: that is watched, unless it is already.
    pub(super) fn watch_key(&mut self, id: RegistrationId, now: Instant) {
        let watched = |stream: &Stream| stream.follows(&Target::Own(id));
        let Streams { open, opening, .. } = &self.wire.streams;
        if !open.iter().chain(opening).any(watched) {
            self.wire.streams.due_at(now.saturating_add(OWN_GATHER));
        }
    }

    // Time.

    pub(super) fn streams_timeout(&self) -> Option<Instant> {
        let Streams { open, due, listing, aside_until, refresh, .. } = &self.wire.streams;
        let due = due.filter(|_| listing.is_none() && self.is_let_in());
        let due = due.map(|due| self.watch.retry().map_or(due, |retry| due.max(retry)));
        let forgotten = self.config.faults.has(Fault::SilenceForgotten);
        let open = open.as_ref().filter(|_| !forgotten);
        let silent = open.map(|open| open.heard.saturating_add(self.config.silence));
        let warm = self.wire.cluster.warm().filter(|_| self.wire.streams.open.is_some());
        [due, silent, warm, *aside_until, refresh.filter(|_| !forgotten)].into_iter().flatten().min()
    }

    pub(super) fn watch_time(&mut self, now: Instant) {
        let forgotten = self.config.faults.has(Fault::SilenceForgotten);
        let silent = |stream: &&Stream| stream.heard.saturating_add(self.config.silence) <= now;
        if let Some(open) = self.wire.streams.open.as_ref().filter(silent).filter(|_| !forgotten) {
            let id = open.call;
            self.break_off(id, Fall::Bad(None), "the registry has gone silent", now);
        }
        if !forgotten && self.wire.streams.refresh.take_if(|at| *at <= now).is_some() {
            self.wire.streams.due_at(now);
        }
        if self.wire.streams.aside_until.take_if(|at| *at <= now).is_some() {
            self.wire.streams.aside.clear();
            self.wire.streams.due_at(now);
        }
        if self.wire.streams.open.is_some()
            && self.wire.cluster.take_settled(now)
            && let Some(open) = &mut self.wire.streams.open
        {
            for watch in open.watches.iter_mut().filter(|watch| !watch.over) {
                self.subscriptions.settled(&mut watch.following, now);
            }
        }
    }

    /// The stream was heard: it has to be heard again within half of the time after which it counts as dead.
    fn on_heard(&mut self, now: Instant) {
        let half = self.config.silence / 2;
        let at = now.saturating_add(half - self.rng.time_below(half / 4));
        if let Some(open) = &mut self.wire.streams.open {
            open.heard = now;
            self.wire.streams.refresh = Some(at);
        }
    }

    /// Something may not be read, for now.
    pub(super) fn put_aside(&mut self, target: Target, refusal: Refusal, now: Instant) {
        let Refusal { code, message } = refusal;
        let problem = Problem { code: gateway::name(code), message, field: None, limit: None };
        self.emit(ClientEvent::WatchRefused(problem));
        let streams = &mut self.wire.streams;
        streams.aside.insert(target);
        if streams.aside_until.is_none() {
            let wait = streams.backoff.next(&mut self.rng, Backoff::CAP, None, now);
            streams.aside_until = Some(now.saturating_add(wait));
        }
    }

    /// What was known of the history is worth nothing: everything is listed anew.
    pub(super) fn on_history_lost(&mut self, header: &Header, now: Instant) {
        let drawn = self.rng.next_u64();
        self.wire.cluster.begin(header, drawn, self.wire.options.warm_up, now);
        for claim in self.wire.claims.values_mut() {
            claim.since = None;
        }
        if let Some(mut open) = self.wire.streams.open.take() {
            self.calls.cancel(open.call);
            open.stale(&mut self.subscriptions);
        }
        if let Some(opening) = self.wire.streams.opening.take() {
            self.calls.cancel(opening.call);
        }
        self.on_unheard();
        self.wire.streams.refresh = None;
        self.wire.streams.facts.clear();
        self.wire.streams.unproven = false;
        self.wire.streams.due_at(now);
    }

    // Its end.

    pub(super) fn on_stream_end(&mut self, id: RequestId, call: Call<What<Wire>>, now: Instant) {
        let way = call.way;
        match Answer::read(&call) {
            Answer::Good => self.on_stream_over(id, way, Fall::Broken, "the registry ended the stream", now),
            Answer::Refused(refusal, _) if refusal.wants_login() && self.on_token_refused(id) => {
                self.on_stream_lost(id, now);
            }
            Answer::Refused(refusal, hint) => {
                let message = refusal.message.clone();
                let problem =
                    Problem { code: gateway::name(refusal.code), message: refusal.message, field: None, limit: None };
                self.emit(ClientEvent::WatchRefused(problem));
                self.on_stream_over(id, way, Fall::Bad(hint), &message, now);
            }
            Answer::Elsewhere if self.wire.paths.missed(way.origin) => {
                self.on_stream_lost(id, now);
            }
            Answer::Elsewhere => {
                self.on_stream_over(id, way, Fall::Bad(None), "there is no gateway of etcd", now);
            }
            Answer::Nonsense(reason, hint) => self.on_stream_over(id, way, Fall::Bad(hint), &reason, now),
        }
    }

    pub(super) fn on_stream_over(&mut self, id: RequestId, way: Way, fall: Fall, reason: &str, now: Instant) {
        if self.on_stream_lost(id, now) {
            self.on_fall(Channel::Watch, way, fall, reason, now);
        }
    }

    /// What was listed is not heard of any more, unless the stream before follows it.
    pub(super) fn on_unheard(&mut self) {
        for (target, mut following, heard) in mem::take(&mut self.wire.streams.listed) {
            let open = self.wire.streams.open.as_ref();
            let mut watches = open.into_iter().flat_map(|open| &open.watches);
            let hears = |watch: &Watch| !watch.over && self.subscriptions.hears(&watch.following);
            if !watches.any(|watch| watch.target == target && hears(watch)) {
                self.subscriptions.stale(&mut following, heard);
            }
        }
    }

    /// A stream is heard no more. Whether it was one of ours.
    fn on_stream_lost(&mut self, id: RequestId, now: Instant) -> bool {
        let streams = &mut self.wire.streams;
        if streams.opening.take_if(|opening| opening.call == id).is_some() {
            self.on_unheard();
        } else {
            let Some(mut open) = streams.open.take_if(|open| open.call == id) else {
                return false;
            };
            streams.refresh = None;
            if !self.config.faults.has(Fault::StaleNotTold) {
                open.stale(&mut self.subscriptions);
            }
        }
        self.wire.streams.due_at(now);
        true
    }
}

impl Stream {
    fn follows(&self, target: &Target) -> bool {
        // They are in order: they come from a map.
        self.watches.binary_search_by(|watch| watch.target.cmp(target)).is_ok()
    }

    fn stale(&mut self, subscriptions: &mut crate::client::subscription::Subscriptions) {
        for watch in &mut self.watches {
            subscriptions.stale(&mut watch.following, self.heard);
        }
    }
}

impl Watch {
    fn new(target: Target, from: u64) -> Self {
        let selectors = match &target {
            Target::Followed(selector) => alloc::vec![selector.clone()],
            Target::Own(_) => Vec::new(),
        };
        Self { target, following: Following::new(selectors), from, over: false }
    }
}

//! Sending queries, and what comes of them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use smol_str::SmolStr;

use super::Consul;
use super::decode::{Listing, health, names};
use super::options::{Reads, go_duration};
use super::poll::{Next, Query, Sent};
use super::queue::ROUND;
use super::work::shortened;
use crate::client::calls::Call;
use crate::client::link::Fall;
use crate::client::machine::What;
use crate::client::{Backoff, Channel, ClientEvent};
use crate::fault::Fault;
use crate::http::target::Target;
use crate::http::{Head, Method, RequestId};
use crate::protocol::Problem;
use crate::time::Instant;

/// Over this time everything is asked anew when the network is back.
const REFRESH: Duration = Duration::from_millis(100);

/// What an answer says beside what it lists.
struct Answer {
    index: u64,
    /// Whether rights are missing to see all.
    filtered: bool,
    /// Whether it shows that there is somebody who knows.
    proof: bool,
}

impl Consul {
    /// Sends the queries that are due and may be sent.
    pub(super) fn send_polls(&mut self, now: Instant) {
        while self.watch.is_ready(now)
            && let Some((_, query)) = self.next_poll().filter(|(due, _)| *due <= now)
        {
            let query = query.clone();
            self.send_poll(&query, now);
        }
    }

    /// Which query may be sent next, and when; `None`: none before another is answered. As long as nothing is answered,
    /// one finds out whether anything is.
    fn next_poll(&self) -> Option<(Instant, &Query)> {
        if self.subscriptions.is_suspended() {
            return None;
        }
        let watches = &self.wire.watches;
        if self.watch.is_up() {
            let most = self.wire.options.places() + self.wire.options.beside();
            return watches.queue.next(self.has_place()).filter(|_| watches.open < most);
        }
        let era = self.watch.way().era;
        let asked = watches.polls.values().any(|poll| poll.call.is_some_and(|sent| sent.era == era));
        watches.queue.next(true).filter(|_| !asked)
    }

    /// Whether another query may wait.
    fn has_place(&self) -> bool {
        self.wire.watches.waiting < self.wire.options.places()
    }

    /// When queries want to be looked at.
    pub(super) fn polls_timeout(&self) -> Option<Instant> {
        let retry = self.watch.retry().unwrap_or_default();
        let next = self.next_poll().map(|(due, _)| due.max(retry));
        next.into_iter().chain(self.wire.watches.settles()).min()
    }

    fn send_poll(&mut self, query: &Query, now: Instant) {
        let options = &self.wire.options;
        let wait = turn(options.wait, options.places(), self.wire.watches.polls.len());
        let Some(poll) = self.wire.watches.polls.get(query) else {
            debug_assert!(false, "what is in the queue is followed");
            return;
        };
        // As long as nothing is answered, what waits for a change would not find out whether anything is.
        let since = poll.since().filter(|_| self.watch.is_up() && self.has_place());
        let as_nobody = poll.next == Next::AllAsNobody;
        let target = match query {
            Query::Names(..) => Target::new("/v1/catalog/services"),
            Query::Health(service, _) => {
                Target::new("/v1/health/service").segment(&service.service).query("passing", 1)
            }
        };
        let target = target.query_if("dc", options.datacenters.get(query.dc()));
        let target = target.query_if("index", since).query_if("wait", since.map(|_| go_duration(wait)));
        let target = match options.reads {
            Reads::Leader => target,
            Reads::Stale => target.query("stale", ""),
            Reads::Cached => target.query("cached", ""),
        };
        let target = self.wire.within(target, query.namespace());
        let way = self.watch.way();
        let mut request = self.request(way.origin, Method::Get, &target, Vec::new());
        if as_nobody {
            request.set_header("x-consul-token", "anonymous");
        }
        self.wire.sign(&mut request);
        // It occupies a connection for as long as it waits.
        request.streaming = since.is_some();
        // Consul adds up to a sixteenth to the wait.
        let patience = if since.is_some() { wait + wait / 16 } else { Duration::ZERO };
        let deadline = now.saturating_add(patience.saturating_add(self.config.call_timeout));
        let id = self.send_aside(query.clone(), way, request, Some(deadline));
        let watches = &mut self.wire.watches;
        if let Some(poll) = watches.polls.get_mut(query) {
            watches.queue.take(poll.due, query);
            poll.resuming |= poll.index > 0 && !self.watch.is_up();
            poll.sent(Sent { id, era: way.era, at: now, since, as_nobody });
            watches.open += 1;
            watches.waiting += usize::from(since.is_some());
        }
    }

    /// Connections may have died unnoticed: what waits for a change is asked at once, not all in one instant.
    pub(super) fn refresh_polls(&mut self, now: Instant) {
        let all: Vec<Query> = self.wire.watches.polls.keys().cloned().collect();
        for query in all {
            let at = now.saturating_add(self.rng.time_below(REFRESH));
            self.ask_anew(&query, at, now);
        }
    }

    /// A request for this query is over.
    fn take_poll(&mut self, call: RequestId, query: &Query) -> Option<Sent> {
        let watches = &mut self.wire.watches;
        watches.polls.get(query)?.call.filter(|sent| sent.id == call)?;
        watches.take_call(query)
    }

    /// The answer to a query is complete.
    pub(super) fn on_polled(&mut self, id: RequestId, now: Instant) {
        let Some(call) = self.calls.end(id) else {
            return;
        };
        let (What::Aside(query), Some(head)) = (&call.what, &call.head) else {
            return;
        };
        let Some(sent) = self.take_poll(id, query) else {
            return;
        };
        let body = call.body.bytes().unwrap_or_default();
        if head.status == 200 {
            // Whatever stands between may answer with an empty list, but not with an index.
            let Some(index) = head.header("x-consul-index").and_then(|index| index.trim().parse::<u64>().ok()) else {
                let reason = "the answer is not Consul's, which has an X-Consul-Index (and a browser may read it only \
                              if Access-Control-Expose-Headers names it)";
                return self.on_lost(query, &call, Fall::Bad(None), reason, now);
            };
            let read = match query {
                Query::Names(..) => names(body).map(|names| (Listing::default(), names)),
                Query::Health(_, dc) => {
                    let dcs = &self.wire.options.datacenters;
                    let dc = dcs.get(*dc).filter(|_| dcs.len() > 1);
                    health(body, dc.map(SmolStr::as_str)).map(|listing| (listing, Default::default()))
                }
            };
            return match read {
                Ok((listing, names)) => {
                    self.on_answer(Channel::Watch, call.way, now);
                    let empty = listing.instances.is_empty() && listing.skipped.is_empty() && names.is_empty();
                    if empty && !sent.as_nobody && self.may_hide(head) {
                        return self.ask_next(query, Next::AllAsNobody, now);
                    }
                    let proof = sent.since != Some(index) || is_servers_word(head);
                    let answer = Answer { index: index.max(1), filtered: is_filtered(head), proof };
                    self.on_listed(query, answer, listing, names, now);
                }
                Err(error) => self.on_lost(query, &call, Fall::Bad(None), &error.to_string(), now),
            };
        }
        let text = shortened(body);
        let text = if text.is_empty() { format!("answered with status {}", head.status) } else { text };
        let several = self.wire.options.datacenters.len() > 1;
        match head.status {
            // It is refused, and not the others for that: rights are for each service, and datacenters fail apart.
            400 | 401 | 403 => {
                self.on_answer(Channel::Watch, call.way, now);
                self.on_denied(query, head, text, now);
            }
            500 | 503 if several && self.is_datacenters(query, head.status, &text) => {
                self.on_answer(Channel::Watch, call.way, now);
                self.on_silent(query, head.retry_after(), now);
            }
            _ => self.on_lost(query, &call, Fall::Bad(head.retry_after()), &text, now),
        }
    }

    /// Whether an empty list may be one of which all is hidden. To those who show no token, Consul does not say that it
    /// hides anything; nor does it say whether the agent has shown its own for them.
    fn may_hide(&self, head: &Head) -> bool {
        let denies = |said: &str| said.eq_ignore_ascii_case("deny");
        self.wire.options.token.is_none()
            && !is_filtered(head)
            && head.header("x-consul-default-acl-policy").is_some_and(denies)
    }

    /// Something else is asked than what has changed.
    fn ask_next(&mut self, query: &Query, next: Next, now: Instant) {
        if let Some(poll) = self.wire.watches.polls.get_mut(query) {
            poll.next = next;
        }
        self.wire.watches.line_up(query, Some(now), now);
    }

    /// Whether a failure is a datacenter's, and not the agent's. What agents cannot find servers for, the next one may,
    /// once around; and if nothing is heard at all, it is no single datacenter.
    fn is_datacenters(&mut self, query: &Query, status: u16, text: &str) -> bool {
        if status == 503 && !["rpc error", "reading from server"].iter().any(|words| text.contains(words)) {
            return false;
        }
        let watches = &mut self.wire.watches;
        // Another datacenter's come as an `rpc error`.
        if (text.starts_with("No cluster leader") || text.contains("No known Consul servers"))
            && let Some(poll) = watches.polls.get_mut(query)
        {
            poll.leaderless = poll.leaderless.wrapping_add(1);
            if !poll.leaderless.is_multiple_of(self.config.origins.len().max(1)) {
                return false;
            }
        }
        watches.polls.iter().any(|(other, poll)| other != query && poll.epoch.is_some() && !poll.stale)
    }

    /// A query is over without an answer that makes sense.
    pub(super) fn on_poll_over(
        &mut self,
        id: RequestId,
        call: &Call<What<super::Wire>>,
        fall: Fall,
        reason: &str,
        now: Instant,
    ) {
        let What::Aside(query) = &call.what else {
            return;
        };
        let Some(sent) = self.take_poll(id, query) else {
            return;
        };
        // If others were answered since it was sent, it is not the agent that is silent, but a datacenter behind it.
        let several = self.wire.options.datacenters.len() > 1;
        let others = self.wire.heard.is_some_and(|heard| heard > sent.at);
        if several && others && matches!(fall, Fall::Bad(_)) {
            self.counters.failures += 1;
            return self.on_silent(query, None, now);
        }
        self.on_lost(query, call, fall, reason, now);
    }

    /// The way to the agent has failed.
    fn on_lost(&mut self, query: &Query, call: &Call<What<super::Wire>>, fall: Fall, reason: &str, now: Instant) {
        self.on_fall(Channel::Watch, call.way, fall, reason, now);
        self.fail(query, now, now);
        if self.watch.is_up() {
            return;
        }
        // Those that wait for their turn are not heard either.
        let queue = self.wire.watches.queue.iter().cloned().collect();
        self.doubt_queued(queue, now);
    }

    /// What has had no turn for long, because time has leapt (a machine slept), is not known to be so any more.
    pub(super) fn doubt_overdue(&mut self, now: Instant) {
        let late = self.config.call_timeout.saturating_add(ROUND);
        let overdue = self.wire.watches.queue.overdue(late, now).cloned().collect();
        self.doubt_queued(overdue, now);
    }

    fn doubt_queued(&mut self, queued: Vec<Query>, now: Instant) {
        for query in queued {
            if self.wire.watches.polls.get(&query).is_some_and(|poll| !poll.stale) {
                self.doubt(&query);
                self.wire.watches.line_up(&query, None, now);
                self.tell(&query, &[], now);
            }
        }
    }

    /// What the query gave is out of date.
    pub(super) fn doubt(&mut self, query: &Query) {
        let current = self.wire.watches.epoch;
        if let Some(poll) = self.wire.watches.polls.get_mut(query) {
            (poll.resuming, poll.tried) = (true, Some(current));
        }
        self.set_stale(query, true);
    }

    /// This query has failed, and others need not: it is asked again after a while.
    fn on_silent(&mut self, query: &Query, hint: Option<Duration>, now: Instant) {
        let mut delay = Duration::ZERO;
        if let Some(poll) = self.wire.watches.polls.get_mut(query) {
            delay = poll.backoff.next(&mut self.rng, Backoff::CAP, hint, now);
        }
        self.fail(query, now.saturating_add(delay), now);
    }

    /// This query was refused in so many words.
    fn on_denied(&mut self, query: &Query, head: &Head, message: String, now: Instant) {
        let code = SmolStr::new_static(if head.status == 400 { "invalid" } else { "forbidden" });
        self.emit(ClientEvent::WatchRefused(Problem { code, message, field: None, limit: None }));
        self.on_silent(query, head.retry_after(), now);
    }

    /// What the query gave is out of date, and it is asked again at this time, or later.
    fn fail(&mut self, query: &Query, at: Instant, now: Instant) {
        self.doubt(query);
        self.wire.watches.line_up(query, Some(at), now);
        self.tell(query, &[], now);
    }

    /// An answer lists what there is, with its index, and perhaps for want of rights not all of it. Old servers may say an
    /// index of 0, which is taken for 1: from there the next query is answered at once.
    fn on_listed(
        &mut self,
        query: &Query,
        Answer { index, filtered, proof }: Answer,
        listing: Listing,
        names: alloc::collections::BTreeSet<crate::name::ServiceName>,
        now: Instant,
    ) {
        self.wire.heard = Some(now);
        for problem in listing.skipped {
            self.counters.skipped += 1;
            self.emit(ClientEvent::Skipped { problem });
        }
        let faults = self.config.faults;
        let empty = listing.instances.is_empty() && names.is_empty();
        let current = self.wire.watches.epoch;
        let half = self.wire.options.wait / 2;
        let Some(poll) = self.wire.watches.polls.get_mut(query) else {
            return;
        };
        poll.backoff.worked(now);
        poll.leaderless = 0;
        if proof {
            poll.proven = now;
        } else if now.saturating_since(poll.proven) >= half {
            poll.next = Next::All;
        }
        let denied = filtered && !core::mem::replace(&mut poll.filtered, filtered);
        poll.filtered = filtered;
        let fell = poll.index > index && !faults.has(Fault::ConsulIndexKept);
        let resumed = core::mem::replace(&mut poll.resuming, false);
        let reconnected = poll.stale && poll.epoch.is_some();
        if !faults.has(Fault::ConsulIndexKept) || index > poll.index {
            poll.index = if fell { 0 } else { index };
        }
        let (mut lost, mut late, mut gone) = (false, false, Vec::new());
        let believed = !(filtered && empty) || faults.has(Fault::ConsulFilteredEmpties);
        if believed {
            // Something is missing that was there before an outage, and nothing shows that it is the same Consul as
            // before; or it is, and has gone back.
            let missing = poll.instances.keys().any(|id| !listing.instances.contains_key(id));
            let same = !listing.nodes.is_disjoint(&poll.nodes);
            let suspicious = fell || (resumed && !same);
            let doubted = missing && suspicious && !faults.has(Fault::ConsulLossBelieved);
            lost = doubted && poll.epoch == Some(current);
            // A datacenter that was not heard since the epoch began: what it held needs as long from now on.
            late = doubted && !lost && poll.epoch.is_some();
            if poll.epoch != Some(current) && !suspicious {
                // Another query has found memory lost; this one goes on where it was, so that it has the last word.
                gone = poll.instances.keys().filter(|id| !listing.instances.contains_key(*id)).cloned().collect();
            }
            if proof {
                poll.heard = now;
            }
            poll.epoch = Some(if lost { current + 1 } else { current });
            poll.tried = poll.epoch;
            (poll.instances, poll.nodes) = (listing.instances, listing.nodes);
        }
        if !believed {
            poll.tried = Some(current);
        }
        let named = poll.names != names && believed;
        if named {
            poll.names = names;
        }
        if reconnected && believed {
            self.counters.reconnects += 1;
        }
        if denied {
            let message = "the token's rights hide a part of what there is: give it service:read and node:read";
            let problem = Problem { code: "filtered".into(), message: message.into(), field: None, limit: None };
            self.emit(ClientEvent::WatchRefused(problem));
        }
        self.set_stale(query, !believed);
        self.wire.watches.line_up(query, Some(now), now);
        if lost {
            self.begin_epoch(query, now);
        } else if late {
            self.warm_up_anew(now);
        }
        // What a new name is for has to be waited for before all is shown; and what is empty is told before it is let go.
        if named {
            self.refit_polls(now);
        }
        self.tell(query, &gone, now);
        if empty && matches!(query, Query::Health(..)) && self.wire.watches.has_prefixes() {
            self.refit_polls(now);
        }
    }
}

/// Whether servers were asked for it. An agent that follows its servers by itself goes on to answer with what it has heard
/// when it hears them no more; agents that do not say what they do are taken for such.
fn is_servers_word(head: &Head) -> bool {
    head.header("x-consul-query-backend").is_some_and(|said| said.eq_ignore_ascii_case("blocking-query"))
}

/// Whether rights are missing to see all.
fn is_filtered(head: &Head) -> bool {
    head.header("x-consul-results-filtered-by-acls").is_some_and(|said| said.eq_ignore_ascii_case("true"))
}

/// How long each query waits: if there are more than have a place, each has its turn about once a round. If so many may wait at once and there are so many.
fn turn(wait: Duration, at_once: usize, polls: usize) -> Duration {
    if polls <= at_once {
        return wait;
    }
    let share =
        ROUND.saturating_mul(u32::try_from(at_once).unwrap_or(u32::MAX)) / u32::try_from(polls).unwrap_or(u32::MAX);
    share.clamp(Duration::from_secs(1), wait.max(Duration::from_secs(1)))
}

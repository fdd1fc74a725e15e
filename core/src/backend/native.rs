//! The client machine of the native protocol: JSON over HTTP and server-sent events, as
//! [`protocol`](crate::protocol) describes them.
//!
//! Calls (registrations, renewals, deregistrations) and the watch stream fail and recover apart: each has its own
//! [back-off](crate::client::Backoff) and its own origin in use. All renewals that are due travel as one request. One
//! stream carries everything that is followed; when that changes, a new stream takes over where the old one was.
//!
//! # States and inputs
//!
//! What each input does to a client that does one thing: *down*, the way to the registry has failed, and is tried again
//! after a while; *stale* and *told*, what the subscription learns.
//!
//! | input | not ours, or over | a call | a stream, opening | a stream, open |
//! |---|---|---|---|---|
//! | head: success | – | – | up | – |
//! | head: success, of another type | – | – | dropped, down | – |
//! | head: refusal | – | – | – | – |
//! | a chunk | – | – | – | told |
//! | a chunk beyond the limit | – | dropped, down | dropped, down | dropped, stale, down |
//! | end | – | down | down | stale, down |
//! | failure: not sent | – | down | down | stale, down |
//! | failure: unknown | – | down | down | stale, down |
//! | nothing for a minute | – | dropped, down | dropped, down | dropped, stale, down |

mod answer;
mod ask;
mod stream;

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use smol_str::SmolStr;

use crate::catalog::Selector;
use crate::client::calls::{Call, Calls, Way};
use crate::client::holding::{Holdings, Work};
use crate::client::link::{Fall, Link};
use crate::client::subscription::{SubscriptionConfig, Subscriptions};
use crate::client::{
    Backend, Channel, ClientConfig, ClientEvent, CommandError, Counters, Registration, RegistrationId,
    RegistrationView, SubscriptionId, Update, View,
};
use crate::http::{Failure, Head, Reach, RequestId, Transmit};
use crate::instance::Patch;
use crate::lease::Lease;
use crate::protocol::RENEWALS_LIMIT;
use crate::registry::Incarnation;
use crate::rng::{Rng, Seed};
use crate::time::Instant;
use stream::Streams;

/// The most events that wait to be polled, registrations' and subscriptions' news apart. The oldest go.
const EVENTS: usize = 256;

/// A client of a Periplus registry. See [`Backend`] for how it is driven.
#[derive(Debug)]
pub struct Native {
    config: ClientConfig,
    rng: Rng,
    incarnation: Incarnation,
    now: Instant,
    calls: Calls<What>,
    link: Link,
    holdings: Holdings<Lease>,
    /// The number of the latest renewal.
    number: u64,
    subscriptions: Subscriptions,
    watch: Link,
    streams: Streams,
    events: VecDeque<ClientEvent>,
    counters: Counters,
    closed: bool,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// A piece of work; a renewal with its number.
    Work(Work, u64),
    /// A watch.
    Stream,
}

impl Native {
    /// A client that has not called yet. `seed` is 32 bytes from the system: the client's incarnation is drawn from it.
    ///
    /// # Panics
    /// If the configuration names no origin.
    #[must_use]
    pub fn new(config: ClientConfig, seed: Seed, now: Instant) -> Self {
        assert!(!config.origins.is_empty(), "a client of a registry on a network needs an origin");
        let mut rng = Rng::new(seed);
        let subscriptions = SubscriptionConfig::from(&config);
        Self {
            incarnation: Incarnation(rng.next_u128()),
            rng,
            now,
            calls: Calls::new(config.limits.body),
            link: Link::default(),
            holdings: Holdings::new(),
            number: 0,
            subscriptions: Subscriptions::new(subscriptions),
            watch: Link::default(),
            streams: Streams::default(),
            events: VecDeque::new(),
            counters: Counters::default(),
            closed: false,
            config,
        }
    }

    /// Takes the last known sets, as [`poll_cache`](Backend::poll_cache) gave them in an earlier life, for what is
    /// followed from now on. Returns how many there are.
    ///
    /// # Errors
    /// If they are none; nothing was changed.
    pub fn restore(&mut self, cache: &[u8], now: Instant) -> Result<usize, crate::client::subscription::CacheError> {
        let now = self.advance(now);
        self.subscriptions.restore(cache, now)
    }

    /// The client's life, as the registry knows it.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Time that runs backwards stands still; what has lapsed by now is known before anything else is done. Whoever
    /// calls this pumps in the end, whatever came in between: what has lapsed may have something to send.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.holdings.handle_timeout(&self.config, self.now);
        self.now
    }

    /// Sends what can be sent now.
    fn pump(&mut self, now: Instant) {
        while let Some(call) = self.holdings.take_dropped() {
            self.calls.cancel(call);
        }
        // As long as nothing is answered, one request at a time finds out whether anything is.
        let at_once = if self.link.is_up() { self.config.in_flight.max(1) } else { 1 };
        while self.holdings.has_work() && self.link.is_ready(now) && self.calls.len() - self.streams.len() < at_once {
            let Some(work) = self.holdings.next_work(RENEWALS_LIMIT, now) else {
                break;
            };
            self.ask(work, now);
        }
        self.open_streams(now);
        if self.holdings.is_closing() && self.holdings.is_empty() && !self.closed {
            self.closed = true;
            self.emit(ClientEvent::Closed);
        }
    }

    fn emit(&mut self, event: ClientEvent) {
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn link_mut(&mut self, channel: Channel) -> &mut Link {
        match channel {
            Channel::Calls => &mut self.link,
            Channel::Watch => &mut self.watch,
        }
    }

    fn origin(&self, at: usize) -> SmolStr {
        self.config.origins.get(at).map(SmolStr::new).unwrap_or_default()
    }

    /// An answer has come this way.
    fn on_answer(&mut self, channel: Channel, way: Way, now: Instant) {
        if self.link_mut(channel).succeeded(now) {
            let origin = self.origin(way.origin);
            self.emit(ClientEvent::Connected { channel, origin });
        }
    }

    /// A request of this kind that went this way has failed.
    fn on_fall(&mut self, channel: Channel, way: Way, fall: Fall, reason: &str, now: Instant) {
        self.counters.failures += 1;
        let shortest = self.holdings.shortest_ttl();
        let link = match channel {
            Channel::Calls => &mut self.link,
            Channel::Watch => &mut self.watch,
        };
        if let Some(retry_in) = link.failed(way, fall, &self.config, shortest, &mut self.rng, now) {
            let (origin, reason) = (self.origin(way.origin), String::from(reason));
            self.emit(ClientEvent::Disconnected { channel, origin, reason, retry_in });
        }
    }

    /// A request is over without an answer that makes sense.
    fn on_failure(
        &mut self,
        id: RequestId,
        call: Option<Call<What>>,
        fall: Fall,
        arrived: bool,
        reason: &str,
        now: Instant,
    ) {
        let Some(call) = call else {
            return;
        };
        match call.what {
            What::Stream => self.on_stream_over(id, call.way, fall, reason, now),
            What::Work(work, _) => {
                self.on_fall(Channel::Calls, call.way, fall, reason, now);
                self.on_unanswered(&work, id, arrived, reason, now);
            }
        }
    }

    fn on_unanswered(&mut self, work: &Work, call: RequestId, arrived: bool, reason: &str, now: Instant) {
        match work {
            Work::Renew(ids) => {
                for id in ids {
                    self.holdings.on_not_renewed(*id, call, reason, &mut self.rng, now);
                }
            }
            Work::Register(id) | Work::Update(id) | Work::Deregister(id) => {
                self.holdings.on_unanswered(*id, arrived, reason, &self.config, now);
            }
        }
    }
}

impl Backend for Native {
    fn register(&mut self, registration: &Registration, now: Instant) -> Result<RegistrationId, CommandError> {
        let now = self.advance(now);
        let registered = self.holdings.register(registration, &self.config, now);
        self.pump(now);
        registered
    }

    fn update(&mut self, id: RegistrationId, patch: &Patch, now: Instant) -> Result<(), CommandError> {
        let now = self.advance(now);
        let updated = self.holdings.update(id, patch, &self.config, now);
        self.pump(now);
        updated
    }

    fn deregister(&mut self, id: RegistrationId, now: Instant) {
        let now = self.advance(now);
        self.holdings.deregister(id, &self.config, now);
        self.pump(now);
    }

    fn watch(&mut self, selector: &Selector, now: Instant) -> Result<SubscriptionId, CommandError> {
        let now = self.advance(now);
        // What is shown to a new holder must not come from a stream that is known to be dead by now.
        self.watch_silence(now);
        let closing = self.holdings.is_closing();
        let watched = if closing { Err(CommandError::Closed) } else { self.subscriptions.watch(selector, now) };
        self.pump(now);
        watched
    }

    fn unwatch(&mut self, id: SubscriptionId, now: Instant) {
        let now = self.advance(now);
        self.subscriptions.unwatch(id, now);
        self.pump(now);
    }

    fn close(&mut self, now: Instant) {
        let now = self.advance(now);
        self.holdings.close(&self.config, now);
        self.close_streams();
        // There is no time to wait out a back-off.
        self.link.hasten(&mut self.rng, now);
        self.pump(now);
    }

    fn handle_response(&mut self, id: RequestId, head: &Head, now: Instant) {
        let now = self.advance(now);
        if let Some(call) = self.calls.of_mut(id) {
            call.head = Some(head.clone());
            if call.what == What::Stream {
                self.on_stream_head(id, head, now);
            }
        }
        self.pump(now);
    }

    fn handle_chunk(&mut self, id: RequestId, chunk: &[u8], now: Instant) {
        let now = self.advance(now);
        match self.calls.of_mut(id) {
            None => {}
            Some(call) if call.what == What::Stream && call.head.as_ref().is_some_and(Head::is_success) => {
                self.on_stream_chunk(id, chunk, now);
            }
            Some(call) => {
                if let Err(error) = call.body.push(chunk) {
                    let call = self.calls.cancel(id);
                    self.on_failure(id, call, Fall::Bad(None), true, &error.to_string(), now);
                }
            }
        }
        self.pump(now);
    }

    fn handle_end(&mut self, id: RequestId, now: Instant) {
        let now = self.advance(now);
        match self.calls.of_mut(id).map(|call| (&call.what, &call.head)) {
            None => {}
            Some((_, None)) => {
                let call = self.calls.end(id);
                self.on_failure(id, call, Fall::Broken, true, "the answer has no head", now);
            }
            Some((What::Stream, Some(head))) if head.is_success() => {
                let call = self.calls.end(id);
                self.on_failure(id, call, Fall::Broken, true, "the registry ended the stream", now);
            }
            Some((What::Stream, Some(_))) => self.on_stream_refused(id, now),
            Some((What::Work(..), Some(_))) => self.on_called(id, now),
        }
        self.pump(now);
    }

    fn handle_failure(&mut self, id: RequestId, failure: &Failure, now: Instant) {
        let now = self.advance(now);
        let arrived = failure.reach == Reach::Unknown;
        let call = self.calls.end(id);
        self.on_failure(id, call, Fall::Broken, arrived, &failure.reason, now);
        self.pump(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        let now = self.advance(now);
        while let Some(id) = self.calls.overdue(now) {
            let call = self.calls.cancel(id);
            self.on_failure(id, call, Fall::Bad(None), true, "no answer in time", now);
        }
        self.watch_silence(now);
        self.subscriptions.handle_timeout(now);
        self.pump(now);
    }

    fn handle_online(&mut self, now: Instant) {
        let now = self.advance(now);
        self.link.hasten(&mut self.rng, now);
        self.watch.hasten(&mut self.rng, now);
        self.refresh_streams(now);
        self.pump(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.calls.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        if let Some((id, state)) = self.holdings.poll_news() {
            return Some(ClientEvent::Registration(id, state));
        }
        if let Some(id) = self.subscriptions.poll_ready() {
            return Some(ClientEvent::Update(id));
        }
        self.events.pop_front()
    }

    fn poll_update(&mut self, id: SubscriptionId) -> Option<Update> {
        self.subscriptions.poll_update(id)
    }

    fn poll_cache(&mut self) -> Option<Vec<u8>> {
        self.subscriptions.poll_cache()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        // Work that waits for its turn waits for an answer, unless it waits for the end of a back-off.
        let retry = self.link.retry().filter(|retry| *retry > self.now && self.holdings.has_work());
        let times = [
            self.holdings.poll_timeout(),
            self.calls.poll_timeout(),
            retry,
            self.streams_timeout(),
            self.subscriptions.poll_timeout(),
        ];
        times.into_iter().flatten().min()
    }

    fn registration(&self, id: RegistrationId) -> Option<RegistrationView> {
        self.holdings.view(id)
    }

    fn view(&self, id: SubscriptionId) -> Option<View> {
        self.subscriptions.view(id)
    }

    fn counters(&self) -> Counters {
        let told = self.subscriptions.counters();
        Counters {
            registrations: self.holdings.registered,
            renewals: self.holdings.renewed,
            losses: self.holdings.lost,
            deregistrations: self.holdings.deregistered,
            stale: told.stale,
            deliveries: told.deliveries,
            snapshots: told.snapshots,
            changes: told.changes,
            ..self.counters
        }
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
mod tests;

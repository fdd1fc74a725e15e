//! What every client of a registry on a network is made of, but for what it speaks.

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use smol_str::SmolStr;

use super::calls::{Call, Calls, Way};
use super::holding::{Holdings, Work};
use super::link::{Fall, Link};
use super::subscription::{CacheError, SubscriptionConfig, Subscriptions};
use super::{
    Backend, Channel, ClientConfig, ClientEvent, CommandError, Counters, Registration, RegistrationId,
    RegistrationView, SubscriptionId, Update, View,
};
use crate::catalog::Selector;
use crate::http::target::Target;
use crate::http::{Failure, Head, Method, Reach, Request, RequestId, Transmit};
use crate::instance::Patch;
use crate::rng::Rng;
use crate::time::Instant;

/// The most events that wait to be polled, registrations' and subscriptions' news apart. The oldest go.
const EVENTS: usize = 256;

/// The ttl that a registry gives unless one is asked for, as far as a client guesses.
const USUAL_TTL: Duration = Duration::from_secs(30);

/// What a client speaks. Everything that is not protocol (what is wanted, what is known, when something is tried again)
/// is the [`Machine`]'s, which the protocol acts on.
///
/// A request is either a [`Work`]'s, on the way of calls, or something else's (a watch, a listing, a login), for which
/// the protocol answers alone.
pub(crate) trait Protocol: fmt::Debug + Send + Sized {
    /// What it takes to act for a registration that is held.
    type Lease: fmt::Debug + Send;
    /// What is to be known of the request of a piece of work, to read its answer.
    type Step: fmt::Debug + Send;
    /// What a request that does no work is about.
    type Aside: fmt::Debug + Send;

    /// The most leases that one request renews.
    const BATCH: usize;

    /// Whether a registration can be told to the registry, and read by all who read from it.
    fn check(_machine: &Machine<Self>, _registration: &Registration) -> Result<(), CommandError> {
        Ok(())
    }

    /// Whether the registry can be asked for it.
    fn check_selector(_machine: &Machine<Self>, _selector: &Selector) -> Result<(), CommandError> {
        Ok(())
    }

    /// Whether work can be asked for now, as far as the protocol goes.
    fn may_ask(_machine: &Machine<Self>) -> bool {
        true
    }

    /// Sends the request that does a piece of work, or the first of several.
    fn ask(machine: &mut Machine<Self>, work: Work, now: Instant);

    /// The answer to a request for a piece of work is complete, and has a head.
    fn on_called(machine: &mut Machine<Self>, id: RequestId, now: Instant);

    /// How many requests of another kind are under way.
    fn asides(&self) -> usize;

    /// Whether the body of a good answer is read piece by piece.
    fn is_streamed(aside: &Self::Aside) -> bool;

    /// The head of an answer to a request of another kind has come.
    fn on_aside_head(machine: &mut Machine<Self>, id: RequestId, head: &Head, now: Instant);

    /// A piece of the body of a good answer that is [streamed](Self::is_streamed) has come.
    fn on_aside_chunk(machine: &mut Machine<Self>, id: RequestId, chunk: &[u8], now: Instant);

    /// The answer to a request of another kind is complete, and has a head.
    fn on_aside_end(machine: &mut Machine<Self>, id: RequestId, now: Instant);

    /// A request of another kind is over, and there is no answer that makes sense.
    fn on_aside_over(
        machine: &mut Machine<Self>,
        id: RequestId,
        call: Call<What<Self>>,
        fall: Fall,
        reason: &str,
        now: Instant,
    );

    /// A holder has taken what it had not seen.
    fn on_taken(_machine: &mut Machine<Self>) {}

    /// Sees to it that what is followed is heard.
    fn follow(machine: &mut Machine<Self>, now: Instant);

    /// Time has passed, or may have.
    fn on_time(machine: &mut Machine<Self>, now: Instant);

    /// When time is to be looked at.
    fn poll_timeout(machine: &Machine<Self>) -> Option<Instant>;

    /// The machine's network is back: connections may have died unnoticed.
    fn on_online(machine: &mut Machine<Self>, now: Instant);

    /// Nothing is followed any more.
    fn close(machine: &mut Machine<Self>);
}

/// A client of a registry. See [`Backend`] for how it is driven.
#[expect(private_bounds, reason = "what a client may speak is this crate's to say")]
pub struct Machine<P: Protocol> {
    pub(crate) config: ClientConfig,
    pub(crate) rng: Rng,
    pub(crate) now: Instant,
    pub(crate) calls: Calls<What<P>>,
    /// The way of work.
    pub(crate) link: Link,
    pub(crate) holdings: Holdings<P::Lease>,
    pub(crate) subscriptions: Subscriptions,
    /// The way of everything else.
    pub(crate) watch: Link,
    pub(crate) counters: Counters,
    /// What the protocol keeps.
    pub(crate) wire: P,
    events: VecDeque<ClientEvent>,
    closed: bool,
}

/// What a request is about.
#[derive(Debug)]
pub(crate) enum What<P: Protocol> {
    /// A piece of work.
    Work(Work, P::Step),
    /// Something else.
    Aside(P::Aside),
}

impl<P: Protocol> What<P> {
    fn is_streamed(&self) -> bool {
        matches!(self, Self::Aside(aside) if P::is_streamed(aside))
    }
}

impl<P: Protocol> fmt::Debug for Machine<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, link, holdings, subscriptions, watch, wire, .. } = self;
        let mut shown = f.debug_struct("Machine");
        let shown = shown.field("now", now);
        // The rest is for those who debug a program. To a web page it would be some ten kilobytes of code.
        if !cfg!(target_family = "wasm") {
            shown.field("link", link).field("watch", watch).field("wire", wire);
            shown.field("holdings", holdings).field("subscriptions", subscriptions);
        }
        shown.finish_non_exhaustive()
    }
}

#[expect(private_bounds, reason = "what a client may speak is this crate's to say")]
impl<P: Protocol> Machine<P> {
    /// A client that has not called yet.
    ///
    /// # Panics
    /// If the configuration names no origin.
    pub(crate) fn assemble(config: ClientConfig, rng: Rng, wire: P, now: Instant) -> Self {
        assert!(!config.origins.is_empty(), "a client of a registry on a network needs an origin");
        Self {
            rng,
            now,
            calls: Calls::new(config.limits.body),
            link: Link::default(),
            holdings: Holdings::new(),
            subscriptions: Subscriptions::new(SubscriptionConfig::from(&config)),
            watch: Link::default(),
            counters: Counters::default(),
            wire,
            events: VecDeque::new(),
            closed: false,
            config,
        }
    }

    /// Takes the last known sets, as [`poll_cache`](Backend::poll_cache) gave them in an earlier life, for what is
    /// followed from now on. Returns how many there are.
    ///
    /// # Errors
    /// If they are none; nothing was changed.
    pub fn restore(&mut self, cache: &[u8], now: Instant) -> Result<usize, CacheError> {
        let now = self.advance(now);
        self.subscriptions.restore(cache, now)
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
        while self.holdings.has_work()
            && self.link.is_ready(now)
            && self.calls.len() - self.wire.asides() < at_once
            && P::may_ask(self)
        {
            let Some(work) = self.holdings.next_work(P::BATCH, now) else {
                break;
            };
            P::ask(self, work, now);
        }
        if !self.holdings.is_closing() {
            P::follow(self, now);
        } else if self.holdings.is_empty() && !self.closed {
            self.closed = true;
            self.emit(ClientEvent::Closed);
        }
    }

    pub(crate) fn emit(&mut self, event: ClientEvent) {
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    const fn link_mut(&mut self, channel: Channel) -> &mut Link {
        match channel {
            Channel::Calls => &mut self.link,
            Channel::Watch => &mut self.watch,
        }
    }

    fn origin(&self, at: usize) -> SmolStr {
        self.config.origins.get(at).map(SmolStr::new).unwrap_or_default()
    }

    // Requests.

    /// A request to one of the origins.
    pub(crate) fn request(&self, origin: usize, method: Method, target: &Target, body: Vec<u8>) -> Request {
        let mut headers = self.config.headers.clone();
        if !body.is_empty() {
            headers.push((SmolStr::new_static("content-type"), SmolStr::new_static("application/json")));
        }
        headers.push((SmolStr::new_static("accept"), SmolStr::new_static("application/json")));
        let url = target.url(self.config.origins.get(origin).map_or("", |origin| origin.as_str()));
        Request { method, url, headers, body, streaming: false }
    }

    /// Sends a request that does a piece of work, on the way of calls. Without an answer in time the work is asked for
    /// again.
    pub(crate) fn send_work(
        &mut self,
        work: Work,
        step: P::Step,
        way: Way,
        request: Request,
        now: Instant,
    ) -> RequestId {
        let deadline = now.saturating_add(self.patience(&work));
        self.counters.requests += 1;
        self.calls.send(What::Work(work, step), request, way, Some(deadline))
    }

    /// Sends a request of another kind, on the way of watches.
    pub(crate) fn send_aside(
        &mut self,
        aside: P::Aside,
        way: Way,
        request: Request,
        deadline: Option<Instant>,
    ) -> RequestId {
        self.counters.requests += 1;
        self.calls.send(What::Aside(aside), request, way, deadline)
    }

    /// How long an answer may take. Half of a tick for a renewal, so that a lost one can be sent again before the lease
    /// lapses; a registration or an update has a whole one.
    fn patience(&self, work: &Work) -> Duration {
        let shortest = self.holdings.shortest_ttl().unwrap_or(USUAL_TTL);
        let time = if work.is_renewal() { shortest / 6 } else { shortest / 3 };
        time.min(self.config.call_timeout)
    }

    // What became of them.

    /// An answer has come this way.
    pub(crate) fn on_answer(&mut self, channel: Channel, way: Way, now: Instant) {
        if self.link_mut(channel).succeeded(way, now) {
            let origin = self.origin(way.origin);
            self.emit(ClientEvent::Connected { channel, origin });
        }
    }

    /// A request of this kind that went this way has failed.
    pub(crate) fn on_fall(&mut self, channel: Channel, way: Way, fall: Fall, reason: &str, now: Instant) {
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
    pub(crate) fn on_failure(
        &mut self,
        id: RequestId,
        call: Option<Call<What<P>>>,
        fall: Fall,
        arrived: bool,
        reason: &str,
        now: Instant,
    ) {
        let Some(call) = call else {
            return;
        };
        match &call.what {
            What::Aside(_) => P::on_aside_over(self, id, call, fall, reason, now),
            What::Work(work, _) => {
                self.on_fall(Channel::Calls, call.way, fall, reason, now);
                self.on_unanswered(work, id, arrived, reason, now);
            }
        }
    }

    /// A piece of work was not answered; `arrived` says whether the request may have arrived.
    pub(crate) fn on_unanswered(&mut self, work: &Work, call: RequestId, arrived: bool, reason: &str, now: Instant) {
        for id in work.registrations() {
            match work.is_renewal() {
                true => self.holdings.on_not_renewed(*id, call, reason, &mut self.rng, now),
                false => self.holdings.on_unanswered(*id, arrived, reason, &self.config, now),
            }
        }
    }

    /// Gives up a request whose answer makes no sense, or does not come.
    pub(crate) fn break_off(&mut self, id: RequestId, fall: Fall, reason: &str, now: Instant) {
        let call = self.calls.cancel(id);
        self.on_failure(id, call, fall, true, reason, now);
    }
}

impl<P: Protocol> Backend for Machine<P> {
    #[cfg(feature = "registration")]
    fn register(&mut self, registration: &Registration, now: Instant) -> Result<RegistrationId, CommandError> {
        let now = self.advance(now);
        let registered = P::check(self, registration);
        let registered = registered.and_then(|()| self.holdings.register(registration, &self.config, now));
        self.pump(now);
        registered
    }

    #[cfg(feature = "registration")]
    fn update(&mut self, id: RegistrationId, patch: &Patch, now: Instant) -> Result<(), CommandError> {
        let now = self.advance(now);
        let checked = self.holdings.patched(id, patch).map_or(Ok(()), |wanted| P::check(self, &wanted));
        let updated = checked.and_then(|()| self.holdings.update(id, patch, &self.config, now));
        self.pump(now);
        updated
    }

    #[cfg(feature = "registration")]
    fn deregister(&mut self, id: RegistrationId, now: Instant) {
        let now = self.advance(now);
        self.holdings.deregister(id, &self.config, now);
        self.pump(now);
    }

    fn watch(&mut self, selector: &Selector, now: Instant) -> Result<SubscriptionId, CommandError> {
        let now = self.advance(now);
        // What is shown to a new holder must not come from a stream that is known to be dead by now.
        P::on_time(self, now);
        let open =
            if self.holdings.is_closing() { Err(CommandError::Closed) } else { P::check_selector(self, selector) };
        let watched = open.and_then(|()| self.subscriptions.watch(selector, now));
        self.pump(now);
        watched
    }

    fn unwatch(&mut self, id: SubscriptionId, now: Instant) {
        let now = self.advance(now);
        self.subscriptions.unwatch(id, now);
        self.pump(now);
    }

    fn suspend(&mut self, now: Instant) {
        let now = self.advance(now);
        // What is known to be dead by now was not heard until now.
        P::on_time(self, now);
        self.subscriptions.suspend(now);
        self.pump(now);
    }

    fn resume(&mut self, now: Instant) {
        let now = self.advance(now);
        self.subscriptions.resume();
        self.watch.hasten(&mut self.rng, now);
        self.pump(now);
    }

    fn close(&mut self, now: Instant) {
        let now = self.advance(now);
        self.holdings.close(&self.config, now);
        P::close(self);
        // There is no time to wait out a back-off.
        self.link.hasten(&mut self.rng, now);
        self.pump(now);
    }

    fn handle_response(&mut self, id: RequestId, head: &Head, now: Instant) {
        let now = self.advance(now);
        if let Some(call) = self.calls.of_mut(id) {
            call.head = Some(head.clone());
            if matches!(call.what, What::Aside(_)) {
                P::on_aside_head(self, id, head, now);
            }
        }
        self.pump(now);
    }

    fn handle_chunk(&mut self, id: RequestId, chunk: &[u8], now: Instant) {
        let now = self.advance(now);
        match self.calls.of_mut(id) {
            None => {}
            Some(call) if call.what.is_streamed() && call.head.as_ref().is_some_and(Head::is_success) => {
                P::on_aside_chunk(self, id, chunk, now);
            }
            Some(call) => {
                if let Err(error) = call.body.push(chunk) {
                    self.break_off(id, Fall::Bad(None), &error.to_string(), now);
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
            Some((What::Aside(_), Some(_))) => P::on_aside_end(self, id, now),
            Some((What::Work(..), Some(_))) => P::on_called(self, id, now),
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
            self.break_off(id, Fall::Bad(None), "no answer in time", now);
        }
        P::on_time(self, now);
        self.subscriptions.handle_timeout(now);
        self.pump(now);
    }

    fn handle_online(&mut self, now: Instant) {
        let now = self.advance(now);
        self.link.hasten(&mut self.rng, now);
        self.watch.hasten(&mut self.rng, now);
        P::on_online(self, now);
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
        let update = self.subscriptions.poll_update(id)?;
        P::on_taken(self);
        Some(update)
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
            P::poll_timeout(self),
            self.subscriptions.poll_timeout(),
        ];
        times.into_iter().flatten().min()
    }

    #[cfg(feature = "registration")]
    fn registration(&self, id: RegistrationId) -> Option<RegistrationView> {
        self.holdings.view(id)
    }

    fn view(&self, id: SubscriptionId) -> Option<View> {
        self.subscriptions.view(id)
    }

    fn counters(&self) -> Counters {
        let told = self.subscriptions.counters();
        Counters {
            stale: told.stale,
            deliveries: told.deliveries,
            snapshots: told.snapshots,
            changes: told.changes,
            ..self.holdings.count(self.counters)
        }
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

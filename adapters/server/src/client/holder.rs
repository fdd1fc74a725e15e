//! Keeps one instance registered: registers, renews, registers again after a loss, deregisters at the end.

use std::future::Future;
use std::time::{Duration, Instant};

use http::Method;
use periplus_core::protocol::{Dated, DeregisterMessage, RegisterMessage, RenewMessage, RenewedMessage, Span};
use periplus_core::{Incarnation, Operation, ServiceInstance};
use tokio::sync::watch;

use super::backoff::Backoff;
use super::error::{CallError, Refusal};
use super::messages::Registered;
use super::target::Target;
use super::{CALL_TIMEOUT, Client};
use crate::random::{self, Random};

/// How long the last deregistration may try to reach the registry. After that the lease ends by itself.
const LAST_WORD: Duration = Duration::from_secs(3);

/// What is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The instance.
    pub instance: ServiceInstance,
    /// How long the registration lives without a renewal; the registry's default, if it does not say.
    pub ttl: Option<Duration>,
}

impl Registration {
    /// The name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.instance.name
    }

    /// The id of the instance.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.instance.id
    }

    /// The registration as this command of this holder; with the generation that it had, if it had one.
    #[must_use]
    pub fn message(&self, operation: Operation, generation: Option<u64>) -> RegisterMessage {
        let ServiceInstance { version, metadata, endpoints, .. } = self.instance.clone();
        RegisterMessage {
            version: Some(version),
            metadata: Some(metadata),
            endpoints: Some(endpoints),
            ttl: self.ttl.map(Span),
            incarnation: Some(operation.incarnation),
            sequence: Some(operation.sequence),
            reclaim: generation,
            ..RegisterMessage::default()
        }
    }
}

/// What the holder is to see to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The instance is registered.
    In,
    /// It is not, for now.
    Out,
    /// It is not any more.
    Stop,
}

/// What happened.
#[derive(Debug)]
pub enum Report<'a> {
    /// The registry has the instance.
    Registered {
        /// Its answer.
        answer: &'a Registered,
        /// It had it before.
        again: bool,
    },
    /// The registry has lost the lease: it says how.
    Lost {
        /// The short name of the reason.
        code: &'a str,
    },
    /// A call failed and is tried again.
    Retry {
        /// Why.
        error: &'a CallError,
        /// When.
        retry_in: Duration,
        /// How long the registration lives on without a renewal; `None` if there is none.
        lives: Option<Duration>,
    },
    /// Calls succeed again after failures.
    Recovered,
    /// The instance was taken out.
    Deregistered,
    /// The instance could not be taken out: its lease will end by itself.
    LeftBehind {
        /// Why.
        error: &'a CallError,
    },
}

/// How it ended.
#[derive(Debug)]
pub enum End {
    /// As wanted.
    Stopped,
    /// Somebody else has the id now, or gave the lease up. The holder does not take it back.
    Lost(Refusal),
    /// The registry refuses the registration, and would do so again.
    Refused(CallError),
}

/// One life of a holder.
#[derive(Debug)]
pub struct Holder {
    client: Client,
    target: Target,
    registration: Registration,
    incarnation: Incarnation,
    /// The number of the latest command. One that is sent again keeps its number.
    sequence: u64,
    /// The registration under this number was sent and perhaps took effect.
    doubtful: bool,
    held: Option<Held>,
    /// The generation that the id had with us.
    generation: Option<u64>,
    failing: bool,
    /// Whether a refusal that may pass ends the holder, as long as it was never registered.
    impatient: bool,
    backoff: Backoff,
    random: Random,
}

#[derive(Debug)]
struct Held {
    lease: String,
    ttl: Duration,
    since: Instant,
    /// When the last renewal that was acknowledged was sent.
    renewed: Instant,
    next: Instant,
}

impl Held {
    /// How long it lives on without a renewal.
    fn lives(&self) -> Duration {
        (self.renewed + self.ttl).saturating_duration_since(Instant::now())
    }
}

/// Something other than the awaited answer came first.
struct Interrupted;

impl Holder {
    /// A holder that has not called yet.
    #[must_use]
    pub fn new(client: Client, registration: Registration) -> Self {
        let mut random = Random::from_system();
        Self {
            target: client.instance(registration.service(), registration.id(), ""),
            client,
            registration,
            incarnation: random::incarnation(),
            sequence: 1,
            doubtful: false,
            held: None,
            generation: None,
            failing: false,
            impatient: false,
            backoff: Backoff::new(Random::seeded(random.next())),
            random,
        }
    }

    /// Lets the first registration fail if somebody else has the id or it is blocked, for a person who waits for the outcome.
    #[must_use]
    pub const fn impatient(mut self) -> Self {
        self.impatient = true;
        self
    }

    /// Registers, once, without keeping it up.
    ///
    /// # Errors
    /// The registry could not be reached, or refused.
    pub async fn register_once(&mut self) -> Result<Registered, CallError> {
        self.client.change(Method::PUT, self.target.clone(), &self.message(), CALL_TIMEOUT).await
    }

    /// Sees to what is wanted, until that is [`Wanted::Stop`] or the id is lost to somebody else. Never gives up otherwise.
    ///
    /// The last request is the deregistration; nothing registers after it.
    pub async fn run(mut self, mut wanted: watch::Receiver<Wanted>, mut report: impl FnMut(Report<'_>)) -> End {
        loop {
            let now_wanted = *wanted.borrow_and_update();
            let end = match now_wanted {
                Wanted::In if self.held.is_none() => self.register(&mut wanted, &mut report).await,
                Wanted::In => self.renew(&mut wanted, &mut report).await,
                Wanted::Out if self.held.is_some() || self.doubtful => {
                    if let Err(error) = self.leave(CALL_TIMEOUT, &mut report).await {
                        let retry_in = self.backoff.next(error.retry_after());
                        self.on_failure(&error, retry_in, &mut wanted, &mut report).await;
                    }
                    None
                }
                // The sender stops before it goes, so that its end is a stop too.
                Wanted::Out => wanted.changed().await.is_err().then_some(End::Stopped),
                Wanted::Stop => {
                    self.last_word(&mut report).await;
                    Some(End::Stopped)
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn message(&self) -> RegisterMessage {
        let operation = Operation { incarnation: self.incarnation, sequence: self.sequence };
        self.registration.message(operation, self.generation)
    }

    /// Tries once to register, and waits if that fails.
    async fn register(
        &mut self,
        wanted: &mut watch::Receiver<Wanted>,
        report: &mut impl FnMut(Report<'_>),
    ) -> Option<End> {
        let sent = Instant::now();
        let was_doubtful = std::mem::replace(&mut self.doubtful, true);
        let (target, body) = (self.target.clone(), self.message());
        let client = self.client.clone();
        let call = client.change::<Registered>(Method::PUT, target, &body, CALL_TIMEOUT);
        match unless(wanted, call).await {
            Err(Interrupted) => None,
            Ok(Ok(answer)) => {
                self.doubtful = false;
                let again = self.generation.is_some();
                report(Report::Registered { answer: &answer, again });
                self.failing = false;
                self.sequence += 1;
                self.generation = Some(answer.generation);
                let Span(ttl) = answer.ttl;
                let next = sent + self.interval(ttl);
                self.held = Some(Held { lease: answer.lease, ttl, since: sent, renewed: sent, next });
                None
            }
            Ok(Err(error)) => {
                if error.is_not_sent() {
                    self.doubtful = was_doubtful;
                }
                if let Some(refusal) = error.refusal() {
                    // It was answered: this time it took no effect.
                    self.doubtful = was_doubtful || refusal.status.is_server_error();
                    if refusal.wants_new_sequence() {
                        self.sequence += 1;
                    }
                    if refusal.is_lease_lost() {
                        return Some(End::Lost(refusal.clone()));
                    }
                    let somebody_waits = self.impatient && self.generation.is_none();
                    if !refusal.is_passing() || somebody_waits && !refusal.is_busy() {
                        return Some(End::Refused(error));
                    }
                }
                let retry_in = self.backoff.next(error.retry_after());
                self.on_failure(&error, retry_in, wanted, report).await;
                None
            }
        }
    }

    /// Waits until the next renewal is due, renews, and waits if that fails.
    async fn renew(
        &mut self,
        wanted: &mut watch::Receiver<Wanted>,
        report: &mut impl FnMut(Report<'_>),
    ) -> Option<End> {
        let held = self.held.as_ref()?;
        if sleep_unless(wanted, held.next.saturating_duration_since(Instant::now())).await.is_err() {
            return None;
        }
        let sent = Instant::now();
        let body = RenewMessage { leases: vec![held.lease.as_str().into()], number: None };
        let target = Target::new("/v1/leases/renew");
        let client = self.client.clone();
        let ttl = held.ttl;
        let timeout = (ttl / 3).clamp(Duration::from_secs(1), CALL_TIMEOUT);
        let interval = self.interval(ttl);
        let call = client.change::<RenewedMessage>(Method::POST, target, &body, timeout);
        let answer = match unless(wanted, call).await {
            Err(Interrupted) => return None,
            Ok(answer) => answer,
        };
        let held = self.held.as_mut()?;
        match answer {
            Ok(RenewedMessage { failed, .. }) => {
                let recovered = std::mem::take(&mut self.failing);
                let Some(failure) = failed.into_iter().next() else {
                    if recovered {
                        report(Report::Recovered);
                    }
                    held.renewed = sent;
                    held.next = sent + interval;
                    self.backoff.worked_for(held.since.elapsed());
                    return None;
                };
                self.held = None;
                report(Report::Lost { code: &failure.code });
                if matches!(failure.code.as_str(), "lease_superseded" | "lease_deregistered") {
                    return Some(End::Lost(lost(&failure.code)));
                }
            }
            Err(error) => {
                let hint = error.retry_after();
                // The first attempt after a live connection was lost is spread; the others back off.
                let retry_in = if self.failing { self.backoff.next(hint) } else { self.backoff.spread(ttl / 3, hint) };
                held.next = Instant::now();
                self.on_failure(&error, retry_in, wanted, report).await;
            }
        }
        None
    }

    /// Tries once to take the instance out, if it is in or may be.
    async fn leave(&mut self, timeout: Duration, report: &mut impl FnMut(Report<'_>)) -> Result<(), CallError> {
        let body = match &self.held {
            Some(held) => DeregisterMessage {
                lease: Some(held.lease.as_str().into()),
                sequence: Some(self.sequence),
                incarnation: None,
            },
            None => {
                DeregisterMessage { lease: None, sequence: Some(self.sequence), incarnation: Some(self.incarnation) }
            }
        };
        // A registration sent before is over by this number, and one sent after needs a higher one.
        self.sequence += 1;
        match self.client.change::<Dated>(Method::DELETE, self.target.clone(), &body, timeout).await {
            Ok(_) => report(Report::Deregistered),
            // It has ended already, in whatever way.
            Err(CallError::Refused(no)) if no.is_lease_lost() || no.status == http::StatusCode::NOT_FOUND => {}
            Err(error) => {
                // Nobody knows now whether the lease is still good. It is given up by number from here on.
                if !error.is_not_sent() {
                    self.held = None;
                    self.doubtful = true;
                }
                return Err(error);
            }
        }
        self.held = None;
        self.doubtful = false;
        self.failing = false;
        Ok(())
    }

    /// Takes the instance out for good, as far as that can be done in a short time.
    async fn last_word(&mut self, report: &mut impl FnMut(Report<'_>)) {
        let deadline = Instant::now() + LAST_WORD;
        while self.held.is_some() || self.doubtful {
            let timeout = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(200));
            let Err(error) = self.leave(timeout, report).await else {
                return;
            };
            let retry_in = self.backoff.next(error.retry_after());
            if !error.is_passing() || Instant::now() + retry_in >= deadline {
                report(Report::LeftBehind { error: &error });
                return;
            }
            tokio::time::sleep(retry_in).await;
        }
    }

    async fn on_failure(
        &mut self,
        error: &CallError,
        retry_in: Duration,
        wanted: &mut watch::Receiver<Wanted>,
        report: &mut impl FnMut(Report<'_>),
    ) {
        self.failing = true;
        report(Report::Retry { error, retry_in, lives: self.held.as_ref().map(Held::lives) });
        // What is wanted now is looked at by the caller.
        let _ = sleep_unless(wanted, retry_in).await;
    }

    /// A third of the ttl, a little less at random, so that renewals of many do not fall into step.
    fn interval(&mut self, ttl: Duration) -> Duration {
        let third = ttl / 3;
        third - self.random.time_below(third / 10)
    }
}

/// What the registry says of a lease that was not renewed.
fn lost(code: &str) -> Refusal {
    let message = match code {
        "lease_superseded" => "somebody else has registered this id",
        _ => "somebody else gave the lease up",
    };
    Refusal { status: http::StatusCode::GONE, code: code.into(), message: message.into(), retry_after: None }
}

/// Awaits an answer, unless something else is wanted first.
async fn unless<T>(wanted: &mut watch::Receiver<Wanted>, answer: impl Future<Output = T>) -> Result<T, Interrupted> {
    tokio::select! {
        biased;
        // An error is the sender's end: nothing will be wanted but what is.
        Ok(()) = wanted.changed() => Err(Interrupted),
        answer = answer => Ok(answer),
    }
}

async fn sleep_unless(wanted: &mut watch::Receiver<Wanted>, time: Duration) -> Result<(), Interrupted> {
    unless(wanted, tokio::time::sleep(time)).await
}

#[cfg(test)]
mod tests;

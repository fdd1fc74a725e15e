//! Keeps one instance registered: registers, renews, registers again after a loss, deregisters at the end.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use http::Method;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;

use super::backoff::Backoff;
use super::error::{CallError, Refusal};
use super::messages::{Done, Registered, Renewed};
use super::target::Target;
use super::{CALL_TIMEOUT, Client};
use crate::config::units;
use crate::random::{self, Random};

/// How long the last deregistration may try to reach the registry. After that the lease ends by itself.
const LAST_WORD: Duration = Duration::from_secs(3);

/// What is registered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// The service's name.
    #[serde(skip)]
    pub service: String,
    /// The instance's id.
    #[serde(skip)]
    pub id: String,
    /// The program's version.
    pub version: String,
    /// What else the instance says of itself.
    pub metadata: BTreeMap<String, String>,
    /// Where it listens.
    pub endpoints: Vec<String>,
    /// How long the registration lives without a renewal; the registry's default, if it does not say.
    #[serde(serialize_with = "ttl_text", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn ttl_text<S: serde::Serializer>(ttl: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&ttl.map(units::duration_text).unwrap_or_default())
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
    incarnation: String,
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
            target: client.instance(&registration.service, &registration.id, ""),
            client,
            registration,
            incarnation: random::hex_128(),
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
        self.client.change(Method::PUT, self.target.clone(), &self.body(), CALL_TIMEOUT).await
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
                Wanted::Out => {
                    self.leave(&mut wanted, &mut report, None).await;
                    // The sender stops before it goes, so that an error is a Stop.
                    if wanted.changed().await.is_err() { Some(End::Stopped) } else { None }
                }
                Wanted::Stop => {
                    self.leave(&mut wanted, &mut report, Some(Instant::now() + LAST_WORD)).await;
                    Some(End::Stopped)
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn body(&self) -> serde_json::Value {
        let mut body = serde_json::to_value(&self.registration).expect("a registration is plain JSON");
        body["incarnation"] = json!(self.incarnation);
        body["sequence"] = json!(self.sequence);
        if let Some(generation) = self.generation {
            body["reclaim"] = json!(generation);
        }
        body
    }

    /// Tries once to register, and waits if that fails.
    async fn register(
        &mut self,
        wanted: &mut watch::Receiver<Wanted>,
        report: &mut impl FnMut(Report<'_>),
    ) -> Option<End> {
        let sent = Instant::now();
        self.doubtful = true;
        let (target, body) = (self.target.clone(), self.body());
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
                let ttl = answer.ttl();
                let next = sent + self.interval(ttl);
                self.held = Some(Held { lease: answer.lease, ttl, since: sent, renewed: sent, next });
                None
            }
            Ok(Err(error)) => {
                if let Some(refusal) = error.refusal() {
                    // It was answered: it took no effect.
                    self.doubtful = refusal.status.is_server_error();
                    if refusal.wants_new_sequence() {
                        self.sequence += 1;
                    }
                    if refusal.is_lease_lost() {
                        return Some(End::Lost(refusal.clone()));
                    }
                    let waits = refusal.is_passing()
                        && (self.generation.is_some() || !self.impatient || refusal.retry_after.is_some());
                    if !waits && !refusal.wants_new_sequence() {
                        return Some(End::Refused(error));
                    }
                } else if error.is_not_sent() {
                    self.doubtful = false;
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
        let interval = self.interval(held.ttl);
        let body = json!({"leases": [held.lease]});
        let target = Target::new("/v1/leases/renew");
        let client = self.client.clone();
        let timeout = (held.ttl / 3).clamp(Duration::from_secs(1), CALL_TIMEOUT);
        let call = client.change::<Renewed>(Method::POST, target, &body, timeout);
        let answer = match unless(wanted, call).await {
            Err(Interrupted) => return None,
            Ok(answer) => answer,
        };
        let held = self.held.as_mut()?;
        match answer {
            Ok(Renewed { failed, .. }) => {
                if std::mem::take(&mut self.failing) {
                    report(Report::Recovered);
                }
                let Some(failure) = failed.into_iter().next() else {
                    held.renewed = sent;
                    held.next = sent + interval;
                    self.backoff.worked_for(held.since.elapsed());
                    return None;
                };
                self.held = None;
                report(Report::Lost { code: &failure.code });
                if matches!(failure.code.as_str(), "lease_superseded" | "lease_deregistered") {
                    return Some(End::Lost(lost(failure.code)));
                }
            }
            Err(error) => {
                let hint = error.retry_after();
                // The first attempt after a live connection was lost is spread; the others back off.
                let retry_in =
                    if self.failing { self.backoff.next(hint) } else { self.backoff.spread(held.ttl / 3, hint) };
                held.next = Instant::now();
                self.on_failure(&error, retry_in, wanted, report).await;
            }
        }
        None
    }

    /// Takes the instance out, if it is in or may be.
    async fn leave(
        &mut self,
        wanted: &mut watch::Receiver<Wanted>,
        report: &mut impl FnMut(Report<'_>),
        deadline: Option<Instant>,
    ) {
        let body = match &self.held {
            Some(held) => json!({"lease": held.lease, "sequence": self.sequence}),
            None if self.doubtful => json!({"incarnation": self.incarnation, "sequence": self.sequence}),
            None => return,
        };
        // Without a deadline: until the lease has run out anyway.
        let runs_out = self.held.as_ref().map_or(self.registration.ttl.unwrap_or(LAST_WORD), Held::lives);
        let deadline = deadline.unwrap_or_else(|| Instant::now() + runs_out);
        self.sequence += 1;
        loop {
            let timeout = deadline.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(200), CALL_TIMEOUT);
            let call = self.client.change::<Done>(Method::DELETE, self.target.clone(), &body, timeout);
            let error = match call.await {
                Ok(_) => {
                    report(Report::Deregistered);
                    break;
                }
                // It has ended already, in whatever way.
                Err(error) if error.refusal().is_some_and(|no| no.is_lease_lost() || no.status == 404) => break,
                Err(error) => error,
            };
            let retry_in = self.backoff.next(error.retry_after());
            if !error.is_passing() || Instant::now() + retry_in >= deadline {
                report(Report::LeftBehind { error: &error });
                break;
            }
            self.on_failure(&error, retry_in, wanted, report).await;
        }
        self.held = None;
        self.doubtful = false;
        self.failing = false;
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
fn lost(code: String) -> Refusal {
    let message = match code.as_str() {
        "lease_superseded" => "somebody else has registered this id",
        _ => "somebody else gave the lease up",
    };
    Refusal { status: http::StatusCode::GONE, code, message: message.into(), retry_after: None }
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

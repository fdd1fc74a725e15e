//! What holders ask for, done in the upstream.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_core::Stream as _;
use http::StatusCode;
use periplus_core::backend::desk::{Change, Denied, Done, Wanted};
use periplus_core::http::{Head, Input, Request};
use periplus_core::protocol::{DeregisterMessage, EvictMessage, Span, UpdateMessage};
use periplus_core::{Key, Registered};
use periplus_tokio::{Runtime as _, Tokio};

use super::super::answer::{self, Answer};
use super::super::call::Call;
use super::super::holder;
use super::super::hub::Date;
use super::super::problem::{Problem, invalid_code};
use super::desk::{Desk, Operation};
use crate::random;

/// How long one request to the upstream may take.
const CALL: Duration = Duration::from_secs(2);
/// What an answer of it may be long.
const ANSWER: usize = 4 << 20;
/// How long an answer waits for the mirror to show what was done.
const SHOWN: Duration = Duration::from_millis(250);
/// How long whoever asked is told to wait before asking again, in seconds.
const RETRY: u64 = 1;

/// Writing into the upstream.
pub(super) struct Writer {
    runtime: Tokio,
    desk: Mutex<Desk>,
    /// The keys of what is mirrored, by what leases say of them.
    keys: Mutex<HashMap<u64, Key>>,
    /// How long an instance lives that does not say.
    ttl: Option<Duration>,
}

impl Writer {
    pub(super) fn new(runtime: Tokio, desk: Desk, ttl: Option<Duration>) -> Self {
        Self { runtime, desk: Mutex::new(desk), keys: Mutex::default(), ttl }
    }

    fn with_desk<T>(&self, f: impl FnOnce(&mut Desk) -> T) -> T {
        f(&mut self.desk.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An instance came or went.
    pub(super) fn on_edit(&self, key: &Key, there: bool) {
        let mark = self.with_desk(|desk| desk.mark(key));
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if there {
            keys.insert(mark, key.clone());
        } else {
            keys.remove(&mark);
        }
    }

    pub(super) async fn register(&self, call: &Call<'_>) -> Answer {
        let request = holder::registration(call)?;
        let limits = &call.server.config.ttl;
        if let Some(ttl) = request.ttl
            && !(limits.min..=limits.max).contains(&ttl)
        {
            let message = format!("the ttl must be from {} to {}", Span(limits.min), Span(limits.max));
            return Err(Problem::invalid("invalid_ttl", "ttl", message));
        }
        let instance = request.instance.decode();
        let key = Key::new(request.namespace, instance.name.clone(), instance.id.clone());
        let anonymous = request.operation == periplus_core::Operation::ANONYMOUS;
        let wanted = Wanted {
            key: key.clone(),
            instance,
            ttl: request.ttl.or(self.ttl),
            incarnation: (!anonymous).then_some(request.operation.incarnation),
            reclaim: request.reclaim.is_some(),
        };
        let operation = self.with_desk(|desk| desk.register(wanted, u64::from_le_bytes(random::bytes())));
        match self.carry_out(operation?).await? {
            Done::Registered { lease, generation, ttl, outcome } => {
                if self.with_desk(|desk| desk.mark_of(&lease)).is_some() {
                    self.shown(call, generation).await;
                }
                Ok(holder::answer_registered(call, date(call), &Registered { lease, generation, ttl, outcome }))
            }
            other => Err(astray(&other)),
        }
    }

    pub(super) async fn update(&self, call: &Call<'_>) -> Answer {
        let key = call.query.key(call.names)?;
        let message: UpdateMessage = call.message()?;
        let lease = holder::lease(&message.lease)?;
        let change = Change { patch: message.patch(), limits: call.server.instance_limits };
        let operation = self.with_desk(|desk| desk.update(&key, lease, change));
        match self.carry_out(operation).await? {
            Done::Updated { changed, revision } => {
                self.shown(call, revision).await;
                Ok(holder::answer_updated(call, date(call), changed))
            }
            other => Err(astray(&other)),
        }
    }

    pub(super) async fn deregister(&self, call: &Call<'_>) -> Answer {
        let key = call.query.key(call.names)?;
        let message: DeregisterMessage = call.message()?;
        let operation = if let Some(lease) = &message.lease {
            let lease = holder::lease(lease)?;
            self.with_desk(|desk| desk.deregister(&key, &lease)).map_err(Problem::from)?
        } else {
            let (Some(incarnation), Some(_)) = (message.incarnation, message.sequence) else {
                let message = "say who deregisters: send the lease, or incarnation and sequence";
                return Err(Problem::invalid("invalid_lease", "lease", message));
            };
            self.with_desk(|desk| desk.abandon(&key, incarnation))
        };
        if let Done::Gone { revision, .. } = self.carry_out(operation).await? {
            self.shown(call, revision).await;
        }
        Ok(answer::dated_end(answer::dated(call.hub.epoch(), date(call), 0)))
    }

    pub(super) async fn renew(&self, call: &Call<'_>) -> Answer {
        let mut leases = Vec::new();
        let number = holder::batch(call, &mut leases)?;
        let asked = leases.len();
        if asked == 0 {
            return Ok(holder::answer_renewed(call, date(call), 0, Vec::new(), number));
        }
        let operation = self.with_desk(|desk| {
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            let leases = leases.into_iter().map(|lease| {
                let key = desk.mark_of(&lease).and_then(|mark| keys.get(&mark).cloned());
                (lease, key)
            });
            let leases = leases.collect();
            drop(keys);
            desk.renew(leases)
        });
        match self.carry_out(operation).await? {
            Done::Renewed(failed) => Ok(holder::answer_renewed(call, date(call), asked, failed, number)),
            other => Err(astray(&other)),
        }
    }

    /// Takes an instance out. Nothing keeps its holder from coming back: there is nowhere to write down that it may not.
    pub(super) async fn evict(&self, call: &Call<'_>) -> Answer {
        let key = call.query.key(call.names)?;
        let message: EvictMessage = call.message()?;
        if message.block_for.is_some() {
            return Err(Problem::new(
                StatusCode::NOT_IMPLEMENTED,
                "not_over_upstream",
                "the upstream has no place for a block: leave block_for out",
            ));
        }
        let operation = self.with_desk(|desk| desk.evict(&key));
        match self.carry_out(operation).await? {
            Done::Gone { was, revision } => {
                self.shown(call, revision).await;
                let Key { service, id, .. } = &key;
                tracing::info!(%service, %id, reason = %message.reason, "evicted");
                let mut out = answer::dated(call.hub.epoch(), date(call), 24);
                answer::field(&mut out, "evicted");
                out.extend_from_slice(if was { b"true" } else { b"false" });
                Ok(answer::dated_end(out))
            }
            other => Err(astray(&other)),
        }
    }

    async fn carry_out(&self, mut operation: Operation) -> Result<Done, Problem> {
        loop {
            let Some(request) = self.with_desk(|desk| desk.request(&mut operation)) else {
                return Err(Denied::Silent("it is another store".into()).into());
            };
            let answer = tokio::time::timeout(CALL, fetch(&self.runtime, request)).await;
            let answer = answer.unwrap_or_else(|_| Err("there was no answer in time".into()));
            if let Some(result) = self.with_desk(|desk| desk.take(&mut operation, answer)) {
                return result.map_err(Problem::from);
            }
        }
    }

    /// Waits a moment for the mirror to show what was done, so that whoever did it finds it here.
    async fn shown(&self, call: &Call<'_>, revision: u64) {
        let shown = async {
            while call.hub.read(|registry| registry.catalog().revision()).0.0 < revision {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let _ = tokio::time::timeout(SHOWN, shown).await;
    }
}

/// Where the mirror is.
fn date(call: &Call<'_>) -> Date {
    call.hub.read(|_| ()).1
}

/// An operation came to the end of another one.
fn astray(done: &Done) -> Problem {
    tracing::error!(?done, "an operation has come to what it was not about");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "upstream", "the operation went astray")
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let message = denied.to_string();
        match denied {
            Denied::Superseded => Self::new(StatusCode::CONFLICT, "superseded", message),
            Denied::Lease(error) => error.into(),
            Denied::Instance(error) => error.into(),
            Denied::Unfit { field, .. } => Self::invalid(invalid_code(&field), field.to_string(), message),
            Denied::Refused(_) | Denied::Silent(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "upstream", message).with_retry(RETRY)
            }
        }
    }
}

/// Sends a request, and takes the whole answer.
async fn fetch(runtime: &Tokio, request: Request) -> Result<(Head, Vec<u8>), String> {
    let mut exchange = runtime.request(request);
    let (mut head, mut body) = (None, Vec::new());
    loop {
        match poll_fn(|cx| Pin::new(&mut exchange).poll_next(cx)).await {
            Some(Input::Response(of)) => head = Some(of),
            Some(Input::Chunk(chunk)) if body.len() + chunk.len() <= ANSWER => body.extend_from_slice(&chunk),
            Some(Input::Chunk(_)) => return Err("the answer is too long".into()),
            Some(Input::Failure(failure)) => return Err(failure.to_string()),
            Some(Input::End) | None => {
                return head.map(|head| (head, body)).ok_or_else(|| "there is no answer".into());
            }
        }
    }
}

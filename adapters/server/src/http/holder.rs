//! What holders do: register, update, renew, deregister.

use std::cell::RefCell;
use std::fmt;

use http::{Response, StatusCode};
use periplus_core::protocol::{DeregisterMessage, RENEWALS_LIMIT, RegisterMessage, Span, UpdateMessage};
use periplus_core::{Instance, Lease, LeaseError, Operation, Outcome, Register, Registered};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::answer::{self, Answer};
use super::body::Body;
use super::call::Call;
use super::encode;
use super::hub::Date;
use super::intake;
use super::problem::Problem;

/// `PUT …/instances/{id}`.
pub(super) fn register(call: &Call<'_>) -> Answer {
    let request = registration(call)?;
    let caller = call.caller();
    let (result, date) = call.hub.apply(|registry, now| registry.register(request, &caller, now));
    let registered = result.map_err(|error| Problem::from(error).dated(date))?;
    Ok(answer_registered(call, date, &registered))
}

/// What a registration asks for.
pub(super) fn registration(call: &Call<'_>) -> Result<Register, Problem> {
    let key = call.query.key(call.names)?;
    let message: RegisterMessage = call.message()?;
    if message.id.as_ref().is_some_and(|id| *id != key.id) {
        let message = "id differs from the one in the path: leave it out";
        return Err(Problem::invalid("invalid_id", "id", message));
    }
    if message.name.as_ref().is_some_and(|name| *name != key.service) {
        let message = "name differs from the service in the path: leave it out";
        return Err(Problem::invalid("invalid_name", "name", message));
    }
    let (operation, reclaim, since) = (message.operation(), message.reclaim, message.since);
    let ttl = message.ttl.map(|Span(ttl)| ttl);
    let instance = message.instance(key.service, key.id);
    let instance = Instance::new(&instance, &call.server.instance_limits)?;
    Ok(Register { namespace: key.namespace, instance, ttl, operation, reclaim, since })
}

pub(super) fn answer_registered(call: &Call<'_>, date: Date, registered: &Registered) -> Response<Body> {
    let mut out = answer::dated(call.hub.epoch(), date, 160);
    out.extend_from_slice(b",\"outcome\":\"");
    out.extend_from_slice(outcome(registered.outcome).as_bytes());
    out.extend_from_slice(b"\",\"lease\":\"");
    out.extend_from_slice(&registered.lease.to_text());
    out.extend_from_slice(b"\",\"generation\":");
    encode::number(&mut out, registered.generation);
    answer::field(&mut out, "ttl");
    let millis = u32::try_from(registered.ttl.as_millis()).unwrap_or(u32::MAX);
    encode::ttl(&mut out, millis);
    answer::dated_end(out)
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Registered => "registered",
        Outcome::Repeated => "repeated",
        Outcome::Replaced => "replaced",
        Outcome::Superseded => "superseded",
    }
}

/// `PATCH …/instances/{id}`.
pub(super) fn update(call: &Call<'_>) -> Answer {
    call.query.key(call.names)?;
    let message: UpdateMessage = call.message()?;
    let lease = lease(&message.lease)?;
    let sequence = message.sequence;
    let patch = message.patch();
    let caller = call.caller();
    let (result, date) = call.hub.apply(|registry, now| registry.update(&lease, &patch, sequence, &caller, now));
    let changed = result.map_err(|error| Problem::from(error).dated(date))?;
    Ok(answer_updated(call, date, changed))
}

pub(super) fn answer_updated(call: &Call<'_>, date: Date, changed: bool) -> Response<Body> {
    let mut out = answer::dated(call.hub.epoch(), date, 16);
    answer::field(&mut out, "changed");
    out.extend_from_slice(if changed { b"true" } else { b"false" });
    answer::dated_end(out)
}

/// `DELETE …/instances/{id}`: by the lease, or by the command whose answer never came.
pub(super) fn deregister(call: &Call<'_>) -> Answer {
    let key = call.query.key(call.names)?;
    let message: DeregisterMessage = call.message()?;
    let caller = call.caller();
    let hub = &call.hub;
    let ((), date) = if let Some(text) = &message.lease {
        let lease = lease(text)?;
        let (result, date) = hub.apply(|registry, now| registry.deregister(&lease, message.sequence, &caller, now));
        (result.map_err(|error| Problem::from(error).dated(date))?, date)
    } else {
        let (Some(incarnation), Some(sequence)) = (message.incarnation, message.sequence) else {
            let message = "say who deregisters: send the lease, or incarnation and sequence";
            return Err(Problem::invalid("invalid_lease", "lease", message));
        };
        let operation = Operation { incarnation, sequence };
        let (_, date) = hub.apply(|registry, now| registry.abandon(&key, operation, &caller, now));
        ((), date)
    };
    Ok(answer::dated_end(answer::dated(hub.epoch(), date, 0)))
}

/// A lease out of a body. Whatever is none was never given out.
pub(super) fn lease(text: &str) -> Result<Lease, Problem> {
    text.parse().map_err(|_| LeaseError::Unknown.into())
}

thread_local! {
    /// Room for the leases of a batch, used again and again.
    static LEASES: RefCell<Vec<Lease>> = const { RefCell::new(Vec::new()) };
}

/// `POST /v1/leases/renew`.
pub(super) fn renew(call: &Call<'_>) -> Answer {
    LEASES.with_borrow_mut(|leases| {
        leases.clear();
        let answer = renew_all(call, leases);
        leases.shrink_to(1024);
        answer
    })
}

fn renew_all(call: &Call<'_>, leases: &mut Vec<Lease>) -> Answer {
    let number = batch(call, leases)?;
    let mut failed = Vec::new();
    let date = call.hub.renew(leases, &call.caller(), &mut failed);
    Ok(answer_renewed(call, date, leases.len(), failed, number))
}

/// Reads the leases of a batch, and its number.
pub(super) fn batch(call: &Call<'_>, leases: &mut Vec<Lease>) -> Result<Option<u64>, Problem> {
    let mut json = serde_json::Deserializer::from_slice(call.body);
    let batch = Batch(leases).deserialize(&mut json);
    let Ok(number) = batch.and_then(|number| json.end().map(|()| number)) else {
        return Err(malformed(call.body));
    };
    if leases.len() > RENEWALS_LIMIT {
        let message = format!("a batch renews {RENEWALS_LIMIT} leases at most: send several");
        let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message);
        return Err(problem.with_field("leases").with_limit(RENEWALS_LIMIT));
    }
    Ok(number)
}

pub(super) fn answer_renewed(
    call: &Call<'_>,
    date: Date,
    asked: usize,
    failed: Vec<(usize, LeaseError)>,
    number: Option<u64>,
) -> Response<Body> {
    let renewed = asked.saturating_sub(failed.len());
    let metrics = &call.server.metrics;
    metrics.renewed.inc_by(renewed as u64);
    metrics.not_renewed.inc_by(failed.len() as u64);

    let mut out = answer::dated(call.hub.epoch(), date, 64 + failed.len() * 48);
    out.extend_from_slice(b",\"renewed\":");
    encode::number(&mut out, renewed as u64);
    out.extend_from_slice(b",\"failed\":[");
    for (nth, (index, error)) in failed.into_iter().enumerate() {
        out.extend_from_slice(if nth > 0 { b",{\"index\":" } else { b"{\"index\":" });
        encode::number(&mut out, index as u64);
        answer::field(&mut out, "code");
        out.push(b'"');
        out.extend_from_slice(error.code().as_bytes());
        out.extend_from_slice(b"\"}");
    }
    out.push(b']');
    if let Some(number) = number {
        answer::field(&mut out, "number");
        encode::number(&mut out, number);
    }
    answer::dated_end(out)
}

/// What is wrong with a batch, by reading it again as plain data.
#[cold]
fn malformed(body: &[u8]) -> Problem {
    match intake::parse::<periplus_core::protocol::RenewMessage>(body) {
        Err(problem) => problem,
        Ok(_) => Problem::new(StatusCode::BAD_REQUEST, "invalid_json", "the batch has a key twice"),
    }
}

/// Reads a batch of renewals into leases, without an allocation for each.
struct Batch<'a>(&'a mut Vec<Lease>);

impl<'de> DeserializeSeed<'de> for Batch<'_> {
    type Value = Option<u64>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Batch<'_> {
    type Value = Option<u64>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with leases")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut number, mut listed) = (None, false);
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Leases if listed => return Err(serde::de::Error::duplicate_field("leases")),
                Key::Leases => {
                    listed = true;
                    map.next_value_seed(Leases(self.0))?;
                }
                Key::Number => number = map.next_value()?,
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if listed { Ok(number) } else { Err(serde::de::Error::missing_field("leases")) }
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Leases,
    Number,
    #[serde(other)]
    Other,
}

struct Leases<'a>(&'a mut Vec<Lease>);

impl<'de> DeserializeSeed<'de> for Leases<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Leases<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of leases")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(Text(lease)) = seq.next_element()? {
            // One too many is enough to say so.
            if self.0.len() <= RENEWALS_LIMIT {
                self.0.push(lease);
            }
        }
        Ok(())
    }
}

/// A lease as text. Whatever is none becomes one that was never given out, and is answered as such in its place.
struct Text(Lease);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a lease")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                let never = || Lease::parse(&[b'_'; 32]).expect("32 letters of the alphabet");
                Ok(Text(Lease::parse(text.as_bytes()).unwrap_or_else(|_| never())))
            }
        }
        deserializer.deserialize_str(Any)
    }
}

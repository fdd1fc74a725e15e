//! What operators do: overlay, evict, settle.

use periplus_core::protocol::{ClearOverlayMessage, EvictMessage, OverlayMessage, Span};
use smol_str::SmolStr;

use super::answer::{self, Answer};
use super::call::Call;
use super::hub::Date;
use super::problem::Problem;

/// The longest reason, in bytes.
const REASON_LIMIT: usize = 512;

/// A reason that others can read.
fn checked(reason: SmolStr) -> Result<SmolStr, Problem> {
    let invalid = |message: &'static str| Problem::invalid("invalid_reason", "reason", message);
    if reason.len() > REASON_LIMIT {
        return Err(invalid("reason is too long: keep it short").with_limit(REASON_LIMIT));
    }
    if reason.chars().any(char::is_control) {
        return Err(invalid("reason has control characters: remove them"));
    }
    Ok(reason)
}

/// A reason that must be given.
fn required(reason: SmolStr) -> Result<SmolStr, Problem> {
    if reason.trim().is_empty() {
        let message = "say why: others will wonder";
        return Err(Problem::invalid("invalid_reason", "reason", message));
    }
    checked(reason)
}

fn changed(call: &Call<'_>, date: Date, key: &str, changed: bool) -> Answer {
    let mut out = answer::dated(call.hub.epoch(), date, 24);
    answer::field(&mut out, key);
    out.extend_from_slice(if changed { b"true" } else { b"false" });
    Ok(answer::dated_end(out))
}

/// `PATCH …/overlay`.
pub(super) fn overlay(call: &Call<'_>) -> Answer {
    let key = call.query.key(call.names)?;
    let message: OverlayMessage = call.message()?;
    let reason = required(message.reason.clone())?;
    let patch = message.patch();
    if patch.is_empty() {
        let message = "nothing is to look different: give weight, status or metadata";
        return Err(Problem::invalid("invalid_overlay", "metadata", message));
    }
    let caller = call.caller();
    let (result, date) = call.hub.apply(|registry, now| registry.overlay(&key, &patch, reason, &caller, now));
    let shown = result.map_err(|error| Problem::from(error).dated(date))?;
    changed(call, date, "changed", shown)
}

/// `DELETE …/overlay`.
pub(super) fn clear_overlay(call: &Call<'_>) -> Answer {
    let key = call.query.key(call.names)?;
    let message: ClearOverlayMessage = match call.body {
        [] => ClearOverlayMessage::default(),
        _ => call.message()?,
    };
    let reason = checked(message.reason)?;
    let caller = call.caller();
    let (result, date) =
        call.hub.apply(|registry, now| registry.clear_overlay(&key, message.keys.as_deref(), reason, &caller, now));
    let shown = result.map_err(|error| Problem::from(error).dated(date))?;
    changed(call, date, "changed", shown)
}

/// `POST …/evict`.
pub(super) fn evict(call: &Call<'_>) -> Answer {
    let key = call.query.key(call.names)?;
    let message: EvictMessage = call.message()?;
    let reason = required(message.reason)?;
    let block_for = message.block_for.map(|Span(span)| span);
    let caller = call.caller();
    let (result, date) = call.hub.apply(|registry, now| registry.evict(&key, reason, block_for, &caller, now));
    let went = result.map_err(|error| Problem::from(error).dated(date))?;
    changed(call, date, "evicted", went)
}

/// `POST /v1/settle`.
pub(super) fn settle(call: &Call<'_>) -> Answer {
    let caller = call.caller();
    let hub = &call.hub;
    let ((), date) = hub.apply(|registry, now| registry.settle(Some(&caller), now));
    Ok(answer::dated_end(answer::dated(hub.epoch(), date, 0)))
}

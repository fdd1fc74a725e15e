//! The past: what changed, and how things were.

use std::sync::Arc;

use periplus_core::json::write_string;
use periplus_core::{Caller, Cause, Listed, LogEntry, Namespace, Revision, ServiceKey, ServiceName, WallTime};

use super::answer::{self, Answer};
use super::call::Call;
use super::problem::Problem;
use super::status::count;
use super::{encode, events, query};

/// The changes of a page, unless fewer are asked for.
const ENTRIES: usize = 1_000;

/// `GET /v1/history`.
pub(super) fn history(call: &Call<'_>) -> Answer {
    let namespace = call.query.namespace()?;
    let service = call.query.one("service")?;
    let service = service.map(|name| query::service_name(&name)).transpose()?;
    match call.query.number("at")? {
        Some(at) => state(call, &namespace, service.as_ref(), Revision(at)),
        None => changes(call, &namespace, service.as_ref()),
    }
}

fn changes(call: &Call<'_>, namespace: &Namespace, service: Option<&ServiceName>) -> Answer {
    let from = call.query.number("from")?;
    let to = call.query.number("to")?.map_or(u64::MAX, |to| to);
    let newest = call.query.flag("newest")?;
    let limit = call.query.limit(ENTRIES, ENTRIES)?;
    let hub = &call.hub;
    let (result, date) = hub.read(|registry| {
        let catalog = registry.catalog();
        let first = catalog.first_revision();
        let after = from.map_or(first, |from| Revision(from.saturating_sub(1)));
        let wanted = |entry: &LogEntry<'_>| {
            entry.service.namespace == *namespace && service.is_none_or(|service| entry.service.service == *service)
        };
        let entries = catalog.history(after)?;
        let entries: Vec<Entry> = if newest {
            let entries = entries.rev().skip_while(|entry| entry.revision.0 > to).filter(wanted).take(limit);
            entries.map(Entry::from).collect()
        } else {
            let entries = entries.take_while(|entry| entry.revision.0 <= to).filter(wanted).take(limit + 1);
            entries.map(Entry::from).collect()
        };
        Ok((first, entries))
    });
    let (first, mut entries) =
        result.map_err(|error: periplus_core::catalog::Compacted| Problem::from(error).dated(date))?;
    let next = entries.get(limit).map(|entry| entry.revision);
    entries.truncate(limit);

    let mut out = answer::dated(hub.epoch(), date, entries.len() * 768 + 64);
    count(&mut out, "first", first.0);
    answer::list(&mut out, "entries", &entries, entry);
    if let Some(next) = next {
        count(&mut out, "next", next.0);
    }
    Ok(answer::dated_end(out))
}

/// A change of the past, taken out of the registry: it is written once the lock is given back.
struct Entry {
    revision: Revision,
    time: WallTime,
    service: Arc<ServiceKey>,
    cause: Cause,
    caller: Option<Arc<Caller>>,
    before: Option<Listed>,
    after: Option<Listed>,
}

impl From<LogEntry<'_>> for Entry {
    fn from(entry: LogEntry<'_>) -> Self {
        Self {
            revision: entry.revision,
            time: entry.time,
            service: Arc::clone(entry.service),
            cause: entry.cause,
            caller: entry.caller.cloned(),
            before: entry.before.cloned(),
            after: entry.after.cloned(),
        }
    }
}

fn entry(out: &mut Vec<u8>, entry: &Entry) {
    out.extend_from_slice(b"\"revision\":");
    encode::number(out, entry.revision.0);
    count(out, "time", entry.time.0);
    let shown = entry.after.as_ref().or(entry.before.as_ref());
    let id = shown.map_or("", |listed| listed.instance.id());
    for (key, value) in [
        ("namespace", &*entry.service.namespace),
        ("service", &*entry.service.service),
        ("id", id),
        ("cause", entry.cause.as_str()),
    ] {
        answer::field(out, key);
        write_string(out, value);
    }
    if let Some(caller) = &entry.caller {
        answer::field(out, "caller");
        events::caller(out, caller);
    }
    for (key, listed) in [("before", &entry.before), ("after", &entry.after)] {
        if let Some(Listed { instance, ttl_ms }) = listed {
            answer::field(out, key);
            encode::instance(out, &entry.service.namespace, instance, *ttl_ms);
        }
    }
}

fn state(call: &Call<'_>, namespace: &Namespace, service: Option<&ServiceName>, at: Revision) -> Answer {
    let hub = &call.hub;
    let (result, date) = hub.read(|registry| {
        let catalog = registry.catalog();
        let present = catalog.revision();
        if at > present {
            let message = format!("revision {at} is yet to come: the present one is {present}");
            return Err(Problem::invalid("invalid_query", "at", message));
        }
        let service = service.map(|service| &**service);
        Ok(catalog.at(at, Some(namespace), service)?)
    });
    let state = result.map_err(|problem| problem.dated(date))?;
    let size: usize = state.values().map(|it| encode::size_of(&it.instance) + 1).sum();
    let mut out = answer::dated(hub.epoch(), date, size + 48);
    count(&mut out, "at", at.0);
    answer::field(&mut out, "instances");
    let instances = state.values().map(|it| (&it.instance, it.ttl_ms));
    encode::list(&mut out, namespace, instances);
    Ok(answer::dated_end(out))
}

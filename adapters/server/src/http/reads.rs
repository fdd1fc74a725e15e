//! What readers ask: services, instances, namespaces, overlays.

use std::time::Duration;

use bytes::Bytes;
use periplus_core::catalog::ServiceSummary;
use periplus_core::json::write_string;
use periplus_core::registry::Overlay;
use periplus_core::{Key, Namespace};

use super::answer::{self, Answer};
use super::body::Body;
use super::call::Call;
use super::encode;
use super::events;
use super::find::{self, LOOKED_AT, Page};
use super::problem::Problem;
use super::status::count;

/// The services of a page, unless fewer are asked for.
pub(super) const SERVICES: usize = 1_000;
/// The overlays of a page, unless fewer are asked for.
const OVERLAYS: usize = 1_000;

/// What is found of a service's instances.
enum Listing {
    /// Written before.
    Written(Bytes),
    /// To be written.
    Found(Vec<(periplus_core::Instance, u32)>),
}

/// `GET /v1/services/{service}`.
pub(super) fn list(call: &Call<'_>) -> Answer {
    let key = call.query.service_key(call.names[0])?;
    let most = call.server.config.limits.instances_per_service;
    let limit = call.query.limit(most, most)?;
    let after = call.query.one("after")?.unwrap_or_default();
    let filter = call.query.filter()?;
    let server = call.server;
    // What is looked at: for a filter, more than is found.
    let most = if filter.is_some() { LOOKED_AT } else { limit };
    let ((service, more, listing), date) = call.hub.read(|registry| {
        let catalog = registry.catalog();
        let service = catalog.service(&key.namespace, &key.service);
        let count = service.as_ref().map_or(0, ServiceSummary::instances);
        let whole = filter.is_none() && after.is_empty() && count <= limit;
        if whole
            && let Some(it) = &service
            && let Some(written) = call.hub.shared.lists.get(&it.key, it.revision)
        {
            return (service, false, Listing::Written(written));
        }
        let mut found = catalog.instances(&key.namespace, &key.service, &after, most.saturating_add(1));
        let more = found.len() > most;
        found.truncate(most);
        let found = found.iter().map(|it| (it.listed.instance.clone(), it.listed.ttl_ms));
        let listing = Listing::Found(found.collect());
        (service.filter(|_| whole), more, listing)
    });
    let mut next = None;
    let written = match listing {
        Listing::Written(written) => {
            server.metrics.lists_shared.inc();
            written
        }
        Listing::Found(found) => {
            server.metrics.lists_written.inc();
            let Page { found, next: last } = match &filter {
                Some(filter) => Page::of(found, more, limit, |(instance, _)| filter.matches(instance)),
                None => Page { next: found.last().filter(|_| more).cloned(), found },
            };
            next = last.map(|(instance, _)| instance.id().to_owned());
            let size: usize = found.iter().map(|(it, _)| encode::size_of(it) + 1).sum();
            let mut out = Vec::with_capacity(size + 3);
            let instances = found.iter().map(|(it, ttl_ms)| (it, *ttl_ms));
            encode::list(&mut out, &key.namespace, instances);
            // The end of the answer goes with the list: one piece less to send.
            out.push(b'}');
            let written = Bytes::from(out);
            if let Some(service) = service {
                call.hub.shared.lists.put(service.key, service.revision, written.clone());
            }
            written
        }
    };
    let mut out = answer::dated(call.hub.epoch(), date, 128);
    answer::field(&mut out, "namespace");
    write_string(&mut out, &key.namespace);
    answer::field(&mut out, "service");
    write_string(&mut out, &key.service);
    if let Some(next) = next {
        answer::field(&mut out, "next");
        write_string(&mut out, &next);
    }
    answer::field(&mut out, "instances");
    Ok(answer::json(Body::joined(out, written)))
}

/// `GET …/instances/{id}`.
pub(super) fn instance(call: &Call<'_>) -> Answer {
    let key = call.query.key(call.names)?;
    let hub = &call.hub;
    let (view, date) = hub.read(|registry| registry.instance(&key));
    let view = view.ok_or_else(|| {
        let message = format!("there is no instance {} of {}", key.id, key.service);
        Problem::not_found(message).dated(date)
    })?;
    let mut out = answer::dated(hub.epoch(), date, encode::size_of(&view.listed.instance) + 256);
    answer::field(&mut out, "instance");
    let listed = &view.listed;
    encode::instance(&mut out, &key.namespace, &listed.instance, listed.ttl_ms);
    if let Some(registered) = &view.registered {
        answer::field(&mut out, "registered");
        encode::instance(&mut out, &key.namespace, registered, listed.ttl_ms);
    }
    if let Some(laid) = &view.overlay {
        answer::field(&mut out, "overlay");
        overlay(&mut out, laid);
    }
    if !hub.mirrors() {
        let left = view.deadline.saturating_since(hub.now());
        answer::field(&mut out, "generation");
        encode::number(&mut out, view.generation);
        answer::field(&mut out, "expires_in");
        write_string(&mut out, &tenths(left));
        count(&mut out, "ttl_ms", listed.ttl_ms.into());
        count(&mut out, "left_ms", millis(left));
    }
    answer::field(&mut out, "modified");
    encode::number(&mut out, view.modified.0);
    Ok(answer::dated_end(out))
}

/// `GET …/leases`: what a listing does not tell, because it changes with every renewal.
pub(super) fn leases(call: &Call<'_>) -> Answer {
    let key = call.query.service_key(call.names[0])?;
    let most = call.server.config.limits.instances_per_service;
    let limit = call.query.limit(most, most)?;
    let after = call.query.one("after")?.unwrap_or_default();
    let hub = &call.hub;
    let (mut found, date) = hub.read(|registry| {
        let found = registry.catalog().instances(&key.namespace, &key.service, &after, limit.saturating_add(1));
        let ids = found.into_iter().map(|found| found.listed.instance.instance_id());
        let keys = ids.map(|id| Key::new(key.namespace.clone(), key.service.clone(), id));
        let views = keys.filter_map(|key| registry.instance(&key));
        views.collect::<Vec<_>>()
    });
    let more = found.len() > limit;
    found.truncate(limit);
    let now = hub.now();
    let mut out = answer::dated(hub.epoch(), date, found.len() * 96 + 64);
    answer::list(&mut out, "leases", &found, |out, view| {
        encode::pair(out, "id", view.listed.instance.id());
        if !hub.mirrors() {
            count(out, "ttl_ms", view.listed.ttl_ms.into());
            count(out, "left_ms", millis(view.deadline.saturating_since(now)));
            count(out, "generation", view.generation);
        }
        count(out, "modified", view.modified.0);
        answer::field(out, "overlaid");
        out.extend_from_slice(if view.overlay.is_some() { b"true" } else { b"false" });
    });
    if let Some(last) = found.last().filter(|_| more) {
        answer::field(&mut out, "next");
        write_string(&mut out, last.listed.instance.id());
    }
    Ok(answer::dated_end(out))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A time that is over in a moment, as precise as it is of use.
fn tenths(span: Duration) -> String {
    format!("{:.1}s", span.as_secs_f64())
}

/// Appends what lies over an instance.
fn overlay(out: &mut Vec<u8>, overlay: &Overlay) {
    out.extend_from_slice(b"{\"metadata\":{");
    for (at, (key, value)) in overlay.metadata.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_string(out, key);
        out.push(b':');
        match value {
            Some(value) => write_string(out, value),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
    answer::field(out, "reason");
    write_string(out, &overlay.reason);
    answer::field(out, "time");
    encode::number(out, overlay.time.0);
    answer::field(out, "caller");
    events::caller(out, &overlay.caller);
    out.push(b'}');
}

/// `GET /v1/services`.
pub(super) fn services(call: &Call<'_>) -> Answer {
    if let Some(filter) = call.query.filter()? {
        return find::services(call, &filter);
    }
    let namespace = call.query.namespace()?;
    let limit = call.query.limit(SERVICES, SERVICES)?;
    let prefix = call.query.one("prefix")?.unwrap_or_default();
    let after = call.query.one("after")?.unwrap_or_default();
    let hub = &call.hub;
    let (mut found, date) = hub.read(|registry| registry.catalog().services(&namespace, &prefix, &after, limit + 1));
    let more = found.len() > limit;
    found.truncate(limit);
    let mut out = answer::dated(hub.epoch(), date, found.len() * 128 + 64);
    answer::list(&mut out, "services", &found, summary);
    if let Some(last) = found.last().filter(|_| more) {
        answer::field(&mut out, "next");
        write_string(&mut out, &last.key.service);
    }
    Ok(answer::dated_end(out))
}

pub(super) fn summary(out: &mut Vec<u8>, service: &ServiceSummary) {
    encode::pair(out, "name", &service.key.service);
    answer::field(out, "instances");
    encode::number(out, service.instances() as u64);
    for (status, count) in periplus_core::Status::ALL.iter().zip(service.by_status) {
        answer::field(out, status.as_str());
        encode::number(out, count as u64);
    }
    answer::field(out, "revision");
    encode::number(out, service.revision.0);
    answer::field(out, "watchers");
    encode::number(out, service.watchers as u64);
    answer::field(out, "watched");
    out.extend_from_slice(if service.watched { b"true" } else { b"false" });
}

/// `GET /v1/namespaces`.
pub(super) fn namespaces(call: &Call<'_>) -> Answer {
    let hub = &call.hub;
    let (found, date) = hub.read(|registry| {
        let namespaces = registry.catalog().namespaces();
        let owned = namespaces.map(|(name, usage)| (name.clone(), usage));
        owned.collect::<Vec<_>>()
    });
    let mut out = answer::dated(hub.epoch(), date, found.len() * 64 + 32);
    answer::list(&mut out, "namespaces", &found, |out, (name, usage)| {
        encode::pair(out, "name", name);
        answer::field(out, "services");
        encode::number(out, usage.services as u64);
        answer::field(out, "instances");
        encode::number(out, usage.instances as u64);
    });
    Ok(answer::dated_end(out))
}

/// `GET /v1/overlays`: of one namespace, with the blocks that evictions left.
pub(super) fn overlays(call: &Call<'_>) -> Answer {
    let namespace: Namespace = call.query.namespace()?;
    let limit = call.query.limit(OVERLAYS, OVERLAYS)?;
    let hub = &call.hub;
    let ((overlays, blocks), date) = hub.read(|registry| {
        let laid = registry.overlays().filter(|(key, _)| key.namespace == namespace);
        let laid: Vec<_> = laid.take(limit).map(|(key, it)| (key.clone(), it.clone())).collect();
        let blocks = registry.blocks().into_iter();
        let blocks = blocks.filter(|(key, _)| key.namespace == namespace);
        let blocks: Vec<_> = blocks.take(limit).map(|(key, it)| (key.clone(), it.clone())).collect();
        (laid, blocks)
    });
    let mut out = answer::dated(hub.epoch(), date, overlays.len() * 256 + 64);
    answer::list(&mut out, "overlays", &overlays, |out, (key, laid)| {
        place(out, key);
        answer::field(out, "overlay");
        overlay(out, laid);
    });
    answer::list(&mut out, "blocks", &blocks, |out, (key, block)| {
        place(out, key);
        answer::field(out, "reason");
        write_string(out, &block.reason);
        answer::field(out, "ends_in");
        write_string(out, &tenths(block.until.saturating_since(hub.now())));
    });
    Ok(answer::dated_end(out))
}

/// Where an instance is in its namespace.
fn place(out: &mut Vec<u8>, key: &Key) {
    encode::pair(out, "service", &key.service);
    out.push(b',');
    encode::pair(out, "id", &key.id);
}

//! Who watches what, how far they are, and who has heard of a change.

use periplus_core::catalog::WatchInfo;
use periplus_core::protocol::AppliedMessage;
use periplus_core::{Catalog, Instant, Namespace, Registry, Revision, Selector, ServiceKey, WatchId};

use super::answer::{self, Answer};
use super::call::Call;
use super::{encode, events, query, watch};

/// The watches of an answer, unless fewer are asked for.
const WATCHES: usize = 1_000;

/// `POST /v1/watches/applied`.
pub(super) fn applied(call: &Call<'_>) -> Answer {
    let message: AppliedMessage = call.message()?;
    let applied = watch::cursor(&message.applied, "applied")?;
    let (taken, date) = match message.watch.parse() {
        Ok(name) => call.hub.applied(name, &applied),
        Err(_) => (false, call.hub.read(|_| ()).1),
    };
    let mut out = answer::dated(call.hub.epoch(), date, 16);
    flag(&mut out, "taken", taken);
    Ok(answer::dated_end(out))
}

/// `GET /v1/watches`.
pub(super) fn watches(call: &Call<'_>) -> Answer {
    let limit = call.query.limit(WATCHES, WATCHES)?;
    let namespace = call.query.one("ns")?.map(|ns| query::namespace(Some(&*ns))).transpose()?;
    let revision = call.query.number("revision")?.map(Revision);
    let service = call.query.one("service")?.map(|service| query::service_name(&service)).transpose()?;
    let service = service.map(|service| ServiceKey::new(namespace.clone().unwrap_or_default(), service));
    let hub = &call.hub;
    let (found, date) = hub.read(|registry| match &service {
        Some(service) => Found::of_service(registry, service, revision, limit),
        None => Found::all(registry, namespace.as_ref(), limit),
    });
    let mut out = answer::dated(hub.epoch(), date, found.watches.len() * 192 + 96);
    if let Some(told) = &found.told {
        let Told { revision, told, not_told, silent } = *told;
        count(&mut out, "service_revision", revision.0);
        count(&mut out, "watchers", (told + not_told + silent) as u64);
        count(&mut out, "told", told as u64);
        count(&mut out, "not_told", not_told as u64);
        count(&mut out, "silent", silent as u64);
    }
    let (present, now) = (date.revision, hub.now());
    answer::list(&mut out, "watches", &found.watches, |out, (id, info)| {
        out.extend_from_slice(b"\"watch\":");
        encode::number(out, id.index() as u64);
        describe(out, info, present, now);
        let told = found.told.as_ref().and_then(|told| info.has_applied(told.revision));
        told.into_iter().for_each(|told| flag(out, "told", told));
        answer::field(out, "caller");
        events::caller(out, &info.caller);
    });
    Ok(answer::dated_end(out))
}

/// What is listed.
struct Found {
    watches: Vec<(WatchId, WatchInfo)>,
    told: Option<Told>,
}

/// How many watchers of a service have applied its changes up to a revision.
struct Told {
    revision: Revision,
    told: usize,
    not_told: usize,
    /// They do not say.
    silent: usize,
}

impl Found {
    fn all(registry: &Registry, namespace: Option<&Namespace>, limit: usize) -> Self {
        let catalog = registry.catalog();
        let known = catalog.watch_ids().filter_map(|id| Some((id, catalog.watch_info(id)?)));
        let concerns = |info: &WatchInfo| {
            namespace.is_none_or(|namespace| info.selectors.iter().any(|selector| selector.namespace() == namespace))
        };
        Self { watches: known.filter(|(_, info)| concerns(info)).take(limit).collect(), told: None }
    }

    /// Those that see a service: first who has not applied its latest change, or that of a revision, then who does not say.
    fn of_service(registry: &Registry, service: &ServiceKey, revision: Option<Revision>, limit: usize) -> Self {
        let catalog = registry.catalog();
        let revision = revision.unwrap_or_else(|| latest(catalog, service));
        let [mut not_told, mut silent, mut told] = [const { Vec::new() }; 3];
        for id in catalog.watches_of(service) {
            match catalog.has_applied(id, revision) {
                Some(false) => not_told.push(id),
                None => silent.push(id),
                Some(true) => told.push(id),
            }
        }
        let counts = Told { revision, told: told.len(), not_told: not_told.len(), silent: silent.len() };
        let listed = not_told.into_iter().chain(silent).chain(told).take(limit);
        let watches = listed.filter_map(|id| Some((id, catalog.watch_info(id)?))).collect();
        Self { watches, told: Some(counts) }
    }
}

/// The revision of the last change of a service, as far as it is remembered.
fn latest(catalog: &Catalog, service: &ServiceKey) -> Revision {
    catalog.service(&service.namespace, &service.service).map_or(Revision(0), |service| service.revision)
}

fn describe(out: &mut Vec<u8>, info: &WatchInfo, present: Revision, now: Instant) {
    answer::list(out, "selectors", &info.selectors, |out, selector| {
        encode::pair(out, "ns", selector.namespace());
        out.push(b',');
        match selector {
            Selector::Service(key) => encode::pair(out, "service", &key.service),
            Selector::Prefix { prefix, .. } => encode::pair(out, "prefix", prefix),
        }
    });
    time(out, "since", info.opened, now);
    if let Some(seen) = info.seen {
        count(out, "seen", seen.0);
    }
    if let Some(applied) = &info.applied {
        count(out, "applied", applied.revision.0);
        time(out, "applied_since", applied.since, now);
    }
    // Of who does not report, it is known what it was handed.
    let (place, is_there) = match &info.applied {
        Some(applied) => (Some(applied.revision), info.has_applied(present) == Some(true)),
        None => (info.seen, !info.pending),
    };
    if let Some(place) = place {
        count(out, "behind", if is_there { 0 } else { present.0.saturating_sub(place.0) });
    }
    flag(out, "pending", info.pending);
}

fn count(out: &mut Vec<u8>, key: &str, n: u64) {
    answer::field(out, key);
    encode::number(out, n);
}

fn flag(out: &mut Vec<u8>, key: &str, is: bool) {
    answer::field(out, key);
    out.extend_from_slice(if is { b"true" } else { b"false" });
}

/// How long ago something was: whole seconds, once it is one.
fn time(out: &mut Vec<u8>, key: &str, since: Instant, now: Instant) {
    answer::field(out, key);
    let millis = u32::try_from(now.saturating_since(since).as_millis()).unwrap_or(u32::MAX);
    encode::ttl(out, if millis < 1_000 { millis } else { millis - millis % 1_000 });
}

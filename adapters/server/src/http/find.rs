//! Instances that match a query: over all services, and counted by service.
//!
//! The registry's lock is held while what is looked at is taken out, which is cheap, and not while it is matched. A
//! request looks at a bounded number of instances: an answer may have fewer than asked for, and go on all the same.

use periplus_core::catalog::{Catalog, ServiceSummary};
use periplus_core::http::target::Target;
use periplus_core::json::write_string;
use periplus_core::{Instance, InstanceId, Listed, Namespace, Query, ServiceName};

use super::answer::{self, Answer};
use super::call::Call;
use super::encode;
use super::problem::Problem;
use super::query;
use super::reads::{SERVICES, summary};

/// The instances that a request looks at; of one service, all of them.
pub(super) const LOOKED_AT: usize = 10_000;
/// The instances of a page, unless fewer are asked for.
const INSTANCES: usize = 1_000;

/// `GET /v1/instances`.
pub(super) fn instances(call: &Call<'_>) -> Answer {
    let namespace = call.query.namespace()?;
    let filter = call.query.filter()?.unwrap_or_default();
    let limit = call.query.limit(INSTANCES, INSTANCES)?;
    let after = call.query.one("after")?.as_deref().map(read_place).transpose()?;
    let ((looked_at, rest), date) = call.hub.read(|registry| take(registry.catalog(), &namespace, after.as_ref()));
    let page = Page::of(looked_at, rest, limit, |listed| filter.matches(&listed.instance));
    let size: usize = page.found.iter().map(|it| encode::size_of(&it.instance) + 1).sum();
    let mut out = answer::dated(call.hub.epoch(), date, size + 128);
    answer::field(&mut out, "namespace");
    write_string(&mut out, &namespace);
    if let Some(last) = &page.next {
        answer::field(&mut out, "next");
        write_string(&mut out, &place(&last.instance));
    }
    answer::field(&mut out, "instances");
    encode::list(&mut out, &namespace, page.found.iter().map(|it| (&it.instance, it.ttl_ms)));
    Ok(answer::dated_end(out))
}

/// Takes out instances after a place, and whether there are more.
fn take(catalog: &Catalog, namespace: &Namespace, after: Option<&(ServiceName, InstanceId)>) -> (Vec<Listed>, bool) {
    let mut taken = Vec::new();
    let mut take = |service: &str, after: &str| {
        let room = LOOKED_AT + 1 - taken.len();
        let found = catalog.instances(namespace, service, after, room);
        taken.extend(found.into_iter().map(|it| it.listed.clone()));
        taken.len() <= LOOKED_AT
    };
    let mut last = String::new();
    let mut room = true;
    if let Some((service, id)) = after {
        room = take(service, id);
        last = service.to_string();
    }
    while room {
        let services = catalog.services(namespace, "", &last, SERVICES);
        let Some(end) = services.last() else { break };
        last = end.key.service.to_string();
        room = services.iter().all(|it| take(&it.key.service, ""));
    }
    taken.truncate(LOOKED_AT);
    (taken, !room)
}

/// What matches of what was looked at.
pub(super) struct Page<T> {
    pub(super) found: Vec<T>,
    /// The last that this page is about, if there may be more.
    pub(super) next: Option<T>,
}

impl<T: Clone> Page<T> {
    /// The first of these that match, `limit` at most; `rest` says whether there are more than these.
    pub(super) fn of(looked_at: Vec<T>, rest: bool, limit: usize, matches: impl Fn(&T) -> bool) -> Self {
        let last = looked_at.last().filter(|_| rest).cloned();
        let matching = looked_at.into_iter().filter(|it| matches(it));
        let mut found: Vec<T> = matching.take(limit.saturating_add(1)).collect();
        let next = if found.len() > limit {
            found.truncate(limit);
            found.last().cloned()
        } else {
            last
        };
        Self { found, next }
    }
}

/// Where an instance is among those of its namespace: both names encoded, so that a `/` in one is none between them.
fn place(instance: &Instance) -> String {
    let target = Target::new("").segment(instance.service()).segment(instance.id()).to_string();
    target.trim_start_matches('/').to_owned()
}

fn read_place(text: &str) -> Result<(ServiceName, InstanceId), Problem> {
    let names = text.split_once('/').map(|(service, id)| Ok::<_, Problem>((query::service(service)?, query::id(id)?)));
    names.and_then(Result::ok).ok_or_else(|| {
        let message = "after is not the `next` of an answer";
        Problem::invalid("invalid_query", "after", message)
    })
}

/// `GET /v1/services` with a filter: those that have a matching instance, with the numbers of those.
pub(super) fn services(call: &Call<'_>, filter: &Query) -> Answer {
    let namespace = call.query.namespace()?;
    let limit = call.query.limit(SERVICES, SERVICES)?;
    let prefix = call.query.one("prefix")?.unwrap_or_default();
    let after = call.query.one("after")?.unwrap_or_default();
    let hub = &call.hub;
    let ((looked_at, rest), date) = hub.read(|registry| {
        let catalog = registry.catalog();
        let mut services = catalog.services(&namespace, &prefix, &after, SERVICES + 1);
        let mut count = 0;
        let within = |it: &&ServiceSummary| {
            let before = count;
            count += it.instances();
            before < LOOKED_AT
        };
        let room = services.iter().take(SERVICES).take_while(within).count();
        let rest = services.len() > room;
        services.truncate(room);
        let with_instances = services.into_iter().map(|service| {
            let found = catalog.instances(&namespace, &service.key.service, "", usize::MAX);
            let instances: Vec<Instance> = found.iter().map(|it| it.listed.instance.clone()).collect();
            (service, instances)
        });
        (with_instances.collect::<Vec<_>>(), rest)
    });
    let counted = looked_at.into_iter().map(|(service, instances)| ServiceSummary {
        by_status: count(instances.iter().filter(|it| filter.matches(it))),
        ..service
    });
    let page = Page::of(counted.collect(), rest, limit, |service| service.instances() > 0);
    let mut out = answer::dated(hub.epoch(), date, page.found.len() * 128 + 64);
    answer::list(&mut out, "services", &page.found, summary);
    if let Some(last) = page.next {
        answer::field(&mut out, "next");
        write_string(&mut out, &last.key.service);
    }
    Ok(answer::dated_end(out))
}

/// Counts by status, in the order of [`Status::ALL`](periplus_core::Status::ALL).
fn count<'a>(instances: impl Iterator<Item = &'a Instance>) -> [usize; 4] {
    let mut counts = [0; 4];
    instances.for_each(|instance| counts[instance.status() as usize] += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_the_next_begins() {
        let page = |rest, limit| {
            let page = Page::of((1..=6).collect(), rest, limit, |n| n % 2 == 0);
            (page.found, page.next)
        };
        assert_eq!(page(false, 2), (vec![2, 4], Some(4)));
        assert_eq!(page(false, 3), (vec![2, 4, 6], None));
        assert_eq!(page(true, 3), (vec![2, 4, 6], Some(6)));
        assert_eq!(Page::of(vec![1, 3], true, 9, |n| n % 2 == 0).next, Some(3));
        assert_eq!(Page::of(Vec::<u8>::new(), false, 9, |_| true).next, None);
    }

    #[test]
    fn a_place_is_read_as_it_is_written_whatever_the_names() {
        for (service, id) in [("web", "a"), ("a/b", "c/d"), ("..", "%2F"), ("支付 / x", "\"")] {
            let names = (ServiceName::new(service).unwrap(), InstanceId::new(id).unwrap());
            let instance = periplus_core::ServiceInstance::new(names.0.clone(), names.1.clone());
            assert_eq!(read_place(&place(&Instance::pack(&instance))).unwrap(), names);
        }
        for text in ["", "web", "/a", "web/", "a/b/c%", "%ff/a"] {
            assert_eq!(read_place(text).unwrap_err().field.as_deref(), Some("after"), "{text}");
        }
    }
}

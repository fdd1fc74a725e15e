//! An instance as Consul holds it, written as Kratos writes it.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use serde::Serialize;
use smol_str::{SmolStr, StrExt as _};

use super::options::{ConsulOptions, go_duration, is_version};
use crate::endpoint::Endpoint;
use crate::fault::{Fault, Faults};
use crate::instance::ServiceInstance;

/// The body of a registration at an agent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Registration<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    tags: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "is_zero")]
    port: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    address: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tagged_addresses: BTreeMap<SmolStr, TaggedAddress<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    meta: &'a BTreeMap<String, String>,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TaggedAddress<'a> {
    address: &'a str,
    port: u16,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID", skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<&'static str>,
    #[serde(rename = "TCP", skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    deregister_critical_service_after: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands in references")]
const fn is_zero(port: &u16) -> bool {
    *port == 0
}

/// The id of the check that the client renews.
pub(super) fn ttl_check(id: &str) -> String {
    format!("service:{id}")
}

/// The body that registers an instance whose TTL check, if it has one, has this ttl.
///
/// It is Kratos's but for two things that readers cannot see. TCP checks begin as passing, or a new instance would be
/// unseen until the agent has first tried, up to an interval later. And endpoints whose scheme is there before have a key
/// of their own. The TTL check begins as critical, so that a registration that arrives after its deregistration shows
/// nobody anything.
pub(super) fn registration(
    instance: &ServiceInstance,
    options: &ConsulOptions,
    ttl: Duration,
    faults: Faults,
) -> Vec<u8> {
    let first = instance.endpoints.first().and_then(|endpoint| endpoint.parts().ok());
    let after = go_duration(options.deregister_after);
    let mut checks = Vec::new();
    if options.checks.tcp {
        checks.extend(instance.endpoints.iter().filter_map(|endpoint| {
            let parts = endpoint.parts().ok()?;
            let host = if parts.is_ipv6() { format!("[{}]", parts.host) } else { parts.host.to_string() };
            Some(Check {
                tcp: Some(format!("{host}:{}", parts.port)),
                interval: Some(go_duration(options.interval)),
                timeout: Some("5s"),
                status: Some("passing"),
                deregister_critical_service_after: after.clone(),
                ..Check::default()
            })
        }));
    }
    if options.checks.ttl {
        checks.push(Check {
            id: Some(ttl_check(&instance.id)),
            ttl: Some(go_duration(ttl)),
            deregister_critical_service_after: after,
            ..Check::default()
        });
    }
    let mut tags = Vec::with_capacity(1 + options.tags.len());
    tags.push(Cow::Owned(format!("version={}", instance.version)));
    tags.extend(options.tags.iter().filter(|tag| !is_version(tag)).map(|tag| Cow::Borrowed(tag.as_str())));
    let body = Registration {
        id: &instance.id,
        name: &instance.name,
        tags,
        port: first.as_ref().map_or(0, |parts| parts.port),
        address: first.as_ref().map_or("", |parts| parts.host),
        tagged_addresses: tagged(&instance.endpoints, faults),
        meta: &instance.metadata,
        checks,
    };
    serde_json::to_vec(&body).expect("a registration has only text keys")
}

/// The endpoints by key. Kratos has the scheme for a key, so that the last of a scheme wins. Readers take all values,
/// whatever their keys: here the first of a scheme has the key that Kratos gives it, and the others have their place in
/// the list as well. That place is also given where the order could not be told otherwise.
fn tagged(endpoints: &[Endpoint], faults: Faults) -> BTreeMap<SmolStr, TaggedAddress<'_>> {
    let plain = keys(endpoints, false);
    let values = |keys: Vec<SmolStr>| {
        let entry = |(key, endpoint): (SmolStr, &'_ Endpoint)| (key, endpoint.as_str().to_string());
        keys.into_iter().zip(endpoints).map(entry).collect::<BTreeMap<_, _>>()
    };
    let first = endpoints.first().and_then(|endpoint| endpoint.parts().ok());
    let first = first.map(|parts| (parts.host, parts.port));
    let told = in_order(values(plain.clone()), first);
    let clear = told.iter().map(String::as_str).eq(endpoints.iter().map(Endpoint::as_str));
    let keys = if clear { plain } else { keys(endpoints, true) };
    let mut tagged = BTreeMap::new();
    for (key, endpoint) in keys.into_iter().zip(endpoints) {
        let Ok(parts) = endpoint.parts() else {
            continue;
        };
        let key = if faults.has(Fault::ConsulSchemesCollide) { scheme(endpoint.as_str()) } else { key };
        tagged.insert(key, TaggedAddress { address: endpoint.as_str(), port: parts.port });
    }
    tagged
}

/// A key for each endpoint, all of them different.
fn keys(endpoints: &[Endpoint], placed: bool) -> Vec<SmolStr> {
    let mut keys: Vec<SmolStr> = Vec::with_capacity(endpoints.len());
    for (at, endpoint) in endpoints.iter().enumerate() {
        let scheme = scheme(endpoint.as_str());
        let again = keys.contains(&scheme);
        // A scheme has no underscore in it, so that no key is like another's scheme.
        keys.push(if again || (placed && at > 0) { format!("{scheme}_{}", at + 1).into() } else { scheme });
    }
    keys
}

fn scheme(endpoint: &str) -> SmolStr {
    endpoint.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase_smolstr()
}

/// Endpoints in the order that they were registered in, as far as that can be told: those whose keys say their place are
/// there; of the others the one at the service's own address comes first, and then they come by their keys.
pub(super) fn in_order(tagged: BTreeMap<SmolStr, String>, first: Option<(&str, u16)>) -> Vec<String> {
    let (mut placed, mut others) = (BTreeMap::new(), Vec::new());
    for (key, value) in tagged {
        let place = key.strip_prefix(scheme(&value).as_str()).and_then(|rest| rest.strip_prefix('_'));
        match place.and_then(|place| place.parse::<usize>().ok()) {
            Some(place) if !placed.contains_key(&place) => drop(placed.insert(place, value)),
            _ => others.push(value),
        }
    }
    let is_first = |value: &String| {
        let endpoint = Endpoint::foreign(value.as_str());
        let parts = endpoint.parts();
        parts.is_ok_and(|parts| first.is_some_and(|(host, port)| parts.port == port && parts.host == host))
    };
    if let Some(at) = others.iter().position(is_first) {
        others[..=at].rotate_right(1);
    }
    let mut ordered: Vec<String> = Vec::with_capacity(placed.len() + others.len());
    let mut others = others.into_iter();
    for (place, value) in placed {
        while ordered.len() + 1 < place
            && let Some(other) = others.next()
        {
            ordered.push(other);
        }
        ordered.push(value);
    }
    ordered.extend(others);
    ordered
}

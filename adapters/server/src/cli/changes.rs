//! Instances and their changes in words.

use periplus_core::instance::{STATUS, WEIGHT, ZONE};
use periplus_core::{ServiceInstance, Status};

/// The metadata that has no column of its own.
pub(super) fn other_metadata(instance: &ServiceInstance) -> String {
    let other = instance.metadata.iter().filter(|(key, _)| ![WEIGHT, ZONE, STATUS].contains(&key.as_str()));
    other.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// All endpoints in one cell.
pub(super) fn endpoints(instance: &ServiceInstance) -> String {
    instance.endpoints.iter().map(|endpoint| endpoint.as_str()).collect::<Vec<_>>().join(" ")
}

/// An instance in one line, without its name: what is usual is left out.
pub(super) fn summary(instance: &ServiceInstance) -> String {
    let mut parts = Vec::new();
    if !instance.version.is_empty() {
        parts.push(format!("v{}", instance.version.trim_start_matches('v')));
    }
    if instance.status() != Status::Up {
        parts.push(instance.status().to_string());
    }
    parts.extend(instance.weight().map(|weight| format!("weight={weight}")));
    parts.extend(instance.zone().map(|zone| format!("zone={zone}")));
    parts.push(endpoints(instance));
    parts.push(other_metadata(instance));
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

/// What makes one state of an instance different from the state before.
pub(super) fn difference(before: &ServiceInstance, after: &ServiceInstance) -> String {
    let mut parts = Vec::new();
    if before.version != after.version {
        parts.push(format!("version {} -> {}", or_none(&before.version), or_none(&after.version)));
    }
    if before.status() != after.status() {
        parts.push(format!("{} -> {}", before.status(), after.status()));
    }
    let keys = before.metadata.keys().chain(after.metadata.keys().filter(|key| !before.metadata.contains_key(*key)));
    for key in keys.filter(|key| *key != STATUS) {
        let (old, new) = (before.metadata.get(key), after.metadata.get(key));
        if old != new {
            let word = |value: Option<&String>| value.map_or("none", |value| or_none(value)).to_owned();
            parts.push(format!("{key} {} -> {}", word(old), word(new)));
        }
    }
    if before.endpoints != after.endpoints {
        parts.push(format!("endpoints {} -> {}", or_none(&endpoints(before)), or_none(&endpoints(after))));
    }
    if parts.is_empty() { "nothing visible".into() } else { parts.join(", ") }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use periplus_core::{Endpoint, InstanceId, ServiceName};

    fn instance() -> ServiceInstance {
        ServiceInstance::new(ServiceName::new("web").unwrap(), InstanceId::new("a").unwrap())
            .with_version("1.2")
            .with_metadata("weight", "5")
            .with_metadata("owner", "ann")
            .with_endpoint(Endpoint::new("http://h:1").unwrap())
    }

    #[test]
    fn a_summary_leaves_out_what_is_usual() {
        assert_eq!(summary(&instance()), "v1.2 weight=5 http://h:1 owner=ann");
    }

    #[test]
    fn a_difference_names_what_changed_and_nothing_else() {
        let after = instance().with_version("1.3").with_metadata("status", "draining").with_metadata("owner", "bob");
        assert_eq!(difference(&instance(), &after), "version 1.2 -> 1.3, up -> draining, owner ann -> bob");
        let mut bare = instance();
        bare.metadata.clear();
        assert_eq!(difference(&instance(), &bare), "owner ann -> none, weight 5 -> none");
        assert_eq!(difference(&bare, &bare), "nothing visible");
    }
}

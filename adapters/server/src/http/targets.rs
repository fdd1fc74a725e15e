//! What Prometheus is to scrape, as its `http_sd_configs` read it.

use std::collections::BTreeMap;

use periplus_core::{Endpoint, Instance, ServiceName};
use serde::Serialize;

use super::answer::{self, Answer};
use super::call::Call;
use super::query;
use super::status::plain;

#[derive(Serialize)]
struct Group {
    targets: Vec<String>,
    labels: BTreeMap<String, String>,
}

/// `GET /v1/targets`: the endpoints of one scheme, of one service or of all of a namespace.
pub(super) fn targets(call: &Call<'_>) -> Answer {
    let namespace = call.query.namespace()?;
    let scheme = call.query.one("scheme")?;
    let scheme = scheme.as_deref().unwrap_or("http");
    let service = call.query.one("service")?;
    let service = service.map(|name| query::service_name(&name)).transpose()?;
    let (instances, _) = call.hub.read(|registry| {
        let catalog = registry.catalog();
        let of = |service: &ServiceName| -> Vec<Instance> {
            let found = catalog.instances(&namespace, service, "", usize::MAX);
            found.iter().map(|it| it.listed.instance.clone()).collect()
        };
        match &service {
            Some(service) => of(service),
            None => {
                let services = catalog.services(&namespace, "", "", usize::MAX);
                services.iter().flat_map(|it| of(&it.key.service)).collect()
            }
        }
    });
    let groups: Vec<Group> = instances.iter().filter_map(|instance| group(&namespace, instance, scheme)).collect();
    Ok(answer::json(plain(&groups)))
}

fn group(namespace: &str, instance: &Instance, scheme: &str) -> Option<Group> {
    let instance = instance.decode();
    let targets: Vec<String> = instance.endpoints.iter().filter_map(|endpoint| target(endpoint, scheme)).collect();
    if targets.is_empty() {
        return None;
    }
    let status = instance.status();
    let label = |name: &str, value: &str| (format!("__meta_periplus_{name}"), value.to_owned());
    let mut labels = BTreeMap::from([
        label("namespace", namespace),
        label("service", &instance.name),
        label("id", &instance.id),
        label("version", &instance.version),
        label("status", status.as_str()),
        ("__scheme__".into(), scheme.into()),
    ]);
    labels.extend(instance.metadata.iter().map(|(key, value)| label(&format!("metadata_{}", label_name(key)), value)));
    Some(Group { targets, labels })
}

fn target(endpoint: &Endpoint, scheme: &str) -> Option<String> {
    let parts = endpoint.parts().ok()?;
    if !parts.scheme.eq_ignore_ascii_case(scheme) {
        return None;
    }
    Some(if parts.is_ipv6() {
        format!("[{}]:{}", parts.host, parts.port)
    } else {
        format!("{}:{}", parts.host, parts.port)
    })
}

/// A metadata key as part of a label's name.
fn label_name(key: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    key.chars().map(fits).collect()
}

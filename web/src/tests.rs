//! A fleet to test with.

use periplus_core::{Change, Endpoint, Instance, InstanceId, ServiceInstance, ServiceName};

use crate::fleet::Fleet;

/// An instance with this status.
pub(crate) fn instance(service: &str, id: &str, status: &str) -> Instance {
    let mut it = plain(service, id).with_version("1.0.0").with_endpoint(endpoint(&format!("http://{id}.{service}:80")));
    if status != "up" {
        it = it.with_metadata("status", status);
    }
    Instance::pack(&it)
}

/// An instance with these endpoints.
pub(crate) fn endpoints(service: &str, id: &str, endpoints: &[&str]) -> Instance {
    let it = endpoints.iter().fold(plain(service, id), |it, text| it.with_endpoint(endpoint(text)));
    Instance::pack(&it)
}

fn plain(service: &str, id: &str) -> ServiceInstance {
    ServiceInstance::new(ServiceName::new(service).expect("a name"), InstanceId::new(id).expect("an id"))
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint::new(text).expect("an endpoint")
}

/// A fleet of these instances: service, id and status.
pub(crate) fn fleet(instances: &[(&str, &str, &str)]) -> Fleet {
    let mut fleet = Fleet::default();
    instances.iter().for_each(|(service, id, status)| put(&mut fleet, &instance(service, id, status)));
    fleet
}

/// The instance is there, and so it looks.
pub(crate) fn put(fleet: &mut Fleet, after: &Instance) {
    let before = fleet.get(after.service(), after.id()).map(|row| row.packed.clone());
    if let Some(change) = Change::between(before, Some(after.clone())) {
        fleet.apply(&change, None);
    }
}

/// The instance has this metadata too.
pub(crate) fn with(fleet: &mut Fleet, service: &str, id: &str, metadata: &[(&str, &str)]) {
    let it = fleet.get(service, id).expect("it is there").instance().clone();
    let it = metadata.iter().fold(it, |it, (key, value)| it.with_metadata(*key, *value));
    put(fleet, &Instance::pack(&it));
}

/// An instance that is this text wherever it can be.
pub(crate) fn hostile(text: &str) -> Instance {
    let it = plain(text, text).with_version(text).with_metadata(text, text).with_metadata("zone", text);
    let mut it = it.with_metadata("weight", text);
    it.endpoints.push(Endpoint::foreign(text));
    Instance::pack(&it)
}

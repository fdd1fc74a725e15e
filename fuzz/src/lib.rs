//! Fuzz targets of the core, each a plain function of bytes, so that the same code runs under the fuzzer and, over the
//! committed corpus, as an ordinary test.

// The alphabet, the model and the comparison are those of the core's own tests.
#[path = "../../core/tests/model/mod.rs"]
mod model;

use periplus_core::registry::State;
use periplus_core::{
    Config, Cursor, Endpoint, Instance, InstanceId, InstanceLimits, Instant, Lease, Registry, ServiceInstance, WallTime,
};

/// A target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target there is. Each has a folder of its name in `corpus/`.
pub const TARGETS: &[Target] =
    &[("registry_ops", registry_ops), ("instance_json", instance_json), ("texts", texts), ("restore", restore)];

/// Operations on a registry, compared with the model after every step.
pub fn registry_ops(bytes: &[u8]) {
    model::run::run_bytes(bytes);
}

/// A document from any registry: whatever is read is written so that it is read the same again.
pub fn instance_json(bytes: &[u8]) {
    let Ok(instance) = ServiceInstance::from_json(bytes) else {
        return;
    };
    let json = instance.to_json();
    assert_eq!(ServiceInstance::from_json(&json).as_ref(), Ok(&instance), "what is written is read the same");
    let packed = Instance::pack(&instance);
    assert_eq!(packed.json(), json);
    assert_eq!((packed.id(), packed.service()), (instance.id.as_str(), instance.name.as_str()));
    assert_eq!(packed.status(), instance.status());
    if let Ok(packed) = Instance::new(&instance, &InstanceLimits::default()) {
        assert!(packed.json().len() <= InstanceLimits::default().total);
    }
}

/// The texts that others send: endpoints, names, leases, cursors.
pub fn texts(bytes: &[u8]) {
    if let Ok(lease) = Lease::parse(bytes) {
        assert_eq!(lease.to_text(), bytes, "a lease has one text");
    }
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(endpoint) = Endpoint::new(text) {
        let parts = endpoint.parts().expect("it was just parsed");
        assert!(!parts.host.is_empty() && parts.port > 0 && !parts.scheme.is_empty());
    }
    if let Ok(id) = InstanceId::new(text) {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor), "a cursor is read as it is written");
    }
}

/// A state from a disk: it is refused, or the registry that comes of it is sound.
pub fn restore(bytes: &[u8]) {
    let Ok(state) = serde_json::from_slice::<State>(bytes) else {
        return;
    };
    let config = Config::default();
    let now = Instant::from_micros(1);
    let Ok(mut registry) = Registry::restore(config, [1; 32], &state, None, now, WallTime(0)) else {
        return;
    };
    while let Some(at) = registry.poll_timeout() {
        registry.handle_timeout(at);
        while registry.poll_event().is_some() {}
    }
    assert!(registry.catalog().is_empty(), "nobody renews, so everything ends");
}

//! Who holds an id is decided by generation: they rise with whoever comes later, whatever was there before.
#![allow(missing_docs, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use periplus_core::registry::MAX_GENERATION;
use periplus_core::{
    Caller, Config, Endpoint, Epoch, Incarnation, Instance, InstanceId, InstanceLimits, Instant, Key, Namespace,
    Operation, Register, RegisterError, Registered, Registry, ServiceInstance, ServiceName, WallTime,
};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A registry and the id that all want.
struct World {
    registry: Registry,
    caller: Arc<Caller>,
    now: Instant,
    key: Key,
}

impl World {
    fn new() -> Self {
        let now = Instant::from_micros(1);
        let config = Config { warm_up: Duration::ZERO, ..Config::default() };
        let registry = Registry::new(config, [7; 32], Epoch("e".into()), now, WallTime(0));
        let (service, id) = (ServiceName::new("web").unwrap(), InstanceId::new("a").unwrap());
        Self { registry, caller: Arc::default(), now, key: Key::new(Namespace::default(), service, id) }
    }

    fn register(&mut self, holder: u128, sequence: u64, reclaim: Option<u64>) -> Result<Registered, RegisterError> {
        let instance = ServiceInstance::new(self.key.service.clone(), self.key.id.clone())
            .with_endpoint(Endpoint::new("http://10.0.0.5:8000").unwrap());
        let instance = Instance::new(&instance, &InstanceLimits::default()).unwrap();
        let operation = Operation { incarnation: Incarnation(holder), sequence };
        let request = Register { operation, reclaim, ..Register::new(instance) };
        self.registry.register(request, &self.caller, self.now)
    }

    fn evict(&mut self) {
        self.registry.evict(&self.key, "a test".into(), None, &self.caller, self.now).unwrap();
    }
}

/// The registry has lost its memory: generations of its former life are reclaimed.
#[test]
fn whoever_was_evicted_does_not_take_an_id_back_from_whoever_registered_since() {
    let mut world = World::new();
    let first = world.register(1, 1, Some(41)).unwrap();
    assert_eq!(first.generation, 42);
    world.evict();
    let other = world.register(2, 1, None).unwrap();
    assert!(other.generation > first.generation, "{other:?} came after {first:?}");
    let refused = world.register(1, 2, Some(first.generation)).unwrap_err();
    assert!(matches!(refused, RegisterError::Superseded), "{refused:?}");
    // If nobody is there, it comes back.
    world.evict();
    let back = world.register(1, 3, Some(first.generation)).unwrap();
    assert!(back.generation > other.generation, "{back:?}");
}

/// Its registration was not answered, so that it knows no generation and sends the same again.
#[test]
fn whoever_never_heard_that_it_had_registered_does_not_take_an_id_back_from_whoever_registered_since() {
    let mut world = World::new();
    world.register(1, 1, None).unwrap();
    world.evict();
    assert!(matches!(world.register(1, 1, None), Err(RegisterError::Ended)), "nobody is there: a new one is welcome");
    world.register(2, 1, None).unwrap();
    assert!(matches!(world.register(1, 1, None), Err(RegisterError::Superseded)));
}

#[test]
fn no_generation_that_is_reclaimed_uses_them_up() {
    let mut world = World::new();
    world.register(1, 1, Some(MAX_GENERATION - 1)).unwrap();
    for holder in 2..10 {
        let registered = world.register(holder, 1, Some(MAX_GENERATION - 1)).unwrap();
        assert!(registered.generation < MAX_GENERATION - 1_000, "{registered:?}");
    }
    // And what is there can be restored.
    let state = world.registry.export();
    let restored = Registry::restore(Config::default(), [8; 32], &state, None, world.now, WallTime(0)).unwrap();
    assert_eq!(restored.export().generation, state.generation);
}

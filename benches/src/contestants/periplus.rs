//! Our core.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use periplus_core::config::{Limits, TtlLimits};
use periplus_core::event::Caller;
use periplus_core::{
    Config, Epoch, Incarnation, Instance, Instant, Lease, Namespace, Operation, Patch, Register, Registry, Selector,
    ServiceInstance, ServiceKey, ServiceName, WallTime, WatchStart,
};

use super::Contestant;
use crate::fleet::{Entry, Micros, TTL};

/// An instance as the server has it once it has read a request, and whose it is.
#[derive(Debug)]
pub struct Ready {
    instance: Instance,
    holder: Incarnation,
}

/// `periplus_core`'s registry.
#[derive(Debug)]
pub struct Periplus {
    registry: Registry,
    caller: Arc<Caller>,
    failed: Vec<(usize, periplus_core::LeaseError)>,
}

/// Room for all sizes; otherwise the server's defaults, but for two: the log keeps as many changes as the others do,
/// whatever they weigh, and a clock that jumps is no stall.
fn config() -> Config {
    Config {
        limits: Limits {
            instances: usize::MAX,
            instances_per_service: usize::MAX,
            bytes: usize::MAX,
            log_bytes: usize::MAX,
            ..Limits::default()
        },
        ttl: TtlLimits::default(),
        warm_up: Duration::ZERO,
        stall_threshold: Duration::MAX,
        ..Config::default()
    }
}

fn at(now: Micros) -> Instant {
    Instant::from_micros(now)
}

fn decoded(entry: &Entry) -> ServiceInstance {
    ServiceInstance::from_json(&entry.json).expect("the fleet is made of instances")
}

impl Periplus {
    /// What happened goes to metrics and to people.
    fn drain_events(&mut self) {
        while let Some(event) = self.registry.poll_event() {
            black_box(event);
        }
    }
}

impl Contestant for Periplus {
    const NAME: &'static str = "Periplus";
    type Prepared = Ready;
    type Edit = Patch;
    type Granted = Lease;
    type Lease = Lease;

    fn new() -> Self {
        let registry =
            Registry::new(config(), rand::random(), Epoch("bench".into()), Instant::default(), WallTime::default());
        Self { registry, caller: Arc::default(), failed: Vec::new() }
    }

    fn prepare(entry: &Entry) -> Ready {
        Ready { instance: Instance::pack(&decoded(entry)), holder: Incarnation(rand::random()) }
    }

    fn edit(entry: &Entry) -> Patch {
        let metadata = decoded(entry).metadata.into_iter();
        Patch { metadata: metadata.map(|(key, value)| (key, Some(value))).collect(), ..Patch::new() }
    }

    fn register(&mut self, ready: &Ready, now: Micros) -> Lease {
        let request = Register {
            ttl: Some(Duration::from_micros(TTL)),
            operation: Operation { incarnation: ready.holder, sequence: 1 },
            ..Register::new(ready.instance.clone())
        };
        self.registry.register(request, &self.caller, at(now)).expect("the limits are wide").lease
    }

    fn lease(_entry: &Entry, lease: &Lease) -> Lease {
        *lease
    }

    fn renew(&mut self, lease: &Lease, now: Micros) -> bool {
        self.registry.renew(lease, &self.caller, at(now)).is_ok()
    }

    fn renew_batch(&mut self, leases: &[Lease], now: Micros) -> usize {
        self.failed.clear();
        self.registry.renew_all(leases, &self.caller, at(now), &mut self.failed);
        leases.len() - self.failed.len()
    }

    fn change(&mut self, lease: &Lease, patch: &Patch, now: Micros) -> bool {
        self.registry.update(lease, patch, None, &self.caller, at(now)) == Ok(true)
    }

    fn expire(&mut self, now: Micros) {
        self.registry.handle_timeout(at(now));
    }

    fn watch(&mut self, service: &str, now: Micros) {
        let service = ServiceName::new(service).expect("the fleet's names are valid");
        let start = WatchStart::fresh(Selector::Service(ServiceKey::new(Namespace::default(), service)));
        self.registry.watch(&start, &self.caller, at(now)).expect("the limits are wide");
    }

    fn deliver(&mut self) -> usize {
        self.drain_events();
        let mut delivered = 0;
        while let Some(watch) = self.registry.poll_ready() {
            let Some(delivery) = self.registry.poll_watch(watch) else {
                continue;
            };
            let told = delivery.snapshots.iter().map(|snapshot| snapshot.instances.len()).sum::<usize>();
            delivered += told + delivery.changes.len();
            black_box(delivery);
        }
        delivered
    }

    fn idle(&mut self, _now: Micros) {
        black_box(self.registry.poll_timeout());
    }

    fn list(&self, service: &str) -> usize {
        let found = self.registry.catalog().instances(Namespace::default().as_str(), service, "", usize::MAX);
        black_box(found).len()
    }
}

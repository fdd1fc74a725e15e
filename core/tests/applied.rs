//! What watchers say that they have applied: what the registry takes, and what follows of who has heard of a change.

use std::sync::Arc;
use std::time::Duration;

use periplus_core::fault::Faults;
use periplus_core::{
    Caller, Config, Epoch, Instance, InstanceId, InstanceLimits, Instant, Lease, Namespace, Register, Registry,
    Revision, Selector, ServiceInstance, ServiceKey, ServiceName, WallTime, WatchId, WatchStart,
};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const NOW: Instant = Instant::from_millis(1_000);

struct World {
    registry: Registry,
    caller: Arc<Caller>,
}

fn key(service: &str) -> ServiceKey {
    ServiceKey::new(Namespace::default(), ServiceName::new(service).unwrap())
}

fn prefix(prefix: &str) -> Selector {
    Selector::Prefix { namespace: Namespace::default(), prefix: prefix.into() }
}

impl World {
    fn new(faults: Faults) -> Self {
        let config = Config { warm_up: Duration::ZERO, faults, ..Config::default() };
        let registry = Registry::new(config, [7; 32], Epoch("e".into()), NOW, WallTime(0));
        Self { registry, caller: Arc::new(Caller::default()) }
    }

    fn register(&mut self, service: &str, id: &str) -> Lease {
        let instance = ServiceInstance::new(ServiceName::new(service).unwrap(), InstanceId::new(id).unwrap());
        let instance = Instance::new(&instance, &InstanceLimits::default()).unwrap();
        self.registry.register(Register::new(instance), &self.caller, NOW).unwrap().lease
    }

    fn watch(&mut self, selector: Selector) -> WatchId {
        self.registry.watch(&WatchStart::fresh(selector), &self.caller, NOW).unwrap()
    }

    fn take(&mut self, watch: WatchId) -> u64 {
        self.registry.poll_watch(watch).expect("there is something to take").cursor.revision.0
    }

    fn says(&mut self, watch: WatchId, revision: u64) -> bool {
        self.registry.applied(watch, Revision(revision), NOW)
    }

    fn applied(&self, watch: WatchId) -> Option<u64> {
        Some(self.registry.catalog().watch_info(watch)?.applied?.revision.0)
    }

    fn knows(&self, watch: WatchId, revision: u64) -> Option<bool> {
        let catalog = self.registry.catalog();
        let info = catalog.watch_info(watch).unwrap();
        let known = catalog.has_applied(watch, Revision(revision));
        assert_eq!(known, info.has_applied(Revision(revision)));
        known
    }
}

fn a_report_is_taken_if_it_can_be_true_and_never_goes_back_under(faults: Faults) {
    let mut world = World::new(faults);
    let web = world.watch(Selector::Service(key("web")));
    assert!(!world.says(web, 0), "nothing was handed out yet");
    world.register("web", "a");
    world.register("web", "b");
    assert_eq!(world.take(web), 2);
    assert_eq!(world.applied(web), None, "it has not said anything");
    assert!(world.says(web, 0) && world.says(web, 1) && world.says(web, 2) && world.says(web, 2));
    assert!(!world.says(web, 1) && !world.says(web, 3));
    assert_eq!(world.applied(web), Some(2));
    world.registry.unwatch(web);
    assert!(!world.says(web, 2), "it is closed");
    let other = world.watch(Selector::Service(key("web")));
    assert!(!world.says(web, 2) && world.applied(other).is_none(), "another has its place");
}

#[test]
fn a_report_is_taken_if_it_can_be_true_and_never_goes_back() {
    a_report_is_taken_if_it_can_be_true_and_never_goes_back_under(Faults::default());
}

#[cfg(all(feature = "planted-faults", not(target_family = "wasm")))]
#[test]
fn planted_bugs_of_reports_are_caught() {
    use periplus_core::fault::Fault;
    use std::panic;

    for fault in [Fault::AppliedUnhanded, Fault::AppliedGoesBack] {
        let trial = || a_report_is_taken_if_it_can_be_true_and_never_goes_back_under(Faults::only(fault));
        assert!(panic::catch_unwind(trial).is_err(), "{fault:?} is not caught");
    }
}

#[test]
fn a_watcher_has_applied_a_change_when_it_says_so_and_not_when_it_was_handed_it() {
    let mut world = World::new(Faults::default());
    let web = world.watch(Selector::Service(key("web")));
    world.take(web);
    assert_eq!(world.knows(web, 0), None, "it does not say");
    world.says(web, 0);
    assert_eq!(world.knows(web, 0), Some(true));
    world.register("web", "a");
    assert_eq!(world.knows(web, 1), Some(false));
    world.take(web);
    assert_eq!(world.knows(web, 1), Some(false));
    world.says(web, 1);
    assert_eq!(world.knows(web, 1), Some(true));
    // Of other services there is nothing for it.
    world.register("other", "a");
    assert_eq!(world.knows(web, 2), Some(true));
    // A bookmark moves what it has seen, and it need not say so.
    assert_eq!(world.registry.poll_bookmark(web).unwrap().revision, Revision(2));
    assert_eq!((world.applied(web), world.knows(web, 2)), (Some(1), Some(true)));
}

#[test]
fn what_came_and_went_again_needs_no_report() {
    let mut world = World::new(Faults::default());
    let web = world.watch(Selector::Service(key("web")));
    world.register("web", "a");
    let revision = world.take(web);
    world.says(web, revision);
    let lease = world.register("web", "b");
    world.registry.deregister(&lease, None, &world.caller, NOW).unwrap();
    assert_eq!(world.knows(web, 3), Some(false), "something may wait for it");
    assert_eq!(world.registry.poll_watch(web), None, "it does not");
    assert_eq!(world.knows(web, 3), Some(true));
}

#[test]
fn the_watchers_of_a_service_are_those_that_name_it_or_a_prefix_of_it() {
    let mut world = World::new(Faults::default());
    let by_name = world.watch(Selector::Service(key("web")));
    let by_prefix = world.watch(prefix("we"));
    let all = world.watch(prefix(""));
    world.watch(Selector::Service(key("other")));
    world.watch(prefix("web-"));
    world.watch(Selector::all(Namespace::new("prod").unwrap()));
    let both = vec![(Selector::Service(key("web")), None), (prefix("w"), None), (Selector::Service(key("x")), None)];
    let both = world.registry.watch(&WatchStart { selectors: both }, &world.caller, NOW).unwrap();
    assert_eq!(world.registry.catalog().watches_of(&key("web")), [by_name, by_prefix, all, both]);
    assert_eq!(world.registry.catalog().watches_of(&key("nobody")), [all]);
}

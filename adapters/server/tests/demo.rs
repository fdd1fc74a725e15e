//! `periplus demo` against a real registry.
#![cfg(unix)]

mod common;

use common::{Registry, eventually};

#[test]
fn a_fleet_moves_in_lives_and_leaves_nothing_behind() {
    let mut registry = Registry::start();
    let mut demo = registry.start_client(&["demo", "--instances=60", "--seed=1", "--speed=10"]);
    let fleet = |registry: &Registry| {
        let services = registry.run(&["list", "--json"]).json();
        let services = services.as_array().expect("a list").clone();
        let instances: u64 = services.iter().filter_map(|service| service["instances"].as_u64()).sum();
        (services.len(), instances)
    };
    eventually("12 services with 60 instances", || {
        let (services, instances) = fleet(&registry);
        (services == 12 && instances >= 55).then_some(())
    });
    demo.line_with("deploys");
    registry.kill();
    demo.line_with("is away");
    registry.restart();
    demo.line_with("is back");
    eventually("the fleet is back", || (fleet(&registry).1 >= 45).then_some(()));
    assert_eq!(demo.interrupt(), 0);
    assert_eq!(fleet(&registry), (0, 0));
    assert!(registry.run(&["get", "web", "--json"]).json().as_array().is_some_and(Vec::is_empty));
}

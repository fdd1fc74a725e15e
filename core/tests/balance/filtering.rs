//! Filters compose, fall back, and keep the balance within each subset.

use std::collections::BTreeMap;

use periplus_core::balance::{BalanceConfig, Filter, PickError, PickRequest, Policy, Subset};
use periplus_core::fault::Faults;
use periplus_core::{Balancer, Instance, Instant, Query, ServiceInstance};
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::fleet::{balancer, equals, plain};

fn instance(id: &str, version: &str, zone: &str) -> ServiceInstance {
    plain(id).with_version(version).with_metadata("zone", zone)
}

fn four_of_two_versions() -> Vec<Instance> {
    let instance = |at: usize| instance(&format!("i{at}"), if at < 4 { "v1" } else { "v2" }, ["a", "b"][at % 2]);
    (0..8).map(|at| Instance::pack(&instance(at))).collect()
}

pub(crate) fn interleaved_views_keep_their_own_turn(faults: Faults) {
    let config = BalanceConfig { faults, ..BalanceConfig::new(Policy::WeightedRoundRobin) };
    let mut balancer = balancer(config, &four_of_two_versions());
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for call in 0..8_000 {
        let view = balancer.view(&Filter::version(["v1", "v2"][call % 2]));
        let pick = view.pick(&PickRequest::new(1), Instant::default()).unwrap();
        *counts.entry(pick.node().id().to_string()).or_default() += 1;
    }
    assert!(counts.len() == 8 && counts.values().all(|&count| count == 1_000), "{counts:?}");
}

#[test]
fn filters_that_differ_per_request_keep_the_balance_within_each_subset() {
    interleaved_views_keep_their_own_turn(Faults::default());
}

fn passing(filter: &Filter, instances: &[ServiceInstance]) -> Vec<bool> {
    filter.passes(&instances.iter().collect::<Vec<_>>())
}

#[test]
fn a_preference_takes_the_first_that_has_anybody() {
    let instances = [instance("a", "v1", "x"), instance("b", "v1", "y"), instance("c", "v2", "y")];
    let who = |filter: Filter| {
        let passing = passing(&filter, &instances);
        instances.iter().zip(passing).filter(|(_, passes)| *passes).map(|(i, _)| i.id.to_string()).collect::<String>()
    };
    assert_eq!(who(Filter::prefer_zones(["z", "y", "x"])), "bc");
    assert_eq!(who(Filter::prefer_zones(["z"])), "abc");
    assert_eq!(who(Filter::version("v2").and(Filter::prefer_zones(["x"]))), "c");
    assert_eq!(who(Filter::prefer_zones(["x"]).and(Filter::version("v2"))), "");
    assert_eq!(who(Filter::version("v3").or_else(Filter::version("v1"))), "ab");
    assert_eq!(who(Filter::version("v3").or_else(Filter::Any).and(Filter::zone("x"))), "a");
    assert_eq!(who(Filter::Prefer(vec![])), "");
    let query = |text: &str| Filter::from(text.parse::<Query>().unwrap());
    assert_eq!(who(query("version:v1 zone:!x").or_else(Filter::Any)), "b");
    assert_eq!(who(query("version:>=v3").or_else(query("zone:y,z"))), "bc");
}

fn filters() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![
        Just(Filter::Any),
        (0..3u8).prop_map(|version| Filter::version(version.to_string())),
        (0..3u8).prop_map(|zone| Filter::zone(zone.to_string())),
        (0..3u8).prop_map(|zone| Filter::Query(format!("!zone:{zone}").parse().unwrap())),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let some = prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            some.clone().prop_map(Filter::All),
            some.clone().prop_map(Filter::OneOf),
            some.prop_map(Filter::Prefer),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn filters_are_sets(one in filters(), other in filters(), looks in prop::collection::vec((0..3u8, 0..3u8), 0..8)) {
        let instances: Vec<ServiceInstance> = looks
            .iter()
            .enumerate()
            .map(|(at, (version, zone))| instance(&format!("i{at}"), &version.to_string(), &zone.to_string()))
            .collect();
        let (a, b) = (passing(&one, &instances), passing(&other, &instances));
        let union: Vec<bool> = a.iter().zip(&b).map(|(a, b)| *a || *b).collect();
        prop_assert_eq!(passing(&Filter::OneOf(vec![one.clone(), other.clone()]), &instances), union);
        let not: Vec<bool> = a.iter().map(|passes| !passes).collect();
        prop_assert_eq!(passing(&Filter::Not(Box::new(one.clone())), &instances), not);
        let first = if a.contains(&true) { a.clone() } else { b };
        prop_assert_eq!(passing(&one.clone().or_else(other.clone()), &instances), first);
        let both = passing(&one.and(other), &instances);
        prop_assert!(both.iter().zip(&a).all(|(both, a)| *a || !both), "and only takes away");
    }
}

#[test]
fn a_view_that_lets_nobody_pass_says_so() {
    let mut balancer = balancer(BalanceConfig::default(), &four_of_two_versions());
    let pick = |balancer: &mut Balancer| {
        balancer.view(&Filter::version("v3")).pick(&PickRequest::new(1), Instant::default()).err()
    };
    assert_eq!(pick(&mut balancer), Some(PickError::Filtered));
    balancer.update([], Instant::default());
    assert_eq!(pick(&mut balancer), Some(PickError::Empty));
}

#[test]
fn views_are_shared_bounded_and_kept_while_they_are_used() {
    let mut balancer = balancer(BalanceConfig { views: 2, ..BalanceConfig::default() }, &four_of_two_versions());
    let [one, two, three] = ["v1", "v2", "v3"].map(Filter::version);
    let first = balancer.view(&one);
    assert!(std::sync::Arc::ptr_eq(&first, &balancer.view(&one)));
    balancer.view(&two);
    balancer.view(&three);
    assert!(balancer.picker().view(&one).is_some(), "it was used again");
    assert!(balancer.picker().view(&two).is_none(), "it made room");
    balancer.view(&two);
    assert!(balancer.picker().view(&one).is_some(), "it was used again");
    assert!(balancer.picker().view(&three).is_none(), "it made room");
    // An old picker goes on, and what it learns is not lost.
    let pick = first.pick(&PickRequest::new(1), Instant::default()).unwrap();
    let same = balancer.picker().nodes().find(|node| node.id() == pick.node().id()).unwrap();
    assert_eq!(same.stats().in_flight, 1);
}

#[test]
fn a_client_with_a_subset_calls_only_that() {
    let subset = |key: &str| Some(Subset { key: key.into(), size: 3 });
    let called = |key: &str, count: usize| {
        let config = BalanceConfig { subset: subset(key), ..BalanceConfig::default() };
        let balancer = balancer(config, &equals(count));
        balancer.picker().nodes().map(|node| node.id().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(called("one", 20).len(), 3);
    assert_ne!(called("one", 20), called("other", 20));
    assert_eq!(called("one", 2).len(), 2);
}

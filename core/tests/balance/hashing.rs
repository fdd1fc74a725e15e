//! Consistent hashing and subsets move little when the set changes.

use periplus_core::balance::{BalanceConfig, PickRequest, Policy, hash_key, subset};
use periplus_core::{Instance, Instant};
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::fleet::{balancer, equals, id, weighed};

/// Where each of so many keys is.
fn places(policy: Policy, instances: &[Instance], keys: u32) -> Vec<String> {
    let balancer = balancer(BalanceConfig::new(policy), instances);
    let place = |key: u32| {
        let request = PickRequest::default().with_key(hash_key(&key.to_le_bytes()));
        balancer.picker().pick(&request, Instant::default()).unwrap().node().id().to_string()
    };
    (0..keys).map(place).collect()
}

fn moved(before: &[String], after: &[String]) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b).count()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(target_family = "wasm") { 4 } else { 24 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn on_a_ring_only_the_keys_of_who_goes_move(weights in prop::collection::vec(1u32..300, 2..20), gone in 0..20usize) {
        let mut instances: Vec<Instance> =
            weights.iter().enumerate().map(|(at, &weight)| weighed(&format!("i{at}"), weight)).collect();
        let before = places(Policy::Ring, &instances, 2_000);
        let gone = instances.remove(gone % weights.len());
        let after = places(Policy::Ring, &instances, 2_000);
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(before == after || before == gone.id());
        }
    }

    #[test]
    fn of_a_maglev_table_few_other_keys_move(count in 2..40usize, gone in 0..40usize) {
        let mut instances = equals(count);
        let before = places(Policy::Maglev, &instances, 4_000);
        let gone = instances.remove(gone % count);
        let after = places(Policy::Maglev, &instances, 4_000);
        let its = before.iter().filter(|place| *place == gone.id()).count();
        prop_assert!(moved(&before, &after) <= its + 4_000 / 25, "{} of {its}", moved(&before, &after));
    }

    #[test]
    fn a_subset_changes_by_one_when_the_set_does(count in 1..60usize, size in 1..20usize, key in any::<u64>(), at in 0..60usize) {
        let members: Vec<String> = (0..count).map(|at| format!("i{at}")).collect();
        let choose = |members: Vec<String>| subset::rendezvous(&key.to_le_bytes(), members, size, |member| member);
        let before = choose(members.clone());
        prop_assert_eq!(before.len(), size.min(count));
        prop_assert!(before.iter().collect::<std::collections::BTreeSet<_>>().len() == before.len());

        let mut fewer = members.clone();
        let gone = fewer.remove(at % count);
        let after = choose(fewer);
        let stayed = before.iter().filter(|member| after.contains(member)).count();
        let lost = usize::from(before.contains(&gone));
        prop_assert_eq!(stayed, before.len() - lost, "only who left is missing");
        prop_assert!(after.len() + 1 >= before.len());

        let mut more = members;
        more.insert(at % count, "newcomer".into());
        let after = choose(more);
        let displaced = before.iter().filter(|member| !after.contains(member)).count();
        prop_assert!(displaced <= usize::from(after.contains(&"newcomer".to_owned())), "at most one makes room");

        let reversed = choose((0..count).rev().map(|at| format!("i{at}")).collect());
        prop_assert!(before.iter().all(|member| reversed.contains(member)), "the order does not matter");
    }
}

#[test]
fn subsets_of_many_clients_spread_evenly() {
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for client in 0..2_000u32 {
        let members: Vec<String> = (0..50).map(|at| format!("i{at}")).collect();
        for member in subset::rendezvous(&client.to_le_bytes(), members, 5, |member| member) {
            *counts.entry(member).or_default() += 1;
        }
    }
    assert!(counts.len() == 50 && counts.values().all(|&count| (140..260).contains(&count)), "{counts:?}");
}

#[test]
fn equal_instances_have_equal_shares_of_a_maglev_table() {
    let places = places(Policy::Maglev, &equals(50), 50_000);
    for at in 0..50 {
        let has = places.iter().filter(|place| **place == format!("i{at}")).count();
        assert!((850..1_150).contains(&has), "i{at}: {has}");
    }
}

#[test]
fn who_is_excluded_is_stood_in_for_by_one_and_the_same() {
    for policy in [Policy::Ring, Policy::Maglev] {
        let balancer = balancer(BalanceConfig::new(policy), &equals(8));
        let request = PickRequest::default().with_key(hash_key(b"user"));
        let own = balancer.picker().pick(&request, Instant::default()).unwrap().node().id().clone();
        let exclude = [own];
        let other = |random| {
            let request = PickRequest::new(random).with_key(hash_key(b"user")).without(&exclude);
            balancer.picker().pick(&request, Instant::default()).unwrap().node().id().clone()
        };
        assert!(other(1) == other(2) && other(1) != exclude[0]);
    }
}

#[test]
fn a_large_set_keeps_a_ring_within_its_bound() {
    let config = BalanceConfig { points: 1_000, ..BalanceConfig::new(Policy::Ring) };
    let instances = equals(100);
    let balancer = balancer(config, &instances);
    let mut seen = std::collections::BTreeSet::new();
    for key in 0..20_000u32 {
        let request = PickRequest::default().with_key(hash_key(&key.to_le_bytes()));
        seen.insert(balancer.picker().pick(&request, Instant::default()).unwrap().node().id().clone());
    }
    assert!(seen.len() == 100 && seen.contains(&id("i99")));
}

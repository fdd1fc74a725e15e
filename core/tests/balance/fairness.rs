//! Every policy honours weights, and says why it picks nobody.

use std::time::Duration;

use periplus_core::balance::{BalanceConfig, CallOutcome, PickError, PickRequest, Policy, hash_key};
use periplus_core::fault::Faults;
use periplus_core::{Balancer, Instance, Instant};
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::fleet::{Behaviour, Bits, Fleet, balancer, equals, id, percent, plain, weighed};

pub(crate) const POLICIES: [Policy; 6] = [
    Policy::P2c,
    Policy::WeightedRoundRobin,
    Policy::WeightedRandom,
    Policy::LeastRequest,
    Policy::Ring,
    Policy::Maglev,
];

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("i{at}")).collect()
}

/// Calls at once, one after the other, each ended before the next.
fn shares(balancer: &Balancer, picks: u64) -> Vec<f64> {
    let mut bits = Bits(99);
    let nodes: Vec<_> = balancer.picker().nodes().map(|node| node.id().clone()).collect();
    let mut counts = vec![0; nodes.len()];
    for _ in 0..picks {
        let pick = balancer.picker().pick(&PickRequest::new(bits.next()), Instant::default()).unwrap();
        counts[nodes.iter().position(|id| id == pick.node().id()).unwrap()] += 1;
        pick.done(CallOutcome::Success, Instant::default());
    }
    counts.into_iter().map(|count| f64::from(count) / picks as f64).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(target_family = "wasm") { 8 } else { 40 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn idle_nodes_are_called_by_weight(weights in prop::collection::vec(1u32..400, 1..9), policy in 0..6usize) {
        let policy = POLICIES[policy];
        let instances: Vec<Instance> = weights.iter().zip(ids(9)).map(|(&weight, id)| weighed(&id, weight)).collect();
        let balancer = balancer(BalanceConfig::new(policy), &instances);
        let total = f64::from(weights.iter().sum::<u32>());
        for (share, weight) in shares(&balancer, 20_000).into_iter().zip(weights) {
            let fair = f64::from(weight) / total;
            // A ring of a few hundred points is what it is.
            let slack = if policy == Policy::Ring { 0.02 + fair * 0.4 } else { 0.012 + fair * 0.03 };
            prop_assert!((share - fair).abs() <= slack, "{policy:?}: {share} instead of {fair}");
        }
    }
}

pub(crate) fn loaded_nodes_are_called_by_weight(faults: Faults) {
    for policy in [Policy::P2c, Policy::LeastRequest, Policy::WeightedRoundRobin, Policy::WeightedRandom] {
        let instances = [weighed("a", 100), weighed("b", 200), weighed("c", 500), weighed("d", 10)];
        // From hardly one call in flight to a hundred.
        for rate in [50, 500, 10_000] {
            let mut fleet = Fleet::new(BalanceConfig::new(policy), faults, &instances);
            let calls = fleet.run(Duration::from_secs(2_000 / rate.min(200)), rate);
            for (id, weight) in [("a", 100.0), ("b", 200.0), ("c", 500.0), ("d", 10.0)] {
                let (share, fair) = (percent(&calls, id), weight / 8.1);
                let slack = 1.5 + fair * 0.15;
                assert!((share - fair).abs() < slack, "{policy:?} at {rate}: {share} % of {fair} % for {id}");
            }
        }
    }
}

#[test]
fn nodes_under_load_are_called_by_weight() {
    loaded_nodes_are_called_by_weight(Faults::default());
}

#[test]
fn least_request_spares_who_is_slow() {
    let mut fleet = Fleet::new(BalanceConfig::new(Policy::LeastRequest), Faults::default(), &equals(4));
    fleet.behaves("i0", Behaviour::takes(200));
    let calls = fleet.run(Duration::from_secs(20), 1_000);
    assert!(percent(&calls, "i0") < 8.0, "{calls:?}");
}

#[test]
fn a_round_robin_over_many_weights_gives_everyone_a_turn() {
    let instances: Vec<Instance> = (0..1_000).map(|at| weighed(&format!("i{at}"), 1 + at * at)).collect();
    let balancer = balancer(BalanceConfig::new(Policy::WeightedRoundRobin), &instances);
    let shares = shares(&balancer, 20_000);
    assert!(shares.iter().all(|&share| share > 0.0));
}

#[test]
fn a_round_robin_goes_on_over_updates() {
    let config = BalanceConfig { start: Some(0), ..BalanceConfig::new(Policy::WeightedRoundRobin) };
    let mut balancer = balancer(config, &equals(5));
    let mut order = String::new();
    for step in 0..20 {
        let mut instances = equals(5);
        instances[0] = Instance::pack(&plain("i0").with_metadata("build", step.to_string()));
        balancer.update(instances, Instant::from_millis(step));
        order.push_str(&balancer.picker().pick(&PickRequest::default(), Instant::default()).unwrap().node().id()[1..]);
    }
    assert_eq!(order, "01234012340123401234");
}

#[test]
fn an_instance_without_a_sensible_weight_has_the_default() {
    for text in ["", "-3", "1.5", "ten", "4294967296"] {
        let odd = Instance::pack(&plain("odd").with_metadata("weight", text));
        let balancer = balancer(BalanceConfig::default(), &[odd, weighed("other", 100)]);
        assert_eq!(balancer.picker().share_ppm(&id("odd")), 500_000, "{text:?}");
    }
}

#[test]
fn weight_zero_means_no_new_calls_and_never_a_hot_spot() {
    for policy in POLICIES {
        let pick = |instances: &[Instance], random| {
            let balancer = balancer(BalanceConfig::new(policy), instances);
            let pick = balancer.picker().pick(&PickRequest::new(random), Instant::default());
            pick.map(|pick| pick.node().id().to_string())
        };
        for random in (0..256_u64).map(|byte| byte << 56) {
            assert_eq!(pick(&[weighed("a", 0), weighed("b", 1)], random).as_deref(), Ok("b"));
        }
        assert_eq!(pick(&[weighed("a", 0), weighed("b", 0)], 1), Err(PickError::ZeroWeight));
        assert_eq!(pick(&[], 1), Err(PickError::Empty));
    }
}

#[test]
fn who_is_not_up_gets_no_new_calls() {
    let with_status = |id: &str, status: &str| Instance::pack(&plain(id).with_metadata("status", status));
    let others = [with_status("a", "draining"), with_status("b", "starting"), with_status("c", "down")];
    let mut balancer = balancer(BalanceConfig::default(), &others);
    let pick = |balancer: &Balancer| balancer.picker().pick(&PickRequest::new(1), Instant::default());
    assert_eq!(pick(&balancer).err(), Some(PickError::NoneUp));
    balancer.update(others.into_iter().chain(equals(1)), Instant::default());
    assert_eq!(pick(&balancer).unwrap().node().id().as_str(), "i0");
}

#[test]
fn who_is_excluded_is_not_picked_and_all_can_be() {
    for policy in POLICIES {
        let balancer = balancer(BalanceConfig::new(policy), &equals(4));
        let mut bits = Bits(5);
        let mut exclude = vec![];
        for _ in 0..4 {
            let request = PickRequest::new(bits.next()).with_key(hash_key(b"x")).without(&exclude);
            let pick = balancer.picker().pick(&request, Instant::default()).unwrap();
            assert!(!exclude.contains(pick.node().id()), "{policy:?}");
            exclude.push(pick.node().id().clone());
        }
        let request = PickRequest::new(1).without(&exclude);
        assert_eq!(balancer.picker().pick(&request, Instant::default()).err(), Some(PickError::Excluded));
        assert!(balancer.picker().nodes().all(|node| node.stats().in_flight == 0));
    }
}

#[test]
fn a_change_of_weight_counts_at_once() {
    let mut balancer = balancer(BalanceConfig::default(), &[weighed("a", 100), weighed("b", 100)]);
    balancer.update([weighed("a", 300), weighed("b", 100)], Instant::default());
    assert_eq!(balancer.picker().share_ppm(&id("a")), 750_000);
}

//! What the cheaper of two learns of latencies and failures, keeps over updates, and forgets with time.

use std::time::Duration;

use periplus_core::balance::{BalanceConfig, CallOutcome, OutlierConfig, PickRequest, SlowStart};
use periplus_core::fault::Faults;
use periplus_core::{Instance, Instant};
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::fleet::{Behaviour, Fleet, balancer, equals, percent, plain, weighed};

const SECOND: Duration = Duration::from_secs(1);

/// Without ejection and slow start: what is learned is all that helps.
fn bare() -> BalanceConfig {
    let slow_start = SlowStart { window: Duration::ZERO, ..SlowStart::default() };
    BalanceConfig { outlier: OutlierConfig::off(), slow_start, ..BalanceConfig::default() }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(target_family = "wasm") { 4 } else { 24 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn calls_leave_a_failing_node_and_come_back(
        count in 2..12usize,
        latency in 1..30u64,
        fails_after in 0..30u64,
        rate in 100..2_000u64,
    ) {
        let mut fleet = Fleet::new(bare(), Faults::default(), &equals(count));
        fleet.run(SECOND * 2, rate);
        fleet.behaves("i0", Behaviour { latency: Duration::from_millis(latency), ..Behaviour::failing(1 + fails_after) });
        fleet.run(SECOND, rate);
        let failing = fleet.run(SECOND * 20, rate);
        prop_assert!(percent(&failing, "i0") < 4.0, "{failing:?}");
        fleet.behaves("i0", Behaviour::takes(10));
        fleet.run(SECOND * 40, rate);
        let healed = fleet.run(SECOND * 20, rate);
        let fair = 100.0 / count as f64;
        prop_assert!((percent(&healed, "i0") - fair).abs() < fair * 0.4 + 1.0, "{healed:?}");
    }
}

#[test]
fn equal_nodes_share_in_spite_of_noise() {
    let mut fleet = Fleet::new(bare(), Faults::default(), &equals(5));
    let calls = fleet.run(SECOND * 60, 500);
    assert!(calls.values().all(|&count| (4_800..7_200).contains(&count)), "{calls:?}");
}

pub(crate) fn a_node_that_was_slow_is_tried_again(faults: Faults) {
    let mut fleet = Fleet::new(bare(), faults, &equals(4));
    fleet.behaves("i0", Behaviour::takes(500));
    fleet.run(SECOND * 5, 200);
    let slow = fleet.run(SECOND * 30, 200);
    assert!(percent(&slow, "i0") < 3.0, "{slow:?}");
    fleet.behaves("i0", Behaviour::takes(10));
    fleet.run(SECOND * 60, 200);
    let quick = fleet.run(SECOND * 20, 200);
    assert!(percent(&quick, "i0") > 15.0, "{quick:?}");
}

#[test]
fn calls_leave_a_slow_node_and_come_back() {
    a_node_that_was_slow_is_tried_again(Faults::default());
}

#[test]
fn a_node_that_never_answers_is_left_with_few_calls() {
    let mut fleet = Fleet::new(bare(), Faults::default(), &equals(4));
    fleet.run(SECOND, 1_000);
    fleet.behaves("i0", Behaviour::takes(3_600_000));
    let calls = fleet.run(SECOND * 10, 1_000);
    assert!(calls.get("i0").is_none_or(|&count| count < 40), "{calls:?}");
}

#[test]
fn a_fresh_node_pays_no_penalty_for_being_unknown() {
    let mut fleet = Fleet::new(bare(), Faults::default(), &equals(4));
    fleet.run(SECOND * 5, 500);
    fleet.balancer.update(equals(5), fleet.now);
    let calls = fleet.run(SECOND * 2, 500);
    assert!((12.0..28.0).contains(&percent(&calls, "i4")), "{calls:?}");
}

/// The same list again, a changed weight, an absence: none of it brings calls back to a node that fails.
pub(crate) fn an_update_forgets_nothing(faults: Faults) {
    let mut fleet = Fleet::new(bare(), faults, &equals(4));
    fleet.behaves("i0", Behaviour::failing(1));
    fleet.run(SECOND * 5, 200);
    let mut to_failing = 0.0;
    for round in 0..100u32 {
        let mut instances = equals(4);
        match round % 4 {
            0 => {}
            1 => instances[0] = weighed("i0", 100 + round),
            2 => instances[0] = Instance::pack(&plain("i0").with_metadata("build", round.to_string())),
            _ => drop(instances.remove(0)),
        }
        fleet.balancer.update(instances, fleet.now);
        to_failing += percent(&fleet.run(SECOND / 40, 200), "i0") / 100.0;
    }
    assert!(to_failing < 3.0, "{to_failing} % of the calls went to the node that fails");
}

#[test]
fn what_was_learned_is_kept_over_updates() {
    an_update_forgets_nothing(Faults::default());
}

#[test]
fn an_update_that_changes_nothing_keeps_the_picker() {
    let mut balancer = balancer(BalanceConfig::default(), &equals(3));
    let before = balancer.picker().clone();
    let after = balancer.update(equals(3).into_iter().rev(), Instant::from_millis(5)).clone();
    assert!(std::sync::Arc::ptr_eq(&before, &after));
}

#[test]
fn who_left_is_remembered_within_bounds() {
    let mut config = BalanceConfig::default();
    config.memory.instances = 2;
    let mut balancer = balancer(config, &equals(5));
    for node in balancer.picker().nodes() {
        let node = node.clone();
        let picker = balancer.picker();
        while node.stats().latency.is_none() {
            let others: Vec<_> = picker.nodes().map(|other| other.id().clone()).filter(|id| id != node.id()).collect();
            let pick = picker.pick(&PickRequest::new(1).without(&others), Instant::default()).unwrap();
            pick.done(CallOutcome::Success, Instant::from_millis(3));
        }
    }
    let mut known = |keep: usize, at: u64, back: u64| {
        balancer.update(equals(5).into_iter().take(keep), Instant::from_millis(at));
        balancer.update(equals(5), Instant::from_millis(at + back));
        balancer.picker().nodes().filter(|node| node.stats().latency.is_some()).count()
    };
    assert_eq!(known(3, 10, 1_000), 5);
    assert_eq!(known(2, 5_000, 1_000), 4, "two of three are remembered");
    assert_eq!(known(1, 10_000, 301_000), 1, "and none after five minutes");
}

pub(crate) fn giving_up_says_nothing_of_the_node(faults: Faults) {
    let balancer = balancer(BalanceConfig { faults, ..BalanceConfig::default() }, &equals(1));
    for at in 0..20 {
        let pick = balancer.picker().pick(&PickRequest::new(at), Instant::from_millis(at)).unwrap();
        let wants = pick.done(CallOutcome::Cancelled, Instant::from_millis(at + 7));
        assert!(!wants);
        drop(balancer.picker().pick(&PickRequest::new(at), Instant::from_millis(at)));
    }
    let stats = balancer.picker().nodes().next().unwrap().stats();
    assert_eq!((stats.in_flight, stats.latency, stats.failures_per_mille, stats.failures_in_a_row), (0, None, 0, 0));
}

#[test]
fn a_call_that_its_caller_gave_up_is_no_failure_of_the_node() {
    giving_up_says_nothing_of_the_node(Faults::default());
}

#[test]
fn latencies_are_averages_and_a_quick_failure_is_not_a_quick_node() {
    let balancer = balancer(BalanceConfig::default(), &equals(1));
    let call = |at: u64, millis: u64, outcome| {
        let pick = balancer.picker().pick(&PickRequest::new(at), Instant::from_millis(at)).unwrap();
        pick.done(outcome, Instant::from_millis(at + millis));
        balancer.picker().nodes().next().unwrap().stats()
    };
    let stats = call(0, 80, CallOutcome::Success);
    assert_eq!(stats.latency, Some(Duration::from_millis(80)));
    let stats = call(1, 160, CallOutcome::Success);
    assert_eq!(stats.latency, Some(Duration::from_millis(90)), "a sample weighs an eighth");
    let stats = call(2, 1, CallOutcome::Failure);
    assert_eq!((stats.latency, stats.failures_per_mille), (Some(Duration::from_millis(90)), 125));
}

//! Who fails is left out for a while and returns by itself; who is new is eased in.

use std::time::Duration;

use periplus_core::balance::{BalanceConfig, OutlierConfig, Policy, SlowStart, Subset};
use periplus_core::fault::Faults;
use periplus_core::{Instance, Instant};
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::fleet::{Behaviour, Fleet, equals, id, percent, plain};

const SECOND: Duration = Duration::from_secs(1);

/// A policy that learns nothing, so that ejection is all that helps.
fn bare() -> BalanceConfig {
    BalanceConfig::new(Policy::WeightedRoundRobin)
}

pub(crate) fn an_outlier_is_ejected_and_returns(faults: Faults) {
    let mut fleet = Fleet::new(bare(), faults, &equals(5));
    fleet.behaves("i0", Behaviour::failing(2));
    fleet.run(SECOND, 100);
    assert_eq!(fleet.ejected(), ["i0"]);
    let calls = fleet.run(SECOND * 8, 100);
    assert_eq!(percent(&calls, "i0"), 0.0);
    fleet.behaves("i0", Behaviour::takes(10));
    fleet.run(SECOND * 2, 100);
    let eased = fleet.run(SECOND * 2, 100);
    assert!((0.5..12.0).contains(&percent(&eased, "i0")), "it is eased in: {eased:?}");
    fleet.run(SECOND * 12, 100);
    let back = fleet.run(SECOND * 10, 100);
    assert!((19.0..21.0).contains(&percent(&back, "i0")), "{back:?}");
}

#[test]
fn who_fails_in_a_row_is_ejected_and_returns_by_itself() {
    an_outlier_is_ejected_and_returns(Faults::default());
}

#[test]
fn who_keeps_failing_is_ejected_for_longer_each_time() {
    let mut fleet = Fleet::new(bare(), Faults::default(), &equals(5));
    fleet.behaves("i0", Behaviour::failing(2));
    let mut spans = vec![];
    while spans.len() < 7 {
        fleet.run(SECOND / 10, 200);
        let until = fleet.balancer.ejected().next().map(|(_, until)| until);
        if let Some(until) = until {
            spans.push(until.saturating_since(fleet.now).as_secs_f64().round() as u64);
            while !fleet.ejected().is_empty() {
                fleet.pass(SECOND);
            }
        }
    }
    assert_eq!(spans, [10, 20, 40, 80, 160, 300, 300]);
    // After a long time of good conduct it begins anew.
    fleet.behaves("i0", Behaviour::takes(10));
    fleet.run(SECOND * 120, 50);
    fleet.behaves("i0", Behaviour::failing(2));
    fleet.run(SECOND * 2, 200);
    let (_, until) = fleet.balancer.ejected().next().unwrap();
    assert!(until.saturating_since(fleet.now) <= SECOND * 10);
}

#[test]
fn who_fails_half_the_time_is_ejected_by_its_share() {
    let mut fleet = Fleet::new(bare(), Faults::default(), &equals(5));
    for round in 0..600 {
        let behaviour = if round % 2 == 0 { Behaviour::failing(1) } else { Behaviour::takes(1) };
        fleet.behaves("i0", behaviour);
        fleet.run(SECOND / 20, 100);
        if fleet.ejected() == ["i0"] {
            return;
        }
    }
    panic!("it was never ejected");
}

#[test]
fn an_idle_balancer_sleeps() {
    let mut fleet = Fleet::new(bare(), Faults::default(), &equals(5));
    assert_eq!(fleet.balancer.poll_timeout(), None);
    fleet.run(SECOND * 5, 10);
    assert!(fleet.balancer.poll_timeout().is_some());
    fleet.pass(SECOND * 30);
    assert_eq!(fleet.balancer.poll_timeout(), None);
    fleet.run(SECOND, 10);
    assert!(fleet.balancer.poll_timeout().is_some());
}

pub(crate) fn at_most_a_share_is_ejected(faults: Faults, count: usize, failing: usize) {
    let mut fleet = Fleet::new(bare(), faults, &equals(count));
    for at in 0..failing {
        fleet.behaves(&format!("i{at}"), Behaviour::failing(2));
    }
    let allowed = (count * 30 / 100).max(1).min(count - 1);
    for _ in 0..60 {
        fleet.run(SECOND / 2, 400);
        assert!(fleet.ejected().len() <= allowed, "{:?} of {count}", fleet.ejected());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_many_fail_at_most_a_share_is_ejected(count in 1..15usize, failing in 0..15usize) {
        at_most_a_share_is_ejected(Faults::default(), count, failing.min(count));
    }
}

#[test]
fn the_share_is_one_of_the_subset_that_is_called() {
    let subset = Some(Subset { key: "me".into(), size: 4 });
    let mut fleet = Fleet::new(BalanceConfig { subset, ..bare() }, Faults::default(), &equals(40));
    for at in 0..40 {
        fleet.behaves(&format!("i{at}"), Behaviour::failing(2));
    }
    for _ in 0..20 {
        fleet.run(SECOND / 2, 400);
        assert!(fleet.ejected().len() <= 1, "{:?}", fleet.ejected());
    }
}

#[test]
fn when_all_that_are_left_are_ejected_they_are_called() {
    let mut fleet = Fleet::new(bare(), Faults::default(), &equals(5));
    fleet.behaves("i0", Behaviour::failing(2));
    fleet.run(SECOND, 100);
    assert_eq!(fleet.ejected(), ["i0"]);
    fleet.balancer.update(equals(1), fleet.now);
    assert_eq!(fleet.call(None).as_deref(), Ok("i0"));
    let view = periplus_core::Filter::metadata("none", "such");
    assert!(fleet.call(Some(&view)).is_err());
}

pub(crate) fn a_newcomer_is_eased_in(faults: Faults) {
    let mut fleet = Fleet::new(bare(), faults, &equals(4));
    assert_eq!(fleet.balancer.poll_timeout(), None, "those who were there first have their weight at once");
    fleet.pass(SECOND);
    fleet.balancer.update(equals(5), fleet.now);
    let mut before = 0;
    for step in 0..10u32 {
        let share = fleet.balancer.picker().share_ppm(&id("i4"));
        let fair = f64::from(step + 1) / (44.0 + f64::from(step + 1)) * 1e6;
        assert!((f64::from(share) - fair).abs() < 2.0, "{share} at step {step}");
        assert!(share > before);
        before = share;
        let at = fleet.balancer.poll_timeout().expect("it will weigh more");
        assert_eq!(at, Instant::from_millis(1_000 + 1_000 * u64::from(step + 1)));
        fleet.pass(SECOND);
    }
    assert_eq!(fleet.balancer.picker().share_ppm(&id("i4")), 200_000);
    assert_eq!(fleet.balancer.poll_timeout(), None);
}

#[test]
fn a_newcomer_gains_its_weight_in_steps() {
    a_newcomer_is_eased_in(Faults::default());
}

#[test]
fn who_comes_up_is_eased_in_and_a_change_of_metadata_is_no_news() {
    let mut fleet = Fleet::new(bare(), Faults::default(), &equals(4));
    let last = |status: &str| {
        let mut instances = equals(4);
        instances[3] = Instance::pack(&plain("i3").with_metadata("status", status));
        instances
    };
    fleet.balancer.update(last("up"), fleet.now);
    assert_eq!(fleet.balancer.picker().share_ppm(&id("i3")), 250_000);
    fleet.balancer.update(last("starting"), fleet.now);
    fleet.balancer.update(last("up"), fleet.now);
    assert!(fleet.balancer.picker().share_ppm(&id("i3")) < 40_000);
}

#[test]
fn without_slow_start_and_ejection_nothing_is_ever_due() {
    let slow_start = SlowStart { window: Duration::ZERO, ..SlowStart::default() };
    let config = BalanceConfig { slow_start, outlier: OutlierConfig::off(), ..bare() };
    let mut fleet = Fleet::new(config, Faults::default(), &equals(2));
    fleet.behaves("i0", Behaviour::failing(1));
    fleet.run(SECOND, 100);
    fleet.balancer.update(equals(3), fleet.now);
    assert_eq!(fleet.balancer.poll_timeout(), None);
    assert_eq!(fleet.balancer.picker().share_ppm(&id("i2")), 333_333);
}

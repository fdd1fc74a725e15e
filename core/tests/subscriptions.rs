//! Whatever a client hears, it shows what the model shows; and a planted bug in it is found.

mod followed;

use followed::run::{Op, run};
use periplus_core::fault::Faults;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Runs in which something went wrong once. They are kept and replayed for ever.
const REGRESSIONS: &[(u8, &[Op])] = &[];

#[test]
fn whatever_went_wrong_once_goes_right() {
    for (variant, ops) in REGRESSIONS {
        run(*variant, Faults::default(), ops);
    }
}

fn cases() -> ProptestConfig {
    let native = if cfg!(target_family = "wasm") { 60 } else { 1_000 };
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(native);
    ProptestConfig { cases, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn a_client_shows_what_the_model_shows() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(cases(), rng);
    let result = runner.run(&(any::<u8>(), vec(any::<Op>(), 1..250)), |(variant, ops)| {
        run(variant, Faults::default(), &ops);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, (variant, ops))) => panic!("{reason}, in configuration {variant}, after {ops:?}"),
        Err(error) => panic!("{error}"),
    }
}

#[cfg(all(feature = "planted-faults", not(target_family = "wasm")))]
mod planted {
    use std::panic::{self, AssertUnwindSafe};

    use periplus_core::fault::Fault;

    use super::*;

    /// Runs that are tried for each bug before it counts as missed.
    const BUDGET: u64 = 1_000;

    const FAULTS: &[Fault] = &[
        Fault::StaleEmpties,
        Fault::UnconfirmedGoes,
        Fault::SettlingForgotten,
        Fault::OldDeliveryTaken,
        Fault::CoalescingLosesRemoval,
        Fault::CacheResumed,
        Fault::PrefixLeaks,
        Fault::LingersForever,
        Fault::ProvenanceUntold,
        Fault::CoveredUnseeded,
        Fault::PutConfirmsNothing,
        Fault::EpochsForgotten,
        Fault::SuspensionForgotten,
    ];

    /// A small generator of runs, the same ones everywhere.
    fn ops(seed: u64) -> (u8, Vec<Op>) {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (next(), (0..200).map(|_| [(); 4].map(|()| next())).collect())
    }

    #[test]
    fn every_planted_bug_is_caught() {
        panic::set_hook(Box::new(|_| {}));
        let mut caught = vec![];
        for &fault in FAULTS {
            let run = |seed: &u64| {
                let (variant, ops) = ops(*seed);
                panic::catch_unwind(AssertUnwindSafe(|| run(variant, Faults::only(fault), &ops))).is_err()
            };
            caught.push((fault, (0..BUDGET).find(run)));
        }
        drop(panic::take_hook());
        println!("planted bugs, and the run that caught them: {caught:?}");
        assert!(caught.iter().all(|(_, run)| run.is_some()), "not caught in {BUDGET} runs: {caught:?}");
    }

    #[test]
    fn without_a_planted_bug_nothing_is_caught() {
        for seed in 0..300 {
            let (variant, ops) = ops(seed);
            run(variant, Faults::default(), &ops);
        }
    }
}

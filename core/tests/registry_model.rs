//! Whatever is done to a registry, it does what the model does, and says the same.

mod model;

use model::ops::{Op, WORD};
use model::run::run;
use periplus_core::fault::Faults;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Runs in which something went wrong once. They are kept and replayed for ever.
const REGRESSIONS: &[(u8, &[[u8; WORD]])] = &[];

#[test]
fn whatever_went_wrong_once_goes_right() {
    for (variant, words) in REGRESSIONS {
        let ops: Vec<Op> = words.iter().map(|word| Op::from_word(*word)).collect();
        run(*variant, Faults::default(), &ops);
    }
}

fn cases() -> ProptestConfig {
    let native = if cfg!(target_family = "wasm") { 60 } else { 1_000 };
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(native);
    ProptestConfig { cases, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn the_registry_does_what_the_model_does() {
    let ops = vec(any::<[u8; WORD]>().prop_map(Op::from_word), 1..250);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(cases(), rng);
    let result = runner.run(&(any::<u8>(), ops), |(variant, ops)| {
        run(variant, Faults::default(), &ops);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, (variant, ops))) => {
            panic!("{reason}, in configuration {variant}, after {ops:?}")
        }
        Err(error) => panic!("{error}"),
    }
}

//! The harness proves itself: with any of the planted bugs, the model and the registry come apart.
#![cfg(not(target_family = "wasm"))]

mod model;

use std::panic::{self, AssertUnwindSafe};

use model::ops::{Op, WORD};
use model::run::run;
use periplus_core::fault::{Fault, Faults};

/// Runs that are tried for each bug before it counts as missed; the budget of every CI run.
const BUDGET: u64 = 4_000;

/// The bugs of the registry. Those that follow are of clients, and have their tests elsewhere.
const FAULTS: &[Fault] = Fault::ALL.split_at(Fault::RestoreKeepsDeadlines as usize + 1).0;

/// A small generator of runs, the same ones everywhere.
fn ops(seed: u64) -> (u8, Vec<Op>) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let variant = next();
    let ops = (0..200).map(|_| Op::from_word([(); WORD].map(|()| next()))).collect();
    (variant, ops)
}

#[test]
fn every_planted_bug_is_caught() {
    panic::set_hook(Box::new(|_| {}));
    let mut missed = vec![];
    let mut slowest = (0, None);
    for &fault in FAULTS {
        let caught = (0..BUDGET).find(|&seed| {
            let (variant, ops) = ops(seed);
            panic::catch_unwind(AssertUnwindSafe(|| run(variant, Faults::only(fault), &ops))).is_err()
        });
        match caught {
            Some(runs) if runs >= slowest.0 => slowest = (runs, Some(fault)),
            Some(_) => {}
            None => missed.push(fault),
        }
    }
    drop(panic::take_hook());
    println!("{} planted bugs; the slowest to be caught: {slowest:?}", FAULTS.len());
    assert!(missed.is_empty(), "not caught in {BUDGET} runs: {missed:?}");
}

#[test]
fn without_a_planted_bug_nothing_is_caught() {
    for seed in 0..300 {
        let (variant, ops) = ops(seed);
        run(variant, Faults::default(), &ops);
    }
}

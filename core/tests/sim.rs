//! The simulator: two thousand hours of everything that goes wrong, and no law is broken.
#![cfg(not(target_family = "wasm"))]

#[path = "sim/mod.rs"]
mod simulator;

#[cfg(feature = "planted-faults")]
use std::panic;

#[cfg(feature = "planted-faults")]
use periplus_core::fault::Fault;
use periplus_core::fault::Faults;
use simulator::campaign::{Failure, campaign, explain, try_run};
use simulator::herd::herd;
use simulator::plan::Plan;

/// The hours of every CI run.
const HOURS: f64 = 2_000.0;

#[cfg(feature = "planted-faults")]
/// The hours within which a planted bug is caught, or counts as missed.
const PATIENCE: f64 = 200.0;

/// Bugs that show only when a registry goes back within an epoch, which no registry of this world does.
#[cfg(feature = "planted-faults")]
const NEEDS_A_LAGGING_REGISTRY: [Fault; 2] = [Fault::OldDeliveryTaken, Fault::EpochsForgotten];

/// Whether a planted bug is the clients'. The registry's own tests catch the others.
#[cfg(feature = "planted-faults")]
fn is_the_clients(fault: Fault) -> bool {
    // Those that follow are of one backend, and are caught by its own tests.
    (Fault::CoverFromAnswer as usize..=Fault::EpochsForgotten as usize).contains(&(fault as usize))
}

#[test]
fn two_thousand_hours_without_a_violation() {
    let (tally, failure) = campaign(1, HOURS, Faults::default());
    println!("{}", tally.line());
    if let Some(failure) = failure {
        panic!("{}", explain(&failure, Faults::default()));
    }
    assert!(tally.never_reached().is_empty(), "never reached: {:?}", tally.never_reached());
}

#[test]
fn whatever_went_wrong_once_goes_right() {
    let seeds = include_str!("sim/seeds.txt").lines().filter(|line| !line.starts_with('#'));
    for line in seeds {
        let seed = line.split_whitespace().next().and_then(|seed| seed.parse().ok()).expect("a seed and what it was");
        if let Some(violation) = try_run(&Plan::draw(seed), Faults::default(), false).violation {
            panic!("{line}\n{}", explain(&Failure { seed, violation }, Faults::default()));
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..10 {
        let plan = Plan::draw(seed);
        let (one, other) = (try_run(&plan, Faults::default(), false), try_run(&plan, Faults::default(), true));
        assert_eq!((one.hash, one.tally.events), (other.hash, other.tally.events), "seed {seed}");
    }
}

#[test]
fn a_thousand_clients_that_lose_their_registry_at_once_come_back_one_after_another() {
    let herd = herd(1_000, 1, Faults::default());
    println!("{herd:?}");
    assert_eq!(herd.registered, 1_000);
    // Streams come back within ten seconds, renewals are due within ten seconds and each is followed by a registration:
    // evenly, thirty requests in 100 ms; all at once, a thousand.
    assert!(herd.peak <= 80, "{herd:?}");
}

#[cfg(feature = "planted-faults")]
#[test]
fn every_planted_client_bug_is_caught() {
    panic::set_hook(Box::new(|_| {}));
    let (mut missed, mut slowest) = (vec![], (0.0, None));
    let within_reach = |fault: Fault| is_the_clients(fault) && !NEEDS_A_LAGGING_REGISTRY.contains(&fault);
    for &fault in Fault::ALL.iter().filter(|&&fault| within_reach(fault)) {
        let faults = Faults::only(fault);
        if fault == Fault::NoSpread {
            // It breaks no law of a few clients: the herd shows it.
            let caught = herd(1_000, 1, faults).peak > 80;
            missed.extend((!caught).then_some(fault));
            continue;
        }
        match campaign(1, PATIENCE, faults) {
            (tally, Some(failure)) => {
                println!("{fault:?}: {} in {:.0} hours", failure.violation.law, tally.hours());
                if tally.hours() > slowest.0 {
                    slowest = (tally.hours(), Some(fault));
                }
            }
            (_, None) => missed.push(fault),
        }
    }
    drop(panic::take_hook());
    println!("the slowest to be caught: {slowest:?}");
    assert!(missed.is_empty(), "not caught in {PATIENCE} hours: {missed:?}");
}

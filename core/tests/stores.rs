//! Clients of foreign registries in a world where everything goes wrong that can: no law is broken.
#![cfg(not(target_family = "wasm"))]

#[path = "stores/desk.rs"]
mod desk;
#[path = "stores/mod.rs"]
mod simulator;

use periplus_core::fault::Faults;
use simulator::campaign::{Failure, campaign, explain, try_run};
use simulator::kind::{KINDS, Kind};
use simulator::plan::Plan;
use simulator::tally::{FENCED, MARKS};

/// The runs of every CI run, for each kind of store.
const RUNS: u64 = 2_000;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn kinds() -> impl Iterator<Item = &'static Kind> {
    let only = std::env::var("STORES_ONLY").ok();
    KINDS.iter().copied().filter(move |kind| only.as_ref().is_none_or(|only| only == kind.name))
}

#[test]
fn whatever_happens_no_law_is_broken() {
    for kind in kinds() {
        let (tally, failure) = campaign(kind, number("STORES_SEED", 1), number("STORES_RUNS", RUNS), Faults::default());
        println!("{}", tally.lines(kind.name));
        if let Some(failure) = failure {
            panic!("{}", explain(kind, &failure, Faults::default()));
        }
        let fenced = if kind.laws.fences { FENCED } else { &[] };
        let never = tally.never_reached(&[MARKS, fenced].concat());
        assert!(never.is_empty(), "{}: never reached: {never:?}", kind.name);
    }
}

#[test]
fn whatever_went_wrong_once_goes_right() {
    for line in include_str!("stores/seeds.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let kind = words.next().and_then(|name| KINDS.iter().find(|kind| kind.name == name)).expect("a store");
        let seed = words.next().and_then(|seed| seed.parse().ok()).expect("a seed");
        if let Some(violation) = try_run(kind, &Plan::draw(kind, seed), Faults::default(), false).violation {
            panic!("{line}\n{}", explain(kind, &Failure { seed, violation }, Faults::default()));
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for kind in kinds() {
        for seed in 0..10 {
            let plan = Plan::draw(kind, seed);
            let run = |trace| try_run(kind, &plan, Faults::default(), trace);
            let (one, other) = (run(false), run(true));
            assert_eq!((one.hash, one.tally.events), (other.hash, other.tally.events), "{}, seed {seed}", kind.name);
        }
    }
}

//! Clients of foreign registries in a world where everything goes wrong that can: no law is broken.
//!
//! What CI runs takes about a minute. For longer campaigns, and for a seed that failed:
//!
//! - `STORES_ONLY=etcd`: one kind of store: `native`, `consul`, `consul-wide` or `etcd`;
//! - `STORES_SEED=198`, `STORES_RUNS=1`: the first seed, and how many runs of about 25 minutes each;
//! - `STORES_LINES=100000`: how much of the trace is shown of a run that failed, after it was made small;
//! - `STORES_PATIENCE=1000`: the runs within which each planted bug is to be caught (with `--features planted-faults`).
//!
//! `STORES_ONLY=etcd STORES_RUNS=1000 cargo test -p periplus-core --test stores -- --nocapture whatever_happens`
#![cfg(not(target_family = "wasm"))]

#[path = "stores/desk.rs"]
mod desk;
#[path = "stores/mod.rs"]
mod simulator;

#[cfg(feature = "planted-faults")]
use periplus_core::fault::Fault;
use periplus_core::fault::Faults;
use simulator::campaign::{Failure, campaign, explain, try_run};
use simulator::kind::{KINDS, Kind};
use simulator::plan::Plan;
use simulator::tally::{FENCED, MARKS, WIDE};

/// The runs of every CI run. Our own registry has a simulator of its own; a run with Consul takes longest.
fn runs(kind: &Kind) -> u64 {
    match kind.name {
        "native" => 150,
        "consul" | "consul-wide" => 100,
        _ => 300,
    }
}

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
        let count = number("STORES_RUNS", runs(kind));
        let (tally, failure) = campaign(kind, number("STORES_SEED", 1), count, Faults::default());
        println!("{}", tally.lines(kind.name));
        if let Some(failure) = failure {
            panic!("{}", explain(kind, &failure, Faults::default()));
        }
        if count < runs(kind) {
            // Too few to reach everything.
            continue;
        }
        let fenced = if kind.laws.fences { FENCED } else { &[] };
        // Our own registry has no entries that are none.
        let wide = if kind.wide { WIDE } else { &[] };
        let mut never = tally.never_reached(&[MARKS, fenced, wide].concat());
        never.retain(|mark| kind.name != "native" || *mark != "an entry was skipped");
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

/// The runs within which a planted bug is caught, or counts as missed.
#[cfg(feature = "planted-faults")]
const PATIENCE: u64 = 400;

/// Bugs that no world of clients shows, and what does.
#[cfg(feature = "planted-faults")]
const SHOWN_ELSEWHERE: &[(Fault, &str)] = &[
    (Fault::NoSpread, FLEET),
    (Fault::OldDeliveryTaken, SUBSCRIPTIONS),
    (Fault::EpochsForgotten, SUBSCRIPTIONS),
    (Fault::DoubtForgotten, FLEET),
    (Fault::TicksReplayed, FLEET),
    (Fault::NumberIgnored, FLEET),
    (Fault::HalfDelivery, FLEET),
    (Fault::LingersForever, FLEET),
    (Fault::AppliedUntaken, FLEET),
    (Fault::ReportForgotten, FLEET),
    (Fault::ConsulSuccessorRemoved, STORIES),
];

/// The simulator of our own protocol, with its herd.
#[cfg(feature = "planted-faults")]
const FLEET: &str = "tests/sim.rs: every_planted_client_bug_is_caught";

/// What the machine is fed by hand; a world would need thousands of runs.
#[cfg(feature = "planted-faults")]
const STORIES: &str = "backend/consul/tests/faults.rs: every_planted_bug_of_consul_is_caught";

/// Whatever can be delivered to those who follow, in any order.
#[cfg(feature = "planted-faults")]
const SUBSCRIPTIONS: &str = "tests/subscriptions.rs: every_planted_bug_is_caught";

/// Bugs that take several agents, datacenters or tokens to be seen.
#[cfg(feature = "planted-faults")]
const OF_WIDE: &[Fault] = &[
    Fault::ConsulIndexKept,
    Fault::ConsulRenewsElsewhere,
    Fault::ConsulSuccessorRemoved,
    Fault::ConsulFilteredEmpties,
    Fault::ConsulDatacenterEmpties,
];

/// The bugs of one protocol, or of what all clients share.
#[cfg(feature = "planted-faults")]
fn is_of(fault: Fault, kind: &Kind) -> bool {
    // What all clients share is planted in the client of our own registry here, which is the fastest.
    if (Fault::CoverFromAnswer as usize..=Fault::EpochsForgotten as usize).contains(&(fault as usize)) {
        kind.name == "native"
    } else {
        let name = format!("{fault:?}").to_lowercase();
        let (of, wide) = kind.name.split_once('-').map_or((kind.name, false), |(of, _)| (of, true));
        name.starts_with(of) && wide == OF_WIDE.contains(&fault)
    }
}

#[cfg(feature = "planted-faults")]
#[test]
fn every_planted_bug_of_a_client_is_caught() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = vec![];
    for kind in kinds() {
        for &fault in Fault::ALL.iter().filter(|&&fault| is_of(fault, kind)) {
            if SHOWN_ELSEWHERE.iter().any(|(other, _)| *other == fault) {
                continue;
            }
            match campaign(kind, 1, number("STORES_PATIENCE", PATIENCE), Faults::only(fault)) {
                (tally, Some(failure)) => println!("{fault:?}: {} in {} runs", failure.violation.law, tally.runs),
                (tally, None) => {
                    println!("{fault:?}: MISSED in {} runs", tally.runs);
                    missed.push(fault);
                }
            }
        }
    }
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

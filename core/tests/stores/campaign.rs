//! Many worlds, on all processors; and a failure made small.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use periplus_core::fault::Faults;

use super::kind::Kind;
use super::plan::Plan;
use super::tally::Tally;
use super::world::{Outcome, Violation, run};

/// A run that broke a law.
pub struct Failure {
    pub seed: u64,
    pub violation: Violation,
}

/// Runs a plan; a panic counts as a violation.
pub fn try_run(kind: &'static Kind, plan: &Plan, faults: Faults, trace: bool) -> Outcome {
    panic::catch_unwind(AssertUnwindSafe(|| run(kind, plan, faults, trace))).unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(|&what| what.to_owned()));
        let what = what.unwrap_or_else(|| "a panic".into());
        let violation = Some(Violation { law: "no panic", at: 0, what });
        Outcome { violation, tally: Tally::default(), trace: vec![], hash: 0 }
    })
}

/// Runs plans from a seed on until there are enough, or one breaks a law.
#[allow(clippy::disallowed_methods, reason = "the simulator runs natively only")]
pub fn campaign(kind: &'static Kind, first: u64, runs: u64, faults: Faults) -> (Tally, Option<Failure>) {
    let next = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new((Tally::default(), None::<Failure>));
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + runs {
                        break;
                    }
                    let outcome = try_run(kind, &Plan::draw(kind, seed), faults, false);
                    let mut sum = sum.lock().expect("no run panics here");
                    sum.0.add(&outcome.tally);
                    if let Some(violation) = outcome.violation {
                        // The earliest seed of those that failed, whichever thread was faster.
                        if sum.1.as_ref().is_none_or(|failure| seed < failure.seed) {
                            sum.1 = Some(Failure { seed, violation });
                        }
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    sum.into_inner().expect("no run panics here")
}

/// Leaves out whatever is not needed for the same law to be broken.
pub fn shrink(kind: &'static Kind, seed: u64, faults: Faults, law: &'static str) -> Plan {
    let mut plan = Plan::draw(kind, seed);
    let mut budget = 400;
    let mut fails = |plan: &Plan| {
        budget -= 1;
        budget >= 0 && try_run(kind, plan, faults, false).violation.is_some_and(|violation| violation.law == law)
    };
    for client in 0..plan.clients.len() {
        plan.clients[client].present = false;
        if !fails(&plan) {
            plan.clients[client].present = true;
        }
    }
    let mut size = plan.acts.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        while from < plan.acts.len() {
            let mut less = plan.clone();
            less.acts.drain(from..(from + size).min(plan.acts.len()));
            if fails(&less) {
                plan = less;
            } else {
                from += size;
            }
        }
        size /= 2;
    }
    plan
}

/// Everything there is to know of a failure, made small.
pub fn explain(kind: &'static Kind, failure: &Failure, faults: Faults) -> String {
    let plan = shrink(kind, failure.seed, faults, failure.violation.law);
    let outcome = try_run(kind, &plan, faults, true);
    let violation = outcome.violation.unwrap_or_else(|| failure.violation.clone());
    let lines = std::env::var("STORES_LINES").ok().and_then(|lines| lines.parse().ok()).unwrap_or(120);
    let last = outcome.trace.len().saturating_sub(lines);
    format!(
        "{}, seed {} breaks {} at {:.6}s: {}\n\n{plan}\nthe last of what happened:\n{}\n",
        kind.name,
        failure.seed,
        violation.law,
        violation.at as f64 / 1e6,
        violation.what,
        outcome.trace[last..].join("\n")
    )
}

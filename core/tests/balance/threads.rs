//! Threads that pick and end calls at once, while the set changes.
#![allow(clippy::disallowed_methods, reason = "here the test is the driver")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use periplus_core::balance::{BalanceConfig, CallOutcome, PickRequest};
use periplus_core::fault::Faults;
use periplus_core::{Instance, Instant};

use super::fairness::POLICIES;
use super::fleet::{Bits, balancer, equals, plain};

const CALLS: u64 = 20_000;

pub(crate) fn the_books_balance(faults: Faults) {
    for policy in POLICIES {
        let mut balancer = balancer(BalanceConfig { faults, ..BalanceConfig::new(policy) }, &equals(4));
        let present = RwLock::new(balancer.picker().clone());
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|worker| {
                    let present = &present;
                    scope.spawn(move || {
                        let mut bits = Bits(worker + 1);
                        let mut held = vec![];
                        for call in 0..CALLS {
                            let now = Instant::from_millis(call);
                            let picker = Arc::clone(&present.read().unwrap());
                            held.push(picker.pick(&PickRequest::new(bits.next()), now).unwrap());
                            if held.len() > 16 {
                                let outcome = match bits.next() % 4 {
                                    0 => CallOutcome::Failure,
                                    1 => CallOutcome::Cancelled,
                                    _ => CallOutcome::Success,
                                };
                                held.swap_remove(bits.next() as usize % 16).done(outcome, now);
                            }
                        }
                    })
                })
                .collect();
            let updates = scope.spawn(|| {
                let mut step = 0;
                while !over.load(Ordering::Relaxed) {
                    step += 1;
                    let mut instances = equals(4);
                    instances[0] = Instance::pack(&plain("i0").with_metadata("build", step.to_string()));
                    balancer.update(instances, Instant::from_millis(step));
                    balancer.handle_timeout(Instant::from_millis(step));
                    *present.write().unwrap() = balancer.picker().clone();
                    thread::sleep(Duration::from_micros(200));
                }
            });
            for worker in workers {
                worker.join().unwrap();
            }
            over.store(true, Ordering::Relaxed);
            updates.join().unwrap();
        });
        let in_flight: Vec<u32> = balancer.picker().nodes().map(|node| node.stats().in_flight).collect();
        assert!(in_flight.iter().all(|&count| count == 0), "{policy:?}: {in_flight:?}");
    }
}

#[test]
fn what_several_threads_pick_and_end_comes_out_even() {
    the_books_balance(Faults::default());
}

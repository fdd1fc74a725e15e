//! Whatever happens to a program that dials, it calls whom the model calls; and a planted bug in it is found.

mod dialled;

use std::collections::BTreeSet;
use std::time::Duration;

use dialled::{Op, instance, run};
use periplus_core::balance::{BalanceConfig, CallOutcome, Filter, PickRequest};
use periplus_core::client::Provenance;
use periplus_core::dial::{BalancedDial, Connect, Dial, DialConfig, DialTransmit, Readiness};
use periplus_core::fault::Faults;
use periplus_core::{Endpoint, Instance, InstanceId, Instant, ServiceInstance, ServiceName};
use proptest::collection::vec;
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Runs in which something went wrong once. They are kept and replayed for ever.
const REGRESSIONS: &[(u8, &[Op])] = &[
    // A stale list had changed, and a warming registry was not believed afterwards of those who had left.
    (0, &[(24, 88, 4), (152, 8, 23), (216, 64, 0)]),
];

#[test]
fn whatever_went_wrong_once_goes_right() {
    for (variant, ops) in REGRESSIONS {
        run(*variant, Faults::default(), ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(target_family = "wasm") { 64 } else { 2_000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_program_calls_whom_the_model_calls(variant in any::<u8>(), ops in vec(any::<Op>(), 1..120)) {
        run(variant, Faults::default(), &ops);
    }
}

/// The planted bugs are caught by runs that are the same everywhere.
#[test]
#[cfg(all(feature = "planted-faults", not(target_family = "wasm")))]
fn every_planted_bug_of_dialling_is_caught() {
    use std::panic::{self, AssertUnwindSafe};

    use periplus_core::fault::Fault;

    let planted = Fault::ALL.iter().filter(|fault| format!("{fault:?}").starts_with("Dial"));
    panic::set_hook(Box::new(|_| {}));
    let missed: Vec<_> = planted
        .filter(|fault| {
            !(0..2_000_u64).any(|seed| {
                let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                let mut next = || {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    (state >> 32) as u8
                };
                let variant = next();
                let ops: Vec<Op> = (0..120).map(|_| (next(), next(), next())).collect();
                panic::catch_unwind(AssertUnwindSafe(|| run(variant, Faults::only(**fault), &ops))).is_err()
            })
        })
        .collect();
    drop(panic::take_hook());
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

fn dial(config: DialConfig, seed: u8) -> Dial {
    Dial::new(config, [seed; 32], Instant::default())
}

fn connects(dial: &mut Dial) -> Vec<Connect> {
    let transmits = std::iter::from_fn(|| dial.poll_transmit());
    transmits.filter_map(|t| if let DialTransmit::Connect(connect) = t { Some(connect) } else { None }).collect()
}

fn fleet(count: u16) -> Vec<Instance> {
    let one = |n: u16| {
        let name = ServiceName::new("web").unwrap();
        let plain = ServiceInstance::new(name, InstanceId::new(format!("i{n:04}")).unwrap());
        Instance::pack(&plain.with_endpoint(Endpoint::new(format!("grpc://h:{}", n + 1)).unwrap()))
    };
    (0..count).map(one).collect()
}

#[test]
fn a_subset_changes_little_when_the_list_does_and_differs_between_programs() {
    let now = Instant::default();
    let chosen = |seed, fleet: &[Instance]| -> BTreeSet<String> {
        let mut dial = dial(DialConfig::new("grpc"), seed);
        dial.handle_listing(fleet, Provenance::Live, now);
        connects(&mut dial).iter().map(|connect| connect.instance.id().to_owned()).collect()
    };
    let all = fleet(200);
    let mine = chosen(1, &all);
    assert_eq!(mine.len(), 25);
    assert!(chosen(2, &all).intersection(&mine).count() < 15);
    let mut without = all.clone();
    let lost = without.iter().position(|instance| mine.contains(instance.id())).unwrap();
    without.remove(lost);
    assert_eq!(chosen(1, &without).intersection(&mine).count(), 24);
    // No instance is chosen by many more programs than another.
    let mut times = std::collections::BTreeMap::new();
    for seed in 0..=255 {
        chosen(seed, &all).into_iter().for_each(|id| *times.entry(id).or_insert(0) += 1);
    }
    let (fewest, most) = (times.values().min().unwrap(), times.values().max().unwrap());
    assert!(times.len() == 200 && *fewest > 12 && *most < 60, "{fewest} to {most}, 32 on average");
}

#[test]
fn those_who_take_no_calls_leave_their_place_in_a_subset_to_others() {
    let config = DialConfig { subset: 2, ..DialConfig::new("grpc") };
    let mut dial = dial(config, 1);
    let drained = |id: &Instance| Instance::pack(&id.decode().with_metadata("status", "draining"));
    let all = fleet(4);
    let mut listed: Vec<Instance> = all.iter().map(drained).collect();
    listed[2] = all[2].clone();
    dial.handle_listing(&listed, Provenance::Live, Instant::default());
    let chosen = connects(&mut dial);
    assert!(chosen.len() == 2 && chosen.iter().any(|connect| connect.instance.id() == "i0002"));
}

#[test]
fn a_connection_outlives_the_instance_that_it_was_made_for() {
    let now = Instant::default();
    let mut dial = dial(DialConfig::new("grpc"), 1);
    dial.handle_listing(&[instance(0, 0)], Provenance::Live, now);
    let made = connects(&mut dial).remove(0);
    dial.handle_connected(made.id, now);
    // The same program registers under another id.
    let successor = instance(4, 0);
    dial.handle_listing(std::slice::from_ref(&successor), Provenance::Live, now);
    assert_eq!(dial.poll_transmit(), None);
    let update = dial.poll_update().unwrap();
    assert_eq!((update.readiness, update.ready), (Readiness::Ready, vec![(made.id, successor)]));
}

#[test]
fn an_attempt_that_hangs_is_given_up_and_made_again() {
    let mut dial = dial(DialConfig::new("grpc"), 1);
    dial.handle_listing(&[instance(0, 0)], Provenance::Live, Instant::default());
    let first = connects(&mut dial).remove(0);
    assert_eq!(dial.poll_timeout(), Some(Instant::from_millis(200)), "others might have been listed");
    dial.handle_timeout(Instant::from_millis(200));
    let at = dial.poll_timeout().unwrap();
    assert_eq!(at, Instant::from_millis(5_000));
    dial.handle_timeout(at);
    assert_eq!(dial.poll_transmit(), Some(DialTransmit::Close { id: first.id, linger: Duration::ZERO }));
    let Readiness::Failing(reason) = dial.readiness() else { panic!("{:?}", dial.readiness()) };
    assert_eq!(reason.to_string(), "no instance can be reached; the latest reason, at h:1: no connection in time");
    let again = dial.poll_timeout().unwrap();
    dial.handle_timeout(again);
    assert_ne!(connects(&mut dial).remove(0).id, first.id);
    // What becomes of the first is no news.
    dial.handle_connected(first.id, again);
    assert!(matches!(dial.readiness(), Readiness::Failing(_)));
}

#[test]
fn at_the_end_of_time_nothing_spins() {
    let end = Instant::from_micros(u64::MAX);
    let mut dial = dial(DialConfig::new("grpc"), 1);
    dial.handle_listing(&[instance(0, 0)], Provenance::Live, end);
    for _ in 0..10 {
        dial.handle_timeout(end);
        let _ = connects(&mut dial);
    }
}

#[test]
fn routes_lead_to_those_who_are_ready_and_what_is_learned_outlives_a_connection() {
    let now = Instant::default();
    let mut dial = BalancedDial::new(DialConfig::new("grpc"), BalanceConfig::default(), [1; 32], now);
    assert!(matches!(dial.poll_update().unwrap().readiness, Readiness::Waiting(_)));
    dial.handle_listing(&fleet(2), Provenance::Live, now);
    let made: Vec<Connect> = std::iter::from_fn(|| dial.poll_transmit())
        .filter_map(|t| if let DialTransmit::Connect(connect) = t { Some(connect) } else { None })
        .collect();
    made.iter().for_each(|connect| dial.handle_connected(connect.id, now));
    let routes = dial.poll_update().unwrap();
    assert_eq!((routes.readiness, routes.connections.len()), (Readiness::Ready, 2));
    assert!(dial.poll_update().is_none());
    for made in &made {
        assert_eq!(routes.connections[&made.instance.instance_id()], made.id);
    }
    let pick = routes.picker.pick(&PickRequest::new(7), now).unwrap();
    let id = pick.node().id().clone();
    let _ = pick.done(CallOutcome::Failure, now);
    // It is lost, and it is back.
    dial.handle_lost(routes.connections[&id], "it went", now);
    let routes = dial.poll_update().unwrap();
    assert!(!routes.connections.contains_key(&id) && routes.picker.nodes().all(|node| *node.id() != id));
    let (again, later) = loop {
        let later = dial.poll_timeout().expect("it is tried again");
        dial.handle_timeout(later);
        if let Some(DialTransmit::Connect(again)) = dial.poll_transmit() {
            break (again, later);
        }
    };
    dial.handle_connected(again.id, later);
    let routes = dial.poll_update().unwrap();
    assert_eq!(routes.connections[&id], again.id);
    let node = routes.picker.nodes().find(|node| *node.id() == id).unwrap();
    assert_eq!(node.stats().failures_in_a_row, 1);
}

#[test]
fn one_who_is_being_connected_may_come_for_a_filter_until_the_first_attempt_fails() {
    let now = Instant::default();
    let mut dial = BalancedDial::new(DialConfig::new("grpc"), BalanceConfig::default(), [1; 32], now);
    let versioned = |at: u8, version: &str| {
        let text = format!("i{at}");
        let plain = ServiceInstance::new(ServiceName::new("web").unwrap(), InstanceId::new(text).unwrap());
        let endpoint = Endpoint::new(format!("grpc://10.0.0.{at}:1")).unwrap();
        Instance::pack(&plain.with_version(version).with_endpoint(endpoint))
    };
    dial.handle_listing(&[versioned(1, "1"), versioned(2, "2")], Provenance::Live, now);
    let made: Vec<Connect> = std::iter::from_fn(|| dial.poll_transmit())
        .filter_map(|t| if let DialTransmit::Connect(connect) = t { Some(connect) } else { None })
        .collect();
    dial.handle_connected(made[0].id, now);
    // The second is not waited for any longer.
    let later = now.saturating_add(DialConfig::new("grpc").gather);
    dial.handle_timeout(later);
    let routes = dial.poll_update().unwrap();
    assert_eq!((routes.readiness.clone(), routes.connections.len()), (Readiness::Ready, 1));
    let second = Filter::version("2");
    assert!(routes.may_come(&second));
    assert!(!routes.may_come(&Filter::version("1")) && !routes.may_come(&Filter::version("3")));
    dial.handle_lost(made[1].id, "refused", later);
    assert!(!dial.poll_update().unwrap().may_come(&second));
}

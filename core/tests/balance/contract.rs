//! Whatever comes in whatever order: the rules of machines hold, and the books balance.

use std::collections::BTreeMap;
use std::time::Duration;

use periplus_core::balance::{BalanceConfig, CallOutcome, Filter, Pick, PickRequest, Subset};
use periplus_core::fault::Faults;
use periplus_core::{Balancer, Instance, InstanceId, Instant, Status};
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::fairness::POLICIES;
use super::fleet::{id, plain};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Update(Vec<(u8, u32, u8)>),
    Pick { random: u64, view: Option<u8>, exclude: Vec<u8> },
    Done { at: usize, outcome: u8 },
    Drop { at: usize },
    Pass { millis: u64 },
    Backwards,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let instance = (0..8u8, prop_oneof![Just(0), 1..10u32, any::<u32>()], 0..8u8);
    let op = prop_oneof![
        2 => prop::collection::vec(instance, 0..8).prop_map(Op::Update),
        8 => (any::<u64>(), prop::option::of(0..6u8), prop::collection::vec(0..8u8, 0..4))
            .prop_map(|(random, view, exclude)| Op::Pick { random, view, exclude }),
        6 => (any::<usize>(), 0..4u8).prop_map(|(at, outcome)| Op::Done { at, outcome }),
        1 => any::<usize>().prop_map(|at| Op::Drop { at }),
        3 => (0..20_000u64).prop_map(|millis| Op::Pass { millis }),
        1 => Just(Op::Backwards),
    ];
    prop::collection::vec(op, 1..120)
}

fn look(&(number, weight, status): &(u8, u32, u8)) -> Instance {
    let status = Status::ALL.get(usize::from(status)).unwrap_or(&Status::Up);
    let instance = plain(&format!("i{number}"))
        .with_version((number % 3).to_string())
        .with_metadata("weight", weight.to_string())
        .with_metadata("status", status.as_str());
    Instance::pack(&instance)
}

fn view(number: u8) -> Filter {
    let version = Filter::version((number % 3).to_string());
    if number < 3 { version } else { version.or_else(Filter::Any) }
}

/// Plays and says what was picked, which is all that can be seen.
pub(crate) fn play(policy: usize, subset: bool, faults: Faults, ops: &[Op]) -> Vec<String> {
    let config = BalanceConfig {
        faults,
        views: 3,
        schedule: 64,
        points: 512,
        subset: subset.then(|| Subset { key: "me".into(), size: 3 }),
        ..BalanceConfig::new(POLICIES[policy])
    };
    let mut balancer = Balancer::new(config, [3; 32]);
    let mut now = Instant::from_millis(1_000);
    let mut set: BTreeMap<InstanceId, Instance> = BTreeMap::new();
    let mut picks: Vec<Pick> = vec![];
    let mut seen = vec![];
    for op in ops {
        match op {
            Op::Update(looks) => {
                let instances: Vec<Instance> = looks.iter().map(look).collect();
                set = instances.iter().map(|instance| (instance.instance_id(), instance.clone())).collect();
                balancer.update(instances, now);
            }
            Op::Pick { random, view: number, exclude } => {
                let picker = match number {
                    Some(number) => balancer.view(&view(*number)),
                    None => balancer.picker().clone(),
                };
                let exclude: Vec<InstanceId> = exclude.iter().map(|number| id(&format!("i{number}"))).collect();
                let can = picker.nodes().any(|node| !exclude.contains(node.id()));
                match picker.pick(&PickRequest::new(*random).with_key(*random).without(&exclude), now) {
                    Ok(pick) => {
                        assert!(!exclude.contains(pick.node().id()));
                        assert!(picker.nodes().any(|node| std::sync::Arc::ptr_eq(node, pick.node())));
                        seen.push(pick.node().id().to_string());
                        picks.push(pick);
                    }
                    Err(error) => {
                        assert!(!can, "somebody could be picked: {error}");
                        seen.push(error.to_string());
                    }
                }
            }
            Op::Done { at, outcome } if !picks.is_empty() => {
                let pick = picks.swap_remove(at % picks.len());
                let outcome =
                    [CallOutcome::Success, CallOutcome::Cancelled, CallOutcome::Failure, CallOutcome::Failure]
                        [usize::from(*outcome)];
                let wants = pick.done(outcome, now);
                assert!(!wants || balancer.poll_timeout().is_some_and(|at| at <= now));
            }
            Op::Drop { at } if !picks.is_empty() => drop(picks.swap_remove(at % picks.len())),
            Op::Done { .. } | Op::Drop { .. } => {}
            Op::Pass { millis } => {
                now = now.saturating_add(Duration::from_millis(*millis));
                let before = balancer.picker().clone();
                let due = balancer.poll_timeout().is_some_and(|at| at <= now);
                balancer.handle_timeout(now);
                assert!(due || std::sync::Arc::ptr_eq(&before, balancer.picker()), "too early does nothing");
                assert!(balancer.poll_timeout().is_none_or(|at| at > now), "the next timeout is later");
            }
            Op::Backwards => {
                balancer.handle_timeout(Instant::from_millis(1));
            }
        }
        check(&balancer, &set, &picks, subset);
    }
    seen
}

fn check(balancer: &Balancer, set: &BTreeMap<InstanceId, Instance>, picks: &[Pick], subset: bool) {
    let callable = |instance: &Instance| {
        let instance = instance.decode();
        instance.status() == Status::Up && instance.weight() != Some(0)
    };
    let could = set.values().filter(|instance| callable(instance)).count();
    let nodes: Vec<_> = balancer.picker().nodes().collect();
    assert!(nodes.iter().all(|node| set.get(node.id()).is_some_and(|now| now == node.packed() && callable(now))));
    assert_eq!(nodes.is_empty(), could == 0);
    let ejected = balancer.ejected().filter(|(id, _)| set.get(*id).is_some_and(callable)).count();
    if !subset && ejected < could {
        assert_eq!(nodes.len(), could - ejected);
    }
    assert!(!subset || nodes.len() <= 3);
    for node in nodes {
        let held = picks.iter().filter(|pick| pick.node().id() == node.id()).count();
        // An instance that was away for so long that it is forgotten begins anew.
        assert!(node.stats().in_flight as usize <= held, "{:?}: {held} held", node);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(target_family = "wasm") { 40 } else { 600 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_rules_of_machines_hold(policy in 0..6usize, subset in any::<bool>(), ops in ops()) {
        let once = play(policy, subset, Faults::default(), &ops);
        prop_assert_eq!(once, play(policy, subset, Faults::default(), &ops), "the same inputs, the same outputs");
    }
}

//! What is done for each call and each renewal asks the heap for nothing. One test, because the count is of all threads.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use periplus_benches::heap::{Counting, allocations};
use periplus_core::balance::{BalanceConfig, Balancer, CallOutcome, PickRequest, Policy};
use periplus_core::{
    Caller, Config, Epoch, Instance, InstanceId, Instant, Lease, Register, Registry, ServiceInstance, ServiceName,
    WallTime,
};

#[global_allocator]
static HEAP: Counting = Counting;

const POLICIES: [Policy; 6] = [
    Policy::P2c,
    Policy::WeightedRoundRobin,
    Policy::WeightedRandom,
    Policy::LeastRequest,
    Policy::Ring,
    Policy::Maglev,
];

fn instance(at: usize) -> Instance {
    let (name, id) = (ServiceName::new("web"), InstanceId::new(format!("web-{at}")));
    Instance::pack(&ServiceInstance::new(name.expect("a name"), id.expect("a name")))
}

fn picks(policy: Policy) {
    let mut balancer = Balancer::new(BalanceConfig::new(policy), [7; 32]);
    balancer.update((0..100).map(instance), Instant::default());
    let picker = Arc::clone(balancer.picker());
    let ((), asked) = allocations(|| {
        for at in 1..1_000_u64 {
            let request = PickRequest::new(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).with_key(at);
            let pick = picker.pick(&request, Instant::from_millis(at)).expect("somebody to pick");
            black_box(pick.done(CallOutcome::Success, Instant::from_millis(at + 1)));
        }
    });
    assert_eq!(asked, 0, "{policy:?}");
}

fn renewals() {
    let start = Instant::from_millis(1_000);
    let epoch = Epoch("e".into());
    let mut registry = Registry::new(Config::default(), [7; 32], epoch, start, WallTime(1_700_000_000_000));
    let caller = Arc::new(Caller::default());
    let leases: Vec<Lease> = (0..1_000)
        .map(|at| registry.register(Register::new(instance(at)), &caller, start).expect("there is room").lease)
        .collect();
    while registry.poll_event().is_some() {}
    let mut failed = Vec::new();
    let ((), asked) = allocations(|| {
        for second in 2..10 {
            let now = start.saturating_add(Duration::from_secs(second));
            registry.renew_all(&leases, &caller, now, &mut failed);
            registry.renew(&leases[0], &caller, now).expect("it is held");
        }
    });
    assert_eq!((asked, failed.len()), (0, 0));
}

#[test]
fn neither_a_pick_nor_a_renewal_asks_the_heap_for_anything() {
    let (_, counted) = allocations(|| black_box(vec![0_u8; 100]));
    assert_eq!(counted, 1, "the heap counts");
    POLICIES.into_iter().for_each(picks);
    renewals();
}

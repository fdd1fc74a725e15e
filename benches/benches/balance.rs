//! What one call costs in processor time: a pick and its end, beside tower's cheaper of two and a round robin under a lock.
//!
//! tower's balancer is not shared: each thread has one of its own, which is the best case. It also calls the service that
//! it picked, one that answers at once.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::sync::{Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{pin::pin, thread};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use nix::time::{ClockId, clock_gettime};
use periplus_core::balance::{BalanceConfig, Balancer, CallOutcome, PickRequest, Picker, Policy};
use periplus_core::{Instance, InstanceId, Instant, ServiceInstance, ServiceName};
use tower::Service;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PeakEwma};

const POLICIES: [(&str, Policy); 6] = [
    ("p2c", Policy::P2c),
    ("wrr", Policy::WeightedRoundRobin),
    ("random", Policy::WeightedRandom),
    ("least request", Policy::LeastRequest),
    ("ring", Policy::Ring),
    ("maglev", Policy::Maglev),
];

fn weight(at: usize) -> u32 {
    50 + (at % 4) as u32 * 50
}

fn balancer(policy: Policy, size: usize) -> Balancer {
    let name = ServiceName::new("web").expect("a name");
    let instance = |at: usize| {
        let id = InstanceId::new(format!("web-{at:05}")).expect("a name");
        let instance = ServiceInstance::new(name.clone(), id).with_metadata("weight", weight(at).to_string());
        Instance::pack(&instance)
    };
    let mut balancer = Balancer::new(BalanceConfig::new(policy), [7; 32]);
    balancer.update((0..size).map(instance), Instant::default());
    balancer
}

/// One call after the other, as a caller that draws its bits and has a clock of its own makes them.
struct Caller {
    bits: u64,
    micros: u64,
}

impl Caller {
    fn new(thread: usize) -> Self {
        Self { bits: 0x9e37_79b9_7f4a_7c15 + thread as u64, micros: 1_000_000 }
    }

    fn bits(&mut self) -> u64 {
        self.bits ^= self.bits << 13;
        self.bits ^= self.bits >> 7;
        self.bits ^= self.bits << 17;
        self.bits
    }

    fn call(&mut self, picker: &Picker) {
        let random = self.bits();
        self.micros += 1;
        let now = Instant::from_micros(self.micros);
        let pick = picker.pick(&PickRequest::new(random).with_key(random), now).expect("somebody to pick");
        let then = Instant::from_micros(self.micros + 500 + (random & 0xff));
        black_box(pick.done(CallOutcome::Success, then));
    }

    fn pick(&mut self, picker: &Picker) {
        let random = self.bits();
        self.micros += 1;
        let now = Instant::from_micros(self.micros);
        drop(black_box(picker.pick(&PickRequest::new(random).with_key(random), now)));
    }
}

/// The processor time of `iterations` calls in each of so many threads, of the thread that needed most.
fn timed<T>(
    threads: usize,
    iterations: u64,
    start: impl Fn(usize) -> T + Sync,
    call: impl Fn(&mut T) + Sync,
) -> Duration {
    let barrier = Barrier::new(threads);
    let work = |number| {
        let mut state = start(number);
        barrier.wait();
        let begun = processor_time();
        (0..iterations).for_each(|_| call(&mut state));
        processor_time() - begun
    };
    let work = &work;
    thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|number| scope.spawn(move || work(number))).collect();
        let mine = work(0);
        workers.into_iter().map(|worker| worker.join().expect("no panic")).fold(mine, Duration::max)
    })
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("the thread has a clock").into()
}

/// A service that answers at once.
struct AtOnce;

impl Service<()> for AtOnce {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

type Measured = PeakEwma<AtOnce, CompleteOnResponse>;

fn tower(size: usize) -> Balance<ServiceList<Vec<Measured>>, ()> {
    let service = |_| PeakEwma::new(AtOnce, Duration::from_millis(1), 5e9, CompleteOnResponse::default());
    Balance::new(ServiceList::new((0..size).map(service).collect()))
}

fn call_tower(balance: &mut Balance<ServiceList<Vec<Measured>>, ()>) {
    let mut context = Context::from_waker(Waker::noop());
    assert!(balance.poll_ready(&mut context).is_ready());
    let answer = pin!(balance.call(())).poll(&mut context);
    assert!(black_box(answer).is_ready());
}

/// Smooth weighted round robin as it is usually written, under a lock.
fn naive(weights: &mut [(i64, i64)]) -> usize {
    let mut total = 0;
    let mut best = 0;
    for at in 0..weights.len() {
        weights[at].0 += weights[at].1;
        total += weights[at].1;
        if weights[at].0 > weights[best].0 {
            best = at;
        }
    }
    weights[best].0 -= total;
    best
}

fn contestants(group: &mut BenchmarkGroup<'_, WallTime>, size: usize, threads: usize) {
    for (name, policy) in POLICIES {
        let balancer = balancer(policy, size);
        let picker = balancer.picker();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| timed(threads, iterations, Caller::new, |caller| caller.call(picker)));
        });
        group.bench_function(format!("{name}, pick alone"), |bencher| {
            bencher.iter_custom(|iterations| timed(threads, iterations, Caller::new, |caller| caller.pick(picker)));
        });
    }
    group.bench_function("tower p2c, one a thread", |bencher| {
        bencher.iter_custom(|iterations| timed(threads, iterations, |_| tower(size), call_tower));
    });
    let naive_weights = Mutex::new((0..size).map(|at| (0, i64::from(weight(at)))).collect::<Vec<_>>());
    group.bench_function("naive wrr under a lock", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(threads, iterations, |_| (), |()| _ = black_box(naive(&mut naive_weights.lock().expect("no panic"))))
        });
    });
}

fn calls(criterion: &mut Criterion) {
    for threads in [1, 2] {
        for size in [10, 1_000] {
            let mut group = criterion.benchmark_group(format!("call/{size} instances, {threads} threads"));
            contestants(&mut group, size, threads);
        }
    }
}

fn updates(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("update of one weight/1000 instances");
    for (name, policy) in POLICIES {
        let mut balancer = balancer(policy, 1_000);
        let mut instances: Vec<Instance> = balancer.picker().nodes().map(|node| node.packed().clone()).collect();
        let mut step = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                step += 1;
                let changed = instances[0].decode().with_metadata("weight", (100 + step % 7).to_string());
                instances[0] = Instance::pack(&changed);
                balancer.update(instances.iter().cloned(), Instant::default());
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = calls, updates
}
criterion_main!(benches);

//! Registering, renewing and expiring: the core beside hand-written structures.

use std::cell::{LazyCell, RefCell};
use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use periplus_benches::contestants::{BTree, Contestant, DashSweep, Delay, LazyHeap, Periplus};
use periplus_benches::rounds::{BATCH, Course, bench_sizes};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn courses() -> impl Iterator<Item = Course> {
    bench_sizes().iter().map(|&size| Course::new(size))
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, course: &Course) -> Group<'a> {
    let mut group = criterion.benchmark_group(format!("{name}/{}", course.entries.len()));
    group.throughput(Throughput::Elements(course.entries.len() as u64));
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(2));
    group
}

/// A full registry and its leases in two random orders.
fn filled<C: Contestant>(course: &Course) -> (C, [Vec<C::Lease>; 2]) {
    let mut registry = course.watched();
    let mut granted = Vec::new();
    course.register::<C>(&mut registry, &course.prepare::<C>(), &mut granted);
    let leases = [0, 1].map(|period| course.leases::<C>(&granted, period));
    (registry, leases)
}

fn register<C: Contestant>(group: &mut Group<'_>, course: &Course) {
    let prepared = LazyCell::new(|| course.prepare::<C>());
    let empty = || (course.watched::<C>(), Vec::with_capacity(prepared.len()));
    group.bench_function(C::NAME, |bencher| {
        bencher.iter_batched(
            empty,
            |(mut registry, mut granted)| {
                course.register(&mut registry, &prepared, &mut granted);
                (registry, granted)
            },
            BatchSize::PerIteration,
        );
    });
}

fn renew<C: Contestant>(group: &mut Group<'_>, course: &Course) {
    // Made only if it is needed: criterion may have been asked for something else.
    let state = LazyCell::new(|| RefCell::new(filled::<C>(course)));
    let now = course.renewed_at(0);
    let mut period = 0;
    group.bench_function(BenchmarkId::new(C::NAME, "one call each"), |bencher| {
        let (registry, leases) = &mut *state.borrow_mut();
        bencher.iter(|| {
            period += 1;
            leases[period % 2].iter().filter(|lease| registry.renew(lease, now)).count()
        });
    });
    group.bench_function(BenchmarkId::new(C::NAME, "in batches"), |bencher| {
        let (registry, leases) = &mut *state.borrow_mut();
        bencher.iter(|| {
            period += 1;
            leases[period % 2].chunks(BATCH).map(|batch| registry.renew_batch(batch, now)).sum::<usize>()
        });
    });
}

fn expire<C: Contestant>(group: &mut Group<'_>, course: &Course) {
    group.bench_function(C::NAME, |bencher| {
        bencher.iter_batched(
            || filled::<C>(course).0,
            |mut registry| {
                registry.expire(course.end());
                black_box(registry.deliver());
                registry
            },
            BatchSize::PerIteration,
        );
    });
}

fn leases(criterion: &mut Criterion) {
    for course in courses() {
        let group = &mut group(criterion, "register", &course);
        register::<Periplus>(group, &course);
        register::<BTree>(group, &course);
        register::<LazyHeap>(group, &course);
        register::<Delay>(group, &course);
        register::<DashSweep>(group, &course);
    }
    for course in courses() {
        let group = &mut group(criterion, "renew", &course);
        renew::<Periplus>(group, &course);
        renew::<BTree>(group, &course);
        renew::<LazyHeap>(group, &course);
        renew::<Delay>(group, &course);
        renew::<DashSweep>(group, &course);
    }
    for course in courses() {
        let group = &mut group(criterion, "expire", &course);
        expire::<Periplus>(group, &course);
        expire::<BTree>(group, &course);
        expire::<LazyHeap>(group, &course);
        expire::<Delay>(group, &course);
        expire::<DashSweep>(group, &course);
    }
}

criterion_group!(benches, leases);
criterion_main!(benches);

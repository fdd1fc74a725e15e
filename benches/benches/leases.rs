//! Registering, renewing and expiring: the core beside hand-written structures.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use periplus_benches::contestants::{BTree, Contestant, DashSweep, Delay, LazyHeap, Periplus};
use periplus_benches::rounds::{BATCH, Course};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

/// As many sizes as there is time for: `--test` only shows that everything runs.
fn courses() -> Vec<Course> {
    let sizes: &[usize] =
        if std::env::args().any(|argument| argument == "--test") { &[2_000] } else { &[10_000, 100_000, 1_000_000] };
    sizes.iter().map(|&size| Course::new(size)).collect()
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, course: &Course) -> Group<'a> {
    let mut group = criterion.benchmark_group(format!("{name}/{}", course.entries.len()));
    group.throughput(Throughput::Elements(course.entries.len() as u64));
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(2));
    group
}

/// A full registry and its leases in random order.
fn filled<C: Contestant>(course: &Course) -> (C, Vec<C::Lease>) {
    let mut registry = course.watched();
    let mut granted = Vec::new();
    course.register::<C>(&mut registry, &course.prepare::<C>(), &mut granted);
    let leases = course.leases::<C>(&granted);
    (registry, leases)
}

fn register<C: Contestant>(group: &mut Group<'_>, course: &Course) {
    let prepared = course.prepare::<C>();
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
    let (mut registry, leases) = filled::<C>(course);
    let now = course.renewed_at(0);
    group.bench_function(BenchmarkId::new(C::NAME, "one call each"), |bencher| {
        bencher.iter(|| leases.iter().filter(|lease| registry.renew(lease, now)).count());
    });
    group.bench_function(BenchmarkId::new(C::NAME, "in batches"), |bencher| {
        bencher.iter(|| leases.chunks(BATCH).map(|batch| registry.renew_batch(batch, now)).sum::<usize>());
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

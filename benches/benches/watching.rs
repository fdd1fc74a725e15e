//! One change that many watch, and nothing that happens at all: the core beside hand-written structures.

use std::cell::{LazyCell, RefCell};
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use periplus_benches::contestants::{BTree, Contestant, DashSweep, Delay, LazyHeap, Periplus};
use periplus_benches::fleet::entry;
use periplus_benches::rounds::{Course, WATCHERS, bench_sizes};

fn measure<C: Contestant>(group: &mut BenchmarkGroup<'_, WallTime>, course: &Course) {
    // Made only if it is needed: criterion may have been asked for something else.
    let state = LazyCell::new(|| {
        let mut registry = course.watched::<C>();
        let mut granted = Vec::new();
        course.register::<C>(&mut registry, &course.prepare::<C>(), &mut granted);
        RefCell::new((registry, granted))
    });
    let now = course.renewed_at(0);
    group.bench_function(BenchmarkId::new(C::NAME, "idle poll"), |bencher| {
        let (registry, _) = &mut *state.borrow_mut();
        bencher.iter(|| registry.idle(now));
    });

    let first = &course.entries[0];
    let versions = [1, 2].map(|version| C::edit(&entry(first.service.clone(), &first.id, version)));
    let (mut watching, mut turn) = (1, 0);
    group.bench_function(BenchmarkId::new(C::NAME, "one change to 10 k watchers"), |bencher| {
        let (registry, granted) = &mut *state.borrow_mut();
        let lease = C::lease(first, &granted[0]);
        for _ in watching..WATCHERS {
            registry.watch(&first.service, now);
        }
        watching = WATCHERS;
        registry.deliver();
        bencher.iter(|| {
            turn += 1;
            assert!(registry.change(&lease, &versions[turn % 2], now));
            assert_eq!(registry.deliver(), WATCHERS);
        });
    });
}

fn watching(criterion: &mut Criterion) {
    for &size in bench_sizes() {
        let course = Course::new(size);
        let group = &mut criterion.benchmark_group(format!("watching/{size}"));
        group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(2));
        measure::<Periplus>(group, &course);
        measure::<BTree>(group, &course);
        measure::<LazyHeap>(group, &course);
        measure::<Delay>(group, &course);
        measure::<DashSweep>(group, &course);
    }
}

criterion_group!(benches, watching);
criterion_main!(benches);

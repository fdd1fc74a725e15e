//! The machine's limit on renewals.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use periplus_benches::fleet::shuffled;
use periplus_benches::rounds::bench_sizes;
use periplus_benches::slab::Slab;

fn slab(criterion: &mut Criterion) {
    for &size in bench_sizes() {
        let mut slab = Slab::new(size);
        let handles = slab.handles(&shuffled(size, 1));
        let group = &mut criterion.benchmark_group(format!("slab of 64-byte slots/{size}"));
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function("batch", |bencher| bencher.iter(|| slab.renew_batch(&handles, 1)));
        group.bench_function("dependent", |bencher| bencher.iter(|| slab.renew_chain(size, 1)));
    }
}

criterion_group!(benches, slab);
criterion_main!(benches);

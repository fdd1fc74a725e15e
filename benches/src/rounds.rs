//! What is measured of a contestant, once round. All times are processor times.

use std::hint::black_box;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::contestants::Contestant;
use crate::fleet::{self, Entry, Micros, TTL};
use crate::heap;
use crate::slab::Slab;

/// Watchers of the service that changes once.
pub const WATCHERS: usize = 10_000;
/// Leases in a batch renewal.
pub const BATCH: usize = 1_000;
/// Registrations after which watchers are handed what is new, as a busy server does between reads of its sockets.
pub const TURN: usize = 64;
/// Over how long the registrations spread on the harness's clock, and then the renewals.
const SPREAD: Micros = 10_000_000;

/// One contestant's figures from one round.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures {
    /// Registrations a second, with one watcher on each service.
    pub register: f64,
    /// Renewals a second, one call each.
    pub renew: f64,
    /// Renewals a second in batches of [`BATCH`].
    pub renew_batch: f64,
    /// Expired instances a second, all due at once, with one watcher on each service.
    pub expire: f64,
    /// From one change until [`WATCHERS`] watchers have it, in microseconds.
    pub change: f64,
    /// What the driver pays while nothing happens, in nanoseconds a poll.
    pub idle: f64,
    /// Bytes of heap an instance, what is kept of its change included.
    pub heap: f64,
}

/// The instances of a round and the order in which they are renewed.
#[derive(Debug)]
pub struct Course {
    /// The instances, in the order of their registration.
    pub entries: Vec<Entry>,
    /// Two orders of renewal: no lease keeps its place from one period to the next.
    orders: [Vec<usize>; 2],
}

impl Course {
    /// A course of `size` instances.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { entries: fleet::fleet(size), orders: [1, 2].map(|seed| fleet::shuffled(size, seed)) }
    }

    fn registered_at(&self, number: usize) -> Micros {
        SPREAD * number as Micros / self.entries.len() as Micros
    }

    /// Makes every instance ready.
    #[must_use]
    pub fn prepare<C: Contestant>(&self) -> Vec<C::Prepared> {
        self.entries.iter().map(C::prepare).collect()
    }

    /// A registry with a watcher on each service, which has been told that the service is empty.
    #[must_use]
    pub fn watched<C: Contestant>(&self) -> C {
        let mut registry = C::new();
        for number in 0..fleet::SERVICES.min(self.entries.len()) {
            registry.watch(&fleet::service(number), 0);
        }
        assert_eq!(registry.deliver(), 0);
        registry
    }

    /// Registers everything. Watchers are served on the way.
    pub fn register<C: Contestant>(&self, registry: &mut C, prepared: &[C::Prepared], granted: &mut Vec<C::Granted>) {
        for (turn, instances) in prepared.chunks(TURN).enumerate() {
            let now = self.registered_at(turn * TURN);
            granted.extend(instances.iter().map(|instance| registry.register(instance, now)));
            black_box(registry.deliver());
        }
    }

    /// The leases as the holders send them in one period of renewal or in the next: in random order.
    #[must_use]
    pub fn leases<C: Contestant>(&self, granted: &[C::Granted], period: usize) -> Vec<C::Lease> {
        self.orders[period % 2].iter().map(|&number| C::lease(&self.entries[number], &granted[number])).collect()
    }

    /// When the renewals of a period are.
    #[must_use]
    pub fn renewed_at(&self, period: usize) -> Micros {
        SPREAD * (period as Micros + 1)
    }

    /// A time at which every lease is due.
    #[must_use]
    pub fn end(&self) -> Micros {
        SPREAD * 4 + TTL
    }
}

/// The sizes that a criterion bench runs at: small where it is only to show that it runs, as `cargo test` wants it,
/// and `cargo bench` with `--test`.
#[must_use]
pub fn bench_sizes() -> &'static [usize] {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    if given("--bench") && !given("--test") { &[10_000, 100_000, 1_000_000] } else { &[2_000] }
}

/// Runs a contestant over a course.
#[must_use]
pub fn run<C: Contestant>(course: &Course) -> Figures {
    let mut figures = leases::<C>(course);
    watching::<C>(course, &mut figures);
    figures
}

/// Registering, renewing, waiting, expiring.
fn leases<C: Contestant>(course: &Course) -> Figures {
    let size = course.entries.len();
    let prepared = course.prepare::<C>();
    let mut registry: C = course.watched();
    let mut granted = Vec::with_capacity(size);
    let register = rate(size, || course.register(&mut registry, &prepared, &mut granted));
    let leases = [0, 1].map(|period| course.leases::<C>(&granted, period));
    drop((prepared, granted));

    let now = course.renewed_at(0);
    let renew = rate(size, || {
        let renewed = leases[0].iter().filter(|lease| registry.renew(lease, now)).count();
        assert_eq!(renewed, size);
    });
    let now = course.renewed_at(1);
    let renew_batch = rate(size, || {
        let renewed: usize = leases[1].chunks(BATCH).map(|batch| registry.renew_batch(batch, now)).sum();
        assert_eq!(renewed, size);
    });
    let idle = idle(&mut registry, now);
    assert!(registry.list(&course.entries[0].service) > 0);
    let expire = rate(size, || {
        registry.expire(course.end());
        black_box(registry.deliver());
    });
    assert_eq!(registry.list(&course.entries[0].service), 0);
    Figures { register, renew, renew_batch, idle, expire, ..Figures::default() }
}

/// Memory, and one change that many watch.
fn watching<C: Contestant>(course: &Course, figures: &mut Figures) {
    let ((mut registry, lease), grown) = heap::growth(|| {
        let mut registry = C::new();
        let mut lease = None;
        for (number, entry) in course.entries.iter().enumerate() {
            let granted = registry.register(&C::prepare(entry), course.registered_at(number));
            if number == 0 {
                lease = Some(C::lease(entry, &granted));
            }
            if number % TURN == 0 {
                black_box(registry.deliver());
            }
        }
        (registry, lease.expect("a course has instances"))
    });
    figures.heap = grown as f64 / course.entries.len() as f64;

    let changed = &course.entries[0];
    let now = course.renewed_at(0);
    for _ in 0..WATCHERS {
        registry.watch(&changed.service, now);
    }
    black_box(registry.deliver());
    let mut times: Vec<f64> = (0..11)
        .map(|version| {
            let changed = fleet::entry(changed.service.clone(), &changed.id, course.entries.len() + version);
            let edit = C::edit(&changed);
            let start = worked();
            assert!(registry.change(&lease, &edit, now));
            assert_eq!(registry.deliver(), WATCHERS);
            (worked() - start).as_secs_f64() * 1e6
        })
        .collect();
    figures.change = crate::stats::median(&mut times);
}

fn idle<C: Contestant>(registry: &mut C, now: Micros) -> f64 {
    let mut polls = |count: usize| {
        let start = worked();
        for _ in 0..count {
            registry.idle(now);
        }
        (worked() - start).as_secs_f64() * 1e9 / count as f64
    };
    // Some look at everything: a few times will do.
    let few = polls(5);
    if few > 1e6 { few } else { polls(1_000) }
}

/// What the machine can do at this size: renewals of bare slots a second.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Limit {
    /// With handles known ahead.
    pub batch: f64,
    /// Where each names the next.
    pub chain: f64,
}

/// Measures the machine's limit over a course.
#[must_use]
pub fn limit(course: &Course) -> Limit {
    let size = course.entries.len();
    let mut slab = Slab::new(size);
    let handles = slab.handles(&course.orders[0]);
    assert_eq!(slab.renew_batch(&handles, 0), size);
    // Small slabs are done before the clock has moved much.
    let times = (1_000_000 / size).max(1);
    let batch = rate(size * times, || {
        for time in 0..times {
            assert_eq!(black_box(&mut slab).renew_batch(&handles, time as Micros), size);
        }
    });
    let chain = rate(size * times, || black_box(slab.renew_chain(size * times, times as Micros)));
    Limit { batch, chain }
}

fn rate<T>(operations: usize, work: impl FnOnce() -> T) -> f64 {
    let start = worked();
    black_box(work());
    operations as f64 / (worked() - start).as_secs_f64()
}

/// The processor time that this thread has used: unlike a clock, it stands still while others have the processor.
fn worked() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has this clock").into()
}

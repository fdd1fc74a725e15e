//! Registering, renewing, listing.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::spawn_local;

use super::meter::{LANES, Latencies, Meter, record_latencies};
use super::process::Process;
use super::record::Record;
use super::target::{Lane, Target, id};

/// Instances of a service, so that a listing has as many.
pub const PER_SERVICE: usize = 100;
/// Leases in a batch renewal.
const BATCH: usize = 1_000;
/// Batches in flight.
const BATCH_LANES: usize = 4;
/// Time to live where nothing is to expire.
pub const LONG: Duration = Duration::from_secs(600);

/// The service of an instance.
fn service(number: usize) -> String {
    format!("checkout-{:04}", number / PER_SERVICE)
}

/// Does work on many lanes at once; each is told its number.
///
/// # Errors
/// The first that a lane has.
pub async fn on_lanes<L: 'static, R: 'static>(
    lanes: Vec<L>,
    work: impl AsyncFn(usize, L) -> Result<R> + 'static,
) -> Result<Vec<R>> {
    let work = Rc::new(work);
    let start = |(number, lane)| {
        let work = Rc::clone(&work);
        spawn_local(async move { work(number, lane).await })
    };
    let tasks: Vec<_> = lanes.into_iter().enumerate().map(start).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await??);
    }
    Ok(results)
}

/// Registers `count` instances and gives their leases. Records the rate and the memory an instance takes.
///
/// # Errors
/// If the registry fails.
pub async fn register<T: Target>(
    target: &T,
    server: Option<&Process>,
    count: usize,
    record: &mut Record,
) -> Result<Vec<<T::Lane as Lane>::Lease>> {
    let work = format!("register {count}");
    let lanes = target.lanes(LANES).await?;
    let latencies = Rc::new(Latencies::default());
    let memory = server.map(Process::memory).transpose()?;
    let meter = Meter::start(server)?;
    let noted = Rc::clone(&latencies);
    let leases = on_lanes(lanes, async move |number, mut lane: T::Lane| {
        let mut leases = Vec::with_capacity(count / LANES + 1);
        for number in (number..count).step_by(LANES) {
            let start = Instant::now();
            leases.push(lane.register(&service(number), &id(number), LONG).await?);
            noted.note(start.elapsed());
        }
        Ok(leases)
    })
    .await?;
    meter.record(record, &work, count as u64, Instant::now())?;
    record_latencies(record, &work, &latencies);
    if let (Some(server), Some(before)) = (server, memory) {
        let grown = server.memory()?.saturating_sub(before);
        record.add(&work, "memory bytes each", grown as f64 / count as f64);
    }
    Ok(leases.concat())
}

/// What to renew at once, and how.
#[derive(Clone, Copy, Debug)]
pub enum Renewal {
    /// A request each, so many of them in flight on every lane.
    Single(usize),
    /// Thousands together.
    Batch,
}

/// Renews random leases for a while.
///
/// # Errors
/// If the registry fails.
pub async fn renew<T: Target>(
    target: &T,
    server: Option<&Process>,
    leases: Rc<Vec<<T::Lane as Lane>::Lease>>,
    renewal: Renewal,
    time: Duration,
    record: &mut Record,
) -> Result<()> {
    let (work, lanes, at_once) = match renewal {
        Renewal::Single(1) => ("renew".to_owned(), LANES, 1),
        Renewal::Single(depth) => (format!("renew, pipelined {depth}"), LANES, depth),
        Renewal::Batch => (format!("renew {BATCH} together"), BATCH_LANES, BATCH),
    };
    let once = async move |lane: &mut T::Lane| {
        let random = || leases[rand::random_range(0..leases.len())].clone();
        let picked: Vec<_> = std::iter::repeat_with(random).take(at_once).collect();
        match renewal {
            Renewal::Single(_) => lane.renew(&picked).await,
            Renewal::Batch => lane.renew_batch(&picked).await,
        }
    };
    repeat(target, server, lanes, at_once, time, &work, record, once).await
}

/// Lists random services of the first `count` instances for a while.
///
/// # Errors
/// If the registry fails.
pub async fn list<T: Target>(
    target: &T,
    server: Option<&Process>,
    count: usize,
    time: Duration,
    record: &mut Record,
) -> Result<()> {
    let once = async move |lane: &mut T::Lane| {
        let instances = lane.list(&service(rand::random_range(0..count))).await?;
        ensure!(instances == PER_SERVICE, "a listing has {instances} instances");
        Ok(())
    };
    repeat(target, server, LANES, 1, time, &format!("list {PER_SERVICE}"), record, once).await
}

/// Does one thing again and again on as many lanes, for a while.
#[expect(clippy::too_many_arguments, reason = "all of them are what the work is")]
async fn repeat<T: Target>(
    target: &T,
    server: Option<&Process>,
    lanes: usize,
    at_once: usize,
    time: Duration,
    work: &str,
    record: &mut Record,
    once: impl AsyncFn(&mut T::Lane) -> Result<()> + 'static,
) -> Result<()> {
    let lanes = target.lanes(lanes).await?;
    let latencies = Rc::new(Latencies::default());
    let meter = Meter::start(server)?;
    let end = meter.started() + time;
    let noted = Rc::clone(&latencies);
    on_lanes(lanes, async move |_, mut lane: T::Lane| {
        let mut start = Instant::now();
        while start < end {
            once(&mut lane).await?;
            noted.note(start.elapsed());
            start = Instant::now();
        }
        Ok(())
    })
    .await?;
    meter.record(record, work, latencies.count() * at_once as u64, Instant::now())?;
    record_latencies(record, work, &latencies);
    Ok(())
}

//! Changes and those who watch them.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, sleep_until};

use super::clock::{Clock, DIGITS};
use super::leases::{LONG, on_lanes};
use super::meter::{LANES, Latencies, Meter, record_latencies};
use super::process::Process;
use super::record::Record;
use super::scan::Scanner;
use super::target::{Lane, SENT, Target, Watch, id};

/// The service of the instances that change.
const WATCHED: &str = "watched";
/// Instances that change in turn.
const CHANGING: usize = 1_000;
/// After so long without an event, no more are expected.
const QUIET: Duration = Duration::from_millis(500);

/// How often something changes.
#[derive(Clone, Copy, Debug)]
pub enum Rate {
    /// So many times a second.
    PerSecond(usize),
    /// As often as the registry takes it.
    Ceiling,
}

/// A service whose instances are there to be changed.
#[expect(missing_debug_implementations, reason = "leases are the target's own")]
pub struct Changing<T: Target> {
    target: T,
    leases: Rc<Vec<<T::Lane as Lane>::Lease>>,
}

impl<T: Target> Changing<T> {
    /// Registers the instances.
    ///
    /// # Errors
    /// If the registry fails.
    pub async fn register(target: &T) -> Result<Self> {
        let mut lane = target.lanes(1).await?.remove(0);
        let mut leases = Vec::with_capacity(CHANGING);
        for number in 0..CHANGING {
            leases.push(lane.register(WATCHED, &id(number), LONG).await?);
        }
        Ok(Self { target: target.clone(), leases: Rc::new(leases) })
    }

    /// Changes instances while others watch. Records how long each event takes from the sending of its change.
    ///
    /// # Errors
    /// If the registry fails.
    pub async fn watched(
        &self,
        server: Option<&Process>,
        watchers: usize,
        rate: Rate,
        time: Duration,
        record: &mut Record,
    ) -> Result<()> {
        let clock = Clock::start();
        let latencies = Rc::new(Latencies::default());
        let mut watches = Vec::with_capacity(watchers);
        for _ in 0..watchers {
            let watch = self.target.watch(WATCHED).await?;
            watches.push(spawn_local(follow(watch, clock, Rc::clone(&latencies))));
        }
        // What they are sent when they begin is not measured.
        sleep(QUIET).await;
        let before = latencies.count();
        ensure!(before == 0, "{before} events before anything changed");

        let writers = if matches!(rate, Rate::Ceiling) { LANES } else { LANES / 4 };
        let (lanes, leases) = (self.target.lanes(writers).await?, Rc::clone(&self.leases));
        let meter = Meter::start(server)?;
        let span = (meter.started(), time);
        let changed = on_lanes(lanes, async move |number, lane: T::Lane| {
            change(lane, (number..).step_by(writers), &leases, rate, span, clock).await
        })
        .await?;
        let changes: u64 = changed.into_iter().sum();
        let took = meter.started().elapsed();
        settle(&latencies, changes * watchers as u64).await;

        let events = latencies.count();
        let work = match rate {
            Rate::PerSecond(rate) => format!("watch: {watchers} watchers, {rate} changes/s"),
            Rate::Ceiling => format!("watch: {watchers} watchers, all changes it takes"),
        };
        record.add(&work, "changes/s done", changes as f64 / took.as_secs_f64());
        meter.record(record, &work, events, latencies.last().unwrap_or_else(Instant::now))?;
        record_latencies(record, &work, &latencies);
        let all = (changes * watchers as u64) as f64;
        record.add(&work, "events not seen %", 100.0 * (all - events as f64) / all);
        end(watches)
    }
}

/// Changes a lane's share of the instances, in turn. Says how many changes that were.
async fn change<L: Lane>(
    mut lane: L,
    numbers: impl Iterator<Item = usize>,
    leases: &[L::Lease],
    rate: Rate,
    (start, time): (Instant, Duration),
    clock: Clock,
) -> Result<u64> {
    let mut changes = 0;
    for number in numbers {
        let due = match rate {
            Rate::PerSecond(rate) => start + Duration::from_secs(number as u64) / u32::try_from(rate)?,
            Rate::Ceiling => Instant::now(),
        };
        if due >= start + time {
            break;
        }
        if matches!(rate, Rate::PerSecond(_)) {
            sleep_until(due.into()).await;
        }
        let instance = number % CHANGING;
        lane.change(WATCHED, &id(instance), &leases[instance], &clock).await?;
        changes += 1;
    }
    Ok(changes)
}

/// Notes each event that carries a time of sending, for ever.
async fn follow<W: Watch>(mut watch: W, clock: Clock, latencies: Rc<Latencies>) -> Result<()> {
    let mut scanner = Scanner::new(SENT.as_bytes(), DIGITS);
    loop {
        scanner.feed(watch.next().await?, |stamp| {
            if let Some(latency) = clock.since(stamp) {
                latencies.note(latency);
            }
        });
    }
}

/// Waits until so many events are in, or no more come.
async fn settle(events: &Latencies, expected: u64) {
    let mut quiet = Duration::ZERO;
    let mut seen = events.count();
    while seen < expected && quiet < QUIET {
        sleep(Duration::from_millis(20)).await;
        let now = events.count();
        quiet = if now == seen { quiet + Duration::from_millis(20) } else { Duration::ZERO };
        seen = now;
    }
}

/// Ends watches; one that has ended by itself is an error.
fn end(watches: Vec<JoinHandle<Result<()>>>) -> Result<()> {
    let lost = watches.iter().filter(|watch| watch.is_finished()).count();
    watches.iter().for_each(JoinHandle::abort);
    ensure!(lost == 0, "{lost} watches have ended by themselves");
    Ok(())
}

/// Opens connections that watch and have nothing to tell. Records the memory each takes.
///
/// # Errors
/// If the registry fails.
pub async fn idle<T: Target>(target: &T, server: Option<&Process>, watchers: usize, record: &mut Record) -> Result<()> {
    let Some(server) = server else { return Ok(()) };
    let before = server.memory()?;
    let mut watches = Vec::with_capacity(watchers);
    for _ in 0..watchers {
        watches.push(target.watch("nobody").await?);
    }
    sleep(QUIET).await;
    let grown = server.memory()?.saturating_sub(before);
    record.add(&format!("{watchers} idle watches"), "memory bytes each", grown as f64 / watchers as f64);
    Ok(())
}

/// Lets `count` leases run out together. Records how long a watcher sees instances go, and how late the last one is.
///
/// # Errors
/// If the registry fails, or an instance stays.
pub async fn expire<T: Target>(target: &T, count: usize, ttl: Duration, record: &mut Record) -> Result<()> {
    const SERVICE: &str = "expiring";
    let lanes = target.lanes(LANES).await?;
    let leases = on_lanes(lanes, async move |lane_number, mut lane: T::Lane| {
        let mut leases = Vec::new();
        for number in (lane_number..count).step_by(LANES) {
            leases.push(lane.register(SERVICE, &id(number), ttl).await?);
        }
        Ok(leases)
    })
    .await?
    .concat();
    let mut watch = target.watch(SERVICE).await?;
    let removals = Rc::new(Latencies::default());
    let mut scanner = Scanner::new(&target.removal(SERVICE), 0);

    // The last renewal of all, so that they are due together.
    let mut lane = target.lanes(1).await?.remove(0);
    let renewing = Instant::now();
    for leases in leases.chunks(1_000) {
        lane.renew_batch(leases).await?;
    }
    let renewed = Instant::now();
    // Listings and late registrations that the watch still brings are over by then.
    let seen = Rc::clone(&removals);
    let follower = spawn_local(async move {
        loop {
            scanner.feed(watch.next().await?, |_| seen.note(Instant::now().duration_since(renewed)));
        }
    });
    let limit = ttl + Duration::from_secs(5) + Duration::from_millis(4 * count as u64);
    while removals.count() < count as u64 && renewed.elapsed() < limit {
        sleep(Duration::from_millis(20)).await;
    }
    end(vec![follower])?;
    let gone = removals.count();
    ensure!(gone == count as u64, "{gone} of {count} instances have gone");
    let last = removals.last().unwrap_or(renewed).duration_since(renewed);
    let first = Duration::from_secs_f64(removals.quantile(0.0) / 1e3);
    let work = format!("expire {count} together");
    record.add(&work, "deadlines apart s", renewed.duration_since(renewing).as_secs_f64());
    record.add(&work, "first to last gone s", last.saturating_sub(first).as_secs_f64());
    record.add(&work, "last one late s", last.as_secs_f64() - ttl.as_secs_f64());
    Ok(())
}

//! What is measured of each user.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::{sleep, sleep_until};

use super::{Kind, Seen, Store, User};
use crate::load::clock::Clock;
use crate::load::meter::{Latencies, record_latencies};
use crate::load::process::own_cpu;
use crate::load::record::Record;

/// Instances of the followed service.
const INSTANCES: usize = 100;

/// Holds instances for a while. Records what that takes of requests and of processors.
///
/// # Errors
/// If the store fails.
pub async fn held(
    user: &mut impl User,
    store: &Store,
    count: usize,
    time: Duration,
    record: &mut Record,
) -> Result<()> {
    let work = format!("{count} instances held");
    let (start, requests) = (Instant::now(), user.requests());
    user.hold(count).await?;
    record.add(&work, "all registered after s", start.elapsed().as_secs_f64());
    record.add(&work, "requests to register each", (user.requests() - requests) as f64 / count as f64);

    // Whatever begins with the first renewal has begun.
    sleep(Duration::from_secs(5)).await;
    let (requests, own, server, start) = (user.requests(), own_cpu(), store.process.cpu()?, Instant::now());
    sleep(time).await;
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let thousands = count as f64 / 1_000.0;
    let per_minute = |value: f64| value / minutes;
    let requests = (user.requests() - requests) as f64;
    record.add(&work, "requests a minute each", per_minute(requests / count as f64));
    let milliseconds = |spent: Duration| per_minute(spent.as_secs_f64() * 1e3 / thousands);
    record.add(&work, "client CPU ms a minute per 1000", milliseconds(own_cpu().saturating_sub(own)));
    record.add(&work, "server CPU ms a minute per 1000", milliseconds(store.process.cpu()?.saturating_sub(server)));
    Ok(())
}

/// Changes instances of a service that many follow. Records how long each event takes from the sending of its change.
///
/// # Errors
/// If the store fails.
pub async fn watched(
    user: &mut impl User,
    store: &Store,
    watchers: usize,
    time: Duration,
    record: &mut Record,
) -> Result<()> {
    let clock = Clock::start();
    for number in 0..INSTANCES {
        store.change(number, crate::load::target::UNSENT).await?;
    }
    let latencies = Rc::new(Latencies::default());
    let requests = user.requests();
    for _ in 0..watchers {
        user.watch(Seen::new(clock, Rc::clone(&latencies))).await?;
    }
    sleep(Duration::from_secs(2)).await;

    let rate: u32 = match store.kind {
        Kind::Etcd => 100,
        Kind::Consul => 10,
    };
    let (own, server, start) = (own_cpu(), store.process.cpu()?, Instant::now());
    let mut changes = 0;
    while start.elapsed() < time {
        sleep_until((start + Duration::from_secs(1) * changes / rate).into()).await;
        store.change(changes as usize % INSTANCES, &clock.stamp()).await?;
        changes += 1;
    }
    sleep(Duration::from_secs(2)).await;

    let work = format!("{watchers} watchers, {rate} changes/s");
    record_latencies(record, &work, &latencies);
    let all = f64::from(changes) * watchers as f64;
    record.add(&work, "events not seen %", 100.0 * (all - latencies.count() as f64) / all);
    record.add(&work, "requests a change", (user.requests() - requests) as f64 / f64::from(changes));
    let micros = |spent: Duration, of: f64| spent.as_secs_f64() * 1e6 / of;
    record.add(&work, "client CPU us an event", micros(own_cpu().saturating_sub(own), all));
    record.add(
        &work,
        "server CPU us a change",
        micros(store.process.cpu()?.saturating_sub(server), f64::from(changes)),
    );
    Ok(())
}

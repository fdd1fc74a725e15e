//! How long work takes and whose processor time it costs.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use super::process::{Process, own_cpu};
use super::record::Record;

/// Operations in flight, in all.
pub const LANES: usize = 64;

/// A latency beyond this counts as this, in nanoseconds.
const LONGEST: u64 = 100_000_000_000;

/// Latencies of operations, in nanoseconds, and when the last one was over.
#[derive(Debug)]
pub struct Latencies {
    histogram: RefCell<Histogram<u64>>,
    last: Cell<Option<Instant>>,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_max(LONGEST, 3).expect("these bounds are allowed");
        Self { histogram: RefCell::new(histogram), last: Cell::new(None) }
    }
}

impl Latencies {
    /// Notes an operation that is over now.
    pub fn note(&self, latency: Duration) {
        self.histogram.borrow_mut().saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        self.last.set(Some(Instant::now()));
    }

    /// How many were noted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.borrow().len()
    }

    /// The latency that this share of operations did not exceed, in milliseconds.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        self.histogram.borrow().value_at_quantile(share) as f64 / 1e6
    }

    /// When the last one was over.
    #[must_use]
    pub fn last(&self) -> Option<Instant> {
        self.last.get()
    }
}

/// Measures from its making on.
#[derive(Debug)]
pub struct Meter<'a> {
    server: Option<&'a Process>,
    server_cpu: Duration,
    own_cpu: Duration,
    start: Instant,
}

impl<'a> Meter<'a> {
    /// Starts.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn start(server: Option<&'a Process>) -> Result<Self> {
        let server_cpu = server.map_or(Ok(Duration::ZERO), Process::cpu)?;
        Ok(Self { server, server_cpu, own_cpu: own_cpu(), start: Instant::now() })
    }

    /// When it started.
    #[must_use]
    pub const fn started(&self) -> Instant {
        self.start
    }

    /// Records the rate of `operations` until `end`, and what each cost until now.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn record(&self, record: &mut Record, work: &str, operations: u64, end: Instant) -> Result<()> {
        let count = operations as f64;
        record.add(work, "per second", count / end.duration_since(self.start).as_secs_f64());
        if let Some(server) = self.server {
            let spent = server.cpu()?.saturating_sub(self.server_cpu);
            record.add(work, "server CPU us each", spent.as_secs_f64() * 1e6 / count);
        }
        let spent = own_cpu().saturating_sub(self.own_cpu);
        record.add(work, "client CPU us each", spent.as_secs_f64() * 1e6 / count);
        Ok(())
    }
}

/// Records median and 99th percentile.
pub fn record_latencies(record: &mut Record, work: &str, latencies: &Latencies) {
    record.add(work, "p50 ms", latencies.quantile(0.5));
    record.add(work, "p99 ms", latencies.quantile(0.99));
}

//! What is counted and measured, for Prometheus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use periplus_core::EventKind;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Server;
use super::route::ROUTES;

type Labels = [(&'static str, &'static str); 2];
type Label = [(&'static str, &'static str); 1];

/// Everything that is counted while it happens; what can be asked for is asked when somebody reads.
pub(super) struct Metrics {
    requests: Family<Labels, Counter>,
    /// The good ones, at their route's place.
    fine: Vec<Counter>,
    pub(super) renewed: Counter,
    pub(super) not_renewed: Counter,
    events: Family<Label, Counter>,
    /// The busiest events, without a look-up.
    registered: Counter,
    updated: Counter,
    expired: Counter,
    deregistered: Counter,
    pub(super) deliveries: Counter,
    pub(super) changes: Counter,
    pub(super) frames_written: Counter,
    pub(super) frames_shared: Counter,
    pub(super) lists_written: Counter,
    pub(super) lists_shared: Counter,
    pub(super) refused_connections: Counter,
    pub(super) lock_wait: Histogram,
    pub(super) timer_late: Histogram,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let requests = Family::<Labels, Counter>::default();
        let fine = ROUTES.iter().map(|route| {
            let labels = [("operation", route.name), ("outcome", "ok")];
            requests.get_or_create_owned(&labels)
        });
        let fine = fine.collect();
        let events = Family::<Label, Counter>::default();
        let event = |name| events.get_or_create_owned(&[("event", name)]);
        Self {
            fine,
            registered: event("registered"),
            updated: event("updated"),
            expired: event("expired"),
            deregistered: event("deregistered"),
            requests,
            events,
            renewed: Counter::default(),
            not_renewed: Counter::default(),
            deliveries: Counter::default(),
            changes: Counter::default(),
            frames_written: Counter::default(),
            frames_shared: Counter::default(),
            lists_written: Counter::default(),
            lists_shared: Counter::default(),
            refused_connections: Counter::default(),
            lock_wait: Histogram::new(exponential_buckets(1e-6, 4.0, 10)),
            timer_late: Histogram::new(exponential_buckets(1e-4, 4.0, 10)),
        }
    }

    pub(super) fn on_answer(&self, route: usize) {
        self.fine[route].inc();
    }

    pub(super) fn on_refusal(&self, route: Option<usize>, code: &'static str) {
        let operation = route.map_or("none", |route| ROUTES[route].name);
        let labels = [("operation", operation), ("outcome", code)];
        self.requests.get_or_create(&labels).inc();
    }

    pub(super) fn on_event(&self, event: &EventKind) {
        match event {
            EventKind::Registered { .. } => self.registered.inc(),
            EventKind::Updated(_) => self.updated.inc(),
            EventKind::Expired(_) => self.expired.inc(),
            EventKind::Deregistered(_) => self.deregistered.inc(),
            other => self.events.get_or_create(&[("event", other.name())]).inc(),
        };
    }

    /// The registry of metrics of a server, to be encoded whenever somebody reads.
    pub(super) fn registry(server: &Arc<Server>) -> Registry {
        let mut registry = Registry::with_prefix("periplus");
        let it = &server.metrics;
        let mut counter = |name, help, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("leases_renewed", "Leases that were renewed", &it.renewed);
        counter("leases_not_renewed", "Renewals that were refused", &it.not_renewed);
        counter("watch_deliveries", "Deliveries to watchers", &it.deliveries);
        counter("watch_changes", "Changes in deliveries to watchers", &it.changes);
        counter("frames_written", "Changes that were encoded for watchers", &it.frames_written);
        counter("frames_shared", "Changes that watchers got as encoded before", &it.frames_shared);
        counter("lists_written", "Lists that were encoded", &it.lists_written);
        counter("lists_shared", "Lists that readers got as encoded before", &it.lists_shared);
        counter("connections_refused", "Connections beyond the limit", &it.refused_connections);
        registry.register("requests", "Requests by operation and outcome", it.requests.clone());
        registry.register("events", "What happened in the registry", it.events.clone());
        registry.register_with_unit(
            "lock_wait",
            "How long requests that met another at the registry waited for it",
            Unit::Seconds,
            it.lock_wait.clone(),
        );
        registry.register_with_unit(
            "timer_late",
            "How late the registry was told that its time had come",
            Unit::Seconds,
            it.timer_late.clone(),
        );
        registry.register_collector(Box::new(State(Arc::clone(server))));
        registry
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// How things stand, asked when somebody reads.
struct State(Arc<Server>);

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

impl Collector for State {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let server = &self.0;
        let hub = server.hub();
        let ((usage, alarms), date) = hub.read(|registry| (registry.usage(), registry.alarms().count()));
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: u64| {
            let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, unit, value.metric_type())?;
            value.encode(metric)
        };
        for (name, help, value) in [
            ("instances", "Instances", usage.instances),
            ("services", "Services that have instances", usage.services),
            ("namespaces", "Namespaces that have services", usage.namespaces),
            ("leases", "Leases that live", usage.leases),
            ("watches", "Watches", usage.watches),
            ("overlays", "Overlays", usage.overlays),
            ("blocks", "Instances that may not register", usage.blocks),
            ("history_entries", "Changes in the history", usage.log_entries),
            ("alarms", "Namespaces where an alarm sounds", alarms),
            ("connections", "Connections", server.connections.count()),
            (
                "pressure",
                "0: there is memory; 1: no new watches; 2: and no queries; 3: and no registrations",
                server.pressure.level().into(),
            ),
        ] {
            gauge(name, help, None, value as u64)?;
        }
        gauge("instance", "The size of all instances", Some(&Unit::Bytes), usage.bytes as u64)?;
        gauge("history", "The size of the history", Some(&Unit::Bytes), usage.log_bytes as u64)?;
        gauge(
            "memory_charged",
            "What counts against limits.memory",
            Some(&Unit::Bytes),
            server.pressure.charged() as u64,
        )?;
        gauge("memory_limit", "limits.memory", Some(&Unit::Bytes), server.config.limits.memory as u64)?;
        gauge("revision", "The registry's revision", None, date.revision.0)?;
        gauge("warming", "1 while what is not listed may be there all the same", None, date.warming.into())?;
        if let Some(upstream) = &server.upstream {
            let standing = upstream.standing();
            gauge(
                "upstream_live",
                "1 while what is listed is the upstream's own present word",
                None,
                standing.is_live().into(),
            )?;
            let stale = Some(&Unit::Seconds);
            gauge(
                "upstream_stale",
                "For how long the upstream cannot be heard",
                stale,
                standing.stale_ms.unwrap_or(0) / 1_000,
            )?;
        }
        gauge("uptime", "Since the server started", Some(&Unit::Seconds), server.started.elapsed().as_secs())?;
        if let Some(resident) = resident_bytes() {
            gauge("resident_memory", "Resident memory", Some(&Unit::Bytes), resident)?;
        }
        Ok(())
    }
}

/// How much of this process is in memory, where the platform says so.
pub(super) fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(resident * PAGE)
}

/// The size of a page, as Linux counts them in `statm` on the platforms this is measured on.
const PAGE: u64 = 4096;

/// How much memory is spoken for, and what is refused for it.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    charged: AtomicU64,
}

impl Pressure {
    pub(super) fn level(&self) -> u8 {
        (self.charged.load(Ordering::Relaxed) >> 56) as u8
    }

    pub(super) fn charged(&self) -> usize {
        (self.charged.load(Ordering::Relaxed) & !(0xff << 56)) as usize
    }

    pub(super) fn set(&self, level: u8, charged: usize) {
        let charged = (charged as u64) & !(0xff << 56);
        self.charged.store(u64::from(level) << 56 | charged, Ordering::Relaxed);
    }
}

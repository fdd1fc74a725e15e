//! How the server itself is: status, health, metrics.

use http::{HeaderValue, Response};
use periplus_core::json::write_string;
use periplus_core::registry::Usage;
use periplus_core::trends::Minute;
use serde::Serialize;

use super::answer::{self, Answer};
use super::body::Body;
use super::call::Call;
use super::metrics::{Metrics, resident_bytes};
use super::{Server, encode};
use crate::config::Limits;

#[derive(Serialize)]
struct Status<'a> {
    epoch: &'a str,
    revision: u64,
    warming: bool,
    /// How much longer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    warming_ms: Option<u64>,
    version: &'a str,
    uptime_ms: u64,
    /// The oldest revision that can be rebuilt.
    first: u64,
    usage: Usage,
    limits: &'a Limits,
    connections: usize,
    memory: Memory,
    alarms: Vec<periplus_core::event::Alarm>,
    /// How it stands with the registry that this server mirrors.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<super::upstream::Standing>,
}

#[derive(Serialize)]
struct Memory {
    /// What counts against the limit: instances, history, connections, watches, at what they take at most.
    charged: usize,
    limit: usize,
    /// What is refused for it: `none`, `watches`, `queries`, `registrations`; each includes those before it.
    refused: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident: Option<u64>,
}

/// `GET /v1/status`.
pub(super) fn status(call: &Call<'_>) -> Answer {
    let server = call.server;
    let ((usage, first, alarms, warming_until), date) = call.hub.read(|registry| {
        let alarms = registry.alarms().cloned().collect();
        let first = registry.catalog().first_revision().0;
        (registry.usage(), first, alarms, registry.warming_until())
    });
    let left = warming_until.filter(|_| !call.hub.mirrors()).map(|until| until.saturating_since(call.hub.now()));
    let status = Status {
        epoch: &call.hub.epoch().0,
        revision: date.revision.0,
        warming: date.warming,
        warming_ms: left.and_then(|left| u64::try_from(left.as_millis()).ok()),
        version: env!("CARGO_PKG_VERSION"),
        uptime_ms: u64::try_from(server.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        first,
        usage,
        limits: &server.config.limits,
        connections: server.connections.count(),
        memory: Memory {
            charged: server.pressure.charged(),
            limit: server.config.limits.memory,
            refused: ["none", "watches", "queries", "registrations"][usize::from(server.pressure.level().min(3))],
            resident: resident_bytes(),
        },
        alarms,
        upstream: server.upstream.as_ref().map(super::upstream::Upstream::standing),
    };
    Ok(answer::json(plain(&status)))
}

/// `GET /v1/trends`.
pub(super) fn trends(call: &Call<'_>) -> Answer {
    let now = super::clock::wall();
    let hub = &call.hub;
    let minutes = hub.trends(|trends| trends.minutes(now).collect::<Vec<_>>());
    let ((), date) = hub.read(|_| ());
    let mut out = answer::dated(hub.epoch(), date, 9 * 200);
    count(&mut out, "minute", now.0 / 60_000);
    type Counted = fn(&Minute) -> u64;
    let kinds: [(&str, Counted); 9] = [
        ("registered", |minute| minute.registered),
        ("flapped", |minute| minute.flapped),
        ("superseded", |minute| minute.superseded),
        ("updated", |minute| minute.updated),
        ("renewed_late", |minute| minute.renewed_late),
        ("deregistered", |minute| minute.deregistered),
        ("expired", |minute| minute.expired),
        ("evicted", |minute| minute.evicted),
        ("overlaid", |minute| minute.overlaid),
    ];
    for (name, counted) in kinds {
        answer::field(&mut out, name);
        out.push(b'[');
        for (at, minute) in minutes.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            encode::number(&mut out, counted(minute));
        }
        out.push(b']');
    }
    Ok(answer::dated_end(out))
}

/// Plain data as JSON.
pub(super) fn plain(data: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(data).expect("plain data has a JSON form")
}

/// `GET /healthz`: the process is up.
pub(super) fn alive(_: &Call<'_>) -> Answer {
    Ok(answer::json(br#"{"status":"up"}"#.to_vec()))
}

/// `GET /readyz`: requests are answered. Warming is no reason to send none here.
pub(super) fn ready(call: &Call<'_>) -> Answer {
    let ((), date) = call.hub.read(|_| ());
    let mut out = answer::dated(call.hub.epoch(), date, 32);
    answer::field(&mut out, "status");
    write_string(&mut out, if call.server.is_stopping() { "stopping" } else { "ready" });
    let mut response = answer::dated_end(out);
    if call.server.is_stopping() {
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

/// `GET /metrics`, in Prometheus's text format.
pub(super) fn metrics(call: &Call<'_>) -> Answer {
    Ok(exposition(call.server))
}

fn exposition(server: &std::sync::Arc<Server>) -> Response<Body> {
    let mut text = String::with_capacity(16 << 10);
    let registry = Metrics::registry(server);
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("a string takes everything");
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    answer::of_type(kind, text.into_bytes())
}

/// What a thing takes at most beside its own bytes, for the memory budget.
const INSTANCE: usize = 512;
const CONNECTION: usize = 20 << 10;
const WATCH: usize = 1 << 10;

/// Counts what is spoken for, and says what is refused for it: from 90 % of the limit on new watches, from 94 % on
/// queries, from 97 % on registrations. Renewals, deregistrations and what shows how things are, never.
pub(super) fn weigh(server: &Server) {
    let (usage, _) = server.hub().read(periplus_core::Registry::usage);
    let charged = usage.bytes
        + usage.log_bytes
        + usage.instances * INSTANCE
        + usage.watches * WATCH
        + server.connections.count() * CONNECTION;
    let limit = server.config.limits.memory;
    let above = |percent: usize| charged > limit / 100 * percent;
    let level = u8::from(above(90)) + u8::from(above(94)) + u8::from(above(97));
    if level > server.pressure.level() {
        tracing::warn!(charged, limit, level, "memory is nearly used up");
    }
    server.pressure.set(level, charged);
}

/// Appends a number under a key.
pub(super) fn count(out: &mut Vec<u8>, key: &str, n: u64) {
    answer::field(out, key);
    encode::number(out, n);
}

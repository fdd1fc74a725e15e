//! The client machine of the native protocol: JSON over HTTP and server-sent events, as
//! [`protocol`](crate::protocol) describes them.
//!
//! Calls (registrations, renewals, deregistrations) and the watch stream fail and recover apart: each has its own
//! [back-off](crate::client::Backoff) and its own origin in use. All renewals that are due travel as one request. One
//! stream carries everything that is followed; when that changes, a new stream takes over where the old one was. What
//! its holders have applied of it is reported now and then.
//!
//! # States and inputs
//!
//! What each input does to a client that does one thing, or reports of the stream it has: *down*, the way to the registry has failed, and is tried again
//! after a while; *stale* and *told*, what the subscription learns.
//!
//! | input | not ours, or over | a call | a stream, opening | a stream, open | a report |
//! |---|---|---|---|---|---|
//! | head: success | – | – | up | – | – |
//! | head: success, of another type | – | – | dropped, down | – | – |
//! | head: refusal | – | – | – | – | – |
//! | a chunk | – | – | – | told | – |
//! | a chunk beyond the limit | – | dropped, down | dropped, down | dropped, stale, down | dropped |
//! | end | – | down | down | stale, down | – |
//! | failure: not sent | – | down | down | stale, down | – |
//! | failure: unknown | – | down | down | stale, down | – |
//! | suspend | – | – | dropped | dropped, stale | dropped, stale |
//! | nothing for a minute | – | dropped, down | dropped, down | dropped, stale, down | dropped, stale, down |

#[cfg(feature = "registration")]
mod answer;
#[cfg_attr(not(feature = "registration"), path = "native/unasked.rs")]
mod ask;
mod refusal;
mod report;
mod stream;

use crate::client::ClientConfig;
use crate::client::calls::Call;
use crate::client::holding::Work;
use crate::client::link::Fall;
use crate::client::machine::{Machine, Protocol, What};
use crate::http::{Head, RequestId};
use crate::lease::Lease;
use crate::protocol::RENEWALS_LIMIT;
use crate::registry::Incarnation;
use crate::rng::{Rng, Seed};
use crate::time::Instant;
use stream::Streams;

/// A client of a Periplus registry. See [`Backend`](crate::client::Backend) for how it is driven.
pub type Native = Machine<Wire>;

/// What a client of a Periplus registry keeps beside what every client keeps.
#[derive(Debug)]
pub struct Wire {
    incarnation: Incarnation,
    /// The number of the latest renewal.
    number: u64,
    streams: Streams,
}

impl Native {
    /// A client that has not called yet. `seed` is 32 bytes from the system: the client's incarnation is drawn from it.
    ///
    /// # Panics
    /// If the configuration names no origin.
    #[must_use]
    pub fn new(config: ClientConfig, seed: Seed, now: Instant) -> Self {
        let mut rng = Rng::new(seed);
        let wire = Wire { incarnation: Incarnation(rng.next_u128()), number: 0, streams: Streams::default() };
        Self::assemble(config, rng, wire, now)
    }

    /// The client's life, as the registry knows it.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.wire.incarnation
    }
}

/// What a request that does no work is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    /// A watch.
    Watch,
    /// What the holders of a watch have applied.
    Report,
}

impl Protocol for Wire {
    type Lease = Lease;
    /// The number of a renewal.
    type Step = u64;
    type Aside = Aside;

    const BATCH: usize = RENEWALS_LIMIT;

    fn ask(machine: &mut Native, work: Work, now: Instant) {
        machine.ask(work, now);
    }

    fn on_called(machine: &mut Native, id: RequestId, now: Instant) {
        machine.on_called(id, now);
    }

    fn asides(&self) -> usize {
        self.streams.calls()
    }

    fn is_streamed(aside: &Aside) -> bool {
        *aside == Aside::Watch
    }

    fn on_aside_head(machine: &mut Native, id: RequestId, head: &Head, now: Instant) {
        machine.on_stream_head(id, head, now);
    }

    fn on_aside_chunk(machine: &mut Native, id: RequestId, chunk: &[u8], now: Instant) {
        machine.on_stream_chunk(id, chunk, now);
    }

    fn on_aside_end(machine: &mut Native, id: RequestId, now: Instant) {
        let Some(call) = machine.calls.end(id) else {
            return;
        };
        if matches!(call.what, What::Aside(Aside::Report)) {
            return machine.on_reported(id, &call, now);
        }
        match &call.head {
            Some(head) if head.is_success() => {
                machine.on_failure(id, Some(call), Fall::Broken, true, "the registry ended the stream", now);
            }
            _ => machine.on_stream_refused(id, &call, now),
        }
    }

    fn on_aside_over(
        machine: &mut Native,
        id: RequestId,
        call: Call<What<Self>>,
        fall: Fall,
        reason: &str,
        now: Instant,
    ) {
        match call.what {
            What::Aside(Aside::Report) => machine.on_unreported(id, None, now),
            _ => machine.on_stream_over(id, call.way, fall, reason, now),
        }
    }

    fn on_taken(machine: &mut Native) {
        machine.plan_report();
    }

    fn follow(machine: &mut Native, now: Instant) {
        machine.open_streams(now);
        machine.report(now);
    }

    fn on_time(machine: &mut Native, now: Instant) {
        machine.watch_silence(now);
    }

    fn poll_timeout(machine: &Native) -> Option<Instant> {
        machine.streams_timeout()
    }

    fn on_online(machine: &mut Native, now: Instant) {
        machine.refresh_streams(now);
    }

    fn close(machine: &mut Native) {
        machine.close_streams();
    }
}

#[cfg(test)]
mod tests;

//! Which origin is asked, and when again after a failure.

use core::time::Duration;

use super::backoff::Backoff;
use super::calls::Way;
use super::config::ClientConfig;
use crate::fault::Fault;
use crate::rng::Rng;
use crate::time::Instant;

/// One kind of requests' way to the registry: the origin in use, and the wait after a failure.
///
/// | state | failure | success | timeout |
/// |---|---|---|---|
/// | up | next origin; a broken connection: wait a part of the spread, otherwise: back off → down | up | – |
/// | down, waiting | of a request sent before the last failure: nothing | of such a request: nothing | when due: down, ready |
/// | down, ready | another origin not yet tried: it is next, at once; otherwise: back off | up | – |
#[derive(Debug, Default)]
pub(crate) struct Link {
    origin: usize,
    /// Origins that have failed since the last success.
    tried: usize,
    backoff: Backoff,
    retry: Option<Instant>,
    /// Rises with each failure: a request that was sent before the last one proves nothing new.
    era: u64,
    up: bool,
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fall {
    /// A connection broke, or could not be made: many may see it at once.
    Broken,
    /// The registry asked to come back, spread over this time.
    Asked(Duration),
    /// No answer in time, or one that makes no sense; with what the server asks to wait.
    Bad(Option<Duration>),
}

impl Link {
    /// Whether requests may be sent. O(1).
    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        self.retry.is_none_or(|retry| retry <= now)
    }

    /// Whether the last that was heard is an answer.
    pub(crate) const fn is_up(&self) -> bool {
        self.up
    }

    /// The way of a request that is sent now.
    pub(crate) const fn way(&self) -> Way {
        Way { origin: self.origin, era: self.era }
    }

    /// When requests may be sent again, if not now.
    pub(crate) const fn retry(&self) -> Option<Instant> {
        self.retry
    }

    /// An answer has come to a request that went this way. Says whether that is news. What was sent before the last
    /// failure proves nothing of the time after it, and shortens no wait.
    pub(crate) fn succeeded(&mut self, way: Way, now: Instant) -> bool {
        if way.era != self.era {
            return false;
        }
        self.backoff.worked(now);
        self.retry = None;
        self.tried = 0;
        !core::mem::replace(&mut self.up, true)
    }

    /// A request that went this way has failed. Returns how long to wait, or `None` if that is known already.
    pub(crate) fn failed(
        &mut self,
        way: Way,
        fall: Fall,
        config: &ClientConfig,
        shortest_ttl: Option<Duration>,
        rng: &mut Rng,
        now: Instant,
    ) -> Option<Duration> {
        if way.era != self.era {
            return None;
        }
        self.era += 1;
        let was_up = core::mem::replace(&mut self.up, false);
        self.origin = (self.origin + 1) % config.origins.len().max(1);
        self.tried += 1;
        let third = shortest_ttl.map_or(Backoff::CAP, |ttl| ttl / 3);
        let delay = match fall {
            Fall::Broken if was_up => self.backoff.spread(rng, third.min(config.spread), now),
            Fall::Asked(hint) => self.backoff.spread(rng, third.min(hint), now),
            Fall::Broken | Fall::Bad(None) if !was_up && self.tried < config.origins.len() => Duration::ZERO,
            Fall::Broken => self.backoff.next(rng, third, None, now),
            Fall::Bad(hint) => self.backoff.next(rng, third, hint, now),
        };
        let delay = match fall {
            _ if config.faults.has(Fault::NoBackoff) && !was_up => Duration::from_micros(1),
            Fall::Broken | Fall::Asked(_) if config.faults.has(Fault::NoSpread) && was_up => Duration::from_micros(1),
            _ => delay,
        };
        self.retry = Some(now.saturating_add(delay));
        Some(delay)
    }

    /// The wait is over: there is reason to think that the registry can be reached.
    pub(crate) fn hasten(&mut self, rng: &mut Rng, now: Instant) {
        if let Some(retry) = &mut self.retry {
            *retry = (*retry).min(now.saturating_add(rng.time_below(Backoff::BASE)));
        }
    }
}

//! What the holders of a watch have applied, reported to the registry, so that whoever changes something can see who
//! knows of it.
//!
//! A report is owed as long as the registry does not know that the last delivery which told something was applied, or
//! that a watch which has told nothing is where its client is. It disturbs nothing: it goes its own way, one at a time,
//! and what becomes of it says nothing of the registry.

use core::time::Duration;

use smol_str::{SmolStr, ToSmolStr};

use super::stream::Stream;
use super::{Aside, Native, Wire};
use crate::client::backoff::Backoff;
use crate::client::calls::Call;
use crate::client::machine::What;
use crate::fault::Fault;
use crate::http::target::Target;
use crate::http::{Head, Method, RequestId};
use crate::protocol::{AppliedMessage, TakenMessage};
use crate::rng::Rng;
use crate::set::{Cursor, Revision};
use crate::time::Instant;

/// A report that nothing else holds back waits up to this long, so that all who hear of one change do not call at once.
const JITTER: Duration = Duration::from_millis(250);
/// The longest name that a watch may have.
const NAME: usize = 256;

/// The reports of one stream.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What the registry calls the watch. `None`: it does not say, or does not take reports.
    watch: Option<SmolStr>,
    /// Where the last delivery was that is to be reported.
    owed: Option<Revision>,
    /// What the registry was told, and has heard.
    reported: Option<Revision>,
    /// What it was told last, heard or not.
    said: Option<Revision>,
    /// The report under way, and what it says.
    flying: Option<(RequestId, Revision)>,
    /// When it is to be looked what there is to report.
    due: Option<Instant>,
    /// Until when nothing is reported.
    rest: Instant,
    /// What may have changed when it was looked last.
    looked: Option<u64>,
    backoff: Backoff,
}

impl Report {
    /// The registry has said what the watch is called.
    pub(super) fn name(&mut self, watch: SmolStr) {
        if self.watch.is_none() && !watch.is_empty() && watch.len() <= NAME {
            self.watch = Some(watch);
        }
    }

    /// A delivery has come, which tells something or is a bookmark.
    pub(super) fn delivered(&mut self, cursor: &Cursor, tells: bool) {
        if tells || self.owed.is_none() {
            self.owed = Some(cursor.revision);
        }
    }

    /// The request that is under way.
    pub(super) fn call(&self) -> Option<RequestId> {
        self.flying.map(|(call, _)| call)
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    const fn is_owed(&self) -> bool {
        match (self.owed, self.reported) {
            (Some(owed), Some(reported)) => reported.0 < owed.0,
            (owed, _) => owed.is_some(),
        }
    }

    /// Sets the time for the next look, if there is reason for one. O(1).
    fn plan(&mut self, moved: u64, every: Duration, rng: &mut Rng, now: Instant) {
        let waits = self.watch.is_none() || self.flying.is_some() || self.due.is_some();
        if !waits && self.looked != Some(moved) && self.is_owed() {
            let jittered = now.saturating_add(rng.time_below(JITTER.min(every)));
            self.due = Some(self.rest.max(jittered));
        }
    }

    /// Whether it is news. Who begins to follow has less than was reported before: until it has caught up, there is
    /// nothing to say.
    fn is_news(&self, applied: Revision) -> bool {
        self.reported < Some(applied) && self.said <= Some(applied)
    }

    /// The registry has answered.
    fn heard(&mut self, now: Instant) {
        if let Some((_, applied)) = self.flying.take() {
            self.reported = self.reported.max(Some(applied));
        }
        self.backoff.worked(now);
    }

    /// The registry has not answered. What is reported next says as much as this report did, and more.
    fn failed(&mut self, hint: Option<Duration>, rng: &mut Rng, now: Instant) {
        self.flying = None;
        let delay = self.backoff.next(rng, Backoff::CAP, hint, now);
        self.rest = self.rest.max(now.saturating_add(delay));
        self.due = Some(self.rest);
    }

    /// The registry takes no reports.
    fn unwanted(&mut self) {
        *self = Self::default();
    }
}

impl Native {
    /// Sees to it that what is applied is reported, when it is time. O(1) unless it is.
    pub(super) fn report(&mut self, now: Instant) {
        self.plan_report();
        let Some(stream) =
            self.wire.streams.open_mut().filter(|stream| stream.report.due.is_some_and(|due| due <= now))
        else {
            return;
        };
        let Stream { call, following, last: Some(last), report, .. } = stream else {
            return;
        };
        let (stream, every) = (*call, self.config.report_every.unwrap_or_default());
        (report.due, report.looked) = (None, Some(self.subscriptions.moved()));
        report.rest = now.saturating_add(every);
        let applied = self.subscriptions.applied(following, &last.epoch).min(last.revision);
        let Some(watch) = report.watch.clone().filter(|_| report.is_news(applied)) else {
            return;
        };
        let cursor = Cursor { epoch: last.epoch.clone(), revision: applied };
        let message = AppliedMessage { watch, applied: cursor.to_smolstr() };
        let body = serde_json::to_vec(&message).expect("a message has only text keys");
        let Some(way) = self.calls.of(stream).map(|call| call.way) else {
            return;
        };
        let request = self.request(way.origin, Method::Post, &Target::new("/v1/watches/applied"), body);
        let deadline = now.saturating_add(self.config.call_timeout);
        let call = self.send_aside(Aside::Report, way, request, Some(deadline));
        if let Some(stream) = self.wire.streams.open_mut() {
            (stream.report.flying, stream.report.said) = (Some((call, applied)), Some(applied));
        }
    }

    /// There may be something to report.
    pub(super) fn plan_report(&mut self) {
        let moved = self.subscriptions.moved();
        if let (Some(every), Some(stream)) = (self.config.report_every, self.wire.streams.open_mut()) {
            stream.report.plan(moved, every, &mut self.rng, self.now);
        }
    }

    /// The answer to a report is complete.
    pub(super) fn on_reported(&mut self, id: RequestId, call: &Call<What<Wire>>, now: Instant) {
        let head = call.head.as_ref();
        match head.map_or(0, |head| head.status) {
            // Whether it was taken or not: the same would not be taken later.
            200..300 if call.body.finish::<TakenMessage>().is_ok() => {
                if let Some(report) = self.report_of(id) {
                    report.heard(now);
                }
            }
            404 | 405 | 501 => {
                if let Some(report) = self.report_of(id) {
                    report.unwanted();
                }
            }
            _ => self.on_unreported(id, head.and_then(Head::retry_after), now),
        }
    }

    /// A report is over without an answer that makes sense.
    pub(super) fn on_unreported(&mut self, id: RequestId, hint: Option<Duration>, now: Instant) {
        self.counters.failures += 1;
        match self.wire.streams.open_mut().filter(|stream| stream.report.call() == Some(id)) {
            Some(stream) if self.config.faults.has(Fault::ReportForgotten) => stream.report.heard(now),
            Some(stream) => stream.report.failed(hint, &mut self.rng, now),
            None => {}
        }
    }

    fn report_of(&mut self, id: RequestId) -> Option<&mut Report> {
        let stream = self.wire.streams.open_mut()?;
        Some(&mut stream.report).filter(|report| report.call() == Some(id))
    }
}

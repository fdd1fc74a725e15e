//! The laws of reports: what a client says that its holders have applied, they have, and the registry knows in the end.

use std::collections::BTreeMap;

use periplus_core::http::RequestId;
use periplus_core::protocol::AppliedMessage;
use periplus_core::{Cursor, Instance, Key, Revision, Selector};

use super::books::names;
use super::plan::SECOND;
use super::server::ExchangeId;
use super::tally::Mark;
use super::views::{Sub, place};
use super::world::World;

/// Holders look this long after they are called, at most.
const PACE: u64 = 20 * SECOND;
/// Reports of one stream are so far apart.
const EVERY: u64 = SECOND;

fn covers(wide: &Selector, selector: &Selector) -> bool {
    match (wide, selector) {
        (wide, Selector::Service(key)) => wide.contains(key),
        (Selector::Prefix { namespace, prefix }, Selector::Prefix { namespace: ns, prefix: longer }) => {
            namespace == ns && longer.starts_with(prefix.as_str())
        }
        (Selector::Service(_), Selector::Prefix { .. }) => false,
    }
}

impl World {
    /// A1: a report says no more than what every holder has, never less than before, and comes alone.
    pub fn check_report(&mut self, at: usize, id: RequestId, body: &[u8]) {
        let message = serde_json::from_slice::<AppliedMessage>(body).ok();
        let parsed = message.and_then(|message| {
            let exchange: ExchangeId = message.watch.split('/').next()?.parse().ok()?;
            Some((exchange, message.applied.parse::<Cursor>().ok()?))
        });
        let Some((number, cursor)) = parsed else {
            return self.violate("protocol", || "a report that nobody can read".into());
        };
        let client = &self.clients[at];
        let local = client.local;
        let stream = self.exchanges.get(&number).filter(|it| it.client == at && it.life == client.life && it.wanted);
        let Some(stream) = stream else {
            return self.violate("A1", || format!("c{at} reports of stream {number}, which it does not have"));
        };
        let revision = cursor.revision.0;
        if let Some((before, call, when)) = stream.reported {
            let alone = !client.exchanges.contains_key(&call);
            self.demand("A1", alone, || format!("c{at} reports of {number} while a report is under way"));
            self.demand("A1", before <= revision, || format!("c{at} reports {revision} of {number} after {before}"));
            self.demand("A1", when + EVERY <= local, || format!("c{at} reports of {number} twice within a second"));
            if before == revision {
                self.mark(Mark::ReportedAgain);
            }
        }
        let selectors = self.exchanges[&number].selectors.clone();
        let followed = |sub: &&Sub| selectors.iter().any(|selector| covers(selector, &sub.selector));
        let wrong = self.clients[at].subs.iter().filter(followed).find_map(|sub| self.lacks(sub, &cursor));
        let old = self.clients[at].subs.iter().filter(followed).any(|sub| sub.looks);
        if old {
            self.mark(Mark::ReportedOld);
        }
        self.demand("A1", wrong.is_none(), || {
            format!("c{at} reports {cursor} of {number}: {}", wrong.unwrap_or_default())
        });
        if let Some(stream) = self.exchanges.get_mut(&number) {
            stream.reported = Some((revision, id, local));
        }
    }

    /// What a holder lacks of what there was at a place in the past.
    fn lacks(&self, sub: &Sub, cursor: &Cursor) -> Option<String> {
        if cursor.revision == Revision(0) {
            return None;
        }
        let Some(history) = self.books.histories.get(cursor.epoch.0.as_str()) else {
            return Some("an epoch that never was".into());
        };
        let held = sub.cursor.as_ref().filter(|held| held.epoch == cursor.epoch).map(|held| held.revision);
        if held.is_some_and(|held| held >= cursor.revision) {
            return None;
        }
        let (first, base) = history.base();
        let mut latest: BTreeMap<&Key, Option<&Instance>> = BTreeMap::new();
        if held.is_none() {
            latest.extend(base.iter().map(|(key, instance)| (key, Some(instance))));
        }
        let from = held.map_or(first, |held| held.0);
        let Some(changes) = history.between(from, cursor.revision.0.max(first)) else {
            return Some(format!("the registry is only at {}", history.revision()));
        };
        latest.extend(changes.iter().map(|(key, to, _)| (key, to.as_ref())));
        let wrong = latest.into_iter().filter(|(key, _)| names(&sub.selector, key)).find(|(key, to)| {
            let place = place(key);
            let shown = sub.copy.get(&place);
            // What was not confirmed, and came and went, is not told of: it stays until the registry has settled.
            let unconfirmed = to.is_none() && history.forgot && !sub.truth.contains_key(&place);
            let unconfirmed = unconfirmed || (to.is_none() && held.is_none() && history.forgot);
            // What has become again what the holder has is nothing to be taken.
            let again = || {
                let later = history.between(cursor.revision.0.max(first), history.revision()).unwrap_or_default();
                later.iter().any(|(other, to, _)| other == *key && to.as_ref() == shown)
            };
            shown != *to && !unconfirmed && !again()
        });
        wrong.map(|(key, to)| {
            let there = if to.is_some() { "is there" } else { "is gone" };
            format!("{} {there}, and {:?} at {:?} has not taken it", Self::show_key(key), sub.id, sub.cursor)
        })
    }

    /// A2: long after the calm, the registry knows of every watcher that it has applied everything.
    pub fn check_reports_converged(&mut self, at: usize) {
        let (client, survivor) = (&self.clients[at], self.plan.survivor);
        let waits = client.subs.iter().any(|sub| sub.looks);
        let settled = 2 * SECOND + 4 * self.plan.clients[at].latency + PACE + 2 * EVERY;
        let history = self.books.history(survivor);
        let mut lately = history.changes.iter().rev().take_while(|(_, _, when)| when + settled > self.now);
        let changed = lately.any(|(key, ..)| client.subs.iter().any(|sub| names(&sub.selector, key)));
        let fresh = client.commands.last().is_some_and(|last| last + settled > self.now);
        let server = self.nodes[survivor].server.as_ref().expect("it is up");
        if waits || changed || fresh {
            return;
        }
        let revision = server.registry.catalog().revision();
        let wrong = client.open.iter().find_map(|number| {
            let info = server.watch_info(*number)?;
            let opened = server.registry.now().saturating_since(info.opened).as_micros() as u64;
            let known = info.has_applied(revision) == Some(true);
            (opened > settled && !known).then(|| format!("{number}: {info:?} at {revision}"))
        });
        self.demand("A2", wrong.is_none(), || format!("c{at} has applied everything, and is not known to: {wrong:?}"));
    }
}

//! The past: the fleet as it was at any revision that the registry remembers.
//!
//! What the registry holds is a function of its changes. A film begins with the fleet as it was once, and plays the
//! changes since, on or back, with the sets and differences of the core.

use periplus_core::ordered::sorted::SortedMap;

use periplus_core::http::target::Target;
use periplus_core::{Change, Delta, Instance, InstanceSet, Revision};
use serde_json::Value;
use smol_str::SmolStr;

use crate::Millis;
use crate::fleet::{Counts, Place};
use crate::json::{self, Read as _};

/// So many changes are looked at, at most, unless one asks for an earlier moment.
const REACH: u64 = 10_000;
/// The changes of a page.
const PAGE: u64 = 1_000;
/// How often one looks whether more has happened.
const LOOKS: Millis = 2_000;

/// One change, and how the service's set took it.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The service.
    pub service: SmolStr,
    /// What it did; it may be undone.
    pub delta: Delta,
    /// When, in milliseconds since the Unix epoch.
    pub time: u64,
    /// Why.
    pub cause: SmolStr,
    /// Who did it.
    pub actor: SmolStr,
}

/// Some of the past of one namespace.
#[derive(Debug)]
pub struct Film {
    namespace: SmolStr,
    /// The sets as they are where one looks.
    sets: SortedMap<SmolStr, InstanceSet>,
    frames: Vec<Frame>,
    /// How many frames lie before where one looks.
    at: usize,
    /// Where the film begins.
    base: u64,
    begun: bool,
    /// Where the registry was when it was asked last.
    pub present: u64,
    /// Up to where the changes are known.
    known: u64,
    asked: bool,
    due: Millis,
    /// What went wrong.
    pub problem: Option<SmolStr>,
}

/// A difference of one instance between two moments.
pub type Difference = (Place, Change);

impl Film {
    /// Of a registry that remembers `first` and all that follows, for one who wants to see `wanted`.
    #[must_use]
    pub fn new(namespace: &str, first: u64, present: u64, wanted: Option<u64>) -> Self {
        let reach = present.saturating_sub(REACH);
        let base = wanted.map_or(reach, |wanted| reach.min(wanted)).max(first).min(present);
        Self {
            namespace: namespace.into(),
            sets: SortedMap::new(),
            frames: Vec::new(),
            at: 0,
            base,
            begun: false,
            present,
            known: base,
            asked: false,
            due: 0,
            problem: None,
        }
    }

    /// What is to be asked for next, if anything is. It counts as asked.
    pub fn next(&mut self, now: Millis) -> Option<Target> {
        if self.asked || now < self.due || self.problem.is_some() {
            return None;
        }
        self.asked = true;
        let target = Target::new("/v1/history").query("ns", &self.namespace);
        Some(if self.begun {
            target.query("from", self.known + 1).query("limit", PAGE)
        } else {
            target.query("at", self.base)
        })
    }

    /// Takes an answer. Where one looks stays, unless that is the end: that moves on.
    pub fn take(&mut self, answer: Result<&Value, SmolStr>, now: Millis) {
        self.asked = false;
        let value = match answer {
            Ok(value) => value,
            Err(message) => return self.problem = Some(message),
        };
        self.present = self.present.max(value.number("revision").unwrap_or_default());
        if !self.begun {
            for instance in value.list("instances").iter().filter_map(json::instance) {
                let service = SmolStr::from(instance.service());
                self.apply(&service, Change::Insert(instance));
            }
            self.begun = true;
            return;
        }
        let follows = self.at == self.frames.len();
        // Those that wait are put at the end of the film, and are not played before one comes there.
        if !follows {
            let at = self.at;
            self.seek_frame(self.frames.len());
            self.read(value);
            self.seek_frame(at);
        } else {
            self.read(value);
        }
        self.known = match value.number("next") {
            Some(next) => next.saturating_sub(1).max(self.known),
            None => self.present,
        };
        self.due = if self.known < self.present { 0 } else { now + LOOKS };
    }

    fn read(&mut self, value: &Value) {
        for entry in value.list("entries") {
            let service = entry.text("service");
            let (before, after) = (json::instance(entry.part("before")), json::instance(entry.part("after")));
            let revision = entry.number("revision").unwrap_or_default();
            // What a registry says of before is what the film shows, or the film is wrong from here on.
            let Some(change) = Change::between(before, after) else { continue };
            let from = self.sets.get(&service).map_or(Revision(0), InstanceSet::revision);
            let delta = Delta { from, to: Revision(revision), changes: vec![change] };
            let set = self.sets.entry(service.clone()).or_default();
            if set.apply(&delta).is_err() {
                self.problem = Some("the registry's history does not fit together".into());
                return;
            }
            let actor = json::actor(entry.part("caller"));
            let (time, cause) = (entry.number("time").unwrap_or_default(), entry.text("cause"));
            self.frames.push(Frame { service, delta, time, cause, actor });
            self.at = self.frames.len();
        }
    }

    fn apply(&mut self, service: &SmolStr, change: Change) {
        let set = self.sets.entry(service.clone()).or_default();
        let delta = Delta { from: set.revision(), to: set.revision(), changes: vec![change] };
        // Two instances of one id are not listed.
        let _ = set.apply(&delta);
    }

    /// Whether it can be looked at.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.begun
    }

    /// How many changes of those that are wanted are known, and of how many.
    #[must_use]
    pub const fn progress(&self) -> (u64, u64) {
        (self.known.saturating_sub(self.base), self.present.saturating_sub(self.base))
    }

    /// Whether all changes up to the present are known.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.begun && self.known >= self.present
    }

    /// The namespace that it is of.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Where it begins.
    #[must_use]
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// The changes.
    #[must_use]
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// How many changes lie before where one looks.
    #[must_use]
    pub const fn place(&self) -> usize {
        self.at
    }

    /// The revision where one looks.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.at.checked_sub(1).map_or(self.base, |at| self.frames[at].delta.to.0)
    }

    /// When that was, unless it is where the film begins.
    #[must_use]
    pub fn time(&self) -> Option<u64> {
        Some(self.frames[self.at.checked_sub(1)?].time)
    }

    /// How many changes lie before what comes after a revision.
    #[must_use]
    pub fn frame_of(&self, revision: u64) -> usize {
        self.frames.partition_point(|frame| frame.delta.to.0 <= revision)
    }

    /// Looks at the fleet as it was after so many changes. O(changes between).
    pub fn seek_frame(&mut self, frame: usize) {
        let frame = frame.min(self.frames.len());
        while self.at != frame {
            let forward = self.at < frame;
            let (at, next) = if forward { (self.at, self.at + 1) } else { (self.at - 1, self.at - 1) };
            let Frame { service, delta, .. } = &self.frames[at];
            let set = self.sets.get_mut(service).expect("a set was made when its first change came");
            let played = if forward { set.apply(delta) } else { set.apply(&delta.clone().inverted()) };
            played.expect("a change that was taken once can be played again");
            self.at = next;
        }
    }

    /// The services as they were, with their numbers.
    pub fn services(&self) -> impl Iterator<Item = (&SmolStr, Counts)> {
        self.sets.iter().filter(|(_, set)| !set.is_empty()).map(|(name, set)| {
            let mut counts = Counts::default();
            set.iter().for_each(|instance| counts[instance.status() as usize] += 1);
            (name, counts)
        })
    }

    /// The instances of a service, as they were.
    pub fn instances(&self, service: &str) -> impl Iterator<Item = &Instance> {
        self.sets.get(service).into_iter().flat_map(InstanceSet::iter)
    }

    /// What is different where one looks from how it was after so many changes, by service and id. O(changes between).
    #[must_use]
    pub fn compare(&self, with: usize) -> Vec<Difference> {
        let (from, to) = (with.min(self.at), with.max(self.at).min(self.frames.len()));
        let mut ends: SortedMap<Place, (Option<&Instance>, Option<&Instance>)> = SortedMap::new();
        for frame in &self.frames[from.min(to)..to] {
            for change in &frame.delta.changes {
                let place = (frame.service.clone(), SmolStr::from(change.id()));
                ends.entry(place).or_insert((change.before(), None)).1 = change.after();
            }
        }
        let differences = ends.into_iter().filter_map(|(place, (before, after))| {
            let (before, after) = if with <= self.at { (before, after) } else { (after, before) };
            Some((place, Change::between(before.cloned(), after.cloned())?))
        });
        differences.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::instance;
    use serde_json::json;

    fn value(id: &str, status: &str) -> Value {
        serde_json::from_slice(instance("web", id, status).json()).expect("it is JSON")
    }

    fn film() -> Film {
        let mut film = Film::new("default", 10, 14, None);
        assert_eq!(film.next(0).map(|target| target.to_string()).as_deref(), Some("/v1/history?ns=default&at=10"));
        assert_eq!(film.next(0), None);
        film.take(Ok(&json!({"revision": 14, "instances": [value("a", "up")]})), 0);
        let next = film.next(0).map(|target| target.to_string());
        assert_eq!(next.as_deref(), Some("/v1/history?ns=default&from=11&limit=1000"));
        let entries = json!([
            {"revision": 11, "time": 1, "service": "web", "cause": "registered", "after": value("b", "up")},
            {"revision": 12, "time": 2, "service": "web", "cause": "updated", "before": value("a", "up"), "after": value("a", "down")},
            {"revision": 13, "time": 3, "service": "web", "cause": "expired", "before": value("b", "up")},
            {"revision": 14, "time": 4, "service": "web", "cause": "updated", "before": value("a", "down"), "after": value("a", "up")},
        ]);
        film.take(Ok(&json!({"revision": 14, "entries": entries})), 0);
        assert_eq!(film.problem, None);
        film
    }

    fn shown(film: &Film) -> Vec<String> {
        film.instances("web").map(|it| format!("{} {}", it.id(), it.status().as_str())).collect()
    }

    #[test]
    fn any_moment_can_be_looked_at_on_and_back() {
        let mut film = film();
        assert_eq!((film.revision(), shown(&film)), (14, vec!["a up".to_owned()]));
        let mut seen = Vec::new();
        for frame in [0, 3, 1, 4, 2] {
            film.seek_frame(frame);
            seen.push((film.revision(), shown(&film).join(", ")));
        }
        let expected = [(10, "a up"), (13, "a down"), (11, "a up, b up"), (14, "a up"), (12, "a down, b up")];
        assert_eq!(seen, expected.map(|(revision, text)| (revision, text.to_owned())));
        assert_eq!([9, 10, 11, 13, 99].map(|revision| film.frame_of(revision)), [0, 0, 1, 3, 4]);
    }

    #[test]
    fn two_moments_differ_by_what_did_not_come_back() {
        let mut film = film();
        // What came and went again in between is no difference, nor is what is as it was.
        assert_eq!(film.compare(0), []);
        film.seek_frame(2);
        let ids = |film: &Film, with| -> Vec<String> {
            let differences = film.compare(with);
            differences.iter().map(|((_, id), change)| format!("{id} {}", change.after().is_some())).collect()
        };
        assert_eq!(ids(&film, 0), ["a true", "b true"]);
        // Seen from the later moment, b is the one that came.
        assert_eq!(ids(&film, 4), ["a true", "b true"]);
        film.seek_frame(4);
        assert_eq!(ids(&film, 2), ["a true", "b false"]);
    }

    #[test]
    fn what_happens_while_one_looks_elsewhere_waits_at_the_end() {
        let mut film = film();
        film.seek_frame(1);
        assert_eq!(film.next(1_999), None);
        assert!(film.next(2_000).is_some());
        let entry = json!({"revision": 15, "time": 5, "service": "cart", "cause": "registered",
            "after": {"id": "c", "name": "cart"}});
        film.take(Ok(&json!({"revision": 15, "entries": [entry]})), 2_000);
        assert_eq!((film.revision(), film.frames().len()), (11, 5));
        film.seek_frame(5);
        assert_eq!(film.services().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["cart", "web"]);
    }

    #[test]
    fn a_history_that_does_not_fit_is_said_and_nothing_panics() {
        let mut film = film();
        film.next(5_000);
        let entry = json!({"revision": 15, "service": "web", "before": value("nobody", "up")});
        film.take(Ok(&json!({"revision": 15, "entries": [entry]})), 5_000);
        assert!(film.problem.is_some());
        film.seek_frame(0);
        assert_eq!(shown(&film), ["a up"]);
    }

    #[test]
    fn a_long_past_is_begun_late_unless_an_early_moment_is_asked_for() {
        assert_eq!(Film::new("x", 5, 50_000, None).base(), 40_000);
        assert_eq!(Film::new("x", 5, 50_000, Some(100)).base(), 100);
        assert_eq!(Film::new("x", 5, 50_000, Some(1)).base(), 5);
        assert_eq!(Film::new("x", 5, 50, None).base(), 5);
    }
}

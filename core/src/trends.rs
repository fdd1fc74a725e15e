//! What happened in each of the last minutes, in numbers: the past that is too long for a log.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;

use crate::event::{Event, EventKind, Subject};
use crate::name::{InstanceId, ServiceKey};
use crate::time::WallTime;

/// How many minutes are remembered.
pub const MINUTES: usize = 60;

/// Who comes back within this time, in milliseconds, has not left: it flaps.
pub const FLAP: u64 = 5 * MINUTE;

const MINUTE: u64 = 60_000;

/// So many of those that went are remembered, to know them when they come back.
const GONE: usize = 10_000;

/// What happened in one minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Instances that were registered.
    pub registered: u64,
    /// Those of them that had gone a moment ago.
    pub flapped: u64,
    /// Instances whose holder lost them to another.
    pub superseded: u64,
    /// Instances that their holders changed.
    pub updated: u64,
    /// Renewals that came late.
    pub renewed_late: u64,
    /// Instances that were deregistered.
    pub deregistered: u64,
    /// Instances that were not renewed.
    pub expired: u64,
    /// Instances that an operator took out.
    pub evicted: u64,
    /// What operators laid over instances, or took off.
    pub overlaid: u64,
}

type Place = (Arc<ServiceKey>, InstanceId);

/// Counts what happens, minute by minute, by the clock on the wall.
///
/// It is told events and keeps numbers: of the last hour, and of at most 10 000 instances when they went. A clock that is
/// put back counts into the latest minute until it has caught up.
#[derive(Debug, Default)]
pub struct Trends {
    /// The number of the latest minute since the Unix epoch.
    latest: u64,
    /// The latest last.
    minutes: VecDeque<Minute>,
    gone: BTreeMap<Place, WallTime>,
    /// Those that went, as they went.
    went: VecDeque<(WallTime, Place)>,
}

impl Trends {
    /// Nothing has happened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of an event. O(log n) in those that went lately.
    pub fn note(&mut self, event: &Event) {
        let flapped = self.comes_back(event);
        let minute = self.minute(event.time);
        let counted = match &event.kind {
            EventKind::Registered { .. } => &mut minute.registered,
            EventKind::Superseded { .. } => &mut minute.superseded,
            EventKind::Updated(_) => &mut minute.updated,
            EventKind::RenewedLate(_) => &mut minute.renewed_late,
            EventKind::Deregistered(_) => &mut minute.deregistered,
            EventKind::Expired(_) => &mut minute.expired,
            EventKind::Evicted { .. } => &mut minute.evicted,
            EventKind::Overlaid { .. } | EventKind::OverlayCleared { .. } => &mut minute.overlaid,
            _ => return,
        };
        *counted += 1;
        minute.flapped += u64::from(flapped);
    }

    /// The last hour as of now, the latest minute last. O(minutes).
    pub fn minutes(&self, now: WallTime) -> impl Iterator<Item = Minute> {
        let now = (now.0 / MINUTE).max(self.latest);
        let quiet = usize::try_from(now - self.latest).map_or(MINUTES, |quiet| quiet.min(MINUTES));
        let known = self.minutes.len().min(MINUTES - quiet);
        let before = MINUTES - quiet - known;
        let nothing = |count| core::iter::repeat_n(Minute::default(), count);
        nothing(before).chain(self.minutes.iter().skip(self.minutes.len() - known).copied()).chain(nothing(quiet))
    }

    /// The minute that something belongs to.
    fn minute(&mut self, time: WallTime) -> &mut Minute {
        let at = time.0 / MINUTE;
        if self.minutes.is_empty() || at >= self.latest + MINUTES as u64 {
            self.minutes.clear();
            self.minutes.push_back(Minute::default());
            self.latest = at;
        }
        while self.latest < at {
            self.latest += 1;
            self.minutes.push_back(Minute::default());
        }
        while self.minutes.len() > MINUTES {
            self.minutes.pop_front();
        }
        self.minutes.back_mut().expect("there is one")
    }

    /// Whether somebody comes back by this who went a moment ago. Remembers who goes.
    fn comes_back(&mut self, event: &Event) -> bool {
        if self.gone.is_empty() && matches!(event.kind, EventKind::Registered { .. }) {
            return false;
        }
        let Some(Subject { service, instance }) = event.kind.subject() else { return false };
        let place = || (Arc::clone(service), instance.instance_id());
        match event.kind {
            EventKind::Deregistered(_) | EventKind::Expired(_) | EventKind::Evicted { .. } => {
                self.gone.insert(place(), event.time);
                self.went.push_back((event.time, place()));
                self.forget(event.time);
                false
            }
            EventKind::Registered { .. } => {
                let gone = self.gone.remove(&place());
                gone.is_some_and(|gone| event.time.0.saturating_sub(gone.0) <= FLAP)
            }
            _ => false,
        }
    }

    fn forget(&mut self, now: WallTime) {
        while let Some((time, _)) = self.went.front()
            && (self.went.len() > GONE || now.0.saturating_sub(time.0) > FLAP)
        {
            let Some((time, place)) = self.went.pop_front() else { return };
            // It may have come back, and gone again since.
            if self.gone.get(&place) == Some(&time) {
                self.gone.remove(&place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::ServiceInstance;
    use crate::name::{Namespace, ServiceName};
    use crate::packed::Instance;
    use crate::set::Revision;
    use alloc::format;
    use alloc::vec::Vec;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn subject(id: &str) -> Subject {
        let name = ServiceName::new("web").unwrap();
        let instance = Instance::pack(&ServiceInstance::new(name.clone(), InstanceId::new(id).unwrap()));
        Subject { service: Arc::new(ServiceKey::new(Namespace::default(), name)), instance }
    }

    fn at(time: u64, kind: EventKind) -> Event {
        Event { time: WallTime(time), revision: Revision(1), kind, caller: None }
    }

    fn comes(time: u64, id: &str) -> Event {
        at(time, EventKind::Registered { subject: subject(id), generation: 1 })
    }

    fn registered(trends: &Trends, now: u64) -> Vec<u64> {
        trends.minutes(WallTime(now)).map(|minute| minute.registered).collect()
    }

    #[test]
    fn each_minute_has_what_happened_in_it_and_the_latest_is_the_last() {
        let mut trends = Trends::new();
        let start = 1_000 * MINUTE;
        for (minute, id) in [(0, "a"), (0, "b"), (2, "c")] {
            trends.note(&comes(start + minute * MINUTE + 5, id));
        }
        let minutes = registered(&trends, start + 3 * MINUTE);
        assert_eq!(minutes.len(), MINUTES);
        assert_eq!(minutes[MINUTES - 4..], [2, 0, 1, 0]);
        assert_eq!(minutes.iter().sum::<u64>(), 3);
        // What is older than an hour is forgotten, whether anything happened since or not.
        assert_eq!(registered(&trends, start + 60 * MINUTE).iter().sum::<u64>(), 1);
        assert_eq!(registered(&trends, start + 600 * MINUTE), [0; MINUTES]);
        trends.note(&comes(start + 600 * MINUTE, "d"));
        assert_eq!(registered(&trends, start + 600 * MINUTE).last(), Some(&1));
        assert_eq!(Trends::new().minutes(WallTime(0)).count(), MINUTES);
    }

    #[test]
    fn a_clock_that_is_put_back_counts_into_the_latest_minute() {
        let mut trends = Trends::new();
        trends.note(&comes(10 * MINUTE, "a"));
        trends.note(&comes(5 * MINUTE, "b"));
        assert_eq!(registered(&trends, 0).last(), Some(&2));
    }

    #[test]
    fn who_comes_back_soon_flaps_once_for_each_time() {
        let mut trends = Trends::new();
        let flaps = |trends: &Trends| trends.minutes(WallTime(0)).map(|minute| minute.flapped).sum::<u64>();
        trends.note(&comes(0, "a"));
        for (time, flaps_by_then) in [(10, 1), (20, 2)] {
            trends.note(&at(time, EventKind::Expired(subject("a"))));
            trends.note(&comes(time + 5, "a"));
            assert_eq!(flaps(&trends), flaps_by_then);
        }
        trends.note(&at(30, EventKind::Deregistered(subject("a"))));
        trends.note(&comes(31 + FLAP, "a"));
        // It came back too late for that, and another one was never gone.
        trends.note(&comes(32 + FLAP, "b"));
        assert_eq!(flaps(&trends), 2);
    }

    #[test]
    fn those_that_went_are_not_remembered_for_ever() {
        let mut trends = Trends::new();
        for n in 0..GONE as u64 + 500 {
            trends.note(&at(n / 100, EventKind::Expired(subject(&format!("{n}")))));
        }
        assert_eq!((trends.gone.len(), trends.went.len()), (GONE, GONE));
        trends.note(&at(FLAP + 1_000, EventKind::Expired(subject("late"))));
        assert_eq!((trends.gone.len(), trends.went.len()), (1, 1));
    }
}

//! What happened lately, as the registry tells it.

use std::collections::VecDeque;

use periplus_core::ordered::sorted::SortedMap;
use periplus_core::trends::FLAP;

use serde_json::Value;
use smol_str::SmolStr;

use crate::json::{Read as _, actor};

/// So many events are kept.
const KEPT: usize = 2_000;

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The registry's number for it.
    pub number: u64,
    /// When, in milliseconds since the Unix epoch.
    pub time: u64,
    /// The revision after it.
    pub revision: u64,
    /// What.
    pub kind: SmolStr,
    /// To an instance of this service, if to one.
    pub service: SmolStr,
    /// To this instance, if to one.
    pub id: SmolStr,
    /// In this namespace.
    pub namespace: SmolStr,
    /// An operator's reason.
    pub reason: SmolStr,
    /// The most telling name of whoever did it; nothing, if time did.
    pub actor: SmolStr,
}

impl Event {
    /// Reads it from the registry's JSON.
    #[must_use]
    pub fn read(value: &Value) -> Self {
        Self {
            number: value.number("number").unwrap_or_default(),
            time: value.number("time").unwrap_or_default(),
            revision: value.number("revision").unwrap_or_default(),
            kind: value.text("event"),
            service: value.text("service"),
            id: value.text("id"),
            namespace: value.text("namespace"),
            reason: value.text("reason"),
            actor: actor(value.part("caller")),
        }
    }

    /// Whether an instance went by it.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(&*self.kind, "deregistered" | "expired" | "evicted")
    }
}

/// The latest events, the oldest first.
#[derive(Debug, Default)]
pub struct Log(VecDeque<Event>);

/// What an instance did lately that it better had not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    /// It went and came back.
    pub flaps: usize,
    /// It expired and came back.
    pub revivals: usize,
    /// It renewed late.
    pub late: usize,
    /// Since when it is gone, and whether it expired.
    gone: Option<(u64, bool)>,
}

impl Log {
    /// Takes an event. One that was told before is passed over.
    pub fn push(&mut self, event: Event) {
        if let Some(last) = self.0.back().filter(|last| last.number >= event.number) {
            if last.time >= event.time {
                return;
            }
            // The registry counts anew: it is another one.
            self.0.clear();
        }
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    /// The latest first.
    pub fn latest(&self) -> impl Iterator<Item = &Event> {
        self.0.iter().rev()
    }

    /// The oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.0.iter()
    }

    /// Whether nothing is known to have happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What the instances of a namespace did, those that did anything, by service and id.
    #[must_use]
    pub fn habits(&self, namespace: &str) -> SortedMap<(SmolStr, SmolStr), Habits> {
        let mut all: SortedMap<(SmolStr, SmolStr), Habits> = SortedMap::new();
        for event in self.0.iter().filter(|event| event.namespace == namespace && !event.id.is_empty()) {
            let key = (event.service.clone(), event.id.clone());
            match &*event.kind {
                "renewed_late" => all.entry(key).or_default().late += 1,
                "registered" => {
                    let Some(habits) = all.get_mut(&key) else { continue };
                    if let Some((at, expired)) = habits.gone.take()
                        && event.time.saturating_sub(at) <= FLAP
                    {
                        habits.flaps += 1;
                        habits.revivals += usize::from(expired);
                    }
                }
                _ if event.is_end() => all.entry(key).or_default().gone = Some((event.time, event.kind == "expired")),
                _ => {}
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64, time: u64, kind: &str) -> Event {
        let (service, id) = ("web".into(), "a".into());
        Event { number, time, kind: kind.into(), service, id, namespace: "default".into(), ..Event::default() }
    }

    #[test]
    fn who_comes_back_soon_flaps_and_who_comes_back_late_has_left() {
        let mut log = Log::default();
        for (number, (time, kind)) in [
            (0, "registered"),
            (10, "expired"),
            (20, "registered"),
            (30, "renewed_late"),
            (40, "deregistered"),
            (50, "registered"),
            (60, "expired"),
            (60 + FLAP + 1, "registered"),
        ]
        .into_iter()
        .enumerate()
        {
            log.push(event(number as u64 + 1, time, kind));
        }
        let habits = log.habits("default")[&("web".into(), "a".into())];
        assert_eq!((habits.flaps, habits.revivals, habits.late), (2, 1, 1));
        assert!(log.habits("other").is_empty());
    }

    #[test]
    fn an_event_that_is_told_twice_is_one_and_a_new_registry_begins_anew() {
        let mut log = Log::default();
        for (number, time) in [(1, 1), (2, 2), (2, 2), (1, 1), (3, 3), (2, 9), (3, 9)] {
            log.push(event(number, time, "updated"));
        }
        // What happened later and has a smaller number happened in another registry.
        let kept: Vec<(u64, u64)> = log.iter().map(|event| (event.number, event.time)).collect();
        assert_eq!(kept, [(2, 9), (3, 9)]);
    }
}

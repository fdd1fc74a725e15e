//! The alarm of a mass expiry: more of a namespace went at once than one would believe.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::config::AlarmConfig;
use crate::event::Alarm;
use crate::name::Namespace;
use crate::time::{Instant, micros};

/// The window is counted in this many parts; it moves on by one part at a time.
const PARTS: usize = 8;

#[derive(Default)]
struct Window {
    expired: [usize; PARTS],
    /// The part that `now` lies in, counted from the driver's origin.
    part: u64,
    raised: Option<Alarm>,
}

impl Window {
    fn move_on(&mut self, part: u64) {
        let passed = part.saturating_sub(self.part);
        for old in 0..passed.min(PARTS as u64) {
            self.expired[((part - old) % PARTS as u64) as usize] = 0;
        }
        self.part = self.part.max(part);
    }

    fn total(&self) -> usize {
        self.expired.iter().sum()
    }
}

pub(super) struct Alarms {
    config: AlarmConfig,
    part: u64,
    windows: BTreeMap<Namespace, Window>,
    /// Something was counted since the alarms were looked at.
    counted: bool,
}

/// An alarm that begins or ends.
pub(super) enum Turn {
    Raised(Alarm),
    Ended(Namespace),
}

impl Alarms {
    pub(super) fn new(config: AlarmConfig) -> Self {
        Self { config, part: (micros(config.window) / PARTS as u64).max(1), windows: BTreeMap::new(), counted: false }
    }

    /// Counts expiries. O(log namespaces).
    pub(super) fn count(&mut self, namespace: &Namespace, expired: usize, now: Instant) {
        let part = now.as_micros() / self.part;
        self.counted = true;
        if !self.windows.contains_key(namespace) {
            self.windows.insert(namespace.clone(), Window { part, ..Window::default() });
        }
        if let Some(window) = self.windows.get_mut(namespace) {
            window.move_on(part);
            window.expired[(part % PARTS as u64) as usize] += expired;
        }
    }

    /// Whether an alarm would sound, or sounds already, if so many more were counted while they stay.
    pub(super) fn would_sound(&mut self, namespace: &Namespace, more: usize, instances: usize, now: Instant) -> bool {
        let part = now.as_micros() / self.part;
        let window = self.windows.get_mut(namespace);
        let (expired, sounds) = window.map_or((0, false), |window| {
            window.move_on(part);
            (window.total(), window.raised.is_some())
        });
        sounds || exceeds(&self.config, expired + more, instances + expired + more)
    }

    /// Raises and ends alarms as the counts say, if something was counted or an alarm's window moved on.
    /// O(namespaces with expiries in the window).
    pub(super) fn turns(&mut self, now: Instant, instances: impl Fn(&Namespace) -> usize) -> Vec<Turn> {
        let part = now.as_micros() / self.part;
        let mut turns = Vec::new();
        let moved = self.poll_timeout().is_some_and(|at| at <= now);
        if !core::mem::take(&mut self.counted) && !moved {
            return turns;
        }
        for (namespace, window) in &mut self.windows {
            window.move_on(part);
            let expired = window.total();
            let of = instances(namespace) + expired;
            match (&window.raised, exceeds(&self.config, expired, of)) {
                (None, true) => {
                    let alarm = Alarm { namespace: namespace.clone(), expired, of };
                    window.raised = Some(alarm.clone());
                    turns.push(Turn::Raised(alarm));
                }
                (Some(_), false) => {
                    window.raised = None;
                    turns.push(Turn::Ended(namespace.clone()));
                }
                _ => {}
            }
        }
        self.windows.retain(|_, window| window.raised.is_some() || window.total() > 0);
        turns
    }

    /// When a window moves on that may end its alarm.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let raised = self.windows.values().filter(|window| window.raised.is_some());
        let next = raised.map(|window| window.part + 1).min()?;
        // At the end of time no window moves on.
        next.checked_mul(self.part).map(Instant::from_micros)
    }

    pub(super) fn raised(&self) -> impl Iterator<Item = &Alarm> {
        self.windows.values().filter_map(|window| window.raised.as_ref())
    }
}

fn exceeds(config: &AlarmConfig, expired: usize, of: usize) -> bool {
    expired >= config.minimum.max(1) && expired.saturating_mul(100) > of.saturating_mul(config.share as usize)
}

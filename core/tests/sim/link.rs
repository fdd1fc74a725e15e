//! The network between one client and one registry.

use super::plan::Condition;
use super::random::Random;

pub struct Link {
    pub latency: u64,
    pub random: Random,
    conditions: Vec<(u64, Condition)>,
    /// Until when it was, or will be, anything but well.
    pub trouble: u64,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Arrives(u64),
    Vanishes,
}

impl Link {
    pub fn new(latency: u64, random: Random) -> Self {
        Self { latency, random, conditions: Vec::new(), trouble: 0 }
    }

    pub fn add(&mut self, condition: Condition, now: u64, lasts: u64) {
        self.conditions.retain(|(until, _)| *until > now);
        self.conditions.push((now.saturating_add(lasts), condition));
        let after = match condition {
            Condition::Hold(by) | Condition::SlowAnswers(by) | Condition::Latency(by) | Condition::Jitter(by) => by * 2,
            Condition::Throttle(seconds) => seconds * 1_000_000,
            _ => 0,
        };
        self.trouble = self.trouble.max(now.saturating_add(lasts).saturating_add(after));
    }

    /// Everything is well again. Says whether readers were slow.
    pub fn heal(&mut self, now: u64) -> bool {
        let slow = self.conditions.iter().any(|(_, condition)| matches!(condition, Condition::SlowReader));
        self.conditions.clear();
        self.trouble = self.trouble.min(now);
        slow
    }

    pub fn conditions(&self, now: u64) -> impl Iterator<Item = (u64, Condition)> + '_ {
        self.conditions.iter().copied().filter(move |(until, _)| *until > now)
    }

    pub fn is(&self, now: u64, wanted: Condition) -> bool {
        self.conditions(now).any(|(_, condition)| condition == wanted)
    }

    /// When a message that is sent now arrives, towards the registry or from it.
    pub fn fate(&mut self, now: u64, up: bool) -> Fate {
        let jitter = self.random.below(self.latency / 4 + 1);
        let mut at = now + self.latency + jitter;
        if self.conditions.is_empty() {
            return Fate::Arrives(at);
        }
        for nth in 0..self.conditions.len() {
            let (until, condition) = self.conditions[nth];
            if until <= now {
                continue;
            }
            let blocked = match condition {
                Condition::Latency(by) => {
                    at += by;
                    false
                }
                Condition::Jitter(by) => {
                    at += self.random.below(by);
                    false
                }
                Condition::Hold(by) => {
                    if self.random.percent(20) {
                        at += by;
                    }
                    false
                }
                Condition::SlowAnswers(by) if !up => {
                    at += by;
                    false
                }
                Condition::LoseRequests(percent) if up => self.random.percent(percent),
                Condition::LoseAnswers(percent) if !up => self.random.percent(percent),
                Condition::Partition => true,
                Condition::PartitionUp => up,
                Condition::PartitionDown => !up,
                _ => false,
            };
            if blocked {
                // Lost for good, or sent again by the system until it gets through.
                let lossy = matches!(condition, Condition::LoseRequests(_) | Condition::LoseAnswers(_));
                if lossy || until - now > 300_000_000 || self.random.percent(60) {
                    return Fate::Vanishes;
                }
                at = at.max(until + self.latency + self.random.below(1_000_000));
            }
        }
        Fate::Arrives(at)
    }
}

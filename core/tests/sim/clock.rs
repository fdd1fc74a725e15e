//! Clocks as machines have them: each runs a little fast or slow, some jump, some stand still for a while.

use periplus_core::Instant;

/// Parts per million.
const MILLION: i128 = 1_000_000;

/// One node's clock. True time is in microseconds since the world began.
#[derive(Clone, Debug)]
pub struct Clock {
    /// True time at which it showed `local`.
    at: u64,
    local: u64,
    /// Parts per million of true time that it runs fast, or slow.
    drift: i64,
    frozen: bool,
}

impl Clock {
    pub fn new(local: u64, drift: i64) -> Self {
        Self { at: 0, local, drift, frozen: false }
    }

    fn rate(&self) -> i128 {
        if self.frozen { 0 } else { MILLION + i128::from(self.drift) }
    }

    /// What it shows.
    pub fn read(&self, now: u64) -> Instant {
        let passed = i128::from(now.saturating_sub(self.at)) * self.rate() / MILLION;
        Instant::from_micros(self.local + passed as u64)
    }

    /// The true time at which it will show an instant, as far as one can tell; `None` while it stands still.
    pub fn when(&self, shown: Instant) -> Option<u64> {
        let Some(ahead) = shown.as_micros().checked_sub(self.local) else {
            return Some(self.at);
        };
        if self.frozen {
            return (ahead == 0).then_some(self.at);
        }
        let rate = self.rate();
        let micros = (i128::from(ahead) * MILLION + rate - 1) / rate;
        Some(self.at.saturating_add(u64::try_from(micros).unwrap_or(u64::MAX)))
    }

    fn anchor(&mut self, now: u64) {
        self.local = self.read(now).as_micros();
        self.at = now;
    }

    pub fn jump(&mut self, now: u64, by: i64) {
        self.anchor(now);
        self.local = self.local.saturating_add_signed(by);
    }

    pub fn freeze(&mut self, now: u64) {
        self.anchor(now);
        self.frozen = true;
    }

    /// Goes on, from where it would be had it never stood still.
    pub fn thaw(&mut self, now: u64) {
        if self.frozen {
            let stood = now.saturating_sub(self.at);
            self.anchor(now);
            self.frozen = false;
            self.local += stood;
        }
    }

    pub fn is_frozen(&self) -> bool {
        self.frozen
    }
}

//! The time that a page lives through, with what its machine slept.
//!
//! A browser has two clocks. `performance.now()` never jumps, but on most systems it stands still while the machine
//! sleeps. `Date.now()` goes on, but people and time servers set it. So a jump of the second over the first is one of
//! two things that look alike: a sleep, which a client has to know of because its leases went on, or a clock that was
//! set, which is nobody's business.
//!
//! [`Clock`] follows the first clock and adds a jump of the second only if the browser gives a [sign](Clock::sign) of
//! sleep near it: the page is shown again, thawed, on the network again, or its requests broke, as browsers break them
//! when the machine goes to sleep. A jump without a sign is dropped. A hidden page gets few signs, so that there a jump
//! is sign enough; taking a set clock for a sleep costs one renewal that was not due.

use periplus::core::Instant;

/// Jumps below this, in milliseconds, are the drift of two clocks, and their coarse steps.
const JUMP: f64 = 1_000.0;

/// How far from a jump, in milliseconds, a sign of sleep may be and still tell of it.
const NEAR: f64 = 10_000.0;

/// Both clocks of a browser at one moment, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// `performance.now()`.
    pub(crate) running: f64,
    /// `Date.now()`.
    pub(crate) wall: f64,
}

/// Makes one clock of two. It never goes back, and begins at the reading of the clock that runs.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: Option<Reading>,
    /// What the clock that runs has missed, in milliseconds.
    slept: f64,
    /// How often it has missed something.
    sleeps: u32,
    jump: Option<Jump>,
    /// When, on the clock that runs, there was a sign of sleep.
    sign: Option<f64>,
    hidden: bool,
}

/// A jump of the wall clock that no sign explains yet.
#[derive(Clone, Copy, Debug)]
struct Jump {
    by: f64,
    /// When it was noticed, on the clock that runs.
    at: f64,
}

impl Clock {
    /// The time of this reading. An earlier one than before counts as that.
    pub(crate) fn read(&mut self, reading: Reading) -> Instant {
        let last = self.last.unwrap_or(reading);
        // `max` also turns what is not a number into one.
        let running = reading.running.max(last.running);
        let jumped = (reading.wall - last.wall) - (running - last.running);
        self.last = Some(Reading { running, wall: reading.wall });

        self.jump = self.jump.filter(|jump| running - jump.at <= NEAR);
        if jumped.abs() >= JUMP {
            let signed = self.sign.is_some_and(|sign| sign >= last.running - NEAR);
            if jumped > 0.0 && (self.hidden || signed) {
                self.add(jumped);
            } else {
                // A clock that is set forward and back again has not slept.
                let by = self.jump.map_or(0.0, |jump| jump.by) + jumped;
                self.jump = (by >= JUMP).then_some(Jump { by, at: running });
            }
        }
        self.instant(running)
    }

    /// Notes that the machine may have slept just now, or may be about to.
    pub(crate) fn sign(&mut self, reading: Reading) {
        self.read(reading);
        self.sign = self.last.map(|last| last.running);
        if let Some(jump) = self.jump.take() {
            self.add(jump.by);
        }
    }

    /// Notes that nobody sees the page any more, or somebody does again. It is a sign of sleep, too.
    pub(crate) fn hide(&mut self, hidden: bool, reading: Reading) {
        self.sign(reading);
        self.hidden = hidden;
    }

    /// How many sleeps were noticed: timers that were set before the latest ring too late.
    pub(crate) const fn sleeps(&self) -> u32 {
        self.sleeps
    }

    fn add(&mut self, slept: f64) {
        self.slept += slept;
        self.sleeps = self.sleeps.wrapping_add(1);
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what does not fit is cut to what does"
    )]
    fn instant(&self, running: f64) -> Instant {
        Instant::from_micros(((running + self.slept) * 1_000.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const YEARS: f64 = 10.0 * 365.25 * 86_400_000.0;
    const EPOCH: f64 = 1_800_000_000_000.0;

    /// A browser whose machine can be put to sleep, and whose wall clock can be set.
    struct Page {
        clock: Clock,
        reading: Reading,
    }

    impl Page {
        fn new() -> Self {
            let mut page = Self { clock: Clock::default(), reading: Reading { running: 5.0, wall: EPOCH } };
            page.now();
            page
        }

        fn run(&mut self, millis: f64) -> &mut Self {
            self.reading.running += millis;
            self.reading.wall += millis;
            self
        }

        fn set_wall(&mut self, by: f64) -> &mut Self {
            self.reading.wall += by;
            self
        }

        fn sleep(&mut self, millis: f64) -> &mut Self {
            self.set_wall(millis)
        }

        fn sign(&mut self) -> &mut Self {
            self.clock.sign(self.reading);
            self
        }

        fn hide(&mut self, hidden: bool) -> &mut Self {
            self.clock.hide(hidden, self.reading);
            self
        }

        /// In milliseconds.
        fn now(&mut self) -> u64 {
            self.clock.read(self.reading).as_micros() / 1_000
        }
    }

    #[test]
    fn time_passes_as_the_clock_that_runs_says() {
        let mut page = Page::new();
        assert_eq!(page.now(), 5);
        assert_eq!(page.run(1_500.0).now(), 1_505);
        assert_eq!(page.run(86_400_000.0).now(), 86_401_505);
        assert_eq!(page.clock.sleeps(), 0);
    }

    #[test]
    fn a_wall_clock_that_is_set_changes_nothing_while_the_page_is_seen() {
        for by in [YEARS, -YEARS, 3_600_000.0, -3_600_000.0, 5_000.0, f64::NAN, f64::INFINITY] {
            let mut page = Page::new();
            page.run(1_000.0).set_wall(by);
            assert_eq!(page.now(), 1_005, "{by}");
            // Nor do signs that come too late, or came too early.
            assert_eq!(page.run(NEAR + 1_000.0).sign().now(), 12_005, "{by}");
            page.run(NEAR + 1_000.0).now();
            assert_eq!(page.run(1_000.0).set_wall(by).now(), 24_005, "{by}");
        }
    }

    #[test]
    fn a_sleep_counts_from_the_sign_that_tells_of_it() {
        let mut page = Page::new();
        page.run(1_000.0).sleep(600_000.0);
        assert_eq!(page.sign().now(), 601_005);
        assert_eq!(page.clock.sleeps(), 1);
        assert_eq!(page.run(1_000.0).sign().now(), 602_005, "and counts once");
    }

    #[test]
    fn a_sign_may_come_a_little_after_the_jump_was_noticed() {
        let mut page = Page::new();
        page.run(1_000.0).sleep(600_000.0);
        assert_eq!(page.now(), 1_005);
        assert_eq!(page.run(NEAR).sign().now(), 611_005);
    }

    #[test]
    fn a_sign_may_come_a_little_before_the_sleep() {
        let mut page = Page::new();
        page.sign().run(2_000.0).now();
        page.run(60_000.0).sleep(600_000.0);
        assert_eq!(page.now(), 662_005);
    }

    #[test]
    fn a_hidden_page_needs_no_sign() {
        let mut page = Page::new();
        page.hide(true).run(60_000.0).now();
        page.run(60_000.0).sleep(600_000.0);
        assert_eq!(page.now(), 720_005);
        page.run(60_000.0).set_wall(-YEARS);
        assert_eq!(page.now(), 780_005, "but never takes anything back");
        page.hide(false).run(60_000.0).now();
        assert_eq!(page.set_wall(YEARS).now(), 840_005, "and needs one once it is seen again");
    }

    #[test]
    fn a_page_that_is_shown_again_learns_what_it_slept() {
        let mut page = Page::new();
        page.hide(true).run(10.0).sleep(7_200_000.0).hide(false);
        assert_eq!(page.now(), 7_200_015);
    }

    #[test]
    fn a_wall_clock_that_is_set_and_set_back_has_not_slept() {
        let mut page = Page::new();
        page.run(1_000.0).set_wall(YEARS).now();
        page.run(1_000.0).set_wall(-YEARS).now();
        assert_eq!(page.sign().now(), 2_005);
    }

    #[test]
    fn a_clock_that_runs_backwards_stands_still() {
        let mut page = Page::new();
        page.run(10_000.0).now();
        page.reading.running = 17.0;
        assert_eq!(page.now(), 10_005);
        page.reading.running = f64::NAN;
        assert_eq!(page.now(), 10_005);
    }

    #[test]
    fn drift_adds_up_to_no_sleep() {
        let mut page = Page::new();
        page.hide(true);
        for _ in 0..10_000 {
            page.run(60_000.0).set_wall(600.0).now();
        }
        assert_eq!(page.now(), 600_000_005);
    }
}

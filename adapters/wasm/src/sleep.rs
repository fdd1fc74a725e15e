//! A timer: `setTimeout`, in slices that it takes, and set anew when the machine has slept.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use periplus::core::Instant;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsValue, closure::Closure};

use crate::page::Page;

/// The longest slice, in milliseconds: a browser counts them in 31 bits, and takes more for none at all.
const SLICE: u64 = 0x7fff_ffff;

/// A timer of the [`Browser`](crate::Browser)'s.
///
/// A browser lets the timers of a hidden page ring once a minute, and those of a frozen page not at all. It rings late
/// then, and never early.
pub struct Sleep {
    page: Rc<Page>,
    at: Instant,
    sleeper: u64,
    timer: Option<Timer>,
}

impl Sleep {
    pub(crate) fn new(page: Rc<Page>, at: Instant) -> Self {
        let sleeper = page.sleeper();
        Self { page, at, sleeper, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let now = this.page.now();
        if now >= this.at {
            this.page.unpark(this.sleeper);
            this.timer = None;
            return Poll::Ready(());
        }
        this.page.park(this.sleeper, context.waker());
        let sleeps = this.page.sleeps();
        if this.timer.as_ref().is_none_or(|timer| timer.rung.get() || timer.sleeps != sleeps) {
            let millis = this.at.saturating_since(now).as_micros().div_ceil(1_000);
            let millis = u64::try_from(millis).unwrap_or(SLICE).min(SLICE);
            this.timer = Some(Timer::new(&this.page, this.sleeper, sleeps, millis));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.page.unpark(self.sleeper);
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("at", &self.at).finish_non_exhaustive()
    }
}

/// One `setTimeout`.
struct Timer {
    handle: JsValue,
    rung: Rc<Cell<bool>>,
    /// How many sleeps were known of when it was set.
    sleeps: u32,
    /// Alive as long as the browser may call it.
    _ring: Closure<dyn FnMut()>,
}

impl Timer {
    fn new(page: &Rc<Page>, sleeper: u64, sleeps: u32, millis: u64) -> Self {
        let rung = Rc::new(Cell::new(false));
        let ring = {
            let (page, rung) = (Rc::clone(page), Rc::clone(&rung));
            Closure::new(move || {
                rung.set(true);
                if let Some(waker) = page.unpark(sleeper) {
                    waker.wake();
                }
            })
        };
        #[expect(clippy::cast_precision_loss, reason = "a slice has 31 bits")]
        let handle = set_timeout(&ring, millis as f64);
        Self { handle, rung, sleeps, _ring: ring }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.handle);
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Closure<dyn FnMut()>, millis: f64) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(handle: &JsValue);
}

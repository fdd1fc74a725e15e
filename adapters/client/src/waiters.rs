//! Those who wait for something, and how they are woken without a lock held.

use periplus_core::ordered::OrderedMap;
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

/// Wakers of those who wait for the same thing. Each keeps its token from one poll to the next and leaves with it.
///
/// A waker is somebody else's code, even when it is dropped: whatever comes out of here is woken or dropped by the
/// caller once no lock is held.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    next: u64,
    wakers: OrderedMap<u64, Waker>,
}

impl Waiters {
    /// Puts a waker in its place. Returns the one that was there.
    #[must_use]
    pub(crate) fn park(&mut self, token: &mut Option<u64>, waker: Waker) -> Option<Waker> {
        let token = *token.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        self.wakers.insert(token, waker)
    }

    /// Takes a waker out, if it is there.
    #[must_use]
    pub(crate) fn leave(&mut self, token: Option<u64>) -> Option<Waker> {
        self.wakers.remove(&token?)
    }

    /// Takes all of them out.
    pub(crate) fn take(&mut self, into: &mut Vec<Waker>) {
        into.extend(core::mem::take(&mut self.wakers).into_values());
    }
}

/// A place for the one waker of a driver.
#[derive(Debug, Default)]
pub(crate) struct DriverWaker(Mutex<Option<Waker>>);

impl DriverWaker {
    /// Says whom to wake from now on.
    pub(crate) fn set(&self, waker: &Waker) {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if place.as_ref().is_some_and(|held| held.will_wake(waker)) {
            return;
        }
        drop(place);
        let waker = waker.clone();
        place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = place.replace(waker);
        drop(place);
        drop(old);
    }

    /// Wakes the driver, if there is one.
    pub(crate) fn wake(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// There is no driver any more.
    pub(crate) fn clear(&self) {
        let old = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(old);
    }
}

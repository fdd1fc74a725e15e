//! What a runtime supplies: time, transport, tasks, randomness. It decides nothing.

use std::future::Future;

use futures_core::Stream;
use periplus_core::Instant;
use periplus_core::http::{Input, Request};

use crate::driver::Driver;

/// An async runtime, as the [driver](crate::driver) needs it.
///
/// Each method is one thing that a runtime has anyway. The types are concrete, so that a runtime whose tasks must be
/// `Send` can spawn the driver, and one that has a single thread need not be. The runtime itself is little more than a
/// name for it and can be shared, because the handles read its clock from wherever they are.
pub trait Runtime: Clone + Send + Sync + Unpin + 'static {
    /// A timer.
    type Sleep: Future<Output = ()> + Unpin;
    /// A request under way: yields what came of it, [`Input::End`] or [`Input::Failure`] last. Dropping it ends the
    /// request, and its connection if that is busy with it.
    type Exchange: Stream<Item = Input> + Unpin;

    /// The time, on a clock that never goes back and that counts the time a machine sleeps where the platform can.
    fn now(&self) -> Instant;

    /// A timer that rings at an instant of [`now`](Self::now)'s clock, or soon after.
    fn sleep_until(&self, at: Instant) -> Self::Sleep;

    /// Sends a request.
    fn request(&self, request: Request) -> Self::Exchange;

    /// Runs a driver until it ends.
    fn spawn(&self, driver: Driver<Self>);

    /// Fills a buffer with randomness from the system, fit for secrets.
    fn entropy(&self, bytes: &mut [u8]);

    /// What was stored under this name, if anything was and the runtime stores things.
    fn load(&self, name: &str) -> Option<Vec<u8>> {
        let _ = name;
        None
    }

    /// Stores bytes under a name, as well as the runtime can. Must not block for long.
    fn store(&self, name: &str, bytes: Vec<u8>) {
        let _ = (name, bytes);
    }
}

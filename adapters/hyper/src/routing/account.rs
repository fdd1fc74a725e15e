//! What the balancer is told of a call.

use std::sync::Arc;

use periplus_core::balance::{CallOutcome, Pick};
use tokio::sync::Notify;

use crate::host;

/// A pick that is told how its call ended; or nothing, if its caller gives up. The call counts as in flight while this
/// lives.
#[derive(Debug)]
pub struct Account {
    pick: Option<Pick>,
    attention: Arc<Notify>,
}

impl Account {
    pub(super) const fn new(pick: Pick, attention: Arc<Notify>) -> Self {
        Self { pick: Some(pick), attention }
    }

    /// The call has ended. Only the first end counts. O(1).
    pub fn end(&mut self, outcome: CallOutcome) {
        if self.pick.take().is_some_and(|pick| pick.done(outcome, host::now())) {
            self.attention.notify_one();
        }
    }
}

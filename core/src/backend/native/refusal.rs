//! What the registry answers when it refuses.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::{Native, Wire};
use crate::client::ClientEvent;
use crate::client::calls::Call;
use crate::client::link::Fall;
use crate::client::machine::What;
use crate::http::{Head, RequestId};
use crate::protocol::Problem;
use crate::time::Instant;

impl Native {
    /// A watch was refused, in so many words.
    pub(super) fn on_stream_refused(&mut self, id: RequestId, call: &Call<What<Wire>>, now: Instant) {
        let head = call.head.clone().unwrap_or(Head::new(0));
        let (refusal, hint) = refusal(&head, call);
        let reason = match refusal {
            Ok(problem) => {
                let reason = problem.message.clone();
                self.emit(ClientEvent::WatchRefused(problem));
                reason
            }
            Err(reason) => reason,
        };
        self.on_stream_over(id, call.way, Fall::Bad(hint), &reason, now);
    }
}

/// Reads a refusal, and how long to wait as it asks. Without a problem that can be read, whatever answered was not the
/// registry, or not in a state to: then it is what is wrong.
pub(super) fn refusal(head: &Head, call: &Call<What<Wire>>) -> (Result<Problem, String>, Option<Duration>) {
    // Too much is too much, whoever says so, and in whatever words.
    let problem = call.body.finish().map_err(|_| format!("answered with status {}", head.status));
    (problem, head.retry_after())
}

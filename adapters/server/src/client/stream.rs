//! A stream of server-sent events from the registry.

use std::collections::VecDeque;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use periplus_core::http::sse::{Event, SseDecoder};

use super::address::Address;
use super::error::{CallError, innermost};

/// A stream that is silent for longer has lost its other end: keep-alives come more often.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest event that is read.
const EVENT_LIMIT: usize = 4 << 20;

/// Events as they come.
#[derive(Debug)]
pub struct EventStream {
    body: Incoming,
    decoder: SseDecoder,
    events: VecDeque<Event>,
    address: Address,
}

impl EventStream {
    pub(super) fn new(body: Incoming, address: Address) -> Self {
        Self { body, decoder: SseDecoder::new(EVENT_LIMIT), events: VecDeque::new(), address }
    }

    /// The next event; `None` at an orderly end. May be dropped and called again without losing an event.
    ///
    /// # Errors
    /// The connection broke or fell silent.
    pub async fn next(&mut self) -> Result<Option<Event>, CallError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let frame = tokio::time::timeout(SILENCE, self.body.frame()).await;
            let frame = match frame.map_err(|_| self.broken("silent for too long"))? {
                None => return Ok(None),
                Some(frame) => frame.map_err(|error| self.broken(&innermost(&error)))?,
            };
            if let Some(bytes) = frame.data_ref() {
                let mut rest = &bytes[..];
                loop {
                    match self.decoder.decode(&mut rest) {
                        Ok(Some(event)) => self.events.push_back(event),
                        Ok(None) => break,
                        Err(error) => return Err(self.broken(&error.to_string())),
                    }
                }
            }
        }
    }

    fn broken(&self, reason: &str) -> CallError {
        CallError::Unreachable {
            address: self.address.to_string(),
            reason: format!("the stream broke: {reason}"),
            not_sent: false,
        }
    }
}

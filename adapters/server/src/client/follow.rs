//! A stream of events that is opened again after a loss, where it was.

use std::time::Duration;

use periplus_core::Rng;
use periplus_core::client::Backoff;
use periplus_core::http::sse::Event;
use periplus_core::http::target::Target;
use periplus_hyper::host;
use smol_str::SmolStr;

use super::Client;
use super::error::CallError;
use super::stream::EventStream;
use crate::random;

/// Those who lose a stream come back within this time, not all at once.
const SPREAD: Duration = Duration::from_secs(1);

/// What comes of it.
#[derive(Debug)]
pub enum Step {
    /// An event.
    Event(Event),
    /// The stream is lost.
    Stale {
        /// Why.
        reason: String,
        /// When the next attempt comes.
        retry_in: Duration,
    },
    /// The stream is back.
    Live,
}

/// A stream that comes back.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    target: Target,
    last_id: Option<SmolStr>,
    stream: Option<EventStream>,
    was_live: bool,
    /// What the registry asked for before its goodbye.
    retry: Option<Duration>,
    retry_in: Duration,
    backoff: Backoff,
    rng: Rng,
}

impl Follow {
    /// A stream of what is at this path. Connects at the first [`next`](Self::next).
    #[must_use]
    pub fn new(client: Client, target: Target) -> Self {
        Self {
            client,
            target,
            last_id: None,
            stream: None,
            was_live: false,
            retry: None,
            retry_in: Duration::ZERO,
            backoff: Backoff::default(),
            rng: random::rng(),
        }
    }

    /// What comes next. Once it was connected it never gives up.
    ///
    /// # Errors
    /// The first attempt to connect failed, or the registry refuses for good.
    pub async fn next(&mut self) -> Result<Step, CallError> {
        loop {
            let Some(stream) = &mut self.stream else {
                tokio::time::sleep(self.retry_in).await;
                match self.client.stream(self.target.clone(), self.last_id.as_deref()).await {
                    Ok(stream) => self.stream = Some(stream),
                    Err(error) if self.was_live && error.is_passing() => {
                        let (hint, now) = (error.retry_after(), host::now());
                        self.retry_in = self.backoff.next(&mut self.rng, Backoff::CAP, hint, now);
                        return Ok(Step::Stale { reason: error.to_string(), retry_in: self.retry_in });
                    }
                    Err(error) => return Err(error),
                }
                if std::mem::replace(&mut self.was_live, true) {
                    return Ok(Step::Live);
                }
                continue;
            };
            let reason = match stream.next().await {
                Ok(Some(event)) => {
                    self.retry = event.retry.or(self.retry);
                    if let Some(id) = &event.id {
                        self.last_id = Some(id.clone());
                    }
                    return Ok(Step::Event(event));
                }
                Ok(None) => "the registry ended the stream".into(),
                Err(error) => error.to_string(),
            };
            self.stream = None;
            let now = host::now();
            self.backoff.worked(now);
            self.retry_in = self.backoff.spread(&mut self.rng, SPREAD, now) + self.retry.take().unwrap_or_default();
            return Ok(Step::Stale { reason, retry_in: self.retry_in });
        }
    }
}

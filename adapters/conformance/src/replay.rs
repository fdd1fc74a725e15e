//! One recorded log of inputs, which gives the same outputs wherever it is replayed.
//!
//! The log is one JSON object a line: first the [`Header`], then one [`Entry`] for each input that a client's machine was
//! given while it spoke to a real registry, with its time. What it says of them is text, line by line.

mod recorder;

use std::fmt::Write as _;
use std::time::Duration;

use periplus::core::backend::native::Native;
use periplus::core::client::{
    Backend, ClientConfig, ClientEvent, Registration, RegistrationId, SubscriptionId, Update,
};
use periplus::core::http::{Failure, Head, RequestId, Transmit};
use periplus::core::{Instant, Namespace, Patch, Selector, ServiceInstance, ServiceKey, ServiceName};
use serde::{Deserialize, Serialize};

pub use recorder::{Log, Recorder};

/// The log that is kept with this crate.
pub const RECORDED: &str = include_str!("replay/recorded.jsonl");

/// What it gives.
pub const EXPECTED: &str = include_str!("replay/expected.txt");

/// With what the machine was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The seed.
    pub seed: [u8; 32],
    /// The time, in microseconds.
    pub now: u64,
    /// Where the registry was.
    pub origins: Vec<String>,
}

impl Header {
    /// The machine, as it was made.
    #[must_use]
    pub fn machine(&self) -> Native {
        let config = ClientConfig {
            origins: self.origins.clone(),
            spread: Duration::from_millis(300),
            silence: Duration::from_millis(1_500),
            linger: Duration::from_millis(200),
            last_word: Duration::from_secs(2),
            call_timeout: Duration::from_secs(1),
            ..ClientConfig::default()
        };
        Native::new(config, self.seed, Instant::from_micros(self.now))
    }
}

/// An input and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// In microseconds.
    pub at: u64,
    /// What was handed in.
    pub input: Given,
}

/// What a machine is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the methods of `Backend`")]
#[serde(rename_all = "snake_case")]
pub enum Given {
    Register { instance: ServiceInstance, ttl_ms: Option<u64> },
    Update { id: u64, patch: Patch },
    Deregister { id: u64 },
    Watch { service: Option<ServiceName>, prefix: Option<String> },
    Unwatch { id: u64 },
    Suspend,
    Resume,
    Close,
    Response { id: u64, head: Head },
    Chunk { id: u64, text: String },
    End { id: u64 },
    Failure { id: u64, failure: Failure },
    Timeout,
    Online,
}

/// Replays the log that is kept with this crate, and checks what the machine said.
///
/// # Panics
/// If it is not what it has always been; the message shows the first line that differs.
pub fn check_recorded() {
    let said = replay(RECORDED).expect("the log that is kept here is whole");
    for (at, (said, expected)) in said.lines().zip(EXPECTED.lines()).enumerate() {
        assert_eq!(said, expected, "line {}", at + 1);
    }
    assert_eq!(said.len(), EXPECTED.len());
}

/// Replays a log, and returns all that the machine said, line by line. O(log).
///
/// # Errors
/// If a line is not what it should be.
pub fn replay(log: &str) -> Result<String, serde_json::Error> {
    let mut lines = log.lines();
    let header: Header = serde_json::from_str(lines.next().unwrap_or_default())?;
    let mut machine = header.machine();
    let mut said = String::new();
    for line in lines {
        let Entry { at, input } = serde_json::from_str(line)?;
        let now = Instant::from_micros(at);
        let _ = writeln!(said, "{now:?} {}", feed(&mut machine, input, now));
        drain(&mut machine, &mut said);
    }
    let _ = writeln!(said, "counters {:?}", machine.counters());
    Ok(said)
}

/// Hands in an input, and says what came of it at once.
fn feed(machine: &mut Native, input: Given, now: Instant) -> String {
    match input {
        Given::Register { instance, ttl_ms } => {
            let mut wanted = Registration::new(instance);
            wanted.ttl = ttl_ms.map(Duration::from_millis);
            return format!("register {:?}", machine.register(&wanted, now));
        }
        Given::Update { id, patch } => return format!("update {:?}", machine.update(RegistrationId(id), &patch, now)),
        Given::Watch { service, prefix } => {
            let namespace = Namespace::default();
            let selector = match service {
                Some(name) => Selector::Service(ServiceKey::new(namespace, name)),
                None => Selector::Prefix { namespace, prefix: prefix.unwrap_or_default().into() },
            };
            return format!("watch {:?}", machine.watch(&selector, now));
        }
        Given::Deregister { id } => machine.deregister(RegistrationId(id), now),
        Given::Unwatch { id } => machine.unwatch(SubscriptionId(id), now),
        Given::Suspend => machine.suspend(now),
        Given::Resume => machine.resume(now),
        Given::Close => machine.close(now),
        Given::Response { id, head } => machine.handle_response(RequestId(id), &head, now),
        Given::Chunk { id, text } => machine.handle_chunk(RequestId(id), text.as_bytes(), now),
        Given::End { id } => machine.handle_end(RequestId(id), now),
        Given::Failure { id, failure } => machine.handle_failure(RequestId(id), &failure, now),
        Given::Timeout => machine.handle_timeout(now),
        Given::Online => machine.handle_online(now),
    }
    "-".into()
}

/// Writes down all that the machine has to say.
fn drain(machine: &mut Native, said: &mut String) {
    while let Some(transmit) = machine.poll_transmit() {
        let _ = match transmit {
            Transmit::Send(id, request) => {
                let body = String::from_utf8_lossy(&request.body);
                writeln!(said, "  send {} {} {} {body}", id.0, request.method.as_str(), request.url)
            }
            Transmit::Cancel(id) => writeln!(said, "  cancel {}", id.0),
        };
    }
    while let Some(event) = machine.poll_event() {
        let _ = writeln!(said, "  event {event:?}");
        if let ClientEvent::Update(id) = event {
            while let Some(update) = machine.poll_update(id) {
                let Update { changes, provenance, cursor, .. } = update;
                let _ = writeln!(said, "  update {provenance:?} {cursor:?} {changes:?}");
            }
        }
    }
    if let Some(at) = machine.poll_timeout() {
        let _ = writeln!(said, "  until {at:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_log_gives_the_outputs_it_has_always_given() {
        check_recorded();
    }

    #[test]
    fn the_recorded_log_has_every_kind_of_input_but_the_rarest() {
        for kind in ["register", "update", "deregister", "watch", "unwatch", "response", "chunk", "end", "failure"] {
            assert!(RECORDED.contains(&format!("\"input\":{{\"{kind}\":")), "{kind}");
        }
        assert!(RECORDED.contains("\"input\":\"timeout\"") && RECORDED.contains("\"input\":\"close\""));
        assert!(RECORDED.lines().count() > 200);
    }
}

//! A machine that writes down what it is given.

use std::sync::{Arc, Mutex, PoisonError};

use periplus::core::backend::native::Native;
use periplus::core::client::{
    Backend, ClientEvent, CommandError, Counters, Registration, RegistrationId, RegistrationView, SubscriptionId,
    Update, View,
};
use periplus::core::http::{Failure, Head, RequestId, Transmit};
use periplus::core::{Instant, Patch, Selector};

use super::{Entry, Given, Header};

/// What a [`Recorder`] has written down. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// The log, line by line.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn write(&self, entry: &impl serde::Serialize) {
        let line = serde_json::to_string(entry).expect("it can be written as JSON");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// A machine that writes down what it is given.
#[derive(Debug)]
pub struct Recorder {
    machine: Native,
    log: Log,
}

impl Recorder {
    /// A recorder over a new machine, and its log.
    #[must_use]
    pub fn new(header: &Header) -> (Self, Log) {
        let log = Log::default();
        log.write(header);
        (Self { machine: header.machine(), log: log.clone() }, log)
    }

    fn note(&self, now: Instant, input: Given) {
        self.log.write(&Entry { at: now.as_micros(), input });
    }
}

impl Backend for Recorder {
    fn register(&mut self, registration: &Registration, now: Instant) -> Result<RegistrationId, CommandError> {
        let ttl_ms = registration.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        self.note(now, Given::Register { instance: registration.instance.clone(), ttl_ms });
        self.machine.register(registration, now)
    }

    fn update(&mut self, id: RegistrationId, patch: &Patch, now: Instant) -> Result<(), CommandError> {
        self.note(now, Given::Update { id: id.0, patch: patch.clone() });
        self.machine.update(id, patch, now)
    }

    fn deregister(&mut self, id: RegistrationId, now: Instant) {
        self.note(now, Given::Deregister { id: id.0 });
        self.machine.deregister(id, now);
    }

    fn watch(&mut self, selector: &Selector, now: Instant) -> Result<SubscriptionId, CommandError> {
        let (service, prefix) = match selector {
            Selector::Service(key) => (Some(key.service.clone()), None),
            Selector::Prefix { prefix, .. } => (None, Some(prefix.to_string())),
        };
        self.note(now, Given::Watch { service, prefix });
        self.machine.watch(selector, now)
    }

    fn unwatch(&mut self, id: SubscriptionId, now: Instant) {
        self.note(now, Given::Unwatch { id: id.0 });
        self.machine.unwatch(id, now);
    }

    fn suspend(&mut self, now: Instant) {
        self.note(now, Given::Suspend);
        self.machine.suspend(now);
    }

    fn resume(&mut self, now: Instant) {
        self.note(now, Given::Resume);
        self.machine.resume(now);
    }

    fn close(&mut self, now: Instant) {
        self.note(now, Given::Close);
        self.machine.close(now);
    }

    fn handle_response(&mut self, id: RequestId, head: &Head, now: Instant) {
        self.note(now, Given::Response { id: id.0, head: head.clone() });
        self.machine.handle_response(id, head, now);
    }

    fn handle_chunk(&mut self, id: RequestId, chunk: &[u8], now: Instant) {
        let text = std::str::from_utf8(chunk).expect("what is recorded is text").to_owned();
        self.note(now, Given::Chunk { id: id.0, text });
        self.machine.handle_chunk(id, chunk, now);
    }

    fn handle_end(&mut self, id: RequestId, now: Instant) {
        self.note(now, Given::End { id: id.0 });
        self.machine.handle_end(id, now);
    }

    fn handle_failure(&mut self, id: RequestId, failure: &Failure, now: Instant) {
        self.note(now, Given::Failure { id: id.0, failure: failure.clone() });
        self.machine.handle_failure(id, failure, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.note(now, Given::Timeout);
        self.machine.handle_timeout(now);
    }

    fn handle_online(&mut self, now: Instant) {
        self.note(now, Given::Online);
        self.machine.handle_online(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.machine.poll_transmit()
    }

    fn poll_event(&mut self) -> Option<ClientEvent> {
        self.machine.poll_event()
    }

    fn poll_update(&mut self, id: SubscriptionId) -> Option<Update> {
        self.machine.poll_update(id)
    }

    fn poll_cache(&mut self) -> Option<Vec<u8>> {
        self.machine.poll_cache()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn registration(&self, id: RegistrationId) -> Option<RegistrationView> {
        self.machine.registration(id)
    }

    fn view(&self, id: SubscriptionId) -> Option<View> {
        self.machine.view(id)
    }

    fn counters(&self) -> Counters {
        self.machine.counters()
    }

    fn is_closed(&self) -> bool {
        self.machine.is_closed()
    }
}

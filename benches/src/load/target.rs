//! What is asked of a registry under load.

use std::time::Duration;

use anyhow::Result;

use super::clock::{Clock, DIGITS};

/// A registry that listens somewhere.
#[allow(async_fn_in_trait, reason = "the generator is one thread and needs no Send")]
pub trait Target: Clone + 'static {
    /// Does one thing at a time.
    type Lane: Lane + 'static;
    /// Follows one service.
    type Watch: Watch + 'static;

    /// As many lanes, connected.
    async fn lanes(&self, count: usize) -> Result<Vec<Self::Lane>>;

    /// Follows a service on a connection of its own, and has received the service as it is.
    async fn watch(&self, service: &str) -> Result<Self::Watch>;

    /// What a watch of the service receives once for each instance that goes, and never otherwise once all of them
    /// are there.
    fn removal(&self, service: &str) -> Vec<u8>;
}

/// One of many clients of a registry.
#[allow(async_fn_in_trait, reason = "the generator is one thread and needs no Send")]
pub trait Lane {
    /// The right to renew a registration.
    type Lease: Clone;

    /// Registers an instance with a lease of its own.
    async fn register(&mut self, service: &str, id: &str, ttl: Duration) -> Result<Self::Lease>;

    /// Changes an instance so that it carries the time at which the change is sent.
    async fn change(&mut self, service: &str, id: &str, lease: &Self::Lease, clock: &Clock) -> Result<()>;

    /// Renews leases by one request each, all of them under way together.
    async fn renew(&mut self, leases: &[Self::Lease]) -> Result<()>;

    /// Renews leases together, in one request if the registry knows such a thing.
    async fn renew_batch(&mut self, leases: &[Self::Lease]) -> Result<()> {
        self.renew(leases).await
    }

    /// Lists a service and says how many instances the answer has.
    async fn list(&mut self, service: &str) -> Result<usize>;
}

/// The events of a service as they come in.
#[allow(async_fn_in_trait, reason = "the generator is one thread and needs no Send")]
pub trait Watch {
    /// The next bytes, whatever they are part of.
    async fn next(&mut self) -> Result<&[u8]>;
}

/// What stands before the time of sending in an instance's JSON.
pub const SENT: &str = r#""sent":""#;

/// The time of sending of what was not changed yet.
pub const UNSENT: &str = match str::from_utf8(&[b'0'; DIGITS]) {
    Ok(zeros) => zeros,
    Err(_) => unreachable!(),
};

/// An instance of some 300 bytes as JSON.
#[must_use]
pub fn instance(service: &str, id: &str, sent: &str) -> String {
    format!(
        concat!(
            r#"{{"id":"{id}","name":"{service}","version":"1.14.2","metadata":{{"#,
            r#""build":"59807616e1fa2540724bfbac14d7976d","sent":"{sent}","zone":"eu-central-1b"}},"endpoints":["#,
            r#""grpc://10.12.25.114:9000?isSecure=false","http://10.12.25.114:8000"]}}"#
        ),
        id = id,
        service = service,
        sent = sent,
    )
}

/// The id of an instance: as long as a UUID.
#[must_use]
pub fn id(number: usize) -> String {
    format!("6f9619ff-8b86-d011-b42d-{number:012}")
}

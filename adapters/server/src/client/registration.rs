//! What is registered.

use std::time::Duration;

use periplus_core::protocol::{RegisterMessage, Span};
use periplus_core::{Operation, ServiceInstance};

/// What is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The instance.
    pub instance: ServiceInstance,
    /// How long the registration lives without a renewal; the registry's default, if it does not say.
    pub ttl: Option<Duration>,
}

impl Registration {
    /// The name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.instance.name
    }

    /// The id of the instance.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.instance.id
    }

    /// The registration as this command of this holder; with the generation that it had, if it had one.
    #[must_use]
    pub fn message(&self, operation: Operation, generation: Option<u64>) -> RegisterMessage {
        let ServiceInstance { version, metadata, endpoints, .. } = self.instance.clone();
        RegisterMessage {
            version: Some(version),
            metadata: Some(metadata),
            endpoints: Some(endpoints),
            ttl: self.ttl.map(Span),
            incarnation: Some(operation.incarnation),
            sequence: Some(operation.sequence),
            reclaim: generation,
            ..RegisterMessage::default()
        }
    }
}

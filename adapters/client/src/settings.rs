//! What a client does unless it is told otherwise.

use std::time::Duration;

use periplus_core::client::{AdvertiseError, Registration, check_advertised};
use periplus_core::{Endpoint, Namespace, ServiceInstance};

/// What all handles of a client go by.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The ttl of registrations that name none.
    pub(crate) ttl: Option<Duration>,
    /// The hosts of the registry; none if it is in this process.
    pub(crate) hosts: Vec<String>,
    pub(crate) advertise_loopback: bool,
    /// How long one who asks for a service waits for the first word of a registry.
    pub(crate) patience: Duration,
    /// How long one who deregisters waits for the registry.
    pub(crate) last_word: Duration,
}

impl Settings {
    pub(crate) fn wanted(&self, namespace: &Namespace, instance: ServiceInstance) -> Registration {
        Registration { namespace: namespace.clone(), instance, ttl: self.ttl }
    }

    pub(crate) fn check_advertised(&self, endpoints: &[Endpoint]) -> Result<(), AdvertiseError> {
        if self.advertise_loopback {
            return Ok(());
        }
        check_advertised(endpoints, self.hosts.iter().map(String::as_str))
    }
}

//! From the address of a registry to a client of it.

use std::sync::Arc;
use std::time::Duration;

use periplus_core::Namespace;
use periplus_core::client::BoxedBackend;

use crate::client::Client;
use crate::driver::Driver;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::shared::{Clock, Handle, Shared};

/// How long one who asks for a service waits for a registry that was never heard, unless told otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Runs a machine of one's own: a backend for another registry, or one that a test watches.
pub fn drive<R: Runtime>(runtime: R, machine: BoxedBackend) -> Client {
    let settings = Settings { ttl: None, hosts: Vec::new(), advertise_loopback: false, patience: PATIENCE };
    let clock: Clock = {
        let runtime = runtime.clone();
        Arc::new(move || runtime.now())
    };
    launch(runtime, machine, clock, settings, Namespace::default())
}

pub(crate) fn launch<R: Runtime>(
    runtime: R,
    machine: BoxedBackend,
    clock: Clock,
    settings: Settings,
    namespace: Namespace,
) -> Client {
    let shared = Arc::new(Shared::new(machine, clock));
    let handle = Arc::new(Handle { shared: Arc::clone(&shared), settings });
    runtime.clone().spawn(Driver::new(runtime, shared));
    Client::new(handle, namespace)
}

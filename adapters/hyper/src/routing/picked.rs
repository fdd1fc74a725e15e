//! What goes with a call, and why there is no channel.

use std::fmt;
use std::sync::Arc;

use periplus::WatchError;
use periplus_core::ServiceInstance;
use periplus_core::balance::Node;
use periplus_core::dial::TargetError;

/// Why there is no channel. A registry that is down is no reason.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The target does not say what to dial.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The service cannot be followed.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The name of the server is none.
    #[error("server name `{name}` cannot stand in a request: use a name such as greeter.example, or host:port")]
    ServerName {
        /// The name.
        name: String,
    },
}

/// The instance that a call went to.
#[derive(Clone)]
pub struct Picked(pub(super) Arc<Node>);

impl Picked {
    /// The instance, as it was listed when it was picked.
    #[must_use]
    pub fn instance(&self) -> &ServiceInstance {
        self.0.instance()
    }

    /// The instance with what is known of it.
    #[must_use]
    pub const fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl fmt::Debug for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Picked").field(self.0.id()).finish()
    }
}

/// In a request's extensions: what is to stay at one instance, under the policies that hash. From
/// [`hash_key`](periplus_core::balance::hash_key).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey(pub u64);

//! What goes wrong, and what goes with a call.

use std::fmt;
use std::sync::Arc;

use periplus_tokio::WatchError;
use periplus_tokio::core::ServiceInstance;
use periplus_tokio::core::balance::Node;
use periplus_tokio::core::dial::TargetError;
use tonic::Status;

/// Why there is no channel. A registry that is down is no reason.
#[derive(Debug, thiserror::Error)]
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
pub struct Picked(pub(crate) Arc<Node>);

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
/// [`hash_key`](periplus_tokio::core::balance::hash_key).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey(pub u64);

/// A call that got no response. Generated clients turn it into its [`Status`].
#[derive(Clone, Debug)]
pub struct CallError {
    pub(crate) status: Box<Status>,
    pub(crate) picked: Option<Picked>,
}

impl CallError {
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self { status: Box::new(Status::unavailable(message)), picked: None }
    }

    /// What the caller is told.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The instance that the call went to, if it went to one.
    #[must_use]
    pub const fn picked(&self) -> Option<&Picked> {
        self.picked.as_ref()
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status.message())
    }
}

impl std::error::Error for CallError {
    // There tonic finds it.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.status)
    }
}

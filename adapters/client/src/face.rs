//! The part of a client that discovers, as an interface.

use std::future::Future;
use std::pin::Pin;

use crate::client::Client;
use crate::error::{GetError, WatchError};
use crate::watcher::{Listing, Watcher};

/// A future in a box, as object-safe traits give it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whoever finds instances: a [`Client`], or what stands in for one. Object-safe.
pub trait Discovery: Send + Sync {
    /// The instances of a service; see [`Client::get_service`].
    ///
    /// # Errors
    /// Says why nothing is known of it.
    fn get_service(&self, name: &str) -> BoxFuture<'_, Result<Listing, GetError>>;

    /// Follows a service; see [`Client::watch`].
    ///
    /// # Errors
    /// Says why it is not followed.
    fn watch(&self, name: &str) -> Result<Watcher, WatchError>;
}

impl Discovery for Client {
    fn get_service(&self, name: &str) -> BoxFuture<'_, Result<Listing, GetError>> {
        Box::pin(Self::get_service(self, name))
    }

    fn watch(&self, name: &str) -> Result<Watcher, WatchError> {
        Self::watch(self, name)
    }
}

//! The traits of Kratos, for programs that take any registry.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use periplus_core::ServiceInstance;

use crate::client::Client;
use crate::error::{GetError, RegisterError, UpdateError, WatchError};
use crate::registration::{Deregistered, Registration};
use crate::watcher::{Listing, Watcher};

/// A future in a box, as object-safe traits give it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Whoever registers instances: a [`Client`], or what stands in for one. Object-safe.
pub trait Registrar: Send + Sync {
    /// Registers an instance; see [`Client::register`].
    ///
    /// # Errors
    /// Says why it is not registered; nothing is left behind.
    fn register(&self, instance: ServiceInstance) -> BoxFuture<'_, Result<Registration, RegisterError>>;

    /// Replaces an instance by another of the same service and id; see [`Client::update`].
    ///
    /// # Errors
    /// Says why it is not replaced.
    fn update(&self, instance: ServiceInstance) -> BoxFuture<'_, Result<(), UpdateError>>;

    /// Takes an instance out; see [`Client::deregister`].
    ///
    /// # Errors
    /// If no such instance was registered here.
    fn deregister<'a>(&'a self, instance: &'a ServiceInstance) -> BoxFuture<'a, Result<Deregistered, UpdateError>>;
}

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

impl Registrar for Client {
    fn register(&self, instance: ServiceInstance) -> BoxFuture<'_, Result<Registration, RegisterError>> {
        Box::pin(Self::register(self, instance))
    }

    fn update(&self, instance: ServiceInstance) -> BoxFuture<'_, Result<(), UpdateError>> {
        Box::pin(Self::update(self, instance))
    }

    fn deregister<'a>(&'a self, instance: &'a ServiceInstance) -> BoxFuture<'a, Result<Deregistered, UpdateError>> {
        Box::pin(Self::deregister(self, instance))
    }
}

impl<T: Registrar + ?Sized> Registrar for Arc<T> {
    fn register(&self, instance: ServiceInstance) -> BoxFuture<'_, Result<Registration, RegisterError>> {
        T::register(self, instance)
    }

    fn update(&self, instance: ServiceInstance) -> BoxFuture<'_, Result<(), UpdateError>> {
        T::update(self, instance)
    }

    fn deregister<'a>(&'a self, instance: &'a ServiceInstance) -> BoxFuture<'a, Result<Deregistered, UpdateError>> {
        T::deregister(self, instance)
    }
}

impl Discovery for Client {
    fn get_service(&self, name: &str) -> BoxFuture<'_, Result<Listing, GetError>> {
        Box::pin(Self::get_service(self, name))
    }

    fn watch(&self, name: &str) -> Result<Watcher, WatchError> {
        Self::watch(self, name)
    }
}

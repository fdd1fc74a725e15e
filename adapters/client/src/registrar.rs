//! The part of a client that registers, as an interface.

use std::sync::Arc;

use periplus_core::ServiceInstance;

use crate::client::Client;
use crate::error::{RegisterError, UpdateError};
use crate::face::BoxFuture;
use crate::registration::{Deregistered, Registration};

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

//! What an application says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use periplus_core::{Endpoint, InstanceId, ServiceInstance, ServiceName};

/// What an application registers, for its hooks and its handlers. Clones are cheap.
///
/// It is what the application started with: what is changed in the registration later is not in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppInfo(Arc<ServiceInstance>);

impl AppInfo {
    /// An application that is this instance.
    #[must_use]
    pub fn new(instance: ServiceInstance) -> Self {
        Self(Arc::new(instance))
    }

    /// The id of this instance.
    #[must_use]
    pub fn id(&self) -> &InstanceId {
        &self.0.id
    }

    /// The name of the service.
    #[must_use]
    pub fn name(&self) -> &ServiceName {
        &self.0.name
    }

    /// The version of the service.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.0.version
    }

    /// The metadata that it registers.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// Where others reach it: what was given, or what its servers said.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.0.endpoints
    }

    /// All of it.
    #[must_use]
    pub fn instance(&self) -> &ServiceInstance {
        &self.0
    }
}

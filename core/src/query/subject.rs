//! An instance as a query looks at it, packed or not.

use alloc::borrow::Cow;

use crate::instance::{ServiceInstance, Status};
use crate::packed::Instance;

/// What can be looked at. Queries use it behind a pointer, so that their code is there once.
pub(super) trait Subject {
    fn id(&self) -> &str;
    fn name(&self) -> &str;
    fn status(&self) -> Status;
    fn version(&self) -> Cow<'_, str>;
    /// Whether a pair of the metadata passes.
    fn any_pair(&self, passes: &mut dyn FnMut(&str, &str) -> bool) -> bool;
    fn any_endpoint(&self, passes: &mut dyn FnMut(&str) -> bool) -> bool;
}

impl Subject for Instance {
    fn id(&self) -> &str {
        self.id()
    }

    fn name(&self) -> &str {
        self.service()
    }

    fn status(&self) -> Status {
        self.status()
    }

    fn version(&self) -> Cow<'_, str> {
        self.version()
    }

    fn any_pair(&self, passes: &mut dyn FnMut(&str, &str) -> bool) -> bool {
        self.any_metadata(passes)
    }

    fn any_endpoint(&self, passes: &mut dyn FnMut(&str) -> bool) -> bool {
        self.any_endpoint(passes)
    }
}

impl Subject for ServiceInstance {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn status(&self) -> Status {
        self.status()
    }

    fn version(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.version)
    }

    fn any_pair(&self, passes: &mut dyn FnMut(&str, &str) -> bool) -> bool {
        self.metadata.iter().any(|(key, value)| passes(key, value))
    }

    fn any_endpoint(&self, passes: &mut dyn FnMut(&str) -> bool) -> bool {
        self.endpoints.iter().any(|endpoint| passes(endpoint.as_str()))
    }
}

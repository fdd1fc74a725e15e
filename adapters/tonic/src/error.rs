//! What goes wrong with a call.

use std::fmt;

use periplus_hyper::Picked;
use tonic::Status;

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

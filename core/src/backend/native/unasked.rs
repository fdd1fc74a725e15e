//! What the client asks for that was built without the feature `registration`: nothing.

use super::Native;
use crate::client::holding::Work;
use crate::http::RequestId;
use crate::time::Instant;

impl Native {
    pub(super) const fn ask(&mut self, work: Work, _: Instant) {
        match work {}
    }

    pub(super) const fn on_called(&mut self, _: RequestId, _: Instant) {}
}

//! What a client holds that was built without the feature `registration`: nothing, ever. What would act on it is not even
//! linked.

use core::marker::PhantomData;
use core::time::Duration;

use super::config::ClientConfig;
use super::{Counters, RegistrationId, RegistrationState};
use crate::http::RequestId;
use crate::rng::Rng;
use crate::time::Instant;

/// Something to be sent. There is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {}

impl Work {
    pub(crate) const fn is_renewal(&self) -> bool {
        match *self {}
    }

    pub(crate) const fn registrations(&self) -> &[RegistrationId] {
        match *self {}
    }
}

/// All registrations of a client. There are none.
#[derive(Debug)]
pub(crate) struct Holdings<L> {
    closing: bool,
    leases: PhantomData<L>,
}

impl<L> Holdings<L> {
    pub(crate) const fn new() -> Self {
        Self { closing: false, leases: PhantomData }
    }

    pub(crate) const fn is_closing(&self) -> bool {
        self.closing
    }

    pub(crate) const fn is_empty(&self) -> bool {
        true
    }

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    pub(crate) const fn handle_timeout(&mut self, _: &ClientConfig, _: Instant) {}

    pub(crate) const fn close(&mut self, _: &ClientConfig, _: Instant) {
        self.closing = true;
    }

    pub(crate) const fn poll_news(&mut self) -> Option<(RegistrationId, RegistrationState)> {
        None
    }

    pub(crate) const fn take_dropped(&mut self) -> Option<RequestId> {
        None
    }

    pub(crate) const fn has_work(&self) -> bool {
        false
    }

    pub(crate) const fn next_work(&self, _: usize, _: Instant) -> Option<Work> {
        None
    }

    pub(crate) const fn on_not_renewed(&self, _: RegistrationId, _: RequestId, _: &str, _: &mut Rng, _: Instant) {}

    pub(crate) const fn on_unanswered(&self, _: RegistrationId, _: bool, _: &str, _: &ClientConfig, _: Instant) {}

    pub(crate) const fn shortest_ttl(&self) -> Option<Duration> {
        None
    }

    pub(crate) const fn count(&self, others: Counters) -> Counters {
        others
    }
}

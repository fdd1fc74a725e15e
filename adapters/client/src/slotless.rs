//! The registrations of a client that was built without the feature `registration`: none, ever.

use std::task::Waker;

use periplus_core::client::{RegistrationId, RegistrationState};
use periplus_core::{Instant, Key};

use crate::shared::State;

#[derive(Default)]
pub(crate) struct Slots {}

impl Slots {
    pub(crate) const fn on_turn(&self, _: &mut Vec<Waker>) {}

    pub(crate) const fn on_time(&self, _: Instant, _: &mut Vec<Waker>) {}

    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    pub(crate) const fn wake_all(&self, _: &mut Vec<Waker>) {}
}

impl State {
    pub(crate) const fn tell(&self, _: RegistrationId, _: &RegistrationState, _: &mut Vec<Waker>) -> Option<Key> {
        None
    }
}

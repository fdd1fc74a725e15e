//! What a client tells where nobody listens: nothing. Stands in for `report.rs` without the feature `tracing`.

use periplus_core::app::{Ending, Exit, LifecycleState};
use periplus_core::client::ClientEvent;
use periplus_core::client::subscription::CacheError;
use periplus_core::{Key, ServiceInstance};

pub(crate) const fn report(_: &ClientEvent, _: Option<&Key>) {}

pub(crate) const fn report_unused_cache(_: &CacheError) {}

pub(crate) const fn report_app_state(_: &ServiceInstance, _: LifecycleState) {}

pub(crate) const fn report_registration_ended(_: &ServiceInstance, _: Ending) {}

pub(crate) const fn report_app_ended(_: &ServiceInstance, _: &Exit) {}

//! What a client tells where nobody listens: nothing. Stands in for `report.rs` without the feature `tracing`.

use periplus_core::Key;
use periplus_core::client::ClientEvent;
use periplus_core::client::subscription::CacheError;

pub(crate) const fn report(_: &ClientEvent, _: Option<&Key>) {}

pub(crate) const fn report_unused_cache(_: &CacheError) {}

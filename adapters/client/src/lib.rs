//! Service registration and discovery for any async runtime.

pub mod driver;
pub mod runtime;

pub use periplus_core as core;
pub use runtime::Runtime;

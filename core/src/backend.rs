//! One client machine a protocol.

pub mod memory;
pub mod native;

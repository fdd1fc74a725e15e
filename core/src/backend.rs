//! One client machine a protocol.

pub mod native;

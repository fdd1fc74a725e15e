//! One client machine a protocol.

pub mod memory;

pub use memory::Memory;

//! One client machine a protocol.

pub mod memory;
pub mod native;

pub use memory::Memory;
pub use native::Native;

//! One client machine a protocol.

pub mod consul;
pub mod memory;
pub mod native;

pub use consul::Consul;
pub use memory::Memory;
pub use native::Native;

//! One client machine a protocol.

pub mod etcd;
pub mod memory;
pub mod native;

pub use etcd::Etcd;
pub use memory::Memory;
pub use native::Native;

//! One client machine a protocol.

pub mod consul;
pub mod desk;
pub mod etcd;
pub mod memory;
pub mod native;

pub use consul::Consul;
pub use etcd::Etcd;
pub use memory::Memory;
pub use native::Native;

//! One client machine a protocol.

#[cfg(feature = "registration")]
pub mod consul;
#[cfg(feature = "registration")]
pub mod desk;
#[cfg(feature = "registration")]
pub mod etcd;
#[cfg(feature = "registration")]
pub mod memory;
pub mod native;

#[cfg(feature = "registration")]
pub use {consul::Consul, etcd::Etcd, memory::Memory};

pub use native::Native;

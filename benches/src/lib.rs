//! What Periplus costs.
//!
//! [`contestants`] holds the core beside what people write by hand in its place; [`rounds`] is what is measured of
//! them. `cargo xtask bench core` prints the table, `cargo bench -p periplus-benches` runs the same operations under
//! criterion. [`load`] drives the server over loopback, and etcd beside it: `cargo xtask bench server`.
//! With the feature `stores`, our clients of etcd and Consul beside others: `cargo xtask bench stores`.

pub mod contestants;
pub mod fleet;
pub mod heap;
pub mod load;
pub mod rounds;
pub mod scoreboard;
pub mod slab;
pub mod stats;
#[cfg(feature = "stores")]
pub mod stores;
pub mod table;
pub mod wanted;

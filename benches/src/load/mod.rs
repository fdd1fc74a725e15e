//! The load harness: the same work for our server and for etcd, over loopback, in one run.
//!
//! The generator is one thread, so that on a small machine most of the time goes to the server under test. Answers are
//! checked, but no more of them is decoded than that takes.

pub mod clock;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod http;
pub mod leases;
pub mod meter;
pub mod periplus;
pub mod process;
pub mod record;
pub mod report;
pub mod scan;
pub mod target;
pub mod watching;

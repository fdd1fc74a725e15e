//! A registry that anyone can read in five minutes, and the means to compare the real one with it.
//!
//! `reference.rs` is the model: plain vectors, every search a scan, the whole past kept as copies. `ops.rs` is the
//! alphabet: what can be done to a registry, decoded from bytes. `run.rs` does it to both and compares everything
//! they say after every step; `watcher.rs` is a client in it that watches.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "a part of every test that uses it")]

pub mod ops;
pub mod reference;
pub mod run;
pub mod watcher;

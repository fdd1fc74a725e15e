//! What a client should show, by the shortest way to say it, and the means to compare the real thing with that.
//!
//! `world.rs` is a registry with all its past, and streams that tell of it. `model.rs` says what a client that heard so
//! much shows. `run.rs` does the same to both and compares everything after every step.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "a part of every test that uses it")]

pub mod model;
pub mod run;
pub mod world;

//! The `periplus` command: registry server, client commands, sidecar and demo.

pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
mod hold;
pub mod http;
pub mod random;
pub mod sidecar;

//! The `periplus` command: registry server, client commands, sidecar and demo.

pub mod config;

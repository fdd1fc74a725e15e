//! A deterministic world: clients, registries, and a network between them that does whatever networks do.
//!
//! `plan.rs` draws what is going to happen from one seed; `world.rs` lets it happen, in virtual time, and sleeps exactly
//! to what the machines ask for. `net.rs` and `link.rs` are the network, `server.rs` is a registry without its sockets,
//! `node.rs` a process that drives a client, `acts.rs` what goes wrong. The laws are in `books.rs` (the registry's true
//! past), `held.rs` (registrations), `views.rs` (watches) and `reports.rs` (what watchers report). `campaign.rs` runs many worlds and makes failures small.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "a part of every program that simulates")]

pub mod acts;
pub mod books;
pub mod campaign;
pub mod clock;
pub mod held;
pub mod herd;
pub mod link;
pub mod messages;
pub mod net;
pub mod node;
pub mod plan;
pub mod random;
pub mod reports;
pub mod server;
pub mod tally;
pub mod views;
pub mod world;

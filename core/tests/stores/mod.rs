//! A deterministic world for clients of foreign registries: one store, many clients, and a network between them that does
//! whatever networks do.
//!
//! `plan.rs` draws what is going to happen from one seed; `world.rs` lets it happen, in virtual time, and sleeps exactly to
//! what the machines ask for. `store.rs` says what a store is, `kind.rs` which there are and what can be asked of each.
//! `wire.rs` is the network and `spoil.rs` what it answers by itself, `process.rs` is a process that has a client and
//! `drive.rs` how it drives it, `acts.rs` what goes wrong. The laws are in
//! `past.rs` (what truly was in the store), `held.rs` (registrations), `views.rs` (watches) and `calm.rs` (in the end all is
//! well). `campaign.rs` runs many worlds and makes failures small.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "a part of every program that simulates")]

#[path = "../sim/clock.rs"]
pub mod clock;
#[path = "../sim/link.rs"]
pub mod link;
#[path = "../sim/messages.rs"]
pub mod messages;
#[path = "../sim/random.rs"]
pub mod random;
#[path = "../sim/server.rs"]
pub mod server;

pub mod acts;
pub mod calm;
pub mod campaign;
pub mod consul;
pub mod drive;
pub mod etcd;
pub mod held;
pub mod kind;
pub mod native;
pub mod past;
pub mod plan;
pub mod process;
pub mod scale;
pub mod scenarios;
pub mod spoil;
pub mod store;
pub mod tally;
pub mod views;
pub mod wire;
pub mod world;

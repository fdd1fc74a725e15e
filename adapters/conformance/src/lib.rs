//! One conformance suite for every runtime, against a real registry.
//!
//! - [`suite`]: what every client does on every runtime, as scenarios: async functions over a runtime and nothing else,
//!   so that the same text runs on tokio, async-std, smol, and in a browser.
//! - [`harness`]: real `periplus serve` processes that are killed, stopped and started again, each behind a proxy that
//!   fails in all ways that a network does. It is commanded over HTTP, so that a page can command it too.
//! - [`stores`]: real servers of others, etcd and Consul, that fail on command, for the scenarios of `tests/stores*`.
//! - [`replay`]: one recorded log of inputs, which gives the same outputs wherever it is replayed.
//!
//! Programs: `harness` serves arenas until it is killed, `record` records the log, `herd` measures what a thousand
//! clients do that lose their registry at once, and what a registration costs in memory.

#[cfg(not(target_family = "wasm"))]
pub mod harness;
pub mod replay;
#[cfg(unix)]
pub mod stores;
pub mod suite;

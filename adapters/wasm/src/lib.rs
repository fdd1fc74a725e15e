//! Periplus in the browser.
//!
//! The client of [`periplus`], in a page or a worker: requests are `fetch`es, timers are `setTimeout`s, and time counts
//! what the machine slept. [`connect()`] opens a client.
//!
//! ```no_run
//! # async fn example(instance: periplus_wasm::core::ServiceInstance) -> Result<(), Box<dyn std::error::Error>> {
//! let registry = periplus_wasm::connect("periplus://127.0.0.1:7171")?;
//! let registration = registry.register(instance).await?;
//! let mut watcher = registry.watch("web")?;
//! while let Some(listing) = watcher.next().await {
//!     println!("{} instances, {:?}", listing.len(), listing.provenance);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The feature `bindings` exports the same to JavaScript and TypeScript; `cargo xtask wasm` makes a module of it.

#[cfg(feature = "bindings")]
pub mod bindings;
mod browser;
mod clock;
mod connect;
mod exchange;
mod page;
mod sleep;
mod storage;

pub use browser::Browser;
pub use connect::{connect, connect_with, drive};
pub use exchange::Exchange;
pub use periplus::*;
pub use sleep::Sleep;

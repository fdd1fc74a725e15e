//! What native runtimes have in common besides the network.

pub use clock::now;
#[cfg(feature = "server")]
pub use interfaces::{AdvertisedError, advertised};
pub use storage::Storage;

mod clock;
#[cfg(feature = "server")]
mod interfaces;
mod storage;

/// Fills a buffer with randomness from the system, fit for secrets.
///
/// # Panics
/// If the system has none to give: there is no safe way on.
pub fn entropy(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system gives randomness");
}

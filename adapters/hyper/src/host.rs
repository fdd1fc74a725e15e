//! What native runtimes have in common besides the network.

pub use clock::now;
pub use storage::Storage;

mod clock;
mod storage;

/// Fills a buffer with randomness from the system, fit for secrets.
///
/// # Panics
/// If the system has none to give: there is no safe way on.
pub fn entropy(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system gives randomness");
}

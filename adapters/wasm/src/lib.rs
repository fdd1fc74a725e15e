//! Periplus in the browser.

mod browser;
mod clock;
mod exchange;
mod page;
mod sleep;
mod storage;

pub use browser::Browser;
pub use exchange::Exchange;
pub use periplus::*;
pub use sleep::Sleep;

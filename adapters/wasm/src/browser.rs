//! The runtime: the browser.

use periplus::core::Instant;
use periplus::core::http::Request;
use periplus::driver::Driver;
use periplus::runtime::Runtime;

use crate::exchange::Exchange;
use crate::page::Page;
use crate::sleep::Sleep;
use crate::storage;

/// A page, or a worker, as a [`Runtime`].
///
/// It counts the time that the machine sleeps, as far as a page can know of it. Requests are `fetch`es, timers are
/// `setTimeout`s, and what is to be kept goes to `localStorage`, where there is one.
///
/// It is a name for the page or worker that it is used in, each of which has a clock of its own.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Browser;

impl Browser {
    /// The page or worker that this is called in.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Runtime for Browser {
    type Sleep = Sleep;
    type Exchange = Exchange;

    fn now(&self) -> Instant {
        Page::this().now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep::new(Page::this(), at)
    }

    fn request(&self, request: Request) -> Exchange {
        Exchange::new(Page::this(), &request)
    }

    fn spawn(&self, driver: Driver<Self>) {
        wasm_bindgen_futures::spawn_local(driver);
    }

    fn entropy(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("every browser that runs this has crypto.getRandomValues");
    }

    /// Over HTTP/1.1. All tabs share them.
    fn connections(&self) -> Option<usize> {
        Some(6)
    }

    fn load(&self, name: &str) -> Option<Vec<u8>> {
        storage::load(name)
    }

    fn store(&self, name: &str, bytes: Vec<u8>) {
        storage::store(name, &bytes);
    }
}

//! The runtime: the browser.

use std::fmt;
use std::rc::Rc;

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
#[derive(Clone)]
pub struct Browser {
    page: Rc<Page>,
}

impl Browser {
    /// The page or worker that this is called in. The first call begins to listen to its events.
    #[must_use]
    pub fn new() -> Self {
        Self { page: Page::this() }
    }
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").finish_non_exhaustive()
    }
}

impl Runtime for Browser {
    type Sleep = Sleep;
    type Exchange = Exchange;

    fn now(&self) -> Instant {
        self.page.now()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep::new(Rc::clone(&self.page), at)
    }

    fn request(&self, request: Request) -> Exchange {
        Exchange::new(Rc::clone(&self.page), &request)
    }

    fn spawn(&self, driver: Driver<Self>) {
        wasm_bindgen_futures::spawn_local(driver);
    }

    fn entropy(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("every browser that runs this has crypto.getRandomValues");
    }

    fn load(&self, name: &str) -> Option<Vec<u8>> {
        storage::load(name)
    }

    fn store(&self, name: &str, bytes: Vec<u8>) {
        storage::store(name, &bytes);
    }
}

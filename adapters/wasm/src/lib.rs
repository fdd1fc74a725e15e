//! Periplus in the browser.

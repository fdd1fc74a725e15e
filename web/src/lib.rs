//! The dashboard of a Periplus registry, as it runs in a browser.
//!
//! Everything that it knows and decides is plain code without a browser: a [`Model`](model::Model) takes
//! [messages](update::Msg) and says what is to be [done](update::Effect), and [`view`] says what the screen looks like,
//! as [plain data](html). All of this is tested natively. What is left to the browser is thin: `dom` makes the page look
//! like the screen, tells the model what was clicked and typed, and lends it the client that services use, so that
//! watching, resuming and comparing are done by the same machines as everywhere.
//!
//! ```text
//!   fleet, events, answers ──┐                        ┌── page
//!                            ├─▶ update ─▶ Model ─▶ view
//!   clicks, keys, time ──────┘      └────▶ effects: requests, address, clipboard
//! ```

pub mod action;
pub mod calls;
pub mod doctor;
pub mod film;
pub mod fleet;
pub mod html;
pub mod json;
pub mod keys;
pub mod list;
pub mod log;
pub mod model;
pub mod resolver;
pub mod route;
pub mod update;
pub mod view;
pub mod words;

#[cfg(target_family = "wasm")]
mod dom;

#[cfg(test)]
mod screens;
#[cfg(test)]
mod tests;

/// A moment by the page's clock, in milliseconds: it never goes back, and counts the time that the machine sleeps.
pub type Millis = u64;

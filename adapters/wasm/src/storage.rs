//! What a page keeps: `localStorage`, where there is one.
//!
//! Workers have none, and neither has a page that may not keep anything. Then nothing is stored and nothing is found.
//! A string of the browser's holds any sequence of 16-bit units, so that each byte is stored as one of them.

use js_sys::Reflect;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::Storage;

/// What was stored under this name.
pub(crate) fn load(name: &str) -> Option<Vec<u8>> {
    let text = storage()?.get_item(&key(name)).ok()??;
    text.chars().map(|unit| u8::try_from(unit).ok()).collect()
}

/// Stores bytes under a name. If there is no room, what was there stays.
pub(crate) fn store(name: &str, bytes: &[u8]) {
    let text: String = bytes.iter().copied().map(char::from).collect();
    if let Some(storage) = storage() {
        let _ = storage.set_item(&key(name), &text);
    }
}

fn key(name: &str) -> String {
    format!("periplus:{name}")
}

/// Asking for it is an error where it is forbidden.
fn storage() -> Option<Storage> {
    let storage = Reflect::get(&js_sys::global(), &JsValue::from_str("localStorage")).ok()?;
    storage.dyn_into().ok()
}

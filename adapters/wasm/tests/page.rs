//! The runtime in a page.
#![cfg(target_family = "wasm")]

mod common;

use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
fn what_a_page_stores_is_found_again() {
    common::store_and_load(true);
}

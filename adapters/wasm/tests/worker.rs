//! The runtime in a worker, which has neither a window nor a document nor a storage.
#![cfg(target_family = "wasm")]

mod common;

use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

#[wasm_bindgen_test]
fn a_worker_stores_nothing() {
    common::store_and_load(false);
}

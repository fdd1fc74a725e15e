//! The suite in a browser. The harness runs outside of it; where, the variable `PERIPLUS_HARNESS` says when this is built.
#![cfg(target_family = "wasm")]

use periplus_conformance::replay;
use periplus_conformance::suite::{self, Stage};
use periplus_wasm::Browser;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

fn harness() -> String {
    match option_env!("PERIPLUS_HARNESS") {
        Some(address) => address.to_owned(),
        None => panic!("there is no harness: run `cargo xtask browser-test --only conformance`"),
    }
}

macro_rules! scenario {
    ($module:ident $name:ident) => {
        #[wasm_bindgen_test]
        async fn $name() {
            suite::$module::$name(Stage::new(Browser::new(), harness())).await;
        }
    };
}

periplus_conformance::scenarios!(scenario);

#[wasm_bindgen_test]
async fn a_recorded_log_gives_the_outputs_it_has_always_given() {
    replay::check_recorded();
}

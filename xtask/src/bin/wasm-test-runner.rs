//! Runs one test binary that was compiled to wasm: under Node, or in a browser where the tests ask for one.
//!
//! Cargo calls it with the binary and the arguments of `cargo test -- …`. It is `wasm-bindgen-test-runner`, built from
//! the version in `Cargo.lock`, so that there is no tool to install that could be of another version than the tests.

fn main() -> anyhow::Result<()> {
    wasm_bindgen_cli::wasm_bindgen_test_runner::run_cli_with_args(std::env::args_os())
}

//! `cargo xtask wasm-test`: the core's tests, compiled to wasm and run under Node.
//!
//! That the core behaves in a browser as it does natively is a claim, and this is its test.

use std::fs;

use crate::failure::{Failure, Result};
use crate::{setup, shell, wasm};

/// Builds the runner, then the tests, and runs them. What follows `--` goes to `cargo test`.
pub(crate) fn run(arguments: &[String]) -> Result {
    let (before, extra) = shell::split_at_dashes(arguments);
    if let Some(unknown) = before.first() {
        return Err(Failure::usage(format!(
            "unknown argument `{unknown}`\n\nusage: cargo xtask wasm-test [-- ARGS FOR CARGO TEST]"
        )));
    }
    refuse_silent_tests()?;
    setup::ensure_rust_target(wasm::TARGET)?;
    setup::ensure_debian_package("nodejs", "node")?;

    shell::run(shell::cargo("build --package xtask --features wasm --bin wasm-test-runner"))?;
    let mut tests = shell::cargo("test --package periplus-core --features planted-faults --tests");
    tests.args(["--target", wasm::TARGET]);
    tests
        .args(extra)
        .envs(wasm::TESTED)
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", shell::built_binary("wasm-test-runner")?);
    shell::run(tests)
}

/// Fails if a file of tests says nothing of wasm: it would compile, and none of its tests would run.
///
/// Only what `wasm_bindgen_test` marks runs in wasm. The standard `#[test]` is passed over without a word.
fn refuse_silent_tests() -> Result {
    let folder = shell::root().join("core/tests");
    let unreadable = |error| Failure::new(format!("could not read {}: {error}", folder.display()));
    for entry in fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(unreadable)?;
        if text.contains("#[test]") && !text.contains("target_family = \"wasm\"") {
            return Err(Failure::new(format!(
                "none of the tests in {} would run in wasm",
                path.display()
            ))
            .with_hint("above the tests: #[cfg(target_family = \"wasm\")] use wasm_bindgen_test::wasm_bindgen_test as test;")
            .with_hint("or, for what cannot run there, at the top: #![cfg(not(target_family = \"wasm\"))]"));
        }
    }
    Ok(())
}

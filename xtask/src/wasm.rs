//! `cargo xtask wasm`: the browser's client, as a web page loads it.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::{setup, shell};

/// What browsers run.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Builds the bundle, and prints where it lies and how large it is.
pub(crate) fn run(arguments: &[String]) -> Result {
    let (mut profile, mut features) = ("wasm", "");
    let mut arguments = arguments.iter();
    while let Some(flag) = arguments.next() {
        match (flag.as_str(), arguments.as_slice()) {
            ("--dev", _) => profile = "dev",
            ("--features", [list, ..]) => {
                features = list;
                arguments.next();
            }
            _ => return Err(Failure::usage("usage: cargo xtask wasm [--dev] [--features consul,etcd,…]")),
        }
    }
    bundle(profile, features).map(|_| ())
}

/// Builds the client with its bindings, and what features it has beside these, in a profile of cargo's, and makes an ES module of it: `periplus.js`, the wasm
/// that it loads, and `periplus.d.ts`. Returns the folder that they lie in.
pub(crate) fn bundle(profile: &str, features: &str) -> Result<PathBuf> {
    setup::ensure_rust_target(TARGET)?;
    let mut build = shell::cargo("build --package periplus-wasm --no-default-features --features bindings --lib");
    build.args(["--features", features, "--target", TARGET, "--profile", profile]);
    shell::run(build)?;
    shell::run(shell::cargo("build --package xtask --features wasm --bin wasm-bundler"))?;

    let target = shell::target_folder()?;
    let built = if profile == "dev" { "debug" } else { profile };
    let folder = target.join("web").join(built);
    let mut bundler = Command::new(shell::built_binary("wasm-bundler")?);
    bundler.arg(target.join(TARGET).join(built).join("periplus_wasm.wasm")).arg(&folder).arg("periplus");
    shell::run(bundler)?;
    Ok(folder)
}

//! `cargo xtask wasm` and `cargo xtask web`: what web pages load.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::{setup, shell};

/// What browsers run.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// How tests for it are built: what a debugger would like to know is four fifths of them, and is carried through each step.
pub(crate) const TESTED: [(&str, &str); 1] = [("CARGO_PROFILE_DEV_DEBUG", "false")];

/// The profile in which it is small.
const SMALL: &str = "wasm";

/// Builds the client for JavaScript, and prints where it lies and how large it is.
pub(crate) fn run(arguments: &[String]) -> Result {
    let (mut profile, mut features) = (SMALL, "");
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

/// Builds the client with its bindings, and what features it has beside these, in a profile of cargo's, and makes an ES
/// module of it: `periplus.js`, the wasm that it loads, and `periplus.d.ts`. Returns the folder that they lie in.
pub(crate) fn bundle(profile: &str, features: &str) -> Result<PathBuf> {
    let folder = shell::target_folder()?.join("web").join(built(profile));
    let features = format!("bindings,{features}");
    module("periplus-wasm", &["--no-default-features", "--features", &features], profile, &folder, &[])?;
    Ok(folder)
}

/// Builds the dashboard into the folder from which the server takes it.
pub(crate) fn web(arguments: &[String]) -> Result {
    let profile = match arguments {
        [] => SMALL,
        [flag] if flag == "--dev" => "dev",
        _ => return Err(Failure::usage("usage: cargo xtask web [--dev]")),
    };
    dashboard(profile)
}

/// Builds the dashboard in a profile of cargo's.
pub(crate) fn dashboard(profile: &str) -> Result {
    let page = shell::root().join("web").join("page");
    let folder = shell::root().join("web").join("dist");
    module("periplus-web", &[], profile, &folder, &[&page])?;
    if profile == SMALL {
        check_size(&folder.join("periplus_bg.wasm.gz"))?;
    }
    Ok(())
}

/// The most that a browser has to load of the dashboard's code, in bytes.
const LIMIT: u64 = 250_000;

fn check_size(packed: &Path) -> Result {
    let size = fs::metadata(packed).map_err(|error| Failure::new(format!("{}: {error}", packed.display())))?.len();
    if size <= LIMIT {
        return Ok(());
    }
    Err(Failure::new(format!("the dashboard's code has {size} bytes, compressed, and may have {LIMIT}"))
        .with_hint("find what is large in it before you add to it"))
}

/// Builds a package as an ES module for browsers, beside what lies in other folders.
fn module(package: &str, options: &[&str], profile: &str, folder: &Path, beside: &[&Path]) -> Result {
    setup::ensure_rust_target(TARGET)?;
    let mut build = shell::cargo("build --lib");
    build.args(["--package", package]).args(options).args(["--target", TARGET, "--profile", profile]);
    shell::run(build)?;
    shell::run(shell::cargo("build --package xtask --features wasm --bin wasm-bundler"))?;
    let library = format!("{}.wasm", package.replace('-', "_"));
    let library = shell::target_folder()?.join(TARGET).join(built(profile)).join(library);
    let made_of: Vec<&Path> = [&*library].into_iter().chain(beside.iter().copied()).collect();
    if is_newer(&folder.join("periplus_bg.wasm.gz"), &made_of) {
        return Ok(());
    }
    let mut bundler = Command::new(shell::built_binary("wasm-bundler")?);
    bundler.arg(library).arg(folder).arg("periplus").args(beside);
    shell::run(bundler)
}

/// Whether a file was made after these files, and those in these folders: whoever uses it need not be built anew.
fn is_newer(made: &Path, than: &[&Path]) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
    let Some(made) = time(made) else { return false };
    let inside = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|it| it.path()).collect();
    let all = than.iter().flat_map(|path| {
        let mut all: Vec<PathBuf> = inside(path);
        all.push(path.to_path_buf());
        all
    });
    all.into_iter().all(|path| time(&path).is_some_and(|time| time < made))
}

/// The folder that cargo builds a profile in.
fn built(profile: &str) -> &str {
    if profile == "dev" { "debug" } else { profile }
}

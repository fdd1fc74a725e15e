//! Checks for what a command needs, and installs what is missing.
//!
//! Each function does nothing, silently, where the thing is there. Where it is not, it says so and installs it; where it
//! cannot, it fails with the command to type.

use std::path::Path;

use crate::failure::{Failure, Result};
use crate::shell;

/// Makes sure that the toolchain can compile for `target`.
pub(crate) fn ensure_rust_target(target: &str) -> Result {
    let libraries = shell::command(&format!("rustc --print target-libdir --target {target}"));
    if shell::output(libraries).is_ok_and(|folder| Path::new(folder.trim()).is_dir()) {
        return Ok(());
    }
    eprintln!("the toolchain lacks the target {target}: installing it");
    rustup(&format!("target add {target}"))
}

/// Makes sure that `cargo SUBCOMMAND` works, which the toolchain's `component` brings.
pub(crate) fn ensure_rust_component(component: &str, subcommand: &str) -> Result {
    if shell::succeeds(shell::cargo(&format!("{subcommand} --version"))) {
        return Ok(());
    }
    eprintln!("the toolchain lacks the component {component}: installing it");
    rustup(&format!("component add {component}"))
}

/// Makes sure that there is the Rust toolchain `name`, beside the one in use.
pub(crate) fn ensure_rust_toolchain(name: &str) -> Result {
    if shell::succeeds(shell::command(&format!("rustup run {name} rustc --version"))) {
        return Ok(());
    }
    eprintln!("there is no toolchain {name}: installing it");
    rustup(&format!("toolchain install {name} --profile minimal"))
}

/// Makes sure that `cargo SUBCOMMAND` works, which the crate `package` brings.
pub(crate) fn ensure_cargo_subcommand(package: &str, subcommand: &str) -> Result {
    if shell::succeeds(shell::cargo(&format!("{subcommand} --version"))) {
        return Ok(());
    }
    eprintln!("there is no `cargo {subcommand}`: installing {package}");
    shell::run(shell::cargo(&format!("install {package}")))
}

/// Makes sure that the program `binary` can be called, which the Debian package `package` brings.
pub(crate) fn ensure_debian_package(package: &str, binary: &str) -> Result {
    if shell::is_in_path(binary) {
        return Ok(());
    }
    let install = format!("apt-get install --yes {package}");
    if !is_root() || !shell::is_in_path("apt-get") {
        return Err(Failure::new(format!("there is no program `{binary}`"))
            .with_hint(&format!("install it; on Debian and Ubuntu: sudo {install}")));
    }
    eprintln!("there is no program `{binary}`: installing the package {package}");
    shell::run(shell::command(&install)).or_else(|_| {
        eprintln!("once more, with fresh package lists");
        shell::run(shell::command("apt-get update"))?;
        shell::run(shell::command(&install))
    })
}

fn rustup(arguments: &str) -> Result {
    if shell::is_in_path("rustup") {
        shell::run(shell::command(&format!("rustup {arguments}")))
    } else {
        Err(Failure::new("there is no rustup to install it with")
            .with_hint("install it by the means by which you installed Rust, or see https://rustup.rs"))
    }
}

fn is_root() -> bool {
    shell::output(shell::command("id -u")).is_ok_and(|id| id.trim() == "0")
}

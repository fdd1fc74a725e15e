//! `cargo xtask shop`: three services under load, all of whose instances are restarted.

use std::process::Command;

use crate::failure::Result;
use crate::shell;

/// Builds the shop and opens it; the arguments are its own. Fails if a customer notices.
pub(crate) fn run(arguments: &[String]) -> Result {
    shell::run(shell::cargo("build --package periplus-tonic --example shop"))?;
    open(arguments)
}

/// Opens the shop, which is built.
pub(crate) fn open(arguments: &[String]) -> Result {
    let mut shop = Command::new(shell::built_example("shop")?);
    shop.args(arguments);
    shell::run(shop)
}

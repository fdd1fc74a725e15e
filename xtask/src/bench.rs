//! `cargo xtask bench`: the measurements behind the figures in the documentation, in release.

use crate::failure::{Failure, Result};
use crate::{servers, setup, shell};

const USAGE: &str = "usage: cargo xtask bench core|server|stores [--json] [-- ARGS]";

/// Builds the harness in release and hands it all further arguments.
///
/// The harness for the server finds the server in the folder that it lies in itself.
pub(crate) fn run(arguments: &[String]) -> Result {
    let Some((subject, rest)) = arguments.split_first() else {
        return Err(Failure::usage(USAGE));
    };
    let (before, after) = shell::split_at_dashes(rest);
    let harness_arguments = || before.iter().chain(after);

    let mut harness = shell::cargo("run --release --package periplus-benches");
    match subject.as_str() {
        "core" => {
            harness.args(["--bin", "core-table"]);
        }
        "server" => {
            if harness_arguments().any(|argument| argument == "--etcd") {
                setup::ensure_debian_package("etcd-server", "etcd")?;
                harness.args(["--features", "etcd"]);
            }
            harness.args(["--bin", "load"]);
            let server = "build --release --package periplus-server --bin periplus";
            shell::run(shell::cargo(server))?;
        }
        "stores" => {
            harness.args(["--features", "stores", "--bin", "stores"]).envs(servers::ensure()?);
        }
        _ => return Err(Failure::usage(USAGE)),
    }
    harness.arg("--").args(harness_arguments());
    shell::run(harness)
}

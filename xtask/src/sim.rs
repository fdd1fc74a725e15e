//! `cargo xtask sim`: campaigns of the simulator, as long as one likes.

use crate::failure::{Failure, Result};
use crate::shell;

const USAGE: &str = "usage: cargo xtask sim --hours N [--seed S] [--herd CLIENTS] [--fault NAME]";

/// Builds the simulator in release, with the planted bugs within reach, and hands it all arguments. Fails if a law was
/// broken. The last line says how many hours were simulated, which faults there were and what was reached.
pub(crate) fn run(arguments: &[String]) -> Result {
    let known = ["--hours", "--seed", "--herd", "--fault"];
    let well_formed = arguments.len().is_multiple_of(2) && arguments.iter().step_by(2).all(|it| known.contains(&&**it));
    if arguments.is_empty() || !well_formed {
        return Err(Failure::usage(USAGE));
    }
    let mut sim = shell::cargo("run --release --package periplus-core --features planted-faults --example sim --");
    sim.args(arguments);
    shell::run(sim)
}

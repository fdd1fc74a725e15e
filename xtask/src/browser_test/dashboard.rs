//! The dashboard in a real browser, with real registries that are killed, frozen and cut off.

mod access;
mod fleet;
mod hostile;
mod load;
mod page;
mod shots;
mod states;
mod story;
mod tabs;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::{Options, heed_interrupts};
use crate::failure::{Failure, Result};
use crate::{shell, wasm};

type Step = (&'static str, fn(&Options) -> Result);

/// What is looked at, one after another; `--only dashboard/NAME` is one of them.
const STEPS: [Step; 7] = [
    ("story", |_| story::run()),
    ("states", |_| states::run()),
    ("tabs", |_| tabs::run()),
    ("hostile", |_| hostile::run()),
    ("access", |_| access::run()),
    ("shots", |_| shots::run()),
    ("load", load::run),
];

/// Whether there is such a step.
pub(super) fn has(step: &str) -> bool {
    STEPS.iter().any(|(name, _)| *name == step)
}

pub(super) fn run(options: &Options) -> Result {
    heed_interrupts();
    wasm::dashboard("wasm")?;
    shell::run(shell::cargo("build --package periplus-server --bin periplus"))?;
    for (name, step) in STEPS {
        if options.step.as_ref().is_none_or(|only| only == name) {
            let start = Instant::now();
            step(options).map_err(|failure| failure.with_hint(&format!("in dashboard/{name}")))?;
            println!("{name} took {} s", start.elapsed().as_secs());
        }
    }
    Ok(())
}

/// Where pictures and numbers are left.
fn folder() -> Result<PathBuf> {
    let folder = shell::target_folder()?.join("dashboard");
    fs::create_dir_all(&folder)
        .map_err(|error| Failure::new(format!("could not make {}: {error}", folder.display())))?;
    Ok(folder)
}

/// Fails if something does not hold, with what was found instead.
fn expect(holds: bool, what: &str, found: impl std::fmt::Display) -> Result {
    if holds {
        return Ok(());
    }
    Err(Failure::new(format!("this does not hold: {what}")).with_hint(&format!("found: {found}")))
}

//! `cargo xtask fuzz`: looks for inputs that break a law, for as long as one likes.
//!
//! The committed corpus is replayed by an ordinary test and needs none of this.

use std::fs;

use crate::failure::{Failure, Result};
use crate::{setup, shell};

const DEFAULT_SECONDS: u64 = 60;

/// Fuzzes one target on nightly, without sanitizers: there is no unsafe code for them to find fault with, and without
/// them a target runs several times as many inputs a second.
pub(crate) fn run(arguments: &[String]) -> Result {
    let (target, seconds) = match arguments {
        [target] => (target, DEFAULT_SECONDS),
        [target, seconds] => match seconds.parse() {
            Ok(seconds) => (target, seconds),
            Err(_) => return Err(usage(&format!("`{seconds}` is not a number of seconds"))),
        },
        _ => return Err(usage("which target?")),
    };
    let targets = targets()?;
    if !targets.contains(target) {
        return Err(usage(&format!("there is no target `{target}`")));
    }

    setup::ensure_rust_toolchain("nightly")?;
    setup::ensure_cargo_subcommand("cargo-fuzz", "fuzz")?;
    // What the fuzzer finds on the way is written to the first corpus; the committed one is only read.
    let found = format!("target/fuzz-corpus/{target}");
    let committed = format!("fuzz/corpus/{target}");
    for corpus in [&found, &committed] {
        fs::create_dir_all(shell::root().join(corpus))
            .map_err(|error| Failure::new(format!("could not create {corpus}: {error}")))?;
    }

    let mut command = shell::cargo("+nightly fuzz run -s none --fuzz-dir fuzz");
    command.args([target, &found, &committed]).args(["--", &format!("-max_total_time={seconds}")]);
    shell::run(command).map_err(|failure| {
        failure
            .with_hint(&format!("an input that it found is in fuzz/artifacts/{target}"))
            .with_hint(&format!("once understood, move it to {committed}, named for what it was"))
    })
}

fn usage(complaint: &str) -> Failure {
    let targets = targets().unwrap_or_default().join(", ");
    Failure::usage(format!("{complaint}\n\nusage: cargo xtask fuzz TARGET [SECONDS]\ntargets: {targets}"))
}

/// The names of all fuzz targets, sorted.
fn targets() -> Result<Vec<String>> {
    let folder = shell::root().join("fuzz/fuzz_targets");
    let entries =
        fs::read_dir(&folder).map_err(|error| Failure::new(format!("could not list {}: {error}", folder.display())))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let file = entry.ok()?.file_name().into_string().ok()?;
            Some(file.strip_suffix(".rs")?.to_owned())
        })
        .collect();
    names.sort();
    Ok(names)
}

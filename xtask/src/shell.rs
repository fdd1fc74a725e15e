//! Running other programs, each with its exact command line printed first.

use std::env::{self, consts::EXE_SUFFIX};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Failure, Result};

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in a folder of the workspace")
}

/// A command line, to be run in the root of the workspace.
///
/// It is split at spaces. Arguments that may contain one are added to the command.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a command line begins with a program"));
    command.current_dir(root()).args(words);
    command
}

/// A call of cargo, with its arguments as in [`command`].
///
/// What cargo tells the programs it runs about their own package is withheld: build scripts that watch these variables
/// would run again whenever a build from within `cargo xtask` follows one from without.
pub(crate) fn cargo(line: &str) -> Command {
    let mut cargo = command("cargo");
    cargo.args(line.split_whitespace());
    for (name, _) in env::vars_os() {
        let of_this_package = |prefix| name.to_string_lossy().starts_with(prefix);
        if of_this_package("CARGO_PKG_") || of_this_package("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// Prints the command line to standard error, runs it to its end, and fails if it fails.
pub(crate) fn run(mut command: Command) -> Result {
    eprintln!("$ {}", line(&command));
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| Failure::new(format!("could not start {program}: {error}")))?;
    if status.success() { Ok(()) } else { Err(Failure::of_program(&program, status)) }
}

/// Whether the command can be started and succeeds. What it prints is dropped.
pub(crate) fn succeeds(mut command: Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What a command that succeeds prints to its standard output.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("could not start {program}: {error}")))?;
    if !output.status.success() {
        return Err(Failure::of_program(&program, output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| Failure::new(format!("{program} printed something that is not UTF-8")))
}

/// Where cargo puts the binary `name` of the dev profile: beside the program that is running.
pub(crate) fn built_binary(name: &str) -> Result<PathBuf> {
    let this =
        env::current_exe().map_err(|error| Failure::new(format!("could not find the path of xtask: {error}")))?;
    Ok(this.with_file_name(format!("{name}{EXE_SUFFIX}")))
}

/// Where cargo puts the example `name` of the dev profile.
pub(crate) fn built_example(name: &str) -> Result<PathBuf> {
    Ok(built_binary("xtask")?.with_file_name("examples").join(format!("{name}{EXE_SUFFIX}")))
}

/// The folder that cargo builds in.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let profile = built_binary("xtask")?;
    let folder = profile.parent().and_then(Path::parent);
    folder.map(Path::to_owned).ok_or_else(|| Failure::new(format!("{} lies in no target folder", profile.display())))
}

/// Whether a program of this name can be found in `PATH`.
pub(crate) fn is_in_path(program: &str) -> bool {
    find_in_path(program).is_some()
}

/// Where in `PATH` a program of this name is.
pub(crate) fn find_in_path(program: &str) -> Option<PathBuf> {
    let file = format!("{program}{EXE_SUFFIX}");
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(&file)).find(|path| path.is_file())
}

/// Splits arguments at the first `--` into those before it and those after it.
pub(crate) fn split_at_dashes(arguments: &[String]) -> (&[String], &[String]) {
    match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[]),
    }
}

/// The command as one would type it in the root of the workspace.
fn line(command: &Command) -> String {
    let variables =
        command.get_envs().filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quoted(value?))));
    let program = [quoted(command.get_program())];
    let arguments = command.get_args().map(quoted);
    let words: Vec<String> = variables.chain(program).chain(arguments).collect();
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_typed_as_it_is_printed() {
        let mut command = command("cargo test --bench *");
        command.arg("it's").env("RUSTDOCFLAGS", "-D warnings").env_remove("CARGO_PKG_NAME");
        assert_eq!(line(&command), r"RUSTDOCFLAGS='-D warnings' cargo test --bench '*' 'it'\''s'");
    }

    #[test]
    fn only_the_first_dashes_split() {
        let arguments = ["a", "--", "b", "--", "c"].map(str::to_owned);
        let (before, after) = split_at_dashes(&arguments);
        assert_eq!(before, ["a"]);
        assert_eq!(after, ["b", "--", "c"]);
    }
}

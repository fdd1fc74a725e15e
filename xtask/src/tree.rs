//! The check that crates depend on what they may: the façade on no runtime, the core on nothing of ours.

use crate::failure::{Failure, Result};
use crate::shell;

/// A crate, and what must not be in its dependency tree.
struct Rule {
    package: &'static str,
    without: &'static [&'static str],
}

/// What runs tasks or talks to a network by itself.
const RUNTIMES: &[&str] =
    &["async-executor", "async-io", "async-std", "hyper", "mio", "smol", "tokio", "wasm-bindgen-futures"];

const RULES: &[Rule] = &[
    Rule { package: "periplus-core", without: RUNTIMES },
    Rule { package: "periplus", without: RUNTIMES },
    Rule { package: "periplus-async-std", without: &["hyper-util", "periplus-tokio"] },
];

/// Fails if a crate depends on what it must not.
pub(crate) fn check() -> Result {
    let mut findings = Vec::new();
    for Rule { package, without } in RULES {
        let tree = shell::cargo("tree --edges normal --prefix none --all-features --package");
        let tree = shell::output(with_argument(tree, package))?;
        let found = forbidden(&tree, without);
        println!("{package}: {} crates, none of {}", crates(&tree), without.join(", "));
        findings.extend(found.into_iter().map(|name| format!("{package} depends on {name}")));
    }
    if findings.is_empty() { Ok(()) } else { Err(Failure::new(findings.join("\n"))) }
}

fn with_argument(mut command: std::process::Command, argument: &str) -> std::process::Command {
    command.arg(argument);
    command
}

/// The names in a tree, as `cargo tree --prefix none` prints it, that must not be there.
fn forbidden<'a>(tree: &'a str, without: &[&str]) -> Vec<&'a str> {
    let mut names: Vec<&str> = names(tree).filter(|name| without.contains(name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn crates(tree: &str) -> usize {
    let mut names: Vec<&str> = names(tree).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

fn names(tree: &str) -> impl Iterator<Item = &str> {
    tree.lines().filter_map(|line| line.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str =
        "periplus v0.1.0 (adapters/client)\nperiplus-core v0.1.0\ntokio v1.54.1\nserde v1 (*)\ntokio v1.54.1 (*)\n";

    #[test]
    fn what_must_not_be_there_is_named_once() {
        assert_eq!(forbidden(TREE, &["tokio", "smol"]), ["tokio"]);
        assert!(forbidden(TREE, &["smol"]).is_empty());
    }

    #[test]
    fn a_crate_counts_once() {
        assert_eq!(crates(TREE), 4);
    }
}

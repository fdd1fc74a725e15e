//! `cargo xtask test`: every check that continuous integration runs.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::{browser_test, examples, paths, servers, setup, shell, tree, wasm_test};

/// The targets that the core is built for beside the host: one without threads and files, one without anything.
const CORE_TARGETS: [&str; 2] = ["wasm32-unknown-unknown", "thumbv7em-none-eabihf"];

/// The crates whose documentation is read.
const DOCUMENTED: [&str; 9] = [
    "periplus",
    "periplus-async-std",
    "periplus-core",
    "periplus-hyper",
    "periplus-server",
    "periplus-tokio",
    "periplus-tonic",
    "periplus-wasm",
    "periplus-web",
];

/// What no crate has by default, and is tested and documented all the same.
const BATTERIES: &str =
    "periplus-async-std/app,periplus-async-std/dial,periplus-async-std/smol,periplus-tokio/app,periplus-tokio/dial";

/// One check.
struct Step {
    name: &'static str,
    about: &'static str,
    /// What to do when it fails.
    hint: &'static str,
    check: fn() -> Result,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", about: "the code is formatted", hint: "run: cargo fmt --all", check: fmt },
    Step {
        name: "clippy",
        about: "compiler and clippy have nothing to say about any target",
        hint: "many can be mended by: cargo clippy --workspace --all-targets --all-features --fix --allow-dirty",
        check: clippy,
    },
    Step {
        name: "docs",
        about: "the documentation builds without a broken link",
        hint: "mend the doc comments named above",
        check: docs,
    },
    Step {
        name: "targets",
        about: "the core builds for wasm and for a machine without an operating system; what is for browsers is clean",
        hint: "the core may use `core` and `alloc`, and only crates that do the same; see .github/CONTRIBUTING.md",
        check: targets,
    },
    Step {
        name: "tree",
        about: "the crates depend on what they may",
        hint: "the façade and the core know no runtime: put what does into a runtime's crate",
        check: tree::check,
    },
    Step {
        name: "core-tests",
        about: "the core's tests, with its planted faults within reach",
        hint: "a failing property prints its seed and keeps it in proptest-regressions: commit it with the fix",
        check: core_tests,
    },
    Step {
        name: "sim",
        about: "two thousand simulated hours break no law, and every planted bug of a client is caught",
        hint: "the failure says its seed: add it to core/tests/sim/seeds.txt with the fix",
        check: sim,
    },
    Step {
        name: "tests",
        about: "all other tests, with the fuzz corpus among them",
        hint: "run the one that failed by: cargo test --package PACKAGE NAME",
        check: other_tests,
    },
    Step {
        name: "examples",
        about: "the examples of the native runtimes find and call each other through real registries; nobody notices a \
                restart",
        hint: "play one by hand: periplus serve, then cargo run --package periplus-tokio --example consumer",
        check: examples::run,
    },
    Step {
        name: "wasm-tests",
        about: "the core's tests once more, in wasm under Node",
        hint: "run the one that failed by: cargo xtask wasm-test -- --test FILE NAME",
        check: wasm_tests,
    },
    Step {
        name: "browser",
        about: "the browser's runtime, its examples and the dashboard, in a headless Chromium",
        hint: "run one part by: cargo xtask browser-test --only runtime|story|stores|conformance|dashboard",
        check: browser_tests,
    },
    Step {
        name: "fuzz",
        about: "the fuzz targets compile",
        hint: "mend fuzz/; `cargo xtask fuzz TARGET` runs one",
        check: fuzz_targets,
    },
    Step {
        name: "benches",
        about: "each benchmark runs once, unmeasured",
        hint: "mend benches/; `cargo xtask bench` measures",
        check: benches,
    },
    Step {
        name: "paths",
        about: "no file mentions a path outside of the repository",
        hint: "name things by their path in the repository, or not at all",
        check: paths::check,
    },
];

/// Runs the chosen steps in order up to the first that fails, and prints what each took.
pub(crate) fn run(arguments: &[String]) -> Result {
    let steps = match Selection::parse(arguments)? {
        Selection::List => {
            print!("{}", list());
            return Ok(());
        }
        Selection::Steps(steps) => steps,
    };

    let mut times = Vec::new();
    let mut outcome = Ok(());
    for step in &steps {
        println!("\n== {} == {}", step.name, step.about);
        let start = Instant::now();
        outcome = (step.check)().map_err(|failure| {
            failure.with_hint(step.hint).with_hint(&format!("and go on with: cargo xtask test --from {}", step.name))
        });
        let time = start.elapsed();
        times.push(time);
        if outcome.is_err() {
            break;
        }
        println!("-- {} took {}", step.name, seconds(time));
    }
    println!("\n== summary ==");
    print!("{}", summary(&steps, &times, outcome.is_ok()));
    outcome
}

/// What the arguments ask for.
enum Selection {
    List,
    Steps(Vec<&'static Step>),
}

impl Selection {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut only = Vec::new();
        let mut from = 0;
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => return Ok(Self::List),
                "--only" => only.push(position(arguments.next())?),
                "--from" => from = position(arguments.next())?,
                unknown => {
                    return Err(Failure::usage(format!(
                        "unknown argument `{unknown}`\n\n\
                         usage: cargo xtask test [--only STEP]… [--from STEP] [--list]"
                    )));
                }
            }
        }
        let chosen = |at: &usize| *at >= from && (only.is_empty() || only.contains(at));
        Ok(Self::Steps((0..STEPS.len()).filter(chosen).map(|at| &STEPS[at]).collect()))
    }
}

/// Where in [`STEPS`] the step of this name is.
fn position(name: Option<&String>) -> Result<usize> {
    let found = name.and_then(|name| STEPS.iter().position(|step| step.name == name));
    found.ok_or_else(|| {
        let name = name.map_or("nothing", String::as_str);
        Failure::usage(format!("`{name}` is not the name of a step\n\n{}", list()))
    })
}

fn list() -> String {
    STEPS.iter().map(|step| format!("{:<12}{}\n", step.name, step.about)).collect()
}

/// One line a step. All that have a time passed, unless `all_passed` says that the last of them did not.
fn summary(steps: &[&Step], times: &[Duration], all_passed: bool) -> String {
    let mut text = String::new();
    for (at, step) in steps.iter().enumerate() {
        let (result, time) = match times.get(at) {
            None => ("not run", String::new()),
            Some(time) if all_passed || at + 1 < times.len() => ("ok", seconds(*time)),
            Some(time) => ("FAILED", seconds(*time)),
        };
        text += format!("{:<12}{result:<8}{time:>8}", step.name).trim_end();
        text += "\n";
    }
    text + &format!("{:<20}{:>8}\n", "total", seconds(times.iter().sum()))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn fmt() -> Result {
    setup::ensure_rust_component("rustfmt", "fmt")?;
    shell::run(shell::cargo("fmt --all --check"))
}

fn clippy() -> Result {
    setup::ensure_rust_component("clippy", "clippy")?;
    let clippy = "clippy --workspace --all-targets --all-features -- -D warnings";
    shell::run(shell::cargo(clippy))
}

fn docs() -> Result {
    let mut doc = shell::cargo(&format!("doc --no-deps --document-private-items --features {BATTERIES}"));
    for package in DOCUMENTED {
        doc.args(["--package", package]);
    }
    doc.env("RUSTDOCFLAGS", "-Dwarnings");
    shell::run(doc)
}

fn targets() -> Result {
    let mut build = shell::cargo("build --package periplus-core --no-default-features");
    for target in CORE_TARGETS {
        setup::ensure_rust_target(target)?;
        build.args(["--target", target]);
    }
    shell::run(build)?;
    // What is for browsers only is not among the host's targets.
    let browsers =
        "clippy --package periplus --package periplus-wasm --package periplus-web --target wasm32-unknown-unknown";
    shell::run(shell::cargo(&format!("{browsers} -- -D warnings")))
}

/// A command of cargo for all crates but the core. Their examples are built by it, too.
pub(crate) fn everything(command: &str) -> Command {
    shell::cargo(&format!("{command} --workspace --exclude periplus-core --features {BATTERIES}"))
}

/// All but the long runs of the simulator, which are a step of their own.
fn core_tests() -> Result {
    let skip = "--skip two_thousand_hours_without_a_violation --skip every_planted_client_bug_is_caught";
    shell::run(shell::cargo(&format!("test --package periplus-core --features planted-faults -- {skip}")))
}

/// The simulator alone, with its figures.
fn sim() -> Result {
    shell::run(shell::cargo("test --package periplus-core --features planted-faults --test sim -- --nocapture"))
}

/// The servers of others are told to them.
fn other_tests() -> Result {
    let mut tests = everything("test");
    tests.envs(servers::ensure()?);
    shell::run(tests)
}

fn wasm_tests() -> Result {
    wasm_test::run(&[])
}

fn browser_tests() -> Result {
    browser_test::run(&[])
}

fn fuzz_targets() -> Result {
    shell::run(shell::cargo("check --manifest-path fuzz/Cargo.toml --bins"))
}

/// Without `--bench`, criterion runs each benchmark once and measures nothing. The packages are the same as for
/// [`other_tests`], so that what was built for those is used again.
fn benches() -> Result {
    shell::run(shell::cargo("test --workspace --exclude periplus-core --bench *"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(arguments: &[&str]) -> Vec<&'static str> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        match Selection::parse(&arguments) {
            Ok(Selection::Steps(steps)) => steps.iter().map(|step| step.name).collect(),
            Ok(Selection::List) => panic!("asked for no list"),
            Err(failure) => panic!("{failure}"),
        }
    }

    #[test]
    fn all_steps_run_by_default() {
        assert_eq!(chosen(&[]).len(), STEPS.len());
    }

    #[test]
    fn chosen_steps_run_in_their_own_order() {
        assert_eq!(chosen(&["--only", "docs", "--only", "fmt"]), ["fmt", "docs"]);
    }

    #[test]
    fn from_leaves_out_what_comes_before() {
        assert_eq!(chosen(&["--from", "fuzz"]), ["fuzz", "benches", "paths"]);
    }

    #[test]
    fn unknown_steps_are_refused() {
        assert!(Selection::parse(&["--only".to_owned(), "lint".to_owned()]).is_err());
        assert!(Selection::parse(&["--from".to_owned()]).is_err());
    }

    #[test]
    fn a_summary_tells_the_failed_step_from_those_before_and_after_it() {
        let steps: Vec<&Step> = STEPS[..3].iter().collect();
        let times = [Duration::from_millis(1500), Duration::from_secs(12)];
        let expected = "\
fmt         ok         1.5 s
clippy      FAILED    12.0 s
docs        not run
total                 13.5 s
";
        assert_eq!(summary(&steps, &times, false), expected);
    }
}

//! `cargo xtask browser-test`: what runs in browsers, in a headless Chromium.
//!
//! Five parts: `runtime` is the tests of `adapters/wasm/tests`, in a page and in a worker; `story` is the examples of
//! `adapters/wasm/examples`, bundled as a web page would load them, with a real registry that is killed and comes back;
//! `stores` is the same with a real etcd and a real Consul, as far as those let pages in; `conformance` is the suite that every runtime passes, with a harness beside the browser;
//! `dashboard` is the dashboard of a real registry, which leaves pictures and numbers in `target/dashboard`.

mod browser;
mod dashboard;
mod files;
mod http;
mod relay;
mod stores;
mod story;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::service::Service;
use crate::{setup, shell, wasm};

/// How often what is waited for is looked at.
const GLANCE: Duration = Duration::from_millis(25);

/// How long anything may take to come true in a browser on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

type Part = (&'static str, fn(&Options) -> Result);

const PARTS: [Part; 5] = [
    ("runtime", |_| runtime()),
    ("story", |_| story::run()),
    ("stores", |_| stores::run()),
    ("conformance", |_| conformance()),
    ("dashboard", dashboard::run),
];

const USAGE: &str =
    "usage: cargo xtask browser-test [--only runtime|story|stores|conformance|dashboard[/STEP]] [--long]";

/// What is to be run.
#[derive(Debug, Default)]
struct Options {
    /// This part alone.
    part: Option<String>,
    /// This step of it alone.
    step: Option<String>,
    /// The load lasts a minute.
    long: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(flag) = arguments.next() {
            match (flag.as_str(), arguments.as_slice()) {
                ("--long", _) => options.long = true,
                ("--only", [only, ..]) => {
                    arguments.next();
                    let (part, step) = only.split_once('/').map_or((&**only, None), |(part, step)| (part, Some(step)));
                    let is_known = PARTS.iter().any(|(name, _)| *name == part);
                    if !is_known || step.is_some_and(|step| part != "dashboard" || !dashboard::has(step)) {
                        return Err(Failure::usage(USAGE));
                    }
                    (options.part, options.step) = (Some(part.to_owned()), step.map(str::to_owned));
                }
                _ => return Err(Failure::usage(USAGE)),
            }
        }
        Ok(options)
    }
}

/// The user wants to stop.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Runs all parts, or one.
pub(crate) fn run(arguments: &[String]) -> Result {
    let options = Options::parse(arguments)?;
    ensure_browser()?;
    for (name, part) in PARTS {
        if options.part.as_ref().is_none_or(|only| only == name) {
            println!("-- {name}");
            part(&options)?;
        }
    }
    Ok(())
}

/// Makes sure that there is a Chromium, and the program by which others drive it.
pub(crate) fn ensure_browser() -> Result {
    setup::ensure_debian_package("chromium", "chromium")?;
    setup::ensure_debian_package("chromium-driver", "chromedriver")
}

/// The tests of the runtime, and the natively tested parts of it once more, in wasm.
fn runtime() -> Result {
    shell::run(wasm_tests("test --package periplus-wasm --lib --tests")?)
}

/// The suite that every runtime passes. The harness that it commands runs beside the browser.
fn conformance() -> Result {
    heed_interrupts();
    shell::run(shell::cargo("build --package periplus-server --bin periplus"))?;
    shell::run(shell::cargo("build --package periplus-conformance --bin harness"))?;
    let mut command = Command::new(shell::built_binary("harness")?);
    command.env("PERIPLUS_BIN", shell::built_binary("periplus")?).stdout(Stdio::piped());
    let mut harness = Service::start("harness", command)?;
    let mut address = String::new();
    let stdout = harness.take_stdout().expect("it is piped");
    BufReader::new(stdout).read_line(&mut address).map_err(|error| Failure::new(error.to_string()))?;
    let mut tests = wasm_tests("test --package periplus-conformance --test browser")?;
    tests.env("PERIPLUS_HARNESS", address.trim());
    // In seconds: all of it, since the tests run one after another.
    tests.env("WASM_BINDGEN_TEST_TIMEOUT", "300");
    shell::run(tests)
}

/// A `cargo test` whose tests run in a browser.
fn wasm_tests(arguments: &str) -> Result<Command> {
    setup::ensure_rust_target(wasm::TARGET)?;
    setup::ensure_debian_package("nodejs", "node")?;
    shell::run(shell::cargo("build --package xtask --features wasm --bin wasm-test-runner"))?;
    let mut tests = shell::cargo(arguments);
    tests.args(["--target", wasm::TARGET]).envs(wasm::TESTED);
    tests.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", shell::built_binary("wasm-test-runner")?);
    tests.env("CHROMEDRIVER", "chromedriver");
    Ok(tests)
}

/// Stops at Ctrl-C where it is waited for something, so that the programs that were started are stopped.
///
/// Once, for the whole process: without a handler, they would be left running, because Ctrl-C does not reach them.
fn heed_interrupts() {
    // Fails only if there is one already.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
}

/// Looks until something is found.
///
/// # Errors
/// If looking fails, or it is not found in time.
fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Err(Failure::new("interrupted"));
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("waited {PATIENCE:?} in vain for this: {what}")));
        }
        thread::sleep(GLANCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_chosen_by_its_name_and_a_step_of_the_dashboard_after_it() {
        let parse = |line: &str| Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let options = parse("--only dashboard/load --long").expect("it is as documented");
        assert_eq!((options.part.as_deref(), options.step.as_deref()), (Some("dashboard"), Some("load")));
        assert!(options.long);
        for wrong in ["--only", "--only nothing", "--only story/load", "--only dashboard/nothing", "load"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

//! The automation of the Periplus workspace, called as `cargo xtask COMMAND`.
//!
//! Everything that is done to this workspace more than once is a command here: one module each, listed in [`HELP`].
//! There are no shell scripts beside it, and continuous integration runs what a developer runs. Commands print what they
//! are about to do before they do it, install what they need where they can, and stop at the first failure with its exit
//! code and a hint at what to do.

mod bench;
mod browser_test;
mod examples;
mod failure;
mod fuzz;
mod paths;
mod registry;
mod run;
mod servers;
mod service;
mod setup;
mod shell;
mod shop;
mod sim;
mod test;
mod tree;
mod wasm;
mod wasm_test;

use std::process::ExitCode;

use failure::{Failure, Result};

const HELP: &str = "\
Usage: cargo xtask COMMAND

Commands:
  run [--listen ADDRESS] [-- ARGS]   start a registry and a demo fleet; ARGS go to `periplus serve`
  test [--only STEP]… [--from STEP]  run every check that continuous integration runs; --list names the steps
  wasm-test [-- ARGS]                run the core's tests in wasm, under Node; ARGS go to `cargo test`
  web [--dev]                        build the dashboard, which the next build of the server then has
  wasm [--dev] [--features LIST]     bundle the browser's client: an ES module, its wasm and its types
  browser-test [--only PART] [--long]
                                     run what runs in browsers in a headless Chromium: runtime, story, stores,
                                     conformance, dashboard; dashboard/STEP is one step of it. Pictures and numbers
                                     of the dashboard are left in target/dashboard; --long loads it for a minute
  bench core [ARGS]                  measure the state machines (--json for a machine to read)
  bench server [ARGS]                load a running server (--json; --etcd to measure etcd beside it)
  bench stores [ARGS]                hold instances in etcd and Consul, beside the usual ways to (--json)
  fuzz TARGET [SECONDS]              fuzz one target, for a minute by default
  shop [--registry URL] [--seconds N] [--rate N]
                                     restart three services that call each other under load, in one process
  sim --hours N [--seed S]           simulate hours of faults; --herd CLIENTS: all lose their registry at once
  help                               print this
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.exit_code()
        }
    }
}

fn dispatch(arguments: &[String]) -> Result {
    let Some((command, rest)) = arguments.split_first() else {
        print!("{HELP}");
        return Ok(());
    };
    match command.as_str() {
        "run" => run::run(rest),
        "test" => test::run(rest),
        "wasm-test" => wasm_test::run(rest),
        "web" => wasm::web(rest),
        "wasm" => wasm::run(rest),
        "browser-test" => browser_test::run(rest),
        "bench" => bench::run(rest),
        "fuzz" => fuzz::run(rest),
        "shop" => shop::run(rest),
        "sim" => sim::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => Err(Failure::usage(format!("there is no command `{unknown}`\n\n{HELP}"))),
    }
}

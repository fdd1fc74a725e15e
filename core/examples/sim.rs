//! Simulated hours, as many as one likes: `cargo xtask sim --hours N [--seed S]`.

#[path = "../tests/sim/mod.rs"]
mod sim;

use std::process::ExitCode;

use periplus_core::fault::{Fault, Faults};
use sim::campaign::{campaign, explain};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let hours = value("--hours").and_then(|hours| hours.parse().ok()).unwrap_or(100.0);
    let seed = value("--seed").and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let fault = value("--fault").and_then(|name| Fault::ALL.iter().find(|fault| format!("{fault:?}") == name).copied());
    let faults = fault.map_or_else(Faults::default, Faults::only);
    let (tally, failure) = campaign(seed, hours, faults);
    if let Some(failure) = &failure {
        println!("{}", explain(failure, faults));
    }
    println!("{}", tally.line());
    if failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

//! Simulated hours, as many as one likes: `cargo xtask sim --hours N [--seed S]`.

#[path = "../tests/sim/mod.rs"]
mod simulator;

use std::process::ExitCode;

use periplus_core::fault::{Fault, Faults};
use simulator::campaign::{campaign, explain};
use simulator::herd::herd;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let seed = number("--seed").unwrap_or(1);
    let fault = value("--fault").and_then(|name| Fault::ALL.iter().find(|fault| format!("{fault:?}") == name).copied());
    let faults = fault.map_or_else(Faults::default, Faults::only);
    if let Some(clients) = number("--herd") {
        println!("{:?}", herd(usize::try_from(clients).unwrap_or(1_000), seed, faults));
        return ExitCode::SUCCESS;
    }
    // Panics are violations, and told as such.
    std::panic::set_hook(Box::new(|_| {}));
    let hours = number("--hours").unwrap_or(100) as f64;
    let (tally, failure) = campaign(seed, hours, faults);
    if let Some(failure) = &failure {
        println!("{}", explain(failure, faults));
    }
    println!("{}", tally.line());
    if failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

//! A shop of three services that call each other by `discovery:///…`, over gRPC and HTTP, while every instance of them is
//! restarted, one after the other: no request may fail, and none may be begun twice.
//!
//! ```text
//! customers ── HTTP ──▶ catalog (versions 1 and 2, two instances each)
//! customers ── HTTP ──▶ cart (two) ── gRPC, one in five to version 2 ──▶ catalog
//! customers ── gRPC ──▶ checkout (two) ── HTTP ──▶ cart
//!                                       └─ HTTP, POST ──▶ catalog
//! ```
//!
//! All run in one process, and meet in a registry: one in the process, unless `--registry` names another. It is called as
//! `shop --help` says.

#[path = "../helloworld/mod.rs"]
mod helloworld;

mod customers;
mod instance;
mod ledger;
mod services;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use customers::Customers;
use instance::Instance;
use ledger::Ledger;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Restarts a shop under load, and fails if a customer notices.
#[derive(Parser)]
struct Options {
    /// The registry, such as periplus://127.0.0.1:7171
    #[arg(long, value_name = "URL", default_value = "memory:shop")]
    registry: String,
    /// How long; longer, if not every instance was restarted by then
    #[arg(long, value_name = "N", default_value_t = 30)]
    seconds: u64,
    /// How many requests a second the customers make
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
}

/// The instances: service and version.
const FLEET: [(&str, &str); 8] = [
    ("catalog", "1"),
    ("catalog", "2"),
    ("cart", "1"),
    ("checkout", "1"),
    ("catalog", "1"),
    ("catalog", "2"),
    ("cart", "1"),
    ("checkout", "1"),
];

#[tokio::main]
async fn main() -> ExitCode {
    match play(Options::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether nobody noticed.
async fn play(options: Options) -> Result<bool, BoxError> {
    let ledger = Arc::new(Ledger::default());
    let mut fleet = Vec::new();
    for (number, (service, version)) in FLEET.into_iter().enumerate() {
        fleet.push(Instance::start(service, version, &id(service, number, 0), &options.registry, &ledger).await?);
    }
    println!("{} instances of 3 services are open", fleet.len());

    let customers = Customers::come(&options.registry, options.rate, &ledger).await?;
    let (began, mut restarts) = (Instant::now(), 0);
    let end = Duration::from_secs(options.seconds);
    while began.elapsed() < end || restarts < FLEET.len() {
        let number = restarts % FLEET.len();
        let (service, version) = FLEET[number];
        let id = id(service, number, restarts / FLEET.len() + 1);
        // The old one leaves first: those who are left have to do.
        fleet[number].stop().await?;
        fleet[number] = Instance::start(service, version, &id, &options.registry, &ledger).await?;
        restarts += 1;
    }
    let took = began.elapsed();
    let visits = customers.go().await;
    for instance in &mut fleet {
        instance.stop().await?;
    }

    for (answerer, count) in &visits.by {
        println!("{answerer}: {count}");
    }
    for (failure, count) in &visits.failures {
        println!("failed {count} times: {failure}");
    }
    let (requests, failed, twice) = (visits.requests, visits.failed(), ledger.twice());
    println!(
        "{requests} requests in {:.1} s, {:.0} a second, the slowest in {:.0?}, and {} calls in all",
        took.as_secs_f64(),
        requests as f64 / took.as_secs_f64(),
        visits.slowest,
        ledger.calls(),
    );
    println!("{requests} requests, {failed} failed, {twice} begun twice, {restarts} restarts");
    Ok(failed == 0 && twice == 0)
}

fn id(service: &str, number: usize, generation: usize) -> String {
    format!("{service}-{}.{generation}", number + 1)
}

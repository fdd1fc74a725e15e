//! `periplus demo`: a fleet of made-up services that lives in a real registry.
//!
//! `script` decides what happens and touches nothing; `fleet` makes it happen over the protocol, and `readers` follow it.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::time::Instant;

use crate::cli::args::Connection;
use crate::cli::{output, signals};
use crate::random::Random;

mod cast;
mod fleet;
mod host;
mod readers;
mod script;
mod stories;

use fleet::Fleet;
use readers::Readers;
use script::Script;

/// The demo's leases: short, so that a crash is seen soon.
const TTL: Duration = Duration::from_secs(9);

/// Bring a fleet of made-up services to life in a registry
///
/// Every instance is a real registration. They deploy, scale, flap, come late, crash and expire, and an operator drains
/// and evicts, and services follow those they need; what happens is told line by line. One seed tells one story. At the end all of it is deregistered.
#[derive(Args, Debug)]
pub struct Demo {
    /// How many instances to begin with, about
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(24..=5000))]
    instances: u32,
    /// How fast the story goes
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Which story to tell [default: another each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "write a number, such as 2 or 0.5")?;
    if (0.01..=100.0).contains(&speed) { Ok(speed) } else { Err("must be from 0.01 to 100".into()) }
}

impl Demo {
    /// Tells the story until interrupted.
    ///
    /// # Errors
    /// The registry cannot be reached when it begins.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let _: Value = client.get(client.target("/v1/services").query("limit", "1")).await?;
        let seed = self.seed.unwrap_or_else(|| Random::from_system().next() % 1_000_000);
        output::line(format_args!(
            "A fleet of {} instances moves into {} (seed {seed}). Ctrl-C ends it.",
            self.instances, self.connection.registry
        ))?;
        let mut fleet = Fleet::start(&client);
        let readers = Readers::start(&self.connection.registry.address()?, &self.connection.ns);
        let mut script = Script::new(seed, self.instances as usize);
        let result = tokio::select! {
            result = self.tell(&mut script, &mut fleet) => result,
            () = signals::interrupted() => Ok(()),
            () = output::closed() => Ok(()),
        };
        drop(readers);
        output::note("taking everything out again");
        let left = fleet.stop().await;
        if left > 0 {
            output::note(format_args!(
                "{left} instances could not be deregistered: they expire within {} s",
                TTL.as_secs()
            ));
        }
        result
    }

    async fn tell(&self, script: &mut Script, fleet: &mut Fleet) -> anyhow::Result<()> {
        let begin = Instant::now();
        loop {
            let at = begin + script.next_at().div_f64(self.speed);
            // What the fleet has to say meanwhile is rare: the registry went away, or came back.
            while let Ok(Some(remark)) = tokio::time::timeout_at(at, fleet.remark()).await {
                Self::line(begin, "registry", &remark)?;
            }
            let beat = script.step();
            if let Some((who, what)) = &beat.line {
                Self::line(begin, who, what)?;
            }
            for act in beat.acts {
                fleet.play(act, self.speed).await;
            }
        }
    }

    fn line(begin: Instant, who: &str, what: &str) -> anyhow::Result<()> {
        let seconds = begin.elapsed().as_secs();
        output::line(format_args!("{:02}:{:02}  {who:<16} {what}", seconds / 60, seconds % 60))
    }
}

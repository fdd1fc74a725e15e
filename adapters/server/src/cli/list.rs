//! `periplus list`.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::args::{Connection, Format};
use super::output;

/// Show the services
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only those whose names begin so
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// A service with the numbers of its instances.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Service {
    name: String,
    instances: u64,
    up: u64,
    starting: u64,
    draining: u64,
    down: u64,
    revision: u64,
}

impl List {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.connection.client();
        let target = client.target("/v1/services").query_if("prefix", self.prefix.as_ref());
        let (services, answer) = client.get_all::<Service>(&target, "services").await?;
        output::note_warming(answer["warming"] == true);
        if self.format.json {
            return output::json(&services);
        }
        if services.is_empty() {
            output::note("no services");
            return Ok(());
        }
        output::table(
            ["SERVICE", "INSTANCES", "UP", "STARTING", "DRAINING", "DOWN"],
            services.into_iter().map(|service| {
                let Service { name, instances, up, starting, draining, down, .. } = service;
                [name, number(instances), number(up), number(starting), number(draining), number(down)]
            }),
        )
    }
}

/// A number; none is left out, so that what is there stands out.
fn number(n: u64) -> String {
    if n == 0 { "-".into() } else { n.to_string() }
}

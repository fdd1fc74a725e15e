//! `periplus list`.

use std::collections::BTreeMap;

use clap::Args;
use periplus_core::client::ClientConfig;
use periplus_core::{Instance, Query, Status};
use serde::{Deserialize, Serialize};

use super::args::{Connection, Format};
use super::{foreign, output};

/// Show the services
#[derive(Args, Debug)]
pub(super) struct List {
    /// Only those whose names begin so
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Only instances that match, and services that have any; see `periplus find --help`
    #[arg(long, value_name = "QUERY")]
    filter: Option<Query>,
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
        let services = if self.connection.registry.is_foreign() {
            self.counted().await?
        } else {
            let client = self.connection.client()?;
            let target = client.target("/v1/services").query_if("prefix", self.prefix.as_ref());
            let target = target.query_if("filter", self.filter.as_ref());
            let (services, answer) = client.get_all::<Service>(&target, "services").await?;
            output::note_warming(answer["warming"] == true);
            services
        };
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

    /// The services of a registry that does not count their instances itself.
    async fn counted(&self) -> anyhow::Result<Vec<Service>> {
        let client = self.connection.connect(ClientConfig::default())?;
        let watcher = client.watch_prefix(self.prefix.as_deref().unwrap_or_default())?;
        let listing = foreign::first(&self.connection.registry, &client, watcher).await?;
        let revision = listing.cursor.as_ref().map_or(0, |cursor| cursor.revision.0);
        let mut services: BTreeMap<String, Service> = BTreeMap::new();
        let filter = self.filter.clone().unwrap_or_default();
        for instance in listing.iter().filter(|instance| filter.matches(instance)) {
            let name = instance.service_name().to_string();
            let new = || Service { name: name.clone(), revision, ..Service::default() };
            services.entry(name.clone()).or_insert_with(new).count(instance);
        }
        Ok(services.into_values().collect())
    }
}

impl Service {
    fn count(&mut self, instance: &Instance) {
        self.instances += 1;
        match instance.status() {
            Status::Starting => self.starting += 1,
            Status::Draining => self.draining += 1,
            Status::Down => self.down += 1,
            _ => self.up += 1,
        }
    }
}

/// A number; none is left out, so that what is there stands out.
fn number(n: u64) -> String {
    if n == 0 { "-".into() } else { n.to_string() }
}

//! `periplus find`.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use periplus_core::client::ClientConfig;
use periplus_core::{Query, ServiceInstance};

use super::args::{Connection, Format};
use super::exit::Usage;
use super::{foreign, get, output};
use crate::client::Client;
use crate::client::error::CallError;

/// What a query may say.
const LANGUAGE: &str = "\
A query has terms with spaces between them, and an instance matches if all of them hold:
  pay                     found in the service's name, id, version, endpoints or metadata
  zone:north,south        one of these values
  !zone:north             it does not hold that the zone is north; also zone:!north
  id:web-*                * is any text
  version:>=1.10          also <=, > and <; the same for weight and numbers in metadata
  endpoint:10.0.0.1       a part of any endpoint; all of it with * or =
  meta.owner:*            there is an owner in the metadata; !meta.owner:* for none
  meta.rule=!a,b*         what follows = is the value as it is written
  meta.\"on call\":\"Ann B\"  quotes around what has spaces or special signs
Keys: name (of the service), id, version, zone, status (up, starting, draining or down),
weight, scheme, endpoint, and meta.KEY.
Put a query into single quotes, so that the shell leaves it as it is.";

/// Find instances, whatever their service
#[derive(Args, Debug)]
#[command(after_help = LANGUAGE)]
pub(super) struct Find {
    /// Which instances, such as 'zone:north status:!up'; several arguments are one query
    #[arg(required = true, value_parser = NonEmptyStringValueParser::new())]
    query: Vec<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

impl Find {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let query = self.query.join(" ");
        let query: Query = query.parse().map_err(|error| Usage(format!("{error}: {query}")))?;
        let instances = if self.connection.registry.is_foreign() {
            self.followed(&query).await?
        } else {
            matching(&self.connection.client()?, &query).await?
        };
        if self.format.json {
            return output::json(&instances);
        }
        if instances.is_empty() {
            output::note(format_args!("no instances match {query}"));
            return Ok(());
        }
        table(&instances)
    }

    /// The instances, as a registry of others lists them.
    async fn followed(&self, query: &Query) -> anyhow::Result<Vec<ServiceInstance>> {
        let client = self.connection.connect(ClientConfig::default())?;
        let watcher = client.watch_prefix("")?;
        let listing = foreign::first(&self.connection.registry, &client, watcher).await?;
        let mut instances: Vec<_> = listing.iter().filter(|it| query.matches(it)).map(|it| it.decode()).collect();
        instances.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(instances)
    }
}

/// The instances that a registry has, over all services.
///
/// # Errors
/// The registry could not be reached, or refused.
pub(super) async fn matching(client: &Client, query: &Query) -> Result<Vec<ServiceInstance>, CallError> {
    let target = client.target("/v1/instances").query("filter", query);
    let (instances, answer) = client.get_all::<ServiceInstance>(&target, "instances").await?;
    output::note_warming(answer["warming"] == true);
    Ok(instances)
}

/// Instances of any services, one a row.
pub(super) fn table(instances: &[ServiceInstance]) -> anyhow::Result<()> {
    output::table(
        ["SERVICE", "ID", "VERSION", "STATUS", "WEIGHT", "ZONE", "ENDPOINTS", "METADATA"],
        instances.iter().map(|instance| {
            let [id, version, status, weight, zone, endpoints, metadata] = get::cells(instance);
            [instance.name.to_string(), id, version, status, weight, zone, endpoints, metadata]
        }),
    )
}

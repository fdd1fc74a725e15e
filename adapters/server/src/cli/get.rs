//! `periplus get`.

use clap::Args;
use http::StatusCode;
use periplus_core::client::ClientConfig;
use periplus_core::http::target::Target;
use periplus_core::{InstanceId, Query, ServiceInstance, ServiceName};
use serde_json::{Value, json};

use super::args::{Connection, Format};
use super::events::caller_in_words;
use super::{changes, foreign, output};
use crate::client::error::{CallError, Refusal};

/// Show the instances of a service, or one of them
///
/// A service that nobody knows has no instances, which is no error; an instance that is not there is one.
#[derive(Args, Debug)]
pub(super) struct Get {
    /// Name of the service
    service: ServiceName,
    /// Id of one instance
    id: Option<InstanceId>,
    /// Only instances that match; see `periplus find --help`
    #[arg(long, value_name = "QUERY", conflicts_with = "id")]
    filter: Option<Query>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

impl Get {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match &self.id {
            Some(id) => self.one(id).await,
            None => self.all().await,
        }
    }

    async fn all(&self) -> anyhow::Result<()> {
        if self.connection.registry.is_foreign() {
            let mut instances = self.followed().await?;
            let filter = self.filter.clone().unwrap_or_default();
            instances.retain(|instance| filter.matches_unpacked(instance));
            return self.print(&instances);
        }
        let client = self.connection.client()?;
        let mut target = Target::new("/v1/services").segment(&self.service);
        target = target.query("ns", client.namespace()).query_if("filter", self.filter.as_ref());
        let (instances, answer) = client.get_all::<ServiceInstance>(&target, "instances").await?;
        output::note_warming(answer["warming"] == true);
        self.print(&instances)
    }

    /// The instances, as a registry of others lists them.
    async fn followed(&self) -> anyhow::Result<Vec<ServiceInstance>> {
        let client = self.connection.connect(ClientConfig::default())?;
        let watcher = client.watch(&self.service)?;
        Ok(foreign::first(&self.connection.registry, &client, watcher).await?.decode())
    }

    fn print(&self, instances: &[ServiceInstance]) -> anyhow::Result<()> {
        if self.format.json {
            return output::json(&instances);
        }
        if instances.is_empty() {
            let matching = self.filter.as_ref().map(|filter| format!(" that match {filter}")).unwrap_or_default();
            output::note(format_args!("no instances of {}{matching}", self.service));
            return Ok(());
        }
        table(instances)
    }

    async fn one(&self, id: &InstanceId) -> anyhow::Result<()> {
        let answer: Value = if self.connection.registry.is_foreign() {
            let instance = self.followed().await?.into_iter().find(|instance| instance.id == *id);
            let instance = instance.ok_or_else(|| not_found(&self.service, id))?;
            json!({"instance": instance})
        } else {
            let client = self.connection.client()?;
            client.get(client.instance(&self.service, id, "")).await?
        };
        if self.format.json {
            return output::json(&answer);
        }
        let instance: ServiceInstance = serde_json::from_value(answer["instance"].clone())?;
        let mut rows = vec![
            ["service".into(), instance.name.to_string()],
            ["id".into(), instance.id.to_string()],
            ["version".into(), instance.version.to_string()],
            ["status".into(), instance.status().to_string()],
            ["weight".into(), instance.weight().map(|weight| weight.to_string()).unwrap_or_default()],
            ["zone".into(), instance.zone().unwrap_or_default().to_owned()],
        ];
        rows.extend(instance.endpoints.iter().map(|endpoint| ["endpoint".into(), endpoint.as_str().to_owned()]));
        rows.push(["metadata".into(), changes::other_metadata(&instance)]);
        for key in ["ttl", "expires_in", "generation", "modified"] {
            let value = answer.get(key).or_else(|| answer["instance"].get(key));
            rows.extend(value.map(|value| [key.replace('_', " "), word(value)]));
        }
        if let Some(own) = answer.get("registered") {
            let own: ServiceInstance = serde_json::from_value(own.clone())?;
            rows.push(["overlay".into(), changes::difference(&own, &instance)]);
        }
        if let Some(overlay) = answer.get("overlay") {
            rows.push(["overlay reason".into(), overlay["reason"].as_str().unwrap_or_default().to_owned()]);
            rows.push(["overlay by".into(), caller_in_words(&overlay["caller"])]);
            rows.push(["overlay since".into(), overlay["time"].as_u64().map(output::time).unwrap_or_default()]);
        }
        rows.retain(|[_, value]| !value.is_empty());
        output::table(["FIELD", "VALUE"], rows)
    }
}

/// What a Periplus server would say.
fn not_found(service: &ServiceName, id: &InstanceId) -> CallError {
    let message = format!("{service} has no instance {id}");
    Refusal { status: StatusCode::NOT_FOUND, code: "not_found".into(), message, retry_after: None }.into()
}

/// A JSON value as a person would write it.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Instances of one service, one a row.
pub(super) fn table(instances: &[ServiceInstance]) -> anyhow::Result<()> {
    output::table(["ID", "VERSION", "STATUS", "WEIGHT", "ZONE", "ENDPOINTS", "METADATA"], instances.iter().map(cells))
}

/// What the columns of an instance say, but for its service.
pub(super) fn cells(instance: &ServiceInstance) -> [String; 7] {
    [
        instance.id.to_string(),
        instance.version.to_string(),
        instance.status().to_string(),
        instance.weight().map(|weight| weight.to_string()).unwrap_or_default(),
        instance.zone().unwrap_or_default().to_owned(),
        changes::endpoints(instance),
        changes::other_metadata(instance),
    ]
}

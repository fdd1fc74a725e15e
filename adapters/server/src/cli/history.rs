//! `periplus history`.

use clap::Args;
use periplus_core::{ServiceInstance, ServiceName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::args::{Connection, Format};
use super::events::caller_in_words;
use super::{changes, output};

/// Show what changed, or how things were
///
/// With --at it shows the instances of that revision; the registry keeps a bounded history. With --json it prints an
/// array, of changes or of instances.
#[derive(Args, Debug)]
pub(super) struct History {
    /// Only this service
    service: Option<ServiceName>,
    /// Changes from this revision on
    #[arg(long, value_name = "REVISION")]
    from: Option<u64>,
    /// Changes up to this revision
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    /// How many changes at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The instances as they were at this revision
    #[arg(long, value_name = "REVISION", conflicts_with_all = ["from", "to", "limit"])]
    at: Option<u64>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// A change of the past.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Entry {
    revision: u64,
    time: u64,
    namespace: String,
    service: String,
    id: String,
    cause: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<ServiceInstance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<ServiceInstance>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    entries: Vec<Entry>,
    instances: Vec<ServiceInstance>,
    next: Option<u64>,
}

impl History {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self.at {
            Some(at) => self.state(at).await,
            None => self.changes().await,
        }
    }

    async fn changes(&self) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut from = self.from;
        loop {
            let left = self.limit.map(|limit| limit.saturating_sub(entries.len()));
            let target = client.target("/v1/history").query_if("service", self.service.as_ref());
            let target = target.query_if("from", from).query_if("to", self.to).query_if("limit", left);
            let page: Page = client.get(target).await?;
            entries.extend(page.entries);
            let enough = self.limit.is_some_and(|limit| entries.len() >= limit);
            match page.next.filter(|next| !enough && Some(*next) > from) {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        if self.format.json {
            return output::json(&entries);
        }
        output::table(
            ["REVISION", "TIME", "INSTANCE", "CAUSE", "CHANGE", "BY"],
            entries.iter().map(|entry| {
                [
                    entry.revision.to_string(),
                    output::time(entry.time),
                    format!("{}/{}", entry.service, entry.id),
                    entry.cause.clone(),
                    change(entry),
                    entry.caller.as_ref().map(caller_in_words).unwrap_or_default(),
                ]
            }),
        )
    }

    async fn state(&self, at: u64) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let target = client.target("/v1/history").query_if("service", self.service.as_ref()).query_if("at", Some(at));
        let page: Page = client.get(target).await?;
        if self.format.json {
            return output::json(&page.instances);
        }
        output::table(
            ["SERVICE", "ID", "STATE"],
            page.instances.iter().map(|it| [it.name.to_string(), it.id.to_string(), changes::summary(it)]),
        )
    }
}

fn change(entry: &Entry) -> String {
    match (&entry.before, &entry.after) {
        (Some(before), Some(after)) => changes::difference(before, after),
        (None, Some(after)) => changes::summary(after),
        (_, None) => String::new(),
    }
}

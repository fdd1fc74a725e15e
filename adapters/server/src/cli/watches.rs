//! `periplus watches`, and waiting until the watchers of a service have heard of a change.

use std::time::Duration;

use clap::Args;
use periplus_core::ServiceName;
use periplus_core::protocol::Span;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::args::{Connection, Format};
use super::events::caller_in_words;
use super::output;
use crate::client::Client;
use crate::client::error::CallError;

/// How often the registry is asked who has heard of a change.
const AGAIN: Duration = Duration::from_millis(250);
/// How many of those who have not are named.
const NAMED: usize = 10;

/// Show who watches what, and how far they have applied it
///
/// A watcher of this client's kind reports what it has applied, about a second later. Others, such as curl, do not say.
#[derive(Args, Debug)]
pub(super) struct Watches {
    /// Only those that see this service, and whether they have applied its latest change
    service: Option<ServiceName>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

/// What the registry says of watches.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    #[serde(default)]
    service_revision: Option<u64>,
    #[serde(default)]
    watchers: usize,
    #[serde(default)]
    told: usize,
    #[serde(default)]
    not_told: usize,
    #[serde(default)]
    silent: usize,
    watches: Vec<Watch>,
}

/// A watch.
#[derive(Debug, Deserialize)]
struct Watch {
    selectors: Vec<Selector>,
    #[serde(default)]
    since: String,
    #[serde(default)]
    applied: Option<u64>,
    #[serde(default)]
    behind: Option<u64>,
    #[serde(default)]
    told: Option<bool>,
    caller: Value,
}

/// What a watch covers.
#[derive(Debug, Deserialize)]
struct Selector {
    ns: String,
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    prefix: Option<String>,
}

impl Watches {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let answer = ask(&client, self.service.as_deref(), None).await?;
        if self.format.json {
            return output::json(&answer);
        }
        let listed: Listed = serde_json::from_value(answer)?;
        if listed.watches.is_empty() {
            output::note("nobody watches");
            return Ok(());
        }
        let place = |place: Option<u64>| place.map_or_else(|| "-".into(), |place| place.to_string());
        output::table(
            ["WHO", "FROM", "CLIENT", "WATCHES", "SINCE", "APPLIED", "BEHIND"],
            listed.watches.iter().map(|watch| {
                let caller = |key: &str| watch.caller[key].as_str().unwrap_or("-").to_owned();
                let selectors: Vec<String> = watch.selectors.iter().map(Selector::in_words).collect();
                let [who, from, client] = ["who", "from", "client"].map(caller);
                let since = watch.since.clone();
                [who, from, client, selectors.join(" "), since, place(watch.applied), place(watch.behind)]
            }),
        )?;
        if self.service.is_some() { output::line(listed.in_words()) } else { Ok(()) }
    }
}

impl Selector {
    fn in_words(&self) -> String {
        let name = match (&self.service, &self.prefix) {
            (Some(service), _) => service.clone(),
            (None, prefix) => format!("{}*", prefix.as_deref().unwrap_or_default()),
        };
        if self.ns == "default" { name } else { format!("{}/{name}", self.ns) }
    }
}

impl Listed {
    /// How many have applied it, and what is the matter with the others.
    fn in_words(&self) -> String {
        let Self { watchers, told, not_told, silent, .. } = self;
        let has = |n: usize| if n == 1 { "has" } else { "have" };
        let does = |n: usize| if n == 1 { "does" } else { "do" };
        let revision = self.service_revision.unwrap_or_default();
        let mut words = format!("{told} of {watchers} {} applied revision {revision}", has(*told));
        let others = [
            (*not_told > 0).then(|| format!("{not_told} {} not", has(*not_told))),
            (*silent > 0).then(|| format!("{silent} {} not say", does(*silent))),
        ];
        for (at, other) in others.into_iter().flatten().enumerate() {
            words += if at == 0 { "; " } else { ", " };
            words += &other;
        }
        words
    }
}

async fn ask(client: &Client, service: Option<&str>, revision: Option<u64>) -> Result<Value, CallError> {
    let target = client.target("/v1/watches").query_if("service", service);
    client.get(target.query_if("revision", revision.map(|revision| revision.to_string()))).await
}

/// Not everybody has heard of a change in time.
#[derive(Debug, thiserror::Error)]
#[error("after {}, {words}: {who}", Span(*.waited))]
pub(super) struct NotTold {
    waited: Duration,
    words: String,
    who: String,
}

/// Waits until every watcher of a service that reports has applied its changes up to a revision, and says how many have.
pub(super) async fn wait_told(
    client: &Client,
    service: &ServiceName,
    revision: u64,
    patience: Duration,
) -> anyhow::Result<String> {
    let end = Instant::now() + patience;
    loop {
        let listed: Listed = serde_json::from_value(ask(client, Some(service), Some(revision)).await?)?;
        if listed.not_told == 0 {
            return Ok(listed.in_words());
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let late = listed.watches.iter().filter(|watch| watch.told == Some(false));
            let mut who: Vec<String> = late.take(NAMED).map(|watch| caller_in_words(&watch.caller)).collect();
            if listed.not_told > who.len() {
                who.push(format!("and {} more", listed.not_told - who.len()));
            }
            return Err(NotTold { waited: patience, words: listed.in_words(), who: who.join(", ") }.into());
        }
        sleep(AGAIN.min(left)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(told: usize, not_told: usize, silent: usize) -> Listed {
        let watchers = told + not_told + silent;
        Listed { service_revision: Some(123), watchers, told, not_told, silent, watches: Vec::new() }
    }

    #[test]
    fn the_last_line_says_how_many_have_applied_it_and_what_is_the_matter_with_the_others() {
        for (told, not_told, silent, words) in [
            (7, 1, 1, "7 of 9 have applied revision 123; 1 has not, 1 does not say"),
            (1, 0, 2, "1 of 3 has applied revision 123; 2 do not say"),
            (0, 2, 0, "0 of 2 have applied revision 123; 2 have not"),
            (3, 0, 0, "3 of 3 have applied revision 123"),
        ] {
            assert_eq!(listed(told, not_told, silent).in_words(), words);
        }
    }
}

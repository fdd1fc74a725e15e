//! The operator's commands: `drain`, `resume`, `set`, `evict`.

mod subject;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use http::Method;
use periplus_core::protocol::{ClearOverlayMessage, EvictMessage, OverlayMessage, Span};
use periplus_core::{Status, instance};

use super::args::parse_pair;
use super::exit::Usage;
use super::{output, watches};
use crate::config::units;
use subject::{Deed, Subject};

/// Let an instance get no new calls, as an operator
///
/// It stays registered and listed, with the status "draining", until `periplus resume`; also when it registers again.
#[derive(Args, Debug)]
pub(super) struct Drain {
    #[command(flatten)]
    subject: Subject,
    /// Why, for those who will wonder
    #[arg(long)]
    reason: String,
    /// Wait so long until every watcher that reports has applied it; exit with 7 if one has not [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "30s")]
    wait: Option<Duration>,
}

impl Drain {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let body = OverlayMessage {
            status: Some(Status::Draining),
            reason: self.reason.as_str().into(),
            ..OverlayMessage::default()
        };
        let text = "is draining: it stays listed and gets no new calls";
        let done = self.subject.each(Deed { method: Method::PATCH, rest: "overlay", body: &body, text }).await?;
        let Some(patience) = self.wait else { return Ok(()) };
        let client = self.subject.client()?;
        for (service, revision) in done {
            let told = watches::wait_told(&client, &service, revision, patience).await?;
            if !self.subject.is_json() {
                output::line(told)?;
            }
        }
        Ok(())
    }
}

/// Let a drained instance get calls again
#[derive(Args, Debug)]
pub(super) struct Resume {
    #[command(flatten)]
    subject: Subject,
    /// Why, for those who will wonder
    #[arg(long)]
    reason: Option<String>,
}

impl Resume {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let body = clear([instance::STATUS.into()].into(), self.reason.as_deref());
        let text = "has the status that it gives itself";
        self.subject.each(Deed { method: Method::DELETE, rest: "overlay", body: &body, text }).await.map(drop)
    }
}

/// Lay weight or metadata over what an instance says of itself
///
/// What is laid over it stays, also when the instance renews or registers again, until it is cleared.
#[derive(Args, Debug)]
pub(super) struct Set {
    #[command(flatten)]
    subject: Subject,
    /// Its share of the calls, beside the others' weights; 0 for none
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
    /// Show this metadata; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    metadata: Vec<(String, String)>,
    /// Hide this metadata key of the instance; may be repeated
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// Take back what an operator has laid over this key (weight, status, or a metadata key); may be repeated
    #[arg(long, value_name = "KEY", conflicts_with_all = ["weight", "metadata", "unset"])]
    clear: Vec<String>,
    /// Why, for those who will wonder
    #[arg(long)]
    reason: String,
}

impl Set {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if !self.clear.is_empty() {
            let body = clear(self.clear.clone(), Some(&self.reason));
            let text = &format!("shows its own {} again", self.clear.join(", "));
            return self
                .subject
                .each(Deed { method: Method::DELETE, rest: "overlay", body: &body, text })
                .await
                .map(drop);
        }
        let body = self.overlay()?;
        self.subject
            .each(Deed { method: Method::PATCH, rest: "overlay", body: &body, text: "is changed" })
            .await
            .map(drop)
    }

    fn overlay(&self) -> Result<OverlayMessage, Usage> {
        let mut metadata = BTreeMap::new();
        metadata.extend(self.metadata.iter().map(|(key, value)| (key.clone(), Some(value.clone()))));
        metadata.extend(self.unset.iter().map(|key| (key.clone(), None)));
        if self.weight.is_none() && metadata.is_empty() {
            let hint = "nothing to set: add --weight, --metadata, --unset or --clear";
            return Err(Usage(hint.into()));
        }
        Ok(OverlayMessage {
            metadata: Some(metadata).filter(|metadata| !metadata.is_empty()),
            weight: self.weight,
            status: None,
            reason: self.reason.as_str().into(),
        })
    }
}

fn clear(keys: Vec<String>, reason: Option<&str>) -> ClearOverlayMessage {
    ClearOverlayMessage { keys: Some(keys), reason: reason.unwrap_or_default().into() }
}

/// Take an instance out, as an operator
///
/// Its lease ends at once. If its holder still works it registers again, unless the id is blocked for a time.
#[derive(Args, Debug)]
pub(super) struct Evict {
    #[command(flatten)]
    subject: Subject,
    /// Why, for those who will wonder
    #[arg(long)]
    reason: String,
    /// Refuse the id for so long
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration)]
    block_for: Option<Duration>,
}

impl Evict {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let body = EvictMessage { reason: self.reason.as_str().into(), block_for: self.block_for.map(Span) };
        let blocked = self.block_for.map(|time| format!(" and blocked for {}", Span(time))).unwrap_or_default();
        let text = &format!("is evicted{blocked}");
        self.subject.each(Deed { method: Method::POST, rest: "evict", body: &body, text }).await.map(drop)
    }
}

//! `periplus watch`.

use std::time::Duration;

use clap::Args;
use periplus_core::protocol::Span;
use periplus_core::{ServiceInstance, ServiceName};
use serde::Serialize;
use serde_json::{Map, Value};

use super::args::{Connection, Format};
use super::{output, signals};
use crate::client;
use crate::client::watch::{Change, Item, Selector};

mod view;

use view::View;

/// Follow the instances of services
///
/// First comes everything that is there, even if that is nothing; then what changes. After a loss of the connection it
/// goes on where it was.
///
/// With --json each line is an object: a delivery has "epoch", "revision", and "snapshot" (all instances of "of") or
/// "changes" (a list of {"put": INSTANCE} and {"remove": {"name", "id", "cause"}}); everything else has "notice".
#[derive(Args, Debug)]
pub(super) struct Watch {
    /// Names of services
    #[arg(required_unless_present_any = ["prefix", "all"])]
    services: Vec<ServiceName>,
    /// Every service whose name begins so
    #[arg(long, value_name = "PREFIX", conflicts_with = "all")]
    prefix: Option<String>,
    /// Every service
    #[arg(long, conflicts_with = "services")]
    all: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

impl Watch {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        tokio::select! {
            result = self.follow() => result,
            () = signals::interrupted() => Ok(()),
            () = output::closed() => Ok(()),
        }
    }

    async fn follow(&self) -> anyhow::Result<()> {
        let mut watch = client::watch::Watch::new(self.connection.client(), &self.selectors());
        let mut view = View::default();
        loop {
            let item = watch.next().await?;
            match &item {
                Item::Skipped { problem } => {
                    output::note(format_args!("skipped an entry that is no instance: {problem}"))
                }
                Item::Stale { reason, retry_in } => {
                    let retry_in = output::duration(*retry_in);
                    output::note(format_args!("{reason}; what is shown is stale; trying again in {retry_in}"));
                }
                Item::Live => output::note("connected again"),
                Item::Delivery(_) | Item::Notice { .. } => {}
            }
            if self.format.json {
                output::line(as_json(&item))?;
            } else {
                view.handle(item).iter().try_for_each(output::line)?;
            }
        }
    }

    fn selectors(&self) -> Vec<Selector> {
        let services = self.services.iter().map(|name| Selector::Service(name.to_string()));
        let prefix = if self.all { Some(String::new()) } else { self.prefix.clone() };
        services.chain(prefix.map(Selector::Prefix)).collect()
    }
}

/// A line of JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Delivery(DeliveryLine<'a>),
    Notice {
        notice: &'a str,
        #[serde(flatten)]
        data: &'a Map<String, Value>,
    },
    Skipped {
        notice: &'a str,
        problem: &'a str,
    },
    Stale {
        notice: &'a str,
        reason: &'a str,
        retry_in: Span,
    },
    Live {
        notice: &'a str,
    },
}

#[derive(Serialize)]
struct DeliveryLine<'a> {
    epoch: &'a str,
    revision: u64,
    /// What the snapshot is the whole of.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'a [Selector]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'a [ServiceInstance]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a [Change]>,
}

fn as_json(item: &Item) -> String {
    let nothing = Map::new();
    let line = match item {
        Item::Delivery(delivery) => {
            let whole = !delivery.covers.is_empty();
            Line::Delivery(DeliveryLine {
                epoch: &delivery.epoch,
                revision: delivery.revision,
                of: whole.then_some(&delivery.covers),
                snapshot: whole.then_some(&delivery.snapshot),
                changes: (!whole || !delivery.changes.is_empty()).then_some(&delivery.changes),
            })
        }
        Item::Notice { name, data } => Line::Notice { notice: name, data: data.as_object().unwrap_or(&nothing) },
        Item::Skipped { problem } => Line::Skipped { notice: "skipped", problem },
        Item::Stale { reason, retry_in } => {
            let retry_in = Span(Duration::from_millis(retry_in.as_millis() as u64));
            Line::Stale { notice: "stale", reason, retry_in }
        }
        Item::Live => Line::Live { notice: "live" },
    };
    serde_json::to_string(&line).expect("a line is plain JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::watch::Delivery;
    use serde_json::json;

    #[test]
    fn an_empty_snapshot_is_a_line_with_an_empty_list() {
        let delivery = Delivery {
            epoch: "e".into(),
            revision: 3,
            covers: vec![Selector::Service("web".into())],
            ..Delivery::default()
        };
        let line = as_json(&Item::Delivery(delivery));
        assert_eq!(line, r#"{"epoch":"e","revision":3,"of":[{"service":"web"}],"snapshot":[]}"#);
    }

    #[test]
    fn changes_are_puts_and_removes() {
        let put = serde_json::from_value(json!({"id": "1", "name": "web"})).unwrap();
        let remove = Change::Remove { service: "web".into(), id: "2".into(), cause: "expired".into() };
        let changes = vec![Change::Put(put), remove];
        let line = as_json(&Item::Delivery(Delivery { changes, ..Delivery::default() }));
        let put = r#"{"put":{"id":"1","name":"web","version":"","metadata":null,"endpoints":null}}"#;
        let remove = r#"{"remove":{"name":"web","id":"2","cause":"expired"}}"#;
        assert_eq!(line, format!(r#"{{"epoch":"","revision":0,"changes":[{put},{remove}]}}"#));
    }

    #[test]
    fn a_notice_keeps_what_it_says() {
        let line = as_json(&Item::Notice { name: "alarm".into(), data: json!({"expired": 5}) });
        assert_eq!(line, r#"{"notice":"alarm","expired":5}"#);
        let line = as_json(&Item::Stale { reason: "gone".into(), retry_in: Duration::from_micros(1_234_567) });
        assert_eq!(line, r#"{"notice":"stale","reason":"gone","retry_in":"1234ms"}"#);
        assert_eq!(as_json(&Item::Live), r#"{"notice":"live"}"#);
    }
}

//! `periplus watch`.

use clap::Args;
use periplus_core::ServiceName;
use serde_json::{Value, json};

use super::args::{Connection, Format};
use super::{output, signals};
use crate::client;
use crate::client::watch::{Change, Delivery, Item, Selector};

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
                output::json_line(&as_json(&item))?;
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

fn as_json(item: &Item) -> Value {
    match item {
        Item::Delivery(delivery) => delivery_as_json(delivery),
        Item::Notice { name, data } => {
            let mut line = json!({"notice": name});
            if let Value::Object(data) = data {
                data.iter().for_each(|(key, value)| line[key.as_str()] = value.clone());
            }
            line
        }
        Item::Skipped { problem } => json!({"notice": "skipped", "problem": problem}),
        Item::Stale { reason, retry_in } => {
            json!({"notice": "stale", "reason": reason, "retry_in": format!("{}ms", retry_in.as_millis())})
        }
        Item::Live => json!({"notice": "live"}),
    }
}

fn delivery_as_json(delivery: &Delivery) -> Value {
    let mut line = json!({"epoch": delivery.epoch, "revision": delivery.revision});
    if !delivery.covers.is_empty() {
        let of = delivery.covers.iter().map(|selector| match selector {
            Selector::Service(name) => json!({"service": name}),
            Selector::Prefix(prefix) => json!({"prefix": prefix}),
        });
        line["of"] = of.collect();
        line["snapshot"] = json!(delivery.snapshot);
    }
    if delivery.covers.is_empty() || !delivery.changes.is_empty() {
        let changes = delivery.changes.iter().map(|change| match change {
            Change::Put(instance) => json!({"put": instance}),
            Change::Remove { service, id, cause } => {
                json!({"remove": {"name": service, "id": id, "cause": cause}})
            }
        });
        line["changes"] = changes.collect();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_snapshot_is_a_line_with_an_empty_list() {
        let delivery = Delivery {
            epoch: "e".into(),
            revision: 3,
            covers: vec![Selector::Service("web".into())],
            ..Delivery::default()
        };
        let line = delivery_as_json(&delivery);
        assert_eq!(line, json!({"epoch": "e", "revision": 3, "of": [{"service": "web"}], "snapshot": []}));
    }

    #[test]
    fn changes_are_puts_and_removes() {
        let put = serde_json::from_value(json!({"id": "1", "name": "web"})).unwrap();
        let remove = Change::Remove { service: "web".into(), id: "2".into(), cause: "expired".into() };
        let delivery = Delivery { changes: vec![Change::Put(put), remove], ..Delivery::default() };
        let line = delivery_as_json(&delivery);
        assert_eq!(line["changes"][0]["put"]["id"], "1");
        assert_eq!(line["changes"][1]["remove"], json!({"name": "web", "id": "2", "cause": "expired"}));
        assert!(line.get("snapshot").is_none());
    }

    #[test]
    fn a_notice_keeps_what_it_says() {
        let line = as_json(&Item::Notice { name: "alarm".into(), data: json!({"expired": 5}) });
        assert_eq!(line, json!({"notice": "alarm", "expired": 5}));
    }
}

//! `periplus events`.

use clap::Args;
use periplus_core::http::target::Target;
use serde_json::{Map, Value};

use super::args::{Connection, Format};
use super::{output, signals};
use crate::client::Client;
use crate::client::follow::{Follow, Step};

/// The keys that have their place in a line.
const PLACED: [&str; 8] = ["number", "time", "revision", "event", "namespace", "service", "id", "caller"];

/// Follow what happens in the registry
///
/// First come the latest events, then each as it happens. With --json each line is an event.
#[derive(Args, Debug)]
pub(super) struct Events {
    /// How many of the latest events to begin with
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// End after the latest events
    #[arg(long)]
    no_follow: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    connection: Connection,
}

impl Events {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.connection.client()?;
        let target = Target::new("/v1/events").query("limit", self.limit.to_string());
        if self.no_follow {
            let mut answer: Value = client.get(target).await?;
            let events: Vec<Map<String, Value>> = serde_json::from_value(answer["events"].take())?;
            return events.iter().try_for_each(|event| self.print(event));
        }
        tokio::select! {
            result = self.follow(client, target) => result,
            () = signals::interrupted() => Ok(()),
            () = output::closed() => Ok(()),
        }
    }

    async fn follow(&self, client: Client, target: Target) -> anyhow::Result<()> {
        let mut follow = Follow::new(client, target);
        loop {
            match follow.next().await? {
                Step::Event(event) if event.data.is_empty() => {}
                Step::Event(event) => match serde_json::from_str(&event.data) {
                    Ok(event) => self.print(&event)?,
                    Err(error) => output::note(format_args!("skipped an event that is none: {error}")),
                },
                Step::Stale { reason, retry_in } => {
                    output::note(format_args!("{reason}; trying again in {}", output::duration(retry_in)));
                }
                Step::Live => output::note("connected again"),
            }
        }
    }

    fn print(&self, event: &Map<String, Value>) -> anyhow::Result<()> {
        // The stream's own notices, such as its goodbye, are no events of the registry.
        if !event.contains_key("event") {
            return Ok(());
        }
        if self.format.json { output::json_line(event) } else { output::line(output::shown(&in_words(event))) }
    }
}

fn in_words(event: &Map<String, Value>) -> String {
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let time = event.get("time").and_then(Value::as_u64).map(output::time).unwrap_or_default();
    let mut line = format!("{time}  {:<15}", text("event").replace('_', " "));
    if !matches!(text("namespace"), "" | "default") {
        line += &format!(" {}:", text("namespace"));
    }
    for (before, key) in [(" ", "service"), ("/", "id")] {
        if !text(key).is_empty() {
            line += before;
            line += text(key);
        }
    }
    for (key, value) in event.iter().filter(|(key, _)| !PLACED.contains(&key.as_str())) {
        let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        line += &format!(" {key}={value}");
    }
    if let Some(caller) = event.get("caller").map(caller_in_words).filter(|caller| !caller.is_empty()) {
        line += &format!("  by {caller}");
    }
    line
}

/// A caller in words: who, from where, with what.
pub(super) fn caller_in_words(caller: &Value) -> String {
    match caller {
        Value::String(caller) => caller.clone(),
        Value::Object(_) => {
            let words = ["who", "from", "client"].iter().filter_map(|key| caller[key].as_str());
            words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_one_line_with_all_it_says() {
        let event = json!({
            "number": 7, "time": 1_700_000_000_000_u64, "revision": 3, "event": "renewed_late",
            "namespace": "prod", "service": "web", "id": "a", "late": "2s", "caller": {"who": "ann", "from": "10.0.0.1"}
        });
        assert_eq!(
            in_words(event.as_object().unwrap()),
            "2023-11-14T22:13:20.000Z  renewed late    prod: web/a late=2s  by ann 10.0.0.1"
        );
    }
}

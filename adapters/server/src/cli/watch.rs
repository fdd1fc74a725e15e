//! `periplus watch`.

use std::collections::BTreeSet;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use clap::Args;
use periplus_core::client::{Channel, ClientConfig, ClientEvent, Provenance};
use periplus_core::protocol::Span;
use periplus_core::{Change, Cursor, Instance, ServiceInstance, ServiceName};
use periplus_tokio::{Changed, Client, WatchError, Watcher};
use serde::Serialize;

use super::args::{Connection, Format};
use super::exit::Refused;
use super::{output, signals};
use crate::client::error::CallError;

mod view;

/// Those who lose the stream come back within this time, not all at once.
const SPREAD: Duration = Duration::from_secs(1);

/// Follow the instances of services
///
/// First comes everything that is there, even if that is nothing; then what changes. After a loss of the connection it
/// goes on where it was.
///
/// With --json each line is an object: a delivery has "epoch", "revision", and "snapshot" (all instances of "of") or
/// "changes" (a list of {"put": INSTANCE} and {"remove": {"name", "id", "cause"}}); everything else has "notice". A
/// cause is empty if nobody told it, because the instance went while the connection was lost.
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
        let client = self.connection.connect(ClientConfig { spread: SPREAD, ..ClientConfig::default() })?;
        let mut events = client.events();
        let mut watches = self.watches(&client)?;
        let mut teller = Teller { json: self.format.json, connected: false, warming: false };
        loop {
            tokio::select! {
                // What is known of the connection goes before what came over it.
                biased;
                Some(event) = events.next() => teller.on_event(event)?,
                (watch, changed) = next(&mut watches) => {
                    let Some(changed) = changed else { return Ok(()) };
                    let of = std::mem::replace(&mut watch.is_new, false).then_some(&watch.selector);
                    teller.on_changed(of, changed)?;
                }
            }
        }
    }

    fn watches(&self, client: &Client) -> Result<Vec<Followed>, WatchError> {
        let prefix = if self.all { Some("") } else { self.prefix.as_deref() };
        let covered = |name: &ServiceName| prefix.is_some_and(|prefix| name.starts_with(prefix));
        let names: BTreeSet<&ServiceName> = self.services.iter().filter(|name| !covered(name)).collect();
        let services = names.into_iter().map(|name| (Selector::Service(name.to_string()), client.watch(name)));
        let prefixes = prefix.map(|prefix| (Selector::Prefix(prefix.to_owned()), client.watch_prefix(prefix)));
        let all = services.chain(prefixes);
        all.map(|(selector, watcher)| Ok(Followed { selector, watcher: watcher?, is_new: true })).collect()
    }
}

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Selector {
    /// One service.
    Service(String),
    /// Every service whose name begins so; all if it is empty.
    Prefix(String),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

struct Followed {
    selector: Selector,
    watcher: Watcher,
    /// Nothing was told of it yet.
    is_new: bool,
}

/// The next that has something to tell. `None`: nothing will follow.
async fn next(watches: &mut [Followed]) -> (&mut Followed, Option<Changed>) {
    let (at, changed) = poll_fn(|cx| {
        for (at, watch) in watches.iter_mut().enumerate() {
            if let Poll::Ready(changed) = pin!(watch.watcher.next_changes()).poll(cx) {
                return Poll::Ready((at, changed));
            }
        }
        Poll::Pending
    })
    .await;
    (&mut watches[at], changed)
}

/// What a line says.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Delivery {
        epoch: &'a str,
        revision: u64,
        /// What the snapshot is the whole of.
        #[serde(skip_serializing_if = "Option::is_none")]
        of: Option<[&'a Selector; 1]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        snapshot: Option<Vec<ServiceInstance>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        changes: Option<Vec<Told>>,
    },
    Notice(Notice),
}

/// One change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Told {
    /// An instance came or changed.
    Put(ServiceInstance),
    /// An instance went.
    Remove {
        name: String,
        id: String,
        /// Why it went: `expired`, `deregistered`, …
        cause: String,
    },
}

/// Everything but deliveries.
#[derive(Debug, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
enum Notice {
    /// The registry has started lately: what it does not list may still come back.
    Warming,
    Settled,
    Alarm {
        namespace: String,
        expired: u64,
        of: u64,
    },
    AlarmEnded {
        namespace: String,
    },
    Skipped {
        problem: String,
    },
    /// The stream is lost.
    Stale {
        reason: String,
        retry_in: Span,
    },
    /// The stream is back.
    Live,
}

/// Says what happens.
struct Teller {
    json: bool,
    /// Whether there ever was a connection.
    connected: bool,
    warming: bool,
}

impl Teller {
    fn on_event(&mut self, event: ClientEvent) -> anyhow::Result<()> {
        match event {
            ClientEvent::Connected { channel: Channel::Watch, .. } => {
                if !std::mem::replace(&mut self.connected, true) {
                    return Ok(());
                }
                output::note("connected again");
                return self.notice(Notice::Live);
            }
            ClientEvent::Disconnected { channel: Channel::Watch, origin, reason, retry_in } => {
                let retry = output::retry(retry_in);
                if self.connected {
                    output::note(format_args!("{reason} ({origin}); what is shown is stale; {retry}"));
                    let retry_in = Span(Duration::from_millis(retry_in.as_millis() as u64));
                    return self.notice(Notice::Stale { reason, retry_in });
                }
                // Somebody waits for the first answer. The last host has failed too if the next attempt is not at once.
                let (address, not_sent) = (origin.to_string(), false);
                let error = CallError::Unreachable { address, reason, not_sent };
                if !retry_in.is_zero() {
                    return Err(error.into());
                }
                output::note(format_args!("{error}; {retry}"));
            }
            ClientEvent::WatchRefused(problem) if !self.connected => return Err(Refused(problem).into()),
            ClientEvent::WatchRefused(problem) => output::note(Refused(problem)),
            ClientEvent::Skipped { problem } => {
                output::note(format_args!("skipped an entry that is no instance: {problem}"));
                return self.notice(Notice::Skipped { problem });
            }
            ClientEvent::Alarm { namespace, expired, of } => {
                return self.notice(Notice::Alarm { namespace: namespace.into(), expired, of });
            }
            ClientEvent::AlarmEnded { namespace } => {
                return self.notice(Notice::AlarmEnded { namespace: namespace.into() });
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells what changed, or all that is there `of` something.
    fn on_changed(&mut self, of: Option<&Selector>, changed: Changed) -> anyhow::Result<()> {
        match changed.provenance {
            Provenance::Unconfirmed if !std::mem::replace(&mut self.warming, true) => self.notice(Notice::Warming)?,
            Provenance::Live if std::mem::replace(&mut self.warming, false) => self.notice(Notice::Settled)?,
            _ => {}
        }
        if of.is_none() && changed.changes.is_empty() {
            return Ok(());
        }
        if self.json {
            return output::line(as_json(&delivery(of, &changed)));
        }
        say(view::delivery(of, &changed))
    }

    fn notice(&self, notice: Notice) -> anyhow::Result<()> {
        if self.json { output::line(as_json(&Line::Notice(notice))) } else { say(view::notice(&notice)) }
    }
}

/// Writes lines for people.
fn say(lines: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
    let clock = output::clock();
    lines.into_iter().try_for_each(|line| output::line(format_args!("{clock} {}", output::shown(&line))))
}

fn delivery<'a>(of: Option<&'a Selector>, changed: &'a Changed) -> Line<'a> {
    let (epoch, revision) = place(changed.cursor.as_ref());
    let (mut snapshot, mut changes) = (None, None);
    if of.is_some() {
        snapshot = Some(changed.changes.iter().filter_map(Change::after).map(Instance::decode).collect());
    } else {
        changes = Some(changed.changes.iter().map(|change| told(change, changed)).collect());
    }
    Line::Delivery { epoch, revision, of: of.map(|of| [of]), snapshot, changes }
}

fn told(change: &Change, changed: &Changed) -> Told {
    match change {
        Change::Insert(after) | Change::Update { after, .. } => Told::Put(after.decode()),
        Change::Remove(before) => {
            let (name, id) = (before.service_name(), before.instance_id());
            Told::Remove { cause: cause(before, changed).to_owned(), name: name.to_string(), id: id.to_string() }
        }
    }
}

/// Why an instance went; empty if nobody told.
fn cause<'a>(gone: &Instance, changed: &'a Changed) -> &'a str {
    changed.causes.get(&(gone.service_name(), gone.instance_id())).map_or("", |cause| cause)
}

fn place(cursor: Option<&Cursor>) -> (&str, u64) {
    cursor.map_or(("", 0), |cursor| (&cursor.epoch.0, cursor.revision.0))
}

fn as_json(line: &Line<'_>) -> String {
    serde_json::to_string(line).expect("a line is plain JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use periplus_core::{Epoch, Revision};
    use serde_json::json;

    fn instance(id: &str) -> Instance {
        Instance::pack(&serde_json::from_value(json!({"id": id, "name": "web"})).unwrap())
    }

    fn changed(changes: Vec<Change>) -> Changed {
        let causes = [(("web".parse().unwrap(), "2".parse().unwrap()), "expired".into())].into();
        let cursor = Some(Cursor { epoch: Epoch("e".into()), revision: Revision(3) });
        Changed { changes, causes, provenance: Provenance::Live, age: None, cursor }
    }

    #[test]
    fn an_empty_snapshot_is_a_line_with_an_empty_list() {
        let web = Selector::Service("web".into());
        let line = as_json(&delivery(Some(&web), &changed(vec![])));
        assert_eq!(line, r#"{"epoch":"e","revision":3,"of":[{"service":"web"}],"snapshot":[]}"#);
    }

    #[test]
    fn changes_are_puts_and_removes() {
        let changes = vec![Change::Insert(instance("1")), Change::Remove(instance("2")), Change::Remove(instance("3"))];
        let line = as_json(&delivery(None, &changed(changes)));
        let put = r#"{"put":{"id":"1","name":"web","version":"","metadata":null,"endpoints":null}}"#;
        let remove = r#"{"remove":{"name":"web","id":"2","cause":"expired"}}"#;
        let gone = r#"{"remove":{"name":"web","id":"3","cause":""}}"#;
        assert_eq!(line, format!(r#"{{"epoch":"e","revision":3,"changes":[{put},{remove},{gone}]}}"#));
    }

    #[test]
    fn a_notice_says_what_it_is_and_more() {
        let alarm = Notice::Alarm { namespace: "default".into(), expired: 5, of: 9 };
        let line = as_json(&Line::Notice(alarm));
        assert_eq!(line, r#"{"notice":"alarm","namespace":"default","expired":5,"of":9}"#);
        let stale = Notice::Stale { reason: "gone".into(), retry_in: Span(Duration::from_millis(1_234)) };
        assert_eq!(as_json(&Line::Notice(stale)), r#"{"notice":"stale","reason":"gone","retry_in":"1234ms"}"#);
        assert_eq!(as_json(&Line::Notice(Notice::Live)), r#"{"notice":"live"}"#);
    }
}

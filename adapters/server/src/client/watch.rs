//! Watching: deliveries out of a stream of events, over reconnects.

use std::fmt;
use std::time::Duration;

use periplus_core::ServiceInstance;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Client;
use super::error::CallError;
use super::follow::{Follow, Step};
use super::sse::Event;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Selector {
    /// One service.
    Service(String),
    /// Every service whose name begins so; all if it is empty.
    Prefix(String),
}

impl Selector {
    /// Whether it covers a service.
    #[must_use]
    pub fn covers(&self, service: &str) -> bool {
        match self {
            Self::Service(name) => name == service,
            Self::Prefix(prefix) => service.starts_with(prefix),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// Everything up to one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The registry's epoch.
    pub epoch: String,
    /// The revision that the watcher has now.
    pub revision: u64,
    /// What `snapshot` is the whole of. Empty: there is none.
    pub covers: Vec<Selector>,
    /// All instances of `covers`.
    pub snapshot: Vec<ServiceInstance>,
    /// What changed otherwise.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// An instance came or changed.
    Put(ServiceInstance),
    /// An instance went.
    Remove {
        /// Its service.
        #[serde(rename = "name")]
        service: String,
        /// Its id.
        id: String,
        /// Why it went: `expired`, `deregistered`, …
        cause: String,
    },
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Something new.
    Delivery(Delivery),
    /// A word of the registry beside the deliveries: `warming`, `settled`, `alarm`, `alarm_ended`, `behind`, `bye`.
    Notice {
        /// Which.
        name: String,
        /// What it says.
        data: Value,
    },
    /// An entry that is no instance was skipped.
    Skipped {
        /// What was wrong with it.
        problem: String,
    },
    /// The stream is lost; what is known is stale from now on.
    Stale {
        /// Why.
        reason: String,
        /// When the next attempt comes.
        retry_in: Duration,
    },
    /// The stream is back.
    Live,
}

/// A watch that comes back after a loss, where it was.
#[derive(Debug)]
pub struct Watch {
    follow: Follow,
    assembler: Assembler,
}

impl Watch {
    /// A watch of these. Connects at the first [`next`](Self::next).
    #[must_use]
    pub fn new(client: Client, selectors: &[Selector]) -> Self {
        let target = selectors.iter().fold(client.target("/v1/watch"), |target, selector| match selector {
            Selector::Service(name) => target.query("service", name),
            Selector::Prefix(prefix) => target.query("prefix", prefix),
        });
        Self { follow: Follow::new(client, target), assembler: Assembler::default() }
    }

    /// What comes next. Once it was connected it never gives up.
    ///
    /// # Errors
    /// The first attempt to connect failed, or the registry refuses the watch for good.
    pub async fn next(&mut self) -> Result<Item, CallError> {
        loop {
            let item = match self.follow.next().await? {
                Step::Event(event) => self.assembler.handle(event),
                Step::Stale { reason, retry_in } => {
                    // The rest of a delivery that broke off comes again, from the cursor.
                    self.assembler = Assembler::default();
                    Some(Item::Stale { reason, retry_in })
                }
                Step::Live => Some(Item::Live),
            };
            if let Some(item) = item {
                return Ok(item);
            }
        }
    }
}

/// Joins events into deliveries.
#[derive(Debug, Default)]
struct Assembler {
    delivery: Delivery,
    /// How many of the next puts belong to the snapshot.
    announced: usize,
}

#[derive(Deserialize)]
struct SnapshotHead {
    service: Option<String>,
    prefix: Option<String>,
    count: usize,
}

#[derive(Deserialize)]
struct Removal {
    name: String,
    id: String,
    #[serde(default)]
    cause: String,
}

impl Assembler {
    fn handle(&mut self, event: Event) -> Option<Item> {
        let problem = match event.event.as_str() {
            "snapshot" => self.on_snapshot(&event.data).err(),
            "put" => self.on_put(&event.data).err(),
            "remove" => self.on_remove(&event.data).err(),
            name @ ("warming" | "settled" | "alarm" | "alarm_ended" | "behind" | "bye") => {
                let data = serde_json::from_str(&event.data).unwrap_or_default();
                return Some(Item::Notice { name: name.into(), data });
            }
            // A bookmark, or an event of a later version.
            _ => None,
        };
        let complete = event.id.and_then(|cursor| self.on_cursor(&cursor));
        // A broken entry may be the last of its delivery: that must not be held back.
        complete.or_else(|| problem.map(|problem| Item::Skipped { problem: problem.to_string() }))
    }

    fn on_snapshot(&mut self, data: &str) -> serde_json::Result<()> {
        let head: SnapshotHead = serde_json::from_str(data)?;
        self.announced += head.count;
        let selector = match head.service {
            Some(name) => Selector::Service(name),
            None => Selector::Prefix(head.prefix.unwrap_or_default()),
        };
        self.delivery.covers.push(selector);
        Ok(())
    }

    fn on_put(&mut self, data: &str) -> serde_json::Result<()> {
        let of_snapshot = self.announced > 0;
        self.announced = self.announced.saturating_sub(1);
        let instance = serde_json::from_str(data)?;
        if of_snapshot {
            self.delivery.snapshot.push(instance);
        } else {
            self.delivery.changes.push(Change::Put(instance));
        }
        Ok(())
    }

    fn on_remove(&mut self, data: &str) -> serde_json::Result<()> {
        let Removal { name, id, cause } = serde_json::from_str(data)?;
        self.delivery.changes.push(Change::Remove { service: name, id, cause });
        Ok(())
    }

    fn on_cursor(&mut self, cursor: &str) -> Option<Item> {
        let mut delivery = std::mem::take(self).delivery;
        if delivery.covers.is_empty() && delivery.changes.is_empty() {
            return None;
        }
        let (epoch, revision) = cursor.rsplit_once('.').unwrap_or((cursor, ""));
        delivery.epoch = epoch.into();
        delivery.revision = revision.parse().unwrap_or_default();
        Some(Item::Delivery(delivery))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: &str, data: &str, id: &str) -> Event {
        Event { event: event.into(), data: data.into(), id: (!id.is_empty()).then(|| id.into()), retry: None }
    }

    fn items(events: &[Event]) -> Vec<Item> {
        let mut assembler = Assembler::default();
        events.iter().cloned().filter_map(|event| assembler.handle(event)).collect()
    }

    fn delivery(items: &[Item], at: usize) -> &Delivery {
        match &items[at] {
            Item::Delivery(delivery) => delivery,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_empty_snapshot_is_a_delivery() {
        let items = items(&[event("snapshot", r#"{"service":"web","count":0}"#, "e.0")]);
        let delivery = delivery(&items, 0);
        assert_eq!((delivery.epoch.as_str(), delivery.revision), ("e", 0));
        assert_eq!(delivery.covers, [Selector::Service("web".into())]);
        assert!(delivery.snapshot.is_empty() && delivery.changes.is_empty());
    }

    #[test]
    fn a_delivery_is_everything_up_to_an_id() {
        let items = items(&[
            event("snapshot", r#"{"service":"a","count":1}"#, ""),
            event("put", r#"{"id":"1","name":"a"}"#, ""),
            event("put", r#"{"id":"1","name":"b"}"#, ""),
            event("remove", r#"{"name":"b","id":"2","cause":"expired"}"#, "x.y.12"),
            event("", "", "x.y.13"),
            event("put", r#"{"id":"3","name":"b"}"#, "x.y.14"),
        ]);
        assert_eq!(items.len(), 2);
        let first = delivery(&items, 0);
        assert_eq!((first.epoch.as_str(), first.revision), ("x.y", 12));
        assert_eq!((first.snapshot.len(), first.changes.len()), (1, 2));
        assert_eq!((delivery(&items, 1).snapshot.len(), delivery(&items, 1).changes.len()), (0, 1));
    }

    #[test]
    fn a_broken_entry_is_skipped_and_the_rest_delivered() {
        let items = items(&[
            event("put", r#"{"id":"","name":"b"}"#, ""),
            event("put", r#"{"id":"3","name":"b"}"#, ""),
            event("put", "garbage", "e.4"),
        ]);
        assert!(matches!(items[0], Item::Skipped { .. }));
        assert_eq!(delivery(&items, 1).changes.len(), 1);
    }

    #[test]
    fn notices_do_not_end_a_delivery() {
        let items = items(&[
            event("put", r#"{"id":"3","name":"b"}"#, ""),
            event("warming", "{}", ""),
            event("of-a-later-version", "?", ""),
            event("put", r#"{"id":"4","name":"b"}"#, "e.5"),
        ]);
        assert!(matches!(&items[0], Item::Notice { name, .. } if name == "warming"));
        assert_eq!(delivery(&items, 1).changes.len(), 2);
    }
}

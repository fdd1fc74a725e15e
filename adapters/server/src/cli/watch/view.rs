//! What a person who watches has seen, and what there is to tell next.

use std::collections::BTreeMap;

use periplus_core::ServiceInstance;
use serde_json::Value;

use crate::cli::{changes, output};
use crate::client::watch::{Change, Delivery, Item, Selector};

/// Service and id.
type Key = (String, String);

/// What is known of the watched services.
#[derive(Debug, Default)]
pub(super) struct View {
    held: BTreeMap<Key, Held>,
    /// The registry has started lately: what it does not list may still come back.
    warming: bool,
}

#[derive(Debug)]
struct Held {
    instance: ServiceInstance,
    /// The registry has said so since it started.
    confirmed: bool,
    /// It was told that the registry has not.
    missed: bool,
}

impl View {
    /// Takes what the watch tells and gives the lines that say it.
    pub(super) fn handle(&mut self, item: Item) -> Vec<String> {
        let mut lines = Vec::new();
        match item {
            Item::Delivery(delivery) => self.on_delivery(delivery, &mut lines),
            Item::Notice { name, data } => self.on_notice(&name, &data, &mut lines),
            // If it is warming, it says so first.
            Item::Live => self.warming = false,
            Item::Skipped { .. } | Item::Stale { .. } => {}
        }
        let clock = output::clock();
        lines.iter().map(|line| format!("{clock} {}", output::shown(line))).collect()
    }

    fn on_delivery(&mut self, delivery: Delivery, lines: &mut Vec<String>) {
        let Delivery { revision, covers, snapshot, changes, .. } = delivery;
        for selector in &covers {
            let count = snapshot.iter().filter(|instance| selector.covers(&instance.name)).count();
            let word = if count == 1 { "instance" } else { "instances" };
            lines.push(format!("= {selector} has {count} {word} at revision {revision}"));
        }
        if !covers.is_empty() {
            self.on_snapshot(&covers, snapshot, lines);
        }
        if !self.warming {
            self.drop_unconfirmed(lines);
        }
        for change in changes {
            match change {
                Change::Put(instance) => self.put(instance, lines),
                Change::Remove { service, id, cause } => {
                    lines.push(format!("- {service}/{id} {cause}"));
                    self.held.remove(&(service, id));
                }
            }
        }
    }

    fn on_snapshot(&mut self, covers: &[Selector], snapshot: Vec<ServiceInstance>, lines: &mut Vec<String>) {
        for ((service, _), held) in &mut self.held {
            if covers.iter().any(|selector| selector.covers(service)) {
                held.confirmed = false;
            }
        }
        for instance in snapshot {
            self.put(instance, lines);
        }
        for ((service, id), held) in &mut self.held {
            if self.warming && !held.confirmed {
                held.missed = true;
                lines.push(format!("? {service}/{id} has not come back yet"));
            }
        }
    }

    fn put(&mut self, instance: ServiceInstance, lines: &mut Vec<String>) {
        let (service, id) = (instance.name.to_string(), instance.id.to_string());
        match self.held.get(&(service.clone(), id.clone())) {
            None => lines.push(format!("+ {service}/{id} {}", changes::summary(&instance))),
            Some(held) if held.instance != instance => {
                lines.push(format!("~ {service}/{id} {}", changes::difference(&held.instance, &instance)));
            }
            Some(held) if held.missed => lines.push(format!("= {service}/{id} is back")),
            Some(_) => {}
        }
        self.held.insert((service, id), Held { instance, confirmed: true, missed: false });
    }

    fn on_notice(&mut self, name: &str, data: &Value, lines: &mut Vec<String>) {
        match name {
            "warming" => {
                self.warming = true;
                lines.push("! the registry has started lately: what it does not list may still come back".into());
            }
            "settled" => {
                self.warming = false;
                lines.push("! the registry has settled".into());
                self.drop_unconfirmed(lines);
            }
            "alarm" => lines.push(format!(
                "! {} of {} instances of namespace {} expired within {}",
                word(&data["expired"]),
                word(&data["of"]),
                word(&data["namespace"]),
                word(&data["window"])
            )),
            "alarm_ended" => lines.push("! the alarm is over".into()),
            "bye" => lines.push("! the registry shuts down".into()),
            _ => {}
        }
    }

    fn drop_unconfirmed(&mut self, lines: &mut Vec<String>) {
        self.held.retain(|(service, id), held| {
            if !held.confirmed {
                lines.push(format!("- {service}/{id} is gone"));
            }
            held.confirmed
        });
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn instance(id: &str, version: &str) -> ServiceInstance {
        serde_json::from_value(json!({"id": id, "name": "web", "version": version})).unwrap()
    }

    fn snapshot(instances: Vec<ServiceInstance>) -> Item {
        Item::Delivery(Delivery {
            covers: vec![Selector::Service("web".into())],
            snapshot: instances,
            ..Delivery::default()
        })
    }

    fn notice(name: &str) -> Item {
        Item::Notice { name: name.into(), data: Value::Null }
    }

    /// The lines without the time of day.
    fn tell(view: &mut View, item: Item) -> Vec<String> {
        view.handle(item).iter().map(|line| line[9..].to_owned()).collect()
    }

    #[test]
    fn a_second_snapshot_tells_only_what_is_different() {
        let mut view = View::default();
        assert_eq!(tell(&mut view, snapshot(vec![])), ["= web has 0 instances at revision 0"]);
        tell(&mut view, snapshot(vec![instance("a", "1"), instance("b", "1")]));
        let lines = tell(&mut view, snapshot(vec![instance("a", "2"), instance("c", "1")]));
        assert_eq!(lines[1..], ["~ web/a version 1 -> 2", "+ web/c v1", "- web/b is gone"]);
    }

    #[test]
    fn after_a_restart_nobody_is_gone_until_the_registry_has_settled() {
        let mut view = View::default();
        tell(&mut view, snapshot(vec![instance("a", "1"), instance("b", "1")]));
        tell(&mut view, notice("warming"));
        assert_eq!(
            tell(&mut view, snapshot(vec![]))[1..],
            ["? web/a has not come back yet", "? web/b has not come back yet"]
        );
        let back = Delivery { changes: vec![Change::Put(instance("a", "1"))], ..Delivery::default() };
        assert_eq!(tell(&mut view, Item::Delivery(back)), ["= web/a is back"]);
        assert_eq!(tell(&mut view, notice("settled")), ["! the registry has settled", "- web/b is gone"]);
    }

    #[test]
    fn a_registry_that_settled_while_nobody_listened_has_settled() {
        let mut view = View::default();
        tell(&mut view, snapshot(vec![instance("a", "1")]));
        tell(&mut view, notice("warming"));
        tell(&mut view, snapshot(vec![]));
        assert!(tell(&mut view, Item::Live).is_empty());
        let other = Delivery { changes: vec![Change::Put(instance("b", "1"))], ..Delivery::default() };
        assert_eq!(tell(&mut view, Item::Delivery(other)), ["- web/a is gone", "+ web/b v1"]);
    }

    #[test]
    fn a_removal_says_its_cause() {
        let mut view = View::default();
        tell(&mut view, snapshot(vec![instance("a", "1")]));
        let remove = Change::Remove { service: "web".into(), id: "a".into(), cause: "expired".into() };
        let lines = tell(&mut view, Item::Delivery(Delivery { changes: vec![remove], ..Delivery::default() }));
        assert_eq!(lines, ["- web/a expired"]);
    }
}

//! A client of the run that watches: it applies what it is told, and holds it against the model.

use std::collections::BTreeSet;
use std::slice::from_ref;

use periplus_core::{Delivery, Instant, Key, Namespace, Notice, Revision, Selector, WatchId};

use super::reference::{Model, Visible};

/// A client that watches, and everything it was told.
pub struct Watcher {
    pub id: WatchId,
    pub selectors: Vec<Selector>,
    /// What it had seen of each selector before the first delivery.
    pub since: Vec<Option<u64>>,
    pub seen: Option<u64>,
    pub held: Visible,
    pub named: bool,
    pub ended: bool,
    pub ahead: Option<(u64, Instant)>,
    pub warming: bool,
    pub alarms: BTreeSet<Namespace>,
}

impl Watcher {
    /// It was told nothing yet, and has seen nothing of something.
    pub fn is_fresh(&self) -> bool {
        self.seen.is_none() && self.since.iter().any(Option::is_none)
    }

    /// Applies a delivery as a client would, and holds it against the model.
    pub fn receive(&mut self, delivery: &Delivery, model: &Model, first: u64) {
        let to = delivery.cursor.revision.0;
        if let [Notice::Behind { revision }] = delivery.notices[..] {
            let (_, until) = self.ahead.take().expect("only who is ahead is told so");
            assert!(until <= model.now && revision == Revision(model.revision()), "W6: it waits first");
            self.ended = true;
            return;
        }
        assert!(!self.ended && self.ahead.is_none(), "W6: who is ahead is told nothing older");
        assert!(self.seen.is_none_or(|seen| seen <= to), "W1: revisions rise");
        assert!(to <= model.revision(), "nothing from the future");
        if let Some(from) = delivery.from {
            assert_eq!(Some(from.0), self.seen, "W3: a delivery begins where the last one ended");
        }
        let since = |at: usize| {
            if self.seen.is_some() { self.seen } else { self.since[at] }
        };
        for snapshot in &delivery.snapshots {
            let at =
                self.selectors.iter().position(|selector| *selector == snapshot.selector).expect("it was asked for");
            let needless = since(at).is_some_and(|since| since >= first);
            assert!(!needless, "W6: from {:?} on nothing is forgotten (since {first}): no snapshot", since(at));
        }
        let sinces: Vec<Option<u64>> = (0..self.selectors.len()).map(since).collect();
        for snapshot in &delivery.snapshots {
            assert_eq!(to, model.revision(), "a snapshot is of the present");
            let gone = Model::filtered(&self.held, from_ref(&snapshot.selector));
            self.held.retain(|key, _| !gone.contains_key(key));
            for put in &snapshot.instances {
                let key =
                    Key::new(put.service.namespace.clone(), put.service.service.clone(), put.instance.instance_id());
                let ttl = put.ttl_ms.expect("who is listed is there");
                let twice = self.held.insert(key, (put.instance.clone(), ttl));
                assert!(twice.is_none(), "W2: nobody is listed twice");
            }
        }
        let mut latest = 0;
        let mut told = BTreeSet::new();
        for change in delivery.changes.iter() {
            let service = &change.service;
            let key = Key::new(service.namespace.clone(), service.service.clone(), change.instance.instance_id());
            assert!(change.revision.0 >= latest && change.revision.0 <= to, "W1: changes rise");
            latest = change.revision.0;
            let asked = self.selectors.iter().position(|selector| selector.contains(service)).expect("it is watched");
            assert!(sinces[asked].is_some_and(|since| change.revision.0 > since), "W2: nothing is told twice");
            assert!(told.insert(key.clone()), "W8: one change an instance");
            let now = change.ttl_ms.map(|ttl| (change.instance.clone(), ttl));
            assert_eq!(now.as_ref(), model.visible_at(change.revision.0).get(&key), "a change says what happened");
            let before = match now.clone() {
                Some(now) => self.held.insert(key, now),
                None => self.held.remove(&key),
            };
            assert_ne!(before, now, "W6: exactly what changed");
        }
        let expected = Model::filtered(model.visible_at(to), &self.selectors);
        assert_eq!(self.held, expected, "W5: after a delivery the watcher has what the registry had at {to}");
        for notice in &delivery.notices {
            match notice {
                Notice::Warming => self.warming = true,
                Notice::Settled => self.warming = false,
                Notice::Alarm(alarm) => drop(self.alarms.insert(alarm.namespace.clone())),
                Notice::AlarmEnded(namespace) => drop(self.alarms.remove(namespace)),
                _ => {}
            }
        }
        assert_eq!(self.warming, model.warming_until.is_some(), "W14: a watcher knows whether the registry is warming");
        let concerned =
            |namespace: &&Namespace| self.selectors.iter().any(|selector| selector.namespace() == *namespace);
        let alarms: BTreeSet<&Namespace> = model.alarms.iter().filter(concerned).collect();
        assert_eq!(self.alarms.iter().collect::<BTreeSet<_>>(), alarms, "R14: a watcher knows the alarms");
        self.seen = Some(to);
    }
}

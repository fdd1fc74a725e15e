//! What is followed in the registry, and what it says of it.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use smol_str::SmolStr;

use super::{Home, Memory, RETRY, plain};
use crate::catalog::{Delivered, Delivery, Notice, Selector, WatchId, WatchStart};
use crate::client::subscription::{self, Following, Told};
use crate::event::Cause;

impl<H: Home> Memory<H> {
    /// Follows in the registry what the subscriptions follow. O(selectors).
    pub(super) fn follow(&mut self) {
        if !self.subscriptions.take_changed_interests() && self.reopen.is_none_or(|at| at > self.now) {
            return;
        }
        self.reopen = None;
        let wanted: Vec<(Selector, WatchStart)> = self
            .subscriptions
            .interests()
            .map(|(_, selector, cursor)| {
                let start = WatchStart { selectors: alloc::vec![(selector.clone(), cursor.cloned())] };
                (selector.clone(), start)
            })
            .collect();
        let named: BTreeSet<&Selector> = wanted.iter().map(|(selector, _)| selector).collect();
        let wants = |stream: &Following| stream.selectors().iter().any(|selector| named.contains(selector));
        let spare: Vec<WatchId> = self.streams.iter().filter(|(_, s)| !wants(s)).map(|(watch, _)| *watch).collect();
        for watch in spare {
            self.streams.remove(&watch);
            self.home.with(|hub| hub.unwatch(watch));
        }
        let open: BTreeSet<Selector> = self.streams.values().flat_map(|s| s.selectors().to_owned()).collect();
        let mut resumed = Vec::new();
        for (selector, start) in wanted.into_iter().filter(|(selector, _)| !open.contains(selector)) {
            let (member, now) = (self.member, self.now);
            match self.home.with(|hub| hub.watch(member, &start, &self.caller, now)) {
                Ok(watch) => {
                    self.streams.insert(watch, Following::new(alloc::vec![selector]));
                    resumed.push(watch);
                }
                Err(error) => {
                    self.reopen = Some(now.saturating_add(RETRY));
                    if self.refused.is_empty() {
                        self.refused.push_back(plain("limit", error.to_string()));
                    }
                }
            }
        }
        // What has not changed since it was followed last is not told.
        self.pull();
        let warming = self.home.with(|hub| hub.registry().warming_until().is_some());
        for watch in resumed {
            if let Some(stream) = self.streams.get_mut(&watch) {
                self.subscriptions.live(stream, warming, self.now);
            }
        }
    }

    /// Takes what the registry has to say.
    pub(super) fn pull(&mut self) {
        let member = self.member;
        let news = self.home.with(|hub| {
            hub.settle();
            hub.take(member)
        });
        for key in news.ended {
            let Some(&id) = self.by_key.get(&key) else { continue };
            self.renew(id);
        }
        for watch in news.ready {
            let Some(mut stream) = self.streams.remove(&watch) else { continue };
            let (delivery, warming) = self.home.with(|hub| {
                let registry = hub.registry_mut();
                (registry.poll_watch(watch), registry.warming_until().is_some())
            });
            if let Some(delivery) = delivery {
                self.deliver(&mut stream, &delivery, warming);
            }
            self.streams.insert(watch, stream);
        }
        self.registry = self.home.with(|hub| hub.registry().poll_timeout());
    }

    fn deliver(&mut self, stream: &mut Following, delivery: &Delivery, warming: bool) {
        let snapshots = delivery.snapshots.iter().map(|snapshot| {
            let listed = snapshot.instances.iter().map(|listed| (listed.instance.clone(), ttl(listed))).collect();
            (snapshot.selector.clone(), listed)
        });
        let changes = delivery.changes.iter().map(|change| {
            let told = if change.present() {
                Told::Put(change.instance.clone(), ttl(change))
            } else {
                let cause = change.cause.map_or("", Cause::as_str);
                Told::Remove(change.instance.instance_id(), SmolStr::new_static(cause))
            };
            ((*change.service).clone(), told)
        });
        let told = subscription::Delivery {
            cursor: Some(delivery.cursor.clone()),
            snapshots: snapshots.collect(),
            changes: changes.collect(),
            warming,
        };
        // A registry in this process does not go back. If somebody makes it, what was seen stays.
        let _ = self.subscriptions.deliver(stream, &told, self.now);
        for notice in &delivery.notices {
            match notice {
                Notice::Settled => self.subscriptions.settled(stream, self.now),
                Notice::Alarm(alarm) => drop(self.alarms.insert(alarm.namespace.clone(), Some(alarm.clone()))),
                Notice::AlarmEnded(namespace) => drop(self.alarms.insert(namespace.clone(), None)),
                _ => {}
            }
        }
    }
}

fn ttl(listed: &Delivered) -> Option<Duration> {
    listed.ttl_ms.map(|ttl| Duration::from_millis(ttl.into()))
}

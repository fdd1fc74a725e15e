//! What is followed: which queries that takes, and what their answers mean to those who follow.
//!
//! Each service is asked for by itself, in each datacenter; what begins alike is found by listing all names. Answers list
//! all there is: the difference to what was listed before is what is delivered.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;
use core::mem;

use smol_str::SmolStr;

use super::Consul;
use super::poll::{Poll, Query, Sent};
use super::queue::Queue;
use crate::catalog::Selector;
use crate::client::Backoff;
use crate::client::subscription::{Delivery, Following, InterestId, Told};
use crate::fault::Fault;
use crate::name::{InstanceId, Namespace, ServiceKey};
use crate::packed::Instance;
use crate::set::{Cursor, Epoch, Revision};
use crate::time::Instant;

/// All that is followed.
#[derive(Debug)]
pub(super) struct Watches {
    /// The version of the set of interests that the queries are for.
    version: Option<u64>,
    views: BTreeMap<InterestId, View>,
    exact: BTreeMap<ServiceKey, InterestId>,
    wide: BTreeSet<InterestId>,
    pub(super) polls: BTreeMap<Query, Poll>,
    /// Those that are not under way.
    pub(super) queue: Queue,
    /// How many are under way, and how many of these wait for a change.
    pub(super) open: usize,
    pub(super) waiting: usize,
    /// Those whose answers are out of date.
    stale: BTreeSet<Query>,
    /// What was delivered of each service: its instances in all datacenters.
    shown: BTreeMap<ServiceKey, BTreeMap<InstanceId, Instance>>,
    name: SmolStr,
    /// How often Consul has lost its memory.
    pub(super) epoch: u32,
    revision: u64,
    /// Until when what is not listed proves nothing.
    settles: Option<Instant>,
}

/// One interest.
#[derive(Debug)]
struct View {
    selector: Selector,
    following: Following,
    /// The epoch that it was shown a snapshot of.
    epoch: Option<u32>,
}

impl Watches {
    pub(super) fn new(name: SmolStr) -> Self {
        Self {
            version: None,
            views: BTreeMap::new(),
            exact: BTreeMap::new(),
            wide: BTreeSet::new(),
            polls: BTreeMap::new(),
            queue: Queue::default(),
            open: 0,
            waiting: 0,
            stale: BTreeSet::new(),
            shown: BTreeMap::new(),
            name,
            epoch: 0,
            revision: 0,
            settles: None,
        }
    }

    pub(super) fn has_prefixes(&self) -> bool {
        !self.wide.is_empty()
    }

    pub(super) const fn settles(&self) -> Option<Instant> {
        self.settles
    }

    /// The request of a query is over, or given up.
    pub(super) fn take_call(&mut self, query: &Query) -> Option<Sent> {
        let sent = self.polls.get_mut(query)?.call.take()?;
        self.open -= 1;
        self.waiting -= usize::from(sent.since.is_some());
        Some(sent)
    }

    /// Puts a query that is not under way to where it belongs by now, due when its pace allows it and not before `at`.
    pub(super) fn line_up(&mut self, query: &Query, at: Option<Instant>, now: Instant) {
        let Some(poll) = self.polls.get_mut(query).filter(|poll| poll.call.is_none()) else {
            return;
        };
        self.queue.take(poll.due, query);
        if let Some(at) = at {
            poll.again(now);
            poll.due = poll.due.max(at);
        }
        self.queue.put(poll.due, query.clone(), poll.since().is_some());
    }

    /// Whether a view has been shown this epoch.
    fn is_shown(&self, id: InterestId) -> bool {
        self.views.get(&id).is_some_and(|view| view.epoch == Some(self.epoch))
    }

    /// The place of the next delivery.
    fn next_cursor(&mut self) -> Cursor {
        self.revision += 1;
        let epoch = if self.epoch == 0 { self.name.clone() } else { format!("{}.{}", self.name, self.epoch).into() };
        Cursor { epoch: Epoch(epoch), revision: Revision(self.revision) }
    }

    /// Who follows what a query is for.
    fn concerned(&self, query: &Query) -> Vec<InterestId> {
        let wide = self.wide.iter().copied().filter(|id| match (query, &self.views[id].selector) {
            (Query::Health(service, _), selector) => selector.contains(service),
            (Query::Names(namespace, _), selector) => selector.namespace() == namespace,
        });
        let exact = if let Query::Health(service, _) = query { self.exact.get(service) } else { None };
        exact.copied().into_iter().chain(wide).collect()
    }

    fn covers(selector: &Selector, query: &Query) -> bool {
        match (query, selector) {
            (Query::Health(service, _), selector) => selector.contains(service),
            (Query::Names(namespace, _), Selector::Prefix { namespace: ns, .. }) => ns == namespace,
            (Query::Names(..), Selector::Service(_)) => false,
        }
    }

    /// Since when the oldest is out of date of what a view is made of, if any is.
    fn stale_since(&self, selector: &Selector) -> Option<Instant> {
        let stale = self.stale.iter().filter(|query| Self::covers(selector, query));
        stale.filter_map(|query| self.polls.get(query)).map(|poll| poll.heard).min()
    }

    /// Whether there is something to show: every query was answered in this epoch or has failed in it, and one was
    /// answered.
    fn is_complete(&self, selector: &Selector) -> bool {
        let mut any = false;
        let all = self.polls.iter().filter(|(query, _)| Self::covers(selector, query)).all(|(query, poll)| {
            let counts = match selector {
                Selector::Service(_) => true,
                Selector::Prefix { .. } => matches!(query, Query::Names(..)),
            };
            any |= counts && poll.epoch == Some(self.epoch);
            poll.tried == Some(self.epoch)
        });
        all && any
    }

    /// What is listed of a service in this epoch. Earlier datacenters go before later ones.
    fn union(&self, service: &ServiceKey, empty_if_stale: bool) -> BTreeMap<InstanceId, Instance> {
        let mut union = BTreeMap::new();
        let (from, to) = (Query::Health(service.clone(), 0), Query::Health(service.clone(), usize::MAX));
        for (query, poll) in self.polls.range(from..=to) {
            let lost = empty_if_stale && self.stale.contains(query);
            if poll.epoch == Some(self.epoch) && !lost {
                for (id, instance) in &poll.instances {
                    union.entry(id.clone()).or_insert_with(|| instance.clone());
                }
            }
        }
        union
    }

    /// The services that are to be asked for.
    fn wanted(&self) -> BTreeSet<ServiceKey> {
        let mut wanted: BTreeSet<ServiceKey> = self.exact.keys().cloned().collect();
        let prefixes: Vec<&Selector> = self.wide.iter().map(|id| &self.views[id].selector).collect();
        if prefixes.is_empty() {
            return wanted;
        }
        for (query, poll) in &self.polls {
            let listed: Vec<ServiceKey> = match query {
                Query::Names(namespace, _) => {
                    poll.names.iter().map(|name| ServiceKey::new(namespace.clone(), name.clone())).collect()
                }
                // That nothing is there is its own answer's to say, and not that of a list of names.
                Query::Health(service, _) if !poll.instances.is_empty() => alloc::vec![service.clone()],
                Query::Health(..) => continue,
            };
            wanted.extend(listed.into_iter().filter(|key| prefixes.iter().any(|prefix| prefix.contains(key))));
        }
        wanted
    }
}

impl Consul {
    /// Sees to it that there are queries for what is followed, and none for what is not. O(what is followed).
    pub(super) fn refit(&mut self, now: Instant) {
        let version = self.subscriptions.version();
        if self.wire.watches.version == Some(version) {
            return;
        }
        self.wire.watches.version = Some(version);
        if self.subscriptions.is_suspended() {
            return self.rest(now);
        }
        let interests: BTreeMap<InterestId, Selector> =
            self.subscriptions.interests().map(|(id, selector, _)| (id, selector.clone())).collect();
        let watches = &mut self.wire.watches;
        watches.views.retain(|id, _| interests.contains_key(id));
        watches.wide.retain(|id| interests.contains_key(id));
        watches.exact.retain(|_, id| interests.contains_key(id));
        let mut new = Vec::new();
        for (id, selector) in interests {
            if let Some(view) = watches.views.get_mut(&id) {
                // The one before may have missed something.
                view.following = Following::only(selector);
                continue;
            }
            match &selector {
                Selector::Service(key) => drop(watches.exact.insert(key.clone(), id)),
                Selector::Prefix { .. } => drop(watches.wide.insert(id)),
            }
            let following = Following::only(selector.clone());
            watches.views.insert(id, View { selector, following, epoch: None });
            new.push(id);
        }
        self.refit_polls(now);
        for id in new {
            self.show(id, &[], now);
        }
    }

    /// Nothing is asked for a while. What was answered is kept, out of date, and compared with what is answered later.
    fn rest(&mut self, now: Instant) {
        let all: Vec<Query> = self.wire.watches.polls.keys().cloned().collect();
        for query in all {
            let call = self.wire.watches.take_call(&query);
            self.doubt(&query);
            self.wire.watches.line_up(&query, call.as_ref().map(|_| now), now);
            if let Some(call) = call {
                self.calls.cancel(call.id);
            }
        }
    }

    /// The same when only the names may have changed.
    pub(super) fn refit_polls(&mut self, now: Instant) {
        let dcs = self.wire.options.datacenters.len().max(1);
        let watches = &mut self.wire.watches;
        let services = watches.wanted();
        let namespaces: BTreeSet<Namespace> =
            watches.wide.iter().map(|id| watches.views[id].selector.namespace().clone()).collect();
        let names = namespaces.into_iter().flat_map(|ns| (0..dcs).map(move |dc| Query::Names(ns.clone(), dc)));
        let health = services.into_iter().flat_map(|key| (0..dcs).map(move |dc| Query::Health(key.clone(), dc)));
        let wanted: BTreeSet<Query> = names.chain(health).collect();
        let unwanted: Vec<Query> = watches.polls.keys().filter(|query| !wanted.contains(*query)).cloned().collect();
        for query in unwanted {
            let call = watches.take_call(&query);
            let Some(poll) = watches.polls.remove(&query) else {
                continue;
            };
            watches.stale.remove(&query);
            match call {
                Some(call) => drop(self.calls.cancel(call.id)),
                None => watches.queue.take(poll.due, &query),
            }
            if let Query::Health(service, _) = query {
                watches.shown.remove(&service);
            }
        }
        for query in wanted {
            if !watches.polls.contains_key(&query) {
                watches.queue.put(now, query.clone(), false);
                watches.polls.insert(query, Poll::new(now, Backoff::default()));
            }
        }
    }

    /// A query was answered, or has failed: those who follow it are told what has changed, and how far it can be believed.
    /// `gone` was listed in an epoch before, and is certainly not there.
    pub(super) fn tell(&mut self, query: &Query, gone: &[InstanceId], now: Instant) {
        let (mut changes, mut removed) = (Vec::new(), Vec::new());
        let empties = self.config.faults.has(Fault::ConsulDatacenterEmpties);
        if let Query::Health(service, _) = query {
            let remove = |id: &InstanceId| (service.clone(), Told::Remove(id.clone(), SmolStr::default()));
            let union = self.wire.watches.union(service, empties);
            let before = self.wire.watches.shown.insert(service.clone(), union).unwrap_or_default();
            let union = &self.wire.watches.shown[service];
            removed.extend(gone.iter().filter(|id| !union.contains_key(*id)).map(remove));
            changes.extend(before.keys().filter(|id| !union.contains_key(*id)).map(remove));
            changes.extend(removed.iter().cloned());
            let put = union.iter().filter(|(id, instance)| before.get(*id) != Some(instance));
            changes.extend(put.map(|(_, instance)| (service.clone(), Told::Put(instance.clone(), None))));
        }
        for id in self.wire.watches.concerned(query) {
            let based = self.wire.watches.is_shown(id);
            self.show(id, &changes, now);
            // The snapshot of a new epoch leaves what it does not list.
            if !based && !removed.is_empty() && self.wire.watches.is_shown(id) {
                self.show(id, &removed, now);
            }
        }
    }

    /// Shows a view what has changed, or all there is if it has not been shown this epoch.
    fn show(&mut self, id: InterestId, changes: &[(ServiceKey, Told)], now: Instant) {
        let watches = &mut self.wire.watches;
        let Some(view) = watches.views.get_mut(&id) else {
            return;
        };
        let mut following = mem::take(&mut view.following);
        let (selector, shown) = (view.selector.clone(), view.epoch);
        let stale = watches.stale_since(&selector);
        // What a datacenter that does not answer would list may be there.
        let warming = watches.settles.is_some() || stale.is_some();
        let delivery = if shown == Some(watches.epoch) {
            let changes = changes.to_vec();
            (!changes.is_empty()).then(|| Delivery { changes, warming, ..Delivery::default() })
        } else if watches.is_complete(&selector) {
            let listed = watches.shown.iter().filter(|(service, _)| selector.contains(service));
            let listed = listed.flat_map(|(_, instances)| instances.values()).map(|it| (it.clone(), None)).collect();
            let snapshots = alloc::vec![(selector, listed)];
            Some(Delivery { snapshots, warming, ..Delivery::default() })
        } else {
            None
        };
        let told = delivery.is_some();
        if let Some(delivery) = delivery {
            let delivery = Delivery { cursor: Some(watches.next_cursor()), ..delivery };
            let taken = self.subscriptions.deliver(&mut following, &delivery, now);
            debug_assert!(taken.is_ok(), "revisions rise");
        } else if shown == Some(watches.epoch) && stale.is_none() {
            self.subscriptions.live(&mut following, warming, now);
        }
        // During a warm-up, that some of it is not confirmed says more than that some of it is out of date.
        let unconfirmed = told && self.wire.watches.settles.is_some();
        if let Some(since) = stale.filter(|_| !unconfirmed) {
            self.subscriptions.stale(&mut following, since);
        }
        if let Some(view) = self.wire.watches.views.get_mut(&id) {
            view.following = following;
            if told {
                view.epoch = Some(self.wire.watches.epoch);
            }
        }
    }

    /// Whether the answers to a query are out of date from now on.
    pub(super) fn set_stale(&mut self, query: &Query, stale: bool) {
        if let Some(poll) = self.wire.watches.polls.get_mut(query) {
            poll.stale = stale;
        }
        if stale {
            self.wire.watches.stale.insert(query.clone());
        } else {
            self.wire.watches.stale.remove(query);
        }
    }

    /// Consul has lost its memory, or a part of it. What it does not list proves nothing for a while, because those who
    /// hold it need a while to notice. Everything is asked for anew.
    pub(super) fn begin_epoch(&mut self, found: &Query, now: Instant) {
        let watches = &mut self.wire.watches;
        watches.epoch += 1;
        watches.shown.clear();
        let others: Vec<Query> = watches.polls.keys().filter(|query| *query != found).cloned().collect();
        for query in others {
            self.ask_anew(&query, now, now);
        }
        self.warm_up_anew(now);
    }

    /// What is not listed proves nothing for as long as those who hold it need to come back, from now on.
    pub(super) fn warm_up_anew(&mut self, now: Instant) {
        self.wire.watches.settles = Some(now.saturating_add(self.wire.options.warm_up));
    }

    /// Gives up the request that waits for a change, if there is one, and asks at once, or at this time.
    pub(super) fn ask_anew(&mut self, query: &Query, at: Instant, now: Instant) {
        let watches = &mut self.wire.watches;
        let Some(poll) = watches.polls.get_mut(query) else {
            return;
        };
        poll.resuming = true;
        match watches.take_call(query) {
            Some(call) => {
                watches.line_up(query, Some(at), now);
                self.calls.cancel(call.id);
            }
            None => watches.line_up(query, None, now),
        }
    }

    /// Consul has had the time to come back: what is not listed is gone.
    pub(super) fn settle(&mut self, now: Instant) {
        if self.wire.watches.settles.take_if(|at| *at <= now).is_none() {
            return;
        }
        let ids: Vec<InterestId> = self.wire.watches.views.keys().copied().collect();
        for id in ids {
            self.show(id, &[], now);
        }
    }

    /// Nothing is followed any more.
    pub(super) fn close_watches(&mut self) {
        let name = self.wire.watches.name.clone();
        let watches = mem::replace(&mut self.wire.watches, Watches::new(name));
        for call in watches.polls.into_values().filter_map(|poll| poll.call) {
            self.calls.cancel(call.id);
        }
    }
}

//! Following the upstream: each word of it becomes a transaction of the mirror.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use periplus_core::catalog::Edit;
use periplus_core::client::Provenance;
use periplus_core::set::Change;
use periplus_core::{Cursor, Epoch, Instance, InstanceId, Key, Listed, Namespace, Registry, Revision, ServiceName};
use periplus_tokio::{Changed, Listing, Watcher};

use super::super::Server;
use super::super::hub::Hub;
use super::{State, Upstream};

/// How often it is looked whether a watcher waits for what the upstream has not told.
const LOOK: Duration = Duration::from_millis(200);
/// How often the upstream is asked for it at most.
const AGAIN: Duration = Duration::from_secs(2);

/// Mirrors the upstream until the server ends.
pub(super) async fn run(server: Arc<Server>) {
    let Some(upstream) = &server.upstream else { return };
    let mut watcher = match upstream.client.watch_all() {
        Ok(watcher) => watcher,
        Err(error) => return tracing::error!(%error, "the upstream cannot be followed"),
    };
    let ttl = u32::try_from(server.config.ttl.default.as_millis()).unwrap_or(u32::MAX);
    let namespace = upstream.namespace.clone();
    let mut mirror =
        Mirror { server: &server, upstream, namespace, ttl, epoch: None, turns: 0, second: None, looked: None };
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            changed = watcher.next_changes() => match changed {
                Some(changed) => mirror.on_changed(changed, &watcher),
                None => return,
            },
            _ = look.tick() => mirror.catch_up(&watcher),
        }
    }
}

struct Mirror<'a> {
    server: &'a Arc<Server>,
    upstream: &'a Upstream,
    namespace: Namespace,
    /// How long an instance is believed without a word of it: the upstream does not tell.
    ttl: u32,
    /// The upstream's epoch, as soon as it was heard.
    epoch: Option<Epoch>,
    /// How often the mirror had to begin anew within an epoch of the upstream.
    turns: u32,
    /// A second look at the upstream.
    second: Option<Watcher>,
    looked: Option<std::time::Instant>,
}

impl Mirror<'_> {
    fn on_changed(&mut self, changed: Changed, watcher: &Watcher) {
        if let Some(cursor) = &changed.cursor {
            if self.epoch.as_ref() == Some(&cursor.epoch) {
                let edits = changed.changes.into_iter().filter_map(|change| self.edit(change)).collect();
                self.reflect(cursor.revision, edits, watcher);
            } else {
                self.turns = 0;
                self.begin(watcher);
            }
        }
        self.believe(changed.provenance, changed.age);
    }

    /// Somebody has seen more of the upstream than this mirror, and what follows it says nothing, because nothing has
    /// changed since: a second look says how far the upstream is, and what is there.
    fn catch_up(&mut self, watcher: &Watcher) {
        let hub = self.server.hub();
        if self.epoch.is_none() || !hub.read(|registry| registry.catalog().is_awaited()).0 {
            self.second = None;
            return;
        }
        let Some(second) = &self.second else {
            if self.looked.is_none_or(|looked| looked.elapsed() >= AGAIN) {
                self.looked = Some(std::time::Instant::now());
                self.second = self.upstream.connect().ok().and_then(|client| client.watch_all().ok());
            }
            return;
        };
        if let Some(Listing { cursor: Some(cursor), instances, provenance: Provenance::Live, .. }) = second.current() {
            self.second = None;
            if self.epoch.as_ref() == Some(&cursor.epoch) {
                let edits = self.difference(&hub, instances);
                self.reflect(cursor.revision, edits, watcher);
            }
        }
    }

    /// What makes a mirror list these instances and no others.
    fn difference(&self, hub: &Hub, instances: Vec<Instance>) -> Vec<Edit> {
        let wanted: BTreeSet<Key> = instances.iter().filter_map(|instance| self.key(instance)).collect();
        let (held, _) = hub.read(|registry| {
            let catalog = registry.catalog();
            let services = catalog.services(&self.namespace, "", "", usize::MAX);
            let found = |service: &ServiceName| {
                let found = catalog.instances(&self.namespace, service, "", usize::MAX);
                found.into_iter().map(|found| found.listed.instance.clone()).collect::<Vec<_>>()
            };
            services.iter().flat_map(|service| found(&service.key.service)).collect::<Vec<_>>()
        });
        let gone = held.iter().filter_map(|instance| self.key(instance)).filter(|key| !wanted.contains(key));
        let gone: Vec<Edit> = gone.map(Edit::Remove).collect();
        let put = instances.into_iter().map(|instance| self.put(instance));
        gone.into_iter().chain(put).collect()
    }

    fn edit(&self, change: Change) -> Option<Edit> {
        match change {
            Change::Insert(instance) | Change::Update { after: instance, .. } => Some(self.put(instance)),
            Change::Remove(instance) => self.key(&instance).map(Edit::Remove),
        }
    }

    fn put(&self, instance: Instance) -> Edit {
        Edit::Put { namespace: self.namespace.clone(), listed: Listed { instance, ttl_ms: self.ttl } }
    }

    /// Where an instance is; nothing, if its name is none, which nobody lists.
    fn key(&self, instance: &Instance) -> Option<Key> {
        let id = InstanceId::new(instance.id()).ok()?;
        Some(Key::new(self.namespace.clone(), instance.service_name(), id))
    }

    /// What can be renewed here without asking for its key.
    fn note(&self, edits: &[Edit]) {
        let writer = &self.upstream.writer;
        for edit in edits {
            match edit {
                Edit::Remove(key) => writer.on_edit(key, false),
                Edit::Put { listed, .. } => {
                    self.key(&listed.instance).iter().for_each(|key| writer.on_edit(key, true));
                }
            }
        }
    }

    fn reflect(&mut self, revision: Revision, edits: Vec<Edit>, watcher: &Watcher) {
        let hub = self.server.hub();
        let held = hub.read(|registry| registry.catalog().revision()).0;
        // What is older is known already.
        if revision > held {
            self.note(&edits);
            // It rises: nobody else changes it.
            let _ = hub.apply(|registry, now| registry.reflect(revision, edits, now));
        } else if revision == held && edits.iter().any(|edit| !is_shown(&hub, edit)) {
            // The same place looks different now, because what was there proved to be gone: who has seen that place must
            // be told everything.
            self.turns += 1;
            self.begin(watcher);
        }
    }

    /// A new epoch begins: a mirror of its own shows it.
    fn begin(&mut self, watcher: &Watcher) {
        let Some(Listing { cursor: Some(Cursor { epoch, revision }), instances, .. }) = watcher.current() else {
            return;
        };
        let text = if self.turns == 0 { epoch.0.clone() } else { format!("{}~{}", epoch.0, self.turns).into() };
        let hub = Hub::mirror(&self.server.config, Epoch(text), Arc::clone(&self.server.metrics));
        let edits: Vec<Edit> = instances.into_iter().map(|instance| self.put(instance)).collect();
        self.note(&edits);
        let _ = hub.apply(|registry, now| registry.reflect(revision.max(Revision(1)), edits, now));
        self.epoch = Some(epoch);
        self.server.replace_hub(hub);
        self.upstream.heard.notify_one();
    }

    /// How far the mirror can be believed.
    fn believe(&self, provenance: Provenance, age: Option<Duration>) {
        let url = &self.upstream.url;
        let now = std::time::Instant::now();
        let state = match provenance {
            Provenance::Unknown => return,
            Provenance::Live => State::Live,
            Provenance::Unconfirmed => State::Unconfirmed,
            Provenance::Stale { .. } => State::Stale(now.checked_sub(age.unwrap_or_default()).unwrap_or(now)),
        };
        let hub = self.server.hub();
        match state {
            State::Live => drop(hub.apply(|registry, now| registry.settle(None, now))),
            State::Unconfirmed => drop(hub.apply(Registry::unsettle)),
            _ => {}
        }
        let mut place = self.upstream.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *place, state);
        drop(place);
        match (before, state) {
            (State::Stale(_), State::Stale(_)) => {}
            (_, State::Stale(_)) => {
                tracing::warn!(upstream = url, "the upstream cannot be heard: what was last known stays")
            }
            (State::Stale(since), _) => {
                tracing::info!(upstream = url, after = ?since.elapsed(), "the upstream is heard again");
            }
            (State::Unheard, _) => tracing::info!(upstream = url, "the upstream is heard"),
            _ => {}
        }
    }
}

/// Whether the mirror looks so already.
fn is_shown(hub: &Hub, edit: &Edit) -> bool {
    let view = |key: &Key| hub.read(|registry| registry.instance(key)).0;
    match edit {
        Edit::Remove(key) => view(key).is_none(),
        Edit::Put { namespace, listed } => {
            let service: ServiceName = listed.instance.service_name();
            let Ok(id) = InstanceId::new(listed.instance.id()) else { return true };
            view(&Key::new(namespace.clone(), service, id)).is_some_and(|view| view.listed == *listed)
        }
    }
}

//! The whole state of a registry as plain data, to carry it over a restart.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::ended::Over;
use super::{BlockInfo, Incarnation, MAX_GENERATION, Overlay, Registry};
use crate::catalog::Why;
use crate::config::Config;
use crate::error::RestoreError;
use crate::event::{Caller, Cause};
use crate::fault::Fault;
use crate::lease::{Lease, Terms};
use crate::log::{Link, Listed, Logged};
use crate::name::{Key, Namespace, ServiceKey};
use crate::packed::Instance;
use crate::rng::Seed;
use crate::set::{Epoch, Revision};
use crate::time::{Instant, WallTime};

/// The format that this version writes.
const FORMAT: u32 = 1;

/// Everything a registry knows but who watches it. It holds the secrets of the leases: keep it as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The format.
    pub format: u32,
    /// The epoch.
    pub epoch: Epoch,
    /// The revision.
    pub revision: Revision,
    /// The generation given out last.
    pub generation: u64,
    /// How much of the warm-up was left, in milliseconds.
    pub warming_ms: Option<u64>,
    /// How often each place for a lease was given out.
    pub slots: Vec<u32>,
    /// The instances, ordered by namespace, service and id.
    pub instances: Vec<InstanceState>,
    /// What lies over instances.
    pub overlays: Vec<OverlayState>,
    /// What may not register, for how many more milliseconds, and why.
    pub blocks: Vec<(Key, u64, SmolStr)>,
    /// Whose commands are over, up to which sequence, and whether that one had registered and was superseded.
    pub ended: Vec<(Incarnation, u64, bool)>,
    /// Up to where changes are forgotten.
    pub compacted: Revision,
    /// The changes since.
    pub log: Vec<LogState>,
}

/// An instance and its lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceState {
    /// Where.
    pub namespace: Namespace,
    /// How it is listed.
    pub instance: Instance,
    /// The revision of its last change.
    pub revision: Revision,
    /// Its time to live.
    pub ttl_ms: u32,
    /// Its lease.
    pub lease: Lease,
    /// Which holder of the id has it.
    pub generation: u64,
    /// Who.
    pub incarnation: Incarnation,
    /// The holder's latest command.
    pub sequence: u64,
}

/// An overlay and the id it lies over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayState {
    /// Over which.
    pub key: Key,
    /// What.
    pub metadata: BTreeMap<String, Option<String>>,
    /// Why.
    pub reason: SmolStr,
    /// Who.
    pub caller: Caller,
    /// When.
    pub time: WallTime,
    /// What it lies over.
    pub base: Option<Instance>,
}

/// A change of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogState {
    /// The revision that it made.
    pub revision: Revision,
    /// When.
    pub time: WallTime,
    /// Where.
    pub service: ServiceKey,
    /// Before.
    pub before: Option<(Instance, u32)>,
    /// After.
    pub after: Option<(Instance, u32)>,
    /// Why.
    pub cause: Cause,
    /// By whom.
    pub caller: Option<Caller>,
}

impl Registry {
    /// The whole state as plain data, the same for the same history on every platform. O(everything).
    #[must_use]
    pub fn export(&self) -> State {
        let pair = |listed: &Listed| (listed.instance.clone(), listed.ttl_ms);
        let mut instances: Vec<InstanceState> = self
            .catalog
            .all()
            .map(|(key, found)| {
                let terms = self.leases.terms(found.tag);
                InstanceState {
                    namespace: key.namespace.clone(),
                    instance: found.listed.instance.clone(),
                    revision: found.revision,
                    ttl_ms: found.listed.ttl_ms,
                    lease: self.leases.lease(found.tag),
                    generation: terms.generation,
                    incarnation: Incarnation(terms.incarnation()),
                    sequence: terms.sequence,
                }
            })
            .collect();
        instances.sort_unstable_by(|a, b| {
            let order = |s: &InstanceState| (s.namespace.clone(), s.instance.service_name(), s.instance.instance_id());
            order(a).cmp(&order(b))
        });
        let log = self.catalog.history(self.catalog.first_revision()).into_iter().flatten();
        let millis = |until: Instant| u64::try_from(until.saturating_since(self.now).as_millis()).unwrap_or(u64::MAX);
        State {
            format: FORMAT,
            epoch: self.catalog.epoch().clone(),
            revision: self.catalog.revision(),
            generation: self.generation,
            warming_ms: self.warming_until.map(millis),
            slots: self.leases.generations(),
            instances,
            overlays: self
                .overlays
                .iter()
                .map(|(key, overlay)| OverlayState {
                    key: key.clone(),
                    metadata: overlay.metadata.clone(),
                    reason: overlay.reason.clone(),
                    caller: (*overlay.caller).clone(),
                    time: overlay.time,
                    base: overlay.base.clone(),
                })
                .collect(),
            blocks: self
                .blocks()
                .into_iter()
                .map(|(key, b)| (key.clone(), millis(b.until), b.reason.clone()))
                .collect(),
            ended: self
                .ended
                .export()
                .map(|(holder, over)| (Incarnation(holder), over.sequence, over.superseded))
                .collect(),
            compacted: self.catalog.first_revision(),
            log: log
                .map(|entry| LogState {
                    revision: entry.revision,
                    time: entry.time,
                    service: (**entry.service).clone(),
                    before: entry.before.map(pair),
                    after: entry.after.map(pair),
                    cause: entry.cause,
                    caller: entry.caller.map(|caller| (**caller).clone()),
                })
                .collect(),
        }
    }

    /// A registry that goes on where the state left off: same epoch, same leases, same past. Every lease lives for its
    /// ttl from now at least, because nobody could renew meanwhile. It does not warm up, for it has lost nothing, unless
    /// the state did. Limits do not apply to what the state holds. O(everything).
    ///
    /// The epoch stays only if the state is the very last one the registry had; if something may have happened since,
    /// give a new `epoch`, and watchers get snapshots.
    ///
    /// # Errors
    /// If the state is of a later format, or contradicts itself.
    pub fn restore(
        config: Config,
        seed: Seed,
        state: &State,
        epoch: Option<Epoch>,
        now: Instant,
        wall: WallTime,
    ) -> Result<Self, RestoreError> {
        if state.format > FORMAT {
            return Err(RestoreError::Format { found: state.format, known: FORMAT });
        }
        let corrupt = |problem| RestoreError::Corrupt { problem };
        let generations = state.instances.iter().map(|held| held.generation);
        let generation = generations.fold(state.generation, u64::max);
        if state.revision.0 >= MAX_GENERATION || generation >= MAX_GENERATION {
            return Err(corrupt("a revision or a generation is beyond all reason"));
        }
        let epoch = epoch.unwrap_or_else(|| state.epoch.clone());
        let mut registry = Self::empty(config, seed, epoch, state.revision, now, wall);
        registry.generation = generation;
        registry.warming_until = state.warming_ms.map(|ms| now.saturating_add(Duration::from_millis(ms)));
        if registry.warming_until.is_some() {
            registry.catalog.announce(None, crate::Notice::Warming);
        }
        registry.leases.restore(&state.slots);
        for held in &state.instances {
            let key = ServiceKey::new(held.namespace.clone(), held.instance.service_name());
            let service = registry.catalog.service_or_new(&key);
            if registry.catalog.entry(service, held.instance.id().as_bytes()).is_some() {
                return Err(corrupt("an instance is there twice"));
            }
            if held.revision > state.revision {
                return Err(corrupt("an instance changed after the last revision"));
            }
            let listed = Listed { instance: held.instance.clone(), ttl_ms: held.ttl_ms };
            let why = Why { revision: held.revision, time: wall, cause: Cause::Registered, caller: None };
            let entry = registry.catalog.insert(service, listed, why);
            let terms = Terms::new(entry, held.generation, held.incarnation.0, held.sequence);
            let ttl = Duration::from_millis(u64::from(held.ttl_ms));
            let away = if config.faults.has(Fault::RestoreKeepsDeadlines) { ttl / 2 } else { Duration::ZERO };
            if !registry.leases.revive(&held.lease, terms, ttl, now.saturating_add(ttl - away)) {
                return Err(corrupt("a lease does not fit its place"));
            }
            registry.catalog.set_tag(entry, held.lease.index());
        }
        registry.leases.free_the_rest();
        for overlay in &state.overlays {
            registry.overlays.insert(
                overlay.key.clone(),
                Overlay {
                    metadata: overlay.metadata.clone(),
                    reason: overlay.reason.clone(),
                    caller: Arc::new(overlay.caller.clone()),
                    time: overlay.time,
                    base: overlay.base.clone(),
                },
            );
        }
        for (key, ms, reason) in &state.blocks {
            let until = now.saturating_add(Duration::from_millis(*ms));
            registry.blocks.insert(key.clone(), BlockInfo { until, reason: reason.clone() });
        }
        let ended = state.ended.iter();
        let ended = ended.map(|&(holder, sequence, superseded)| (holder.0, Over { sequence, superseded }));
        registry.ended.restore(ended);
        registry.restore_log(state)?;
        Ok(registry)
    }

    fn restore_log(&mut self, state: &State) -> Result<(), RestoreError> {
        let mut latest = state.compacted;
        for entry in &state.log {
            let rises = entry.revision >= latest && entry.revision > state.compacted;
            if !rises || entry.revision > state.revision {
                return Err(RestoreError::Corrupt { problem: "the revisions of the log do not rise" });
            }
            latest = entry.revision;
        }
        let listed = |pair: &(Instance, u32)| Listed { instance: pair.0.clone(), ttl_ms: pair.1 };
        let logged = |entry: &LogState| Logged {
            revision: entry.revision,
            time: entry.time,
            before: entry.before.as_ref().map(listed),
            after: entry.after.as_ref().map(listed),
            cause: entry.cause,
            caller: entry.caller.clone().map(Arc::new),
            previous: Link::default(),
            place: 0,
        };
        let entries = state.log.iter().map(|entry| (entry.service.clone(), logged(entry)));
        self.catalog.restore_log(state.compacted, entries);
        Ok(())
    }
}

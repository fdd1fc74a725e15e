//! What operators do, without a lease: lay something over an instance, or take it out.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use smol_str::SmolStr;

use super::Registry;
use crate::error::{LimitReached, OperatorError};
use crate::event::{Caller, Cause, EventKind};
use crate::fault::Fault;
use crate::instance::{InstanceError, Patch};
use crate::lease::LeaseError;
use crate::log::Listed;
use crate::name::{Key, Namespace};
use crate::packed::Instance;
use crate::time::{Instant, WallTime};

/// The longest block after an eviction.
pub const LONGEST_BLOCK: Duration = Duration::from_secs(24 * 3600);

/// What an operator laid over an instance: it lies over whatever is registered under the id, until it is cleared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Metadata keys with the value they show, or `None` for keys that do not show.
    pub metadata: BTreeMap<String, Option<String>>,
    /// Why.
    pub reason: SmolStr,
    /// Who.
    pub caller: Arc<Caller>,
    /// When it was last changed.
    pub time: WallTime,
    /// How the holder registered the instance, while there is one.
    pub(crate) base: Option<Instance>,
}

impl Overlay {
    pub(super) fn patch(&self) -> Patch {
        Patch { metadata: self.metadata.clone(), ..Patch::default() }
    }
}

/// An instance that may not register for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Until when.
    pub until: Instant,
    /// Why.
    pub reason: SmolStr,
}

/// The instances that may not register for a time.
pub(super) struct Blocks {
    by_key: BTreeMap<Key, BlockInfo>,
    by_time: BTreeSet<(Instant, Key)>,
    limit: usize,
}

impl Blocks {
    pub(super) const fn new(limit: usize) -> Self {
        Self { by_key: BTreeMap::new(), by_time: BTreeSet::new(), limit }
    }

    /// How long an instance is still blocked, and why. O(log n).
    pub(super) fn remaining(
        &self,
        namespace: &Namespace,
        instance: &Instance,
        now: Instant,
    ) -> Option<(Duration, SmolStr)> {
        if self.by_key.is_empty() {
            return None;
        }
        let key = Key::new(namespace.clone(), instance.service_name(), instance.instance_id());
        let block = self.by_key.get(&key).filter(|block| block.until > now)?;
        Some((block.until.saturating_since(now), block.reason.clone()))
    }

    fn check(&mut self, key: &Key, now: Instant) -> Result<(), LimitReached> {
        self.forget(now);
        let full = self.by_key.len() >= self.limit && !self.by_key.contains_key(key);
        if full { Err(LimitReached { limit: "blocks", value: self.limit }) } else { Ok(()) }
    }

    pub(super) fn insert(&mut self, key: Key, block: BlockInfo) {
        self.by_time.insert((block.until, key.clone()));
        if let Some(old) = self.by_key.insert(key.clone(), block.clone())
            && old.until != block.until
        {
            self.by_time.remove(&(old.until, key));
        }
    }

    /// What is over needs no room.
    fn forget(&mut self, now: Instant) {
        while self.by_time.first().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.by_time.pop_first() {
                self.by_key.remove(&key);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &BlockInfo)> {
        self.by_key.iter()
    }
}

impl Registry {
    /// Lays metadata over a registered instance, merged into what lies there already: weight, status, or any other
    /// key. It stays through renewals and new registrations of the id until it is cleared. Returns whether anything
    /// visible changed. O(size of the instance + watchers).
    ///
    /// # Errors
    /// If there is no such instance, or the result would break a limit; nothing was changed.
    pub fn overlay(
        &mut self,
        key: &Key,
        patch: &Patch,
        reason: SmolStr,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<bool, OperatorError> {
        self.advance(now);
        if patch.version.is_some() || patch.endpoints.is_some() {
            return Err(OperatorError::MetadataOnly);
        }
        let entry = self.find(key).ok_or(OperatorError::NotFound)?;
        let old = self.overlays.get(key);
        let limit = self.config.limits.overlays;
        if old.is_none() && self.overlays.len() >= limit {
            return Err(OperatorError::Limit(LimitReached { limit: "overlays", value: limit }));
        }
        let mut metadata = old.map(|old| old.metadata.clone()).unwrap_or_default();
        metadata.extend(patch.metadata.iter().map(|(key, value)| (key.clone(), value.clone())));
        let base = self.base(entry).clone();
        let overlay = Overlay {
            metadata,
            reason: reason.clone(),
            caller: Arc::clone(caller),
            time: self.wall(),
            base: Some(base),
        };
        self.lay_over(entry, key, Some(overlay), Cause::Overlaid, caller).inspect(|&changed| {
            if changed {
                let subject = self.subject(entry);
                self.emit(EventKind::Overlaid { subject, reason }, Some(caller));
            }
        })
    }

    /// Takes off what lies over an instance: some metadata keys, or everything. Returns whether anything visible
    /// changed. O(size of the instance + watchers).
    ///
    /// # Errors
    /// If nothing lies over it, or what is under it would break a limit; nothing was changed.
    pub fn clear_overlay(
        &mut self,
        key: &Key,
        only: Option<&[String]>,
        reason: SmolStr,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<bool, OperatorError> {
        self.advance(now);
        let mut overlay = self.overlays.get(key).cloned().ok_or(OperatorError::NotFound)?;
        match only {
            Some(only) => overlay.metadata.retain(|key, _| !only.contains(key)),
            None => overlay.metadata.clear(),
        }
        let left = (!overlay.metadata.is_empty()).then_some(overlay);
        let Some(entry) = self.find(key) else {
            match left {
                Some(overlay) => drop(self.overlays.insert(key.clone(), overlay)),
                None => drop(self.overlays.remove(key)),
            }
            return Ok(false);
        };
        self.lay_over(entry, key, left, Cause::OverlayCleared, caller).inspect(|&changed| {
            if changed {
                let subject = self.subject(entry);
                self.emit(EventKind::OverlayCleared { subject, reason }, Some(caller));
            }
        })
    }

    fn lay_over(
        &mut self,
        entry: u32,
        key: &Key,
        overlay: Option<Overlay>,
        cause: Cause,
        caller: &Arc<Caller>,
    ) -> Result<bool, OperatorError> {
        let base = self.base(entry);
        let instance = match &overlay {
            Some(overlay) => base.patched(&overlay.patch(), &self.config.limits.instance)?,
            None => base.clone(),
        };
        let before = self.catalog.listed(entry);
        let listed = Listed { instance, ttl_ms: before.ttl_ms };
        self.check_bytes(listed.size(), before.size()).map_err(OperatorError::Limit)?;
        match overlay {
            Some(overlay) => drop(self.overlays.insert(key.clone(), overlay)),
            None => drop(self.overlays.remove(key)),
        }
        Ok(self.show(entry, listed, cause, caller))
    }

    /// Takes an instance out, and if asked keeps its id from registering for a time. The holder learns it at its next
    /// call. Returns whether an instance went. O(watchers).
    ///
    /// # Errors
    /// If there is no such instance and nothing to block, or too much is blocked; nothing was changed.
    pub fn evict(
        &mut self,
        key: &Key,
        reason: SmolStr,
        block_for: Option<Duration>,
        caller: &Arc<Caller>,
        now: Instant,
    ) -> Result<bool, OperatorError> {
        let now = self.advance(now);
        let entry = self.find(key);
        if entry.is_none() && block_for.is_none() {
            return Err(OperatorError::NotFound);
        }
        if let Some(given) = block_for {
            if given > LONGEST_BLOCK {
                return Err(OperatorError::BlockTooLong { given, limit: LONGEST_BLOCK });
            }
            self.blocks.check(key, now).map_err(OperatorError::Limit)?;
        }
        if let Some(span) = block_for.filter(|_| !self.config.faults.has(Fault::BlockForgotten)) {
            let block = BlockInfo { until: now.saturating_add(span), reason: reason.clone() };
            self.blocks.insert(key.clone(), block);
        }
        if let Some(entry) = entry {
            let subject = self.subject(entry);
            self.take_out(entry, LeaseError::Evicted, Cause::Evicted, Some(caller));
            self.emit(EventKind::Evicted { subject, reason }, Some(caller));
        }
        Ok(entry.is_some())
    }

    /// What lies over instances, registered or not, ordered by key.
    pub fn overlays(&self) -> impl Iterator<Item = (&Key, &Overlay)> {
        self.overlays.iter()
    }

    /// The instances that may not register for a time, ordered by key.
    pub fn blocks(&self) -> Vec<(&Key, &BlockInfo)> {
        self.blocks.iter().filter(|(_, block)| block.until > self.now).collect()
    }

    fn find(&self, key: &Key) -> Option<u32> {
        self.catalog.find(&key.namespace, &key.service, &key.id)
    }

    fn key_of(&self, entry: u32) -> Key {
        let service = self.catalog.service_key(entry);
        let id = self.catalog.listed(entry).instance.instance_id();
        Key::new(service.namespace.clone(), service.service.clone(), id)
    }

    pub(super) fn overlay_of(&self, entry: u32) -> Option<&Overlay> {
        if self.overlays.is_empty() { None } else { self.overlays.get(&self.key_of(entry)) }
    }

    pub(super) fn overlay_of_mut(&mut self, entry: u32) -> Option<&mut Overlay> {
        if self.overlays.is_empty() {
            return None;
        }
        let key = self.key_of(entry);
        self.overlays.get_mut(&key)
    }

    /// How the holder registered the instance.
    pub(super) fn base(&self, entry: u32) -> &Instance {
        let overlay = self.overlay_of(entry).and_then(|overlay| overlay.base.as_ref());
        overlay.unwrap_or_else(|| &self.catalog.listed(entry).instance)
    }

    pub(super) fn remember_base(&mut self, entry: u32, base: Option<Instance>) {
        if let Some(base) = base
            && let Some(overlay) = self.overlay_of_mut(entry)
        {
            overlay.base = Some(base);
        }
    }

    /// How a registration will be listed: under whatever lies over its id. If something does, also what lies under it.
    pub(super) fn overlaid(
        &self,
        namespace: &Namespace,
        instance: Instance,
        ttl: Duration,
    ) -> Result<(Listed, Option<Instance>), InstanceError> {
        let ttl_ms = u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX);
        if self.overlays.is_empty() || self.config.faults.has(Fault::OverlayLost) {
            return Ok((Listed { instance, ttl_ms }, None));
        }
        let key = Key::new(namespace.clone(), instance.service_name(), instance.instance_id());
        match self.overlays.get(&key) {
            Some(overlay) => {
                let shown = instance.patched(&overlay.patch(), &self.config.limits.instance)?;
                Ok((Listed { instance: shown, ttl_ms }, Some(instance)))
            }
            None => Ok((Listed { instance, ttl_ms }, None)),
        }
    }
}

//! From a list to the addresses that are to be called.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use crate::balance::subset::rendezvous;
use crate::client::{Backoff, Provenance};
use crate::dial::slot::{Phase, Slot};
use crate::dial::{Address, Dial, EmptyPolicy, Listed};
use crate::fault::{Fault, Faults};
use crate::instance::Status;
use crate::packed::Instance;

/// An instance that is listed.
#[derive(Clone, Debug)]
pub(super) struct Known {
    instance: Instance,
    /// Where it is dialled, if it can be.
    address: Option<Address>,
    /// Whether it takes calls, as far as it says.
    calls: bool,
}

impl Known {
    fn new(instance: &Instance, scheme: &str, faults: Faults) -> Self {
        let plain = instance.decode();
        let poisoned = faults.has(Fault::DialPoisoned) && plain.endpoints.iter().any(|e| e.parts().is_err());
        Self {
            address: Address::choose(&plain.endpoints, scheme).filter(|_| !poisoned),
            calls: plain.status() == Status::Up && plain.weight() != Some(0),
            instance: instance.clone(),
        }
    }
}

impl Dial {
    pub(super) fn on_listing(&mut self, instances: &[Instance], provenance: Provenance) {
        if provenance == Provenance::Unknown {
            return;
        }
        self.take_note(instances, matches!(provenance, Provenance::Stale { .. }));
        self.changed = true;
        let wanted = self.wanted();
        let none = if self.known.is_empty() { Listed::Empty } else { Listed::NoEndpoint };
        self.listed = match (provenance, self.listed) {
            _ if !wanted.is_empty() => Listed::Some,
            (Provenance::Live, _) => none,
            // A registry that warms up may not have heard yet of those whom nobody has heard of here. Those who were
            // there and are not listed any more have left.
            (Provenance::Unconfirmed, before) if before != Listed::Nothing => none,
            // An outage unsays nothing, and proves nothing.
            (_, before) => before,
        };
        match self.config.empty {
            EmptyPolicy::KeepLast(span) if wanted.is_empty() && !self.slots.is_empty() => {
                let until = self.kept.unwrap_or_else(|| self.now.saturating_add(span));
                self.kept = (!self.config.faults.has(Fault::DialKeepsForever)).then_some(until);
                if until <= self.now {
                    self.on_kept_long_enough();
                }
            }
            _ => {
                self.kept = None;
                self.aim(wanted);
            }
        }
    }

    /// Those who were there last have been kept long enough.
    pub(super) fn on_kept_long_enough(&mut self) {
        self.kept = None;
        self.aim(BTreeMap::new());
    }

    /// Takes note of who is listed.
    fn take_note(&mut self, instances: &[Instance], stale: bool) {
        let mut before = core::mem::take(&mut self.known);
        for instance in instances {
            let known = match before.remove(instance.id()) {
                Some(known) if known.instance == *instance => known,
                _ => Known::new(instance, &self.config.scheme, self.config.faults),
            };
            self.known.insert(instance.id().into(), known);
        }
        if stale && !self.config.faults.has(Fault::DialStaleEmpties) {
            self.known.append(&mut before);
        }
    }

    /// The addresses that are to be called, each with the first instance that has it; one that takes calls goes before
    /// one that does not.
    fn wanted(&self) -> BTreeMap<Address, Instance> {
        let mut wanted: BTreeMap<&Address, &Known> = BTreeMap::new();
        for known in self.known.values() {
            let Some(address) = &known.address else { continue };
            match wanted.entry(address) {
                Entry::Vacant(place) => drop(place.insert(known)),
                Entry::Occupied(mut place) if known.calls && !place.get().calls => drop(place.insert(known)),
                Entry::Occupied(_) => {}
            }
        }
        let (mut chosen, others): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(_, known)| known.calls);
        if self.config.subset > 0 {
            let choose =
                |all, size| rendezvous(&self.key, all, size, |(_, known): &(&Address, &Known)| known.instance.id());
            chosen = choose(chosen, self.config.subset);
            let places = self.config.subset.saturating_sub(chosen.len());
            chosen.extend((places > 0).then(|| choose(others, places)).into_iter().flatten());
        } else {
            chosen.extend(others);
        }
        chosen.into_iter().map(|(address, known)| (address.clone(), known.instance.clone())).collect()
    }

    /// From now on these addresses are to be called.
    fn aim(&mut self, mut wanted: BTreeMap<Address, Instance>) {
        let before_empty = self.slots.is_empty();
        let reconnects = self.config.faults.has(Fault::DialReconnects);
        let goes = |(address, slot): &(&Address, &Slot)| {
            wanted.get(*address).is_none_or(|instance| reconnects && *instance != slot.instance)
        };
        let gone: Vec<Address> = self.slots.iter().filter(goes).map(|(address, _)| address.clone()).collect();
        for address in gone {
            self.leave(&address);
        }
        let soon = self.now.saturating_add(Backoff::BASE);
        let mut hurried = Vec::new();
        for (address, slot) in &mut self.slots {
            let Some(instance) = wanted.remove(address) else { continue };
            if slot.instance == instance {
                continue;
            }
            slot.instance = instance;
            self.changed = true;
            // Whoever changes is alive.
            if matches!(slot.phase, Phase::Waiting { until } if until > soon) {
                hurried.push(address.clone());
            }
        }
        for address in hurried {
            self.enter(&address, Phase::Waiting { until: soon });
        }
        if before_empty && !wanted.is_empty() && !self.config.gather.is_zero() {
            self.gathering = Some(self.now.saturating_add(self.config.gather));
        }
        for (address, instance) in wanted {
            self.join(&address, instance);
        }
    }
}

//! The fleet as it is known: instances by service, with their numbers.

use periplus_core::ordered::sorted::SortedMap;
use std::cell::OnceCell;

use periplus_core::{Change, Instance, ServiceInstance, Status};
use smol_str::SmolStr;

use crate::Millis;

/// Numbers of instances by status, in the order of [`Status::ALL`].
pub type Counts = [usize; 4];

/// All instances of a namespace.
#[derive(Debug, Default)]
pub struct Fleet {
    services: SortedMap<SmolStr, Service>,
    counts: Counts,
    version: u64,
}

/// A service that has, or had lately, instances.
#[derive(Debug, Default)]
pub struct Service {
    instances: SortedMap<SmolStr, Row>,
    counts: Counts,
    /// When it changed last, as far as was seen.
    pub changed: Option<Millis>,
}

/// An instance.
#[derive(Debug)]
pub struct Row {
    /// As it came.
    pub packed: Instance,
    /// When it changed last, as far as was seen.
    pub changed: Option<Millis>,
    decoded: OnceCell<ServiceInstance>,
}

/// An instance by its service and id.
pub type Place = (SmolStr, SmolStr);

impl Row {
    /// All that it says of itself. Unpacked when it is first asked for.
    #[must_use]
    pub fn instance(&self) -> &ServiceInstance {
        self.decoded.get_or_init(|| self.packed.decode())
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.packed.status()
    }
}

impl Service {
    /// Its instances by id.
    pub fn instances(&self) -> impl Iterator<Item = (&SmolStr, &Row)> {
        self.instances.iter()
    }

    /// The instance of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Row> {
        self.instances.get(id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.instances.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty()
    }

    /// How many there are of each status.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How bad it is with it.
    #[must_use]
    pub const fn health(&self) -> Health {
        Health::of(self.counts)
    }
}

/// How bad it is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Nobody takes calls.
    Dead,
    /// Some are down.
    Hurt,
    /// Some come or go.
    Moving,
    /// All take calls.
    Well,
}

impl Health {
    /// That of so many instances.
    #[must_use]
    pub const fn of([starting, up, draining, down]: Counts) -> Self {
        if up == 0 {
            Self::Dead
        } else if down > 0 {
            Self::Hurt
        } else if starting + draining > 0 {
            Self::Moving
        } else {
            Self::Well
        }
    }
}

impl Fleet {
    /// Takes a change. `at` is when, unless it is how things were when one began to look. O(log n).
    pub fn apply(&mut self, change: &Change, at: Option<Millis>) {
        self.version += 1;
        let Some(shown) = change.after().or_else(|| change.before()) else { return };
        let service = self.services.entry(shown.service().into()).or_default();
        service.changed = at.or(service.changed);
        let row = change.after().map(|packed| Row { packed: packed.clone(), changed: at, decoded: OnceCell::new() });
        if let Some(row) = &row {
            let status = row.status() as usize;
            service.counts[status] += 1;
            self.counts[status] += 1;
        }
        let before = match row {
            Some(row) => service.instances.insert(shown.id().into(), row),
            None => service.instances.remove(shown.id()),
        };
        if let Some(before) = before {
            let status = before.status() as usize;
            service.counts[status] -= 1;
            self.counts[status] -= 1;
        }
        // A service whose last instance has just gone stays: that it is empty is worth seeing.
        if service.instances.is_empty() && at.is_none() {
            self.services.remove(shown.service());
        }
    }

    /// Forgets services that have been empty for a while. Says whether there were any.
    pub fn forget_empty(&mut self, before: Millis) -> bool {
        let count = self.services.len();
        self.services.retain(|_, service| !service.is_empty() || service.changed.is_some_and(|at| at > before));
        let forgot = self.services.len() < count;
        self.version += u64::from(forgot);
        forgot
    }

    /// The services by name.
    pub fn services(&self) -> impl ExactSizeIterator<Item = (&SmolStr, &Service)> {
        self.services.iter()
    }

    /// The service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.get(name)
    }

    /// The instance there.
    #[must_use]
    pub fn get(&self, service: &str, id: &str) -> Option<&Row> {
        self.services.get(service)?.instances.get(id)
    }

    /// All instances, by service and id.
    pub fn rows(&self) -> impl Iterator<Item = (&SmolStr, &SmolStr, &Row)> {
        self.services.iter().flat_map(|(name, service)| service.instances().map(move |(id, row)| (name, id, row)))
    }

    /// How many instances there are of each status.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How many instances there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rises with every change.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::instance;

    fn count(fleet: &Fleet) -> Counts {
        let mut counts = [0; 4];
        fleet.rows().for_each(|(_, _, row)| counts[row.status() as usize] += 1);
        counts
    }

    #[test]
    fn the_numbers_are_those_of_the_instances() {
        let mut fleet = Fleet::default();
        let (a, b) = (instance("web", "a", "up"), instance("web", "b", "draining"));
        let down = instance("web", "a", "down");
        for change in [
            Change::Insert(a.clone()),
            Change::Insert(b.clone()),
            Change::Update { before: a, after: down.clone() },
            Change::Remove(b),
        ] {
            fleet.apply(&change, Some(1));
            assert_eq!(fleet.counts(), count(&fleet));
            assert_eq!(fleet.service("web").map(Service::counts), Some(fleet.counts()));
        }
        assert_eq!(fleet.counts(), [0, 0, 0, 1]);
        fleet.apply(&Change::Remove(down), Some(5));
        assert!(fleet.is_empty());
    }

    #[test]
    fn a_service_that_lost_its_last_instance_is_shown_for_a_while() {
        let mut fleet = Fleet::default();
        let only = instance("web", "a", "up");
        fleet.apply(&Change::Insert(only.clone()), None);
        fleet.apply(&Change::Remove(only), Some(1_000));
        assert_eq!(fleet.service("web").map(Service::health), Some(Health::Dead));
        assert!(!fleet.forget_empty(999));
        assert!(fleet.forget_empty(1_000));
        assert!(fleet.service("web").is_none());
    }

    #[test]
    fn the_worst_comes_first() {
        let all = [[0, 0, 0, 0], [1, 0, 1, 0], [0, 3, 0, 1], [1, 3, 0, 0], [0, 3, 0, 0]].map(Health::of);
        assert_eq!(all, [Health::Dead, Health::Dead, Health::Hurt, Health::Moving, Health::Well]);
    }
}

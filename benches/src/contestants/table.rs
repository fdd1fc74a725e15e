//! Instances by service and id, without a thought about time: the part that three of the hand-written contestants
//! share.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::hint::black_box;
use std::sync::Arc;

use super::journal::Journal;
use super::{KeyLease, Request};

/// Which instance: its service and its id.
pub(super) type Key = (Arc<str>, Arc<str>);

/// An instance, its lease's secret, and what its contestant knows of its deadline.
#[derive(Debug)]
pub(super) struct Instance<D> {
    pub(super) content: Arc<[u8]>,
    pub(super) token: u128,
    pub(super) deadline: D,
}

/// One service: its instances by id, and the numbers of those who watch it.
#[derive(Debug)]
pub(super) struct Service<D> {
    pub(super) name: Arc<str>,
    pub(super) instances: HashMap<Arc<str>, Instance<D>>,
    pub(super) watchers: Vec<usize>,
}

impl<D> Service<D> {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), instances: HashMap::new(), watchers: Vec::new() }
    }

    /// Puts an instance under a new secret. Returns the secret and the deadline of the instance it replaces.
    pub(super) fn put(
        &mut self,
        request: &Request,
        journal: &mut Journal,
        deadline: impl FnOnce(&Arc<str>, &Arc<str>) -> D,
    ) -> (u128, Option<D>) {
        let token = rand::random();
        let place = self.instances.entry(request.id.as_str().into());
        let (name, id, content) = (&self.name, Arc::clone(place.key()), Arc::clone(&request.content));
        let instance = Instance { content, token, deadline: deadline(name, &id) };
        let replaced = match place {
            Place::Vacant(place) => {
                place.insert(instance);
                None
            }
            Place::Occupied(mut place) => Some(place.insert(instance).deadline),
        };
        journal.record(&self.watchers, name, &id, Some(&request.content));
        (token, replaced)
    }

    /// Gives the instance of a lease another content.
    pub(super) fn change(&mut self, lease: &KeyLease, request: &Request, journal: &mut Journal) -> bool {
        let Some(instance) = self.instances.get_mut(&*lease.id) else {
            return false;
        };
        if instance.token != lease.token {
            return false;
        }
        instance.content = Arc::clone(&request.content);
        let (id, _) = self.instances.get_key_value(&*lease.id).expect("it was there");
        journal.record(&self.watchers, &self.name, id, Some(&request.content));
        true
    }

    /// Hands over all its instances, and says how many they are.
    pub(super) fn hand_over(&self) -> usize {
        for (id, instance) in &self.instances {
            black_box((id, &instance.content));
        }
        self.instances.len()
    }
}

/// All services and their changes.
#[derive(Debug)]
pub(super) struct Table<D> {
    services: HashMap<Arc<str>, Service<D>>,
    journal: Journal,
}

impl<D> Table<D> {
    pub(super) fn new() -> Self {
        Self { services: HashMap::new(), journal: Journal::default() }
    }

    fn service(&mut self, name: &str) -> &mut Service<D> {
        if !self.services.contains_key(name) {
            let service = Service::new(name);
            self.services.insert(Arc::clone(&service.name), service);
        }
        self.services.get_mut(name).expect("it is there")
    }

    /// Puts an instance under a new secret. Returns the secret and the deadline of the instance it replaces.
    pub(super) fn put(
        &mut self,
        request: &Request,
        deadline: impl FnOnce(&Arc<str>, &Arc<str>) -> D,
    ) -> (u128, Option<D>) {
        let service = match self.services.get_mut(request.service.as_str()) {
            Some(service) => service,
            None => {
                self.services.entry(request.service.as_str().into()).or_insert_with(|| Service::new(&request.service))
            }
        };
        service.put(request, &mut self.journal, deadline)
    }

    /// The instance of a lease, if its secret is right.
    pub(super) fn find(&mut self, lease: &KeyLease) -> Option<&mut Instance<D>> {
        let instance = self.services.get_mut(&*lease.service)?.instances.get_mut(&*lease.id)?;
        (instance.token == lease.token).then_some(instance)
    }

    /// The instance of a key.
    pub(super) fn get(&self, (service, id): &Key) -> Option<&Instance<D>> {
        self.services.get(service)?.instances.get(id)
    }

    pub(super) fn change(&mut self, lease: &KeyLease, request: &Request) -> bool {
        let service = self.services.get_mut(&*lease.service);
        service.is_some_and(|service| service.change(lease, request, &mut self.journal))
    }

    /// Takes an instance out, if it is there.
    pub(super) fn remove(&mut self, (name, id): &Key) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        if service.instances.remove(id).is_some() {
            self.journal.record(&service.watchers, name, id, None);
            if service.instances.is_empty() && service.watchers.is_empty() {
                self.services.remove(name);
            }
        }
    }

    pub(super) fn watch(&mut self, name: &str) {
        let name = Arc::clone(&self.service(name).name);
        let number = self.journal.watch(Arc::clone(&name));
        self.service(&name).watchers.push(number);
    }

    pub(super) fn deliver(&mut self) -> usize {
        self.journal.deliver(|service| self.services.get(service).map_or(0, Service::hand_over))
    }

    pub(super) fn list(&self, service: &str) -> usize {
        self.services.get(service).map_or(0, Service::hand_over)
    }
}

//! A concurrent map of services with deadlines beside the instances: now and then somebody looks at every one of them.

use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use dashmap::DashMap;

use super::journal::Journal;
use super::table::Service;
use super::{Contestant, KeyLease, Request};
use crate::fleet::{Entry, Micros, TTL};

/// `DashMap` + sweep.
#[derive(Debug)]
pub struct DashSweep {
    services: DashMap<Arc<str>, Service<Micros>>,
    journal: Mutex<Journal>,
}

impl Contestant for DashSweep {
    const NAME: &'static str = "DashMap + sweep";
    type Prepared = Request;
    type Edit = Request;
    type Granted = u128;
    type Lease = KeyLease;

    fn new() -> Self {
        Self { services: DashMap::new(), journal: Mutex::default() }
    }

    fn prepare(entry: &Entry) -> Request {
        Request::new(entry)
    }

    fn edit(entry: &Entry) -> Request {
        Request::new(entry)
    }

    fn register(&mut self, request: &Request, now: Micros) -> u128 {
        let name = request.service.as_str();
        let mut service = match self.services.get_mut(name) {
            Some(service) => service,
            None => self.services.entry(name.into()).or_insert_with(|| Service::new(name)),
        };
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        service.put(request, &mut journal, |_, _| now + TTL).0
    }

    fn lease(entry: &Entry, token: &u128) -> KeyLease {
        KeyLease::new(entry, *token)
    }

    fn renew(&mut self, lease: &KeyLease, now: Micros) -> bool {
        let Some(mut service) = self.services.get_mut(&*lease.service) else {
            return false;
        };
        match service.instances.get_mut(&*lease.id) {
            Some(instance) if instance.token == lease.token => instance.deadline = now + TTL,
            _ => return false,
        }
        true
    }

    fn change(&mut self, lease: &KeyLease, request: &Request, _now: Micros) -> bool {
        let Some(mut service) = self.services.get_mut(&*lease.service) else {
            return false;
        };
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        service.change(lease, request, &mut journal)
    }

    fn expire(&mut self, now: Micros) {
        self.services.retain(|_, service| {
            let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            let Service { name, instances, watchers } = service;
            instances.retain(|id, instance| {
                let stays = instance.deadline > now;
                if !stays {
                    journal.record(watchers, name, id, None);
                }
                stays
            });
            !instances.is_empty() || !watchers.is_empty()
        });
    }

    fn watch(&mut self, service: &str, _now: Micros) {
        let mut service = self.services.entry(service.into()).or_insert_with(|| Service::new(service));
        let name = Arc::clone(&service.name);
        let number = self.journal.lock().unwrap_or_else(PoisonError::into_inner).watch(name);
        service.watchers.push(number);
    }

    fn deliver(&mut self) -> usize {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        journal.deliver(|service| self.list(service))
    }

    fn idle(&mut self, now: Micros) {
        for service in &self.services {
            black_box(service.instances.values().filter(|instance| instance.deadline <= now).count());
        }
    }

    fn list(&self, service: &str) -> usize {
        self.services.get(service).map_or(0, |service| service.hand_over())
    }
}

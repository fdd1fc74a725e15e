//! Operations on whichever store it is.

use periplus_core::backend::consul::desk as consul;
use periplus_core::backend::desk::{Change, Result, Wanted};
use periplus_core::backend::etcd::desk as etcd;
use periplus_core::http::{Head, Request};
use periplus_core::registry::Incarnation;
use periplus_core::{Key, Lease};

/// Operations on a store.
pub(super) enum Desk {
    Etcd(etcd::Desk),
    Consul(consul::Desk),
}

/// One operation on it.
pub(super) enum Operation {
    Etcd(etcd::Operation),
    Consul(consul::Operation),
}

impl Desk {
    pub(super) fn register(&self, wanted: Wanted, drawn: u64) -> Result<Operation> {
        match self {
            Self::Etcd(desk) => desk.register(wanted, drawn).map(Operation::Etcd),
            Self::Consul(desk) => desk.register(wanted).map(Operation::Consul),
        }
    }

    pub(super) fn update(&self, key: &Key, lease: Lease, change: Change) -> Operation {
        match self {
            Self::Etcd(desk) => Operation::Etcd(desk.update(key, lease, change)),
            Self::Consul(desk) => Operation::Consul(desk.update(key, lease, change)),
        }
    }

    pub(super) fn renew(&self, leases: Vec<(Lease, Option<Key>)>) -> Operation {
        match self {
            Self::Etcd(desk) => Operation::Etcd(desk.renew(leases)),
            Self::Consul(desk) => Operation::Consul(desk.renew(leases)),
        }
    }

    pub(super) fn deregister(&self, key: &Key, lease: &Lease) -> Result<Operation> {
        match self {
            Self::Etcd(desk) => desk.deregister(key, lease).map(Operation::Etcd),
            Self::Consul(desk) => desk.deregister(key, lease).map(Operation::Consul),
        }
    }

    /// Ends what a holder registered that never heard of it. Consul knows no holders: whatever is there goes.
    pub(super) fn abandon(&self, key: &Key, incarnation: Incarnation) -> Operation {
        match self {
            Self::Etcd(desk) => Operation::Etcd(desk.abandon(key, incarnation)),
            Self::Consul(desk) => Operation::Consul(desk.evict(key)),
        }
    }

    pub(super) fn evict(&self, key: &Key) -> Operation {
        match self {
            Self::Etcd(desk) => Operation::Etcd(desk.evict(key)),
            Self::Consul(desk) => Operation::Consul(desk.evict(key)),
        }
    }

    pub(super) fn mark(&self, key: &Key) -> u64 {
        match self {
            Self::Etcd(desk) => desk.mark(key),
            Self::Consul(desk) => desk.mark(key),
        }
    }

    /// The mark of the key that a lease is of, if there is anything at it.
    pub(super) fn mark_of(&self, lease: &Lease) -> Option<u64> {
        match self {
            Self::Etcd(_) => etcd::Desk::mark_of(lease),
            Self::Consul(_) => Some(consul::Desk::mark_of(lease)),
        }
    }

    pub(super) fn request(&self, operation: &mut Operation) -> Option<Request> {
        match (self, operation) {
            (Self::Etcd(desk), Operation::Etcd(operation)) => Some(desk.request(operation)),
            (Self::Consul(desk), Operation::Consul(operation)) => Some(desk.request(operation)),
            _ => None,
        }
    }

    /// Takes an answer, or why there is none. `None`: there is another request to be sent.
    pub(super) fn take(
        &mut self,
        operation: &mut Operation,
        answer: std::result::Result<(Head, Vec<u8>), String>,
    ) -> Option<Result> {
        match (self, operation, answer) {
            (Self::Etcd(desk), Operation::Etcd(operation), Ok((head, body))) => desk.on_answer(operation, &head, &body),
            (Self::Etcd(desk), Operation::Etcd(operation), Err(reason)) => desk.on_failure(operation, &reason),
            (Self::Consul(desk), Operation::Consul(operation), Ok((head, body))) => {
                desk.on_answer(operation, &head, &body)
            }
            (Self::Consul(desk), Operation::Consul(operation), Err(reason)) => desk.on_failure(operation, &reason),
            _ => None,
        }
    }
}

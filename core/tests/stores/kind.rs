//! Which stores there are, and what can be asked of each.

use std::fmt;
use std::time::Duration;

use periplus_core::backend::Native;
use periplus_core::client::{Backend, ClientConfig};
use periplus_core::fault::Faults;
use periplus_core::http::Request;
use periplus_core::{InstanceId, Instant, Namespace, Selector, ServiceInstance, ServiceKey, ServiceName};

use super::past::Set;
use super::plan::{PREFIXES, SERVICES};
use super::random::Random;
use super::store::Store;

/// What a client is made of.
pub struct Setup {
    /// `http://s0:PORT` and so on: the addresses of one store.
    pub origins: Vec<String>,
    pub seed: [u8; 32],
    pub now: Instant,
    pub in_flight: usize,
    pub linger: Duration,
    pub remember: bool,
    /// What it remembers of an earlier life.
    pub cache: Option<Vec<u8>>,
    pub faults: Faults,
}

impl Setup {
    pub fn config(&self) -> ClientConfig {
        ClientConfig {
            origins: self.origins.clone(),
            in_flight: self.in_flight,
            linger: self.linger,
            remember: self.remember,
            faults: self.faults,
            ..ClientConfig::default()
        }
    }
}

/// A kind of store: how it and its clients are made, and which laws hold.
pub struct Kind {
    pub name: &'static str,
    /// How many addresses a client may be given.
    pub endpoints: usize,
    /// Each address is a server of its own, there are two datacenters, and a token may lose its rights.
    pub wide: bool,
    pub client: fn(Setup) -> Box<dyn Backend>,
    pub store: fn([u8; 32], Instant) -> Box<dyn Store>,
    /// Whether a request is for reading.
    pub is_read: fn(&Request) -> bool,
    /// Takes out of an instance what does not survive the way through this store, such as the order of endpoints.
    pub normal: fn(&mut ServiceInstance),
    pub laws: Laws,
}

/// What holds.
pub struct Laws {
    /// Whoever registers a live id takes it, and whoever held it cannot act for it any more (R1, R7).
    pub fences: bool,
    /// Prefixes can be followed.
    pub prefixes: bool,
    /// It has entries of others, and such as are none.
    pub foreign: bool,
    /// How long it takes until a watch that has gone silent is noticed.
    pub silence: Duration,
    /// How long a client keeps what a store that has lost its memory does not list.
    pub warm_up: Duration,
    /// The most requests a minute that follow one selector while nothing happens.
    pub polls: u64,
    /// The most requests that keep one registration for a third of its ttl.
    pub renewals: u64,
    /// Whoever is told of a change is told all there is of its service.
    pub lists: bool,
    /// An empty body is a yes: a proxy that says it without the store cannot be told apart.
    pub blank_is_yes: bool,
    /// How long something given up may come back, if its requests were late (R13).
    pub zombie: Duration,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Kind {
    /// The selector of this number: a service, or a prefix where there are prefixes.
    pub fn selector(&self, what: usize) -> Selector {
        let namespace = Namespace::default();
        match PREFIXES.get(what.wrapping_sub(SERVICES.len())) {
            Some(prefix) if self.laws.prefixes => Selector::Prefix { namespace, prefix: (*prefix).into() },
            _ => Selector::Service(ServiceKey::new(namespace, service(what % SERVICES.len()))),
        }
    }

    pub fn draw_selector(&self, r: &mut Random) -> usize {
        r.index(SERVICES.len() + if self.laws.prefixes { PREFIXES.len() } else { 0 })
    }

    /// How many parts a service has that are told apart from each other: what is in each datacenter.
    pub const fn parts(&self) -> usize {
        1 + self.wide as usize
    }

    /// What is in one of them of a set.
    pub fn part(&self, set: &Set, nth: usize) -> Set {
        let of = set.iter().filter(|(id, _)| !self.wide || usize::from(is_western(id)) == nth);
        of.map(|(id, instance)| (id.clone(), instance.clone())).collect()
    }

    pub fn normalized(&self, mut instance: ServiceInstance) -> ServiceInstance {
        (self.normal)(&mut instance);
        instance
    }
}

/// Where there are two datacenters, what clients register is in one, and what others put there in the other.
pub fn is_western(id: &InstanceId) -> bool {
    id.starts_with("foreign-") || id.starts_with("garbage-")
}

pub fn service(at: usize) -> ServiceName {
    ServiceName::new(SERVICES[at]).expect("a name")
}

/// A registry of our own, spoken to as to any other: the world's test of itself.
pub const NATIVE: Kind = Kind {
    name: "native",
    endpoints: 3,
    wide: false,
    client: |setup| {
        let mut native = Native::new(setup.config(), setup.seed, setup.now);
        if let Some(cache) = &setup.cache {
            native.restore(cache, setup.now).expect("what it kept itself");
        }
        Box::new(native)
    },
    store: |seed, now| Box::new(super::native::NativeStore::new(seed, now)),
    is_read: |request| request.streaming,
    normal: |_| {},
    laws: Laws {
        fences: true,
        prefixes: true,
        foreign: true,
        silence: Duration::from_secs(60),
        warm_up: Duration::from_secs(90),
        polls: 1,
        renewals: 1,
        lists: false,
        blank_is_yes: false,
        zombie: Duration::from_secs(62),
    },
};

/// Every kind.
pub const KINDS: &[&Kind] = &[&NATIVE, &super::consul::CONSUL, &super::consul::WIDE, &super::etcd::ETCD];

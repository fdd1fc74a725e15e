//! A registry of our own as a store: small, and known to be right. What the world finds with it is wrong in the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use periplus_core::http::Request;
use periplus_core::{
    Caller, Config, Epoch, Instance, InstanceLimits, Instant, Key, Namespace, Register, Registry, ServiceInstance,
    WallTime,
};

use super::server::{self, Server};
use super::store::{Act, ExchangeId, Part, Place, Reply, Store};

pub struct NativeStore {
    server: Server,
    seed: [u8; 32],
    boot: u8,
    /// Heads of streams that were opened.
    heads: Vec<(ExchangeId, Part)>,
}

impl NativeStore {
    pub fn new(seed: [u8; 32], now: Instant) -> Self {
        Self { server: fresh(seed, 0, now), seed, boot: 0, heads: Vec::new() }
    }

    fn seed(&mut self) -> [u8; 32] {
        self.boot += 1;
        let mut seed = self.seed;
        seed[0] ^= self.boot;
        seed
    }
}

fn config() -> Config {
    let mut config = Config { warm_up: Duration::from_secs(90), ..Config::default() };
    config.ttl.min = Duration::from_secs(1);
    config
}

fn fresh(seed: [u8; 32], boot: u8, now: Instant) -> Server {
    // The first has nothing to forget.
    let warm_up = if boot == 0 { Duration::ZERO } else { config().warm_up };
    Server::new(Config { warm_up, ..config() }, seed, Epoch(format!("e{boot}").into()), now)
}

impl Store for NativeStore {
    fn handle_request(&mut self, exchange: ExchangeId, request: &Request, now: Instant) -> Reply {
        match self.server.handle_request(exchange, request, now) {
            server::Reply::Whole(answer) => Reply::Whole(answer.head, answer.body),
            server::Reply::Stream(head, _) => {
                self.heads.push((exchange, Part::Head(head)));
                Reply::Held
            }
        }
    }

    fn handle_gone(&mut self, exchange: ExchangeId) {
        self.server.handle_gone(exchange);
    }

    fn act(&mut self, act: &Act, now: Instant) {
        match act {
            Act::Forget => {
                let seed = self.seed();
                self.server = fresh(seed, self.boot, now);
            }
            Act::Restart => {
                let (state, seed) = (self.server.registry.export(), self.seed());
                let registry = Registry::restore(config(), seed, &state, None, now, WallTime(0));
                self.server = Server::around(registry.expect("it was exported"));
            }
            Act::Revoke(namespace, service, id) | Act::Remove(namespace, service, id) => {
                let key = Key::new(namespace.clone(), service.clone(), id.clone());
                let _ = self.server.operate(now, |registry, who| registry.evict(&key, server::REASON, None, who, now));
            }
            Act::ForeignPut(namespace, instance) => {
                let instance = Instance::new(instance, &InstanceLimits::default()).expect("a small instance");
                let ttl = Some(Duration::from_secs(60));
                let register = Register { namespace: namespace.clone(), ttl, ..Register::new(instance) };
                let who = Arc::new(Caller::default());
                let _ = self.server.operate(now, |registry, _| registry.register(register, &who, now));
            }
            Act::Compact | Act::Garbage(..) | Act::Heal => {}
            _ => unreachable!("there is one server and nobody is denied anything"),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.server.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.server.poll_timeout()
    }

    fn poll_part(&mut self) -> Option<(ExchangeId, Part)> {
        drop(self.server.take_events());
        if !self.heads.is_empty() {
            return Some(self.heads.remove(0));
        }
        let (exchange, part) = self.server.poll_part()?;
        let part = match part {
            server::Part::Chunk(bytes) => Part::Chunk(bytes),
            server::Part::End => Part::End,
        };
        Some((exchange, part))
    }

    fn visible(&self, _now: Instant) -> BTreeMap<Place, ServiceInstance> {
        let (catalog, namespace) = (self.server.registry.catalog(), Namespace::default());
        let services = catalog.services(&namespace, "", "", usize::MAX);
        let found = services.iter().flat_map(|service| {
            let found = catalog.instances(&namespace, &service.key.service, "", usize::MAX);
            found.into_iter().map(|found| {
                let instance = found.listed.instance.decode();
                ((namespace.clone(), instance.name.clone(), instance.id.clone()), instance)
            })
        });
        found.collect()
    }

    fn holder(&self, place: &Place) -> Option<(String, Instant)> {
        let key = Key::new(place.0.clone(), place.1.clone(), place.2.clone());
        self.server.registry.instance(&key).map(|it| (it.generation.to_string(), it.deadline))
    }

    fn revision(&self) -> Option<u64> {
        Some(self.server.registry.cursor().revision.0)
    }
}

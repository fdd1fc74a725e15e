//! The registry in the process keeps the contract of all clients: two clients of one registry against a plain map.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use periplus_core::backend::memory::{Home, Hub, Memory};
use periplus_core::client::{
    Backend, ClientConfig, ClientEvent, CommandError, Loss, Provenance, Registration, RegistrationId,
    RegistrationState, SubscriptionId,
};
use periplus_core::{
    Epoch, Instance, InstanceId, Instant, Key, Namespace, Patch, Selector, ServiceInstance, ServiceKey, ServiceName,
};
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Hub>>);

impl Home for Shared {
    fn with<T>(&mut self, visit: impl FnOnce(&mut Hub) -> T) -> T {
        visit(&mut self.0.lock().unwrap())
    }
}

#[derive(Clone, Debug)]
enum Op {
    Register { client: usize, key: usize, version: u8, ttl: Option<u64> },
    Update { client: usize, key: usize, version: u8 },
    Deregister { client: usize, key: usize },
    Watch { client: usize, what: usize },
    Unwatch { at: usize },
    Look { at: usize },
    Suspend { client: usize, ends: bool },
    Evict { key: usize },
    Pass { millis: u64 },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let ttl = proptest::option::of(3_000u64..60_000);
    let op = prop_oneof![
        4 => (0..2usize, 0..6usize, 0..3u8, ttl)
            .prop_map(|(client, key, version, ttl)| Op::Register { client, key, version, ttl }),
        2 => (0..2usize, 0..6usize, 0..3u8).prop_map(|(client, key, version)| Op::Update { client, key, version }),
        2 => (0..2usize, 0..6usize).prop_map(|(client, key)| Op::Deregister { client, key }),
        2 => (0..2usize, 0..4usize).prop_map(|(client, what)| Op::Watch { client, what }),
        1 => (0..8usize).prop_map(|at| Op::Unwatch { at }),
        3 => (0..8usize).prop_map(|at| Op::Look { at }),
        2 => (0..2usize, any::<bool>()).prop_map(|(client, ends)| Op::Suspend { client, ends }),
        1 => (0..6usize).prop_map(|key| Op::Evict { key }),
        2 => (0..100_000u64).prop_map(|millis| Op::Pass { millis }),
    ];
    proptest::collection::vec(op, 1..60)
}

/// Two services of three instances; one's name is a prefix of the other's.
fn key(at: usize) -> Key {
    let service = if at < 3 { "web" } else { "web-admin" };
    let id = InstanceId::new(format!("i{at}")).unwrap();
    Key::new(Namespace::default(), ServiceName::new(service).unwrap(), id)
}

fn instance(at: usize, version: u8) -> ServiceInstance {
    let key = key(at);
    ServiceInstance::new(key.service, key.id).with_version(version.to_string())
}

fn selector(what: usize) -> Selector {
    let service =
        |name: &str| Selector::Service(ServiceKey::new(Namespace::default(), ServiceName::new(name).unwrap()));
    match what {
        0 => service("web"),
        1 => service("web-admin"),
        2 => Selector::Prefix { namespace: Namespace::default(), prefix: "web".into() },
        _ => Selector::all(Namespace::default()),
    }
}

struct Follower {
    client: usize,
    id: SubscriptionId,
    selector: Selector,
    /// What its holder knows from what it was told.
    told: BTreeMap<(String, String), Instance>,
}

struct World {
    hub: Arc<Mutex<Hub>>,
    clients: Vec<Memory<Shared>>,
    now: Instant,
    /// Who holds a key, under which registration, and what it looks like.
    model: BTreeMap<usize, (usize, RegistrationId, ServiceInstance)>,
    followers: Vec<Follower>,
    states: Vec<BTreeMap<RegistrationId, RegistrationState>>,
    superseded: Vec<(usize, RegistrationId)>,
    suspended: [bool; 2],
}

impl World {
    fn new() -> Self {
        let now = Instant::from_millis(5);
        let hub = Arc::new(Mutex::new(Hub::new([9; 32], Epoch("here".into()), now)));
        let client = |_| Memory::at(ClientConfig::default(), Shared(Arc::clone(&hub)), now);
        let clients = (0..2).map(client).collect();
        let states = vec![BTreeMap::new(); 2];
        let (model, followers, superseded) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { hub, clients, now, model, followers, states, superseded, suspended: [false; 2] }
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Register { client, key: at, version, ttl } => {
                let ttl = ttl.map(Duration::from_millis);
                let wanted = Registration { ttl, ..Registration::new(instance(at, version)) };
                let id = self.clients[client].register(&wanted, self.now).unwrap();
                if let Some((holder, held, _)) = self.model.insert(at, (client, id, wanted.instance)) {
                    if holder == client {
                        assert_eq!(held, id, "the same client keeps its registration");
                    } else {
                        self.superseded.push((holder, held));
                    }
                }
            }
            Op::Update { client, key: at, version } => {
                let Some((holder, id, wanted)) = self.model.get_mut(&at) else { return };
                let patch = Patch { version: Some(version.to_string().into()), ..Patch::new() };
                let updated = self.clients[client].update(*id, &patch, self.now);
                if *holder == client {
                    assert_eq!(updated, Ok(()));
                    wanted.apply(&patch);
                }
                // The ids of one client mean something else to another.
                else if updated.is_ok() {
                    let other = *id;
                    for (holder, id, wanted) in self.model.values_mut() {
                        if *holder == client && *id == other {
                            wanted.apply(&patch);
                        }
                    }
                }
            }
            Op::Deregister { client, key: at } => {
                if let Some((holder, id, _)) = self.model.get(&at).cloned()
                    && holder == client
                {
                    self.clients[client].deregister(id, self.now);
                    self.clients[client].deregister(id, self.now);
                    let state = self.clients[client].registration(id).unwrap().state;
                    assert_eq!(state, RegistrationState::Deregistered { confirmed: true });
                    self.model.remove(&at);
                }
            }
            Op::Watch { client, what } => {
                let selector = selector(what);
                let id = self.clients[client].watch(&selector, self.now).unwrap();
                self.followers.push(Follower { client, id, selector, told: BTreeMap::new() });
            }
            Op::Unwatch { at } => {
                if at < self.followers.len() {
                    let follower = self.followers.remove(at);
                    self.clients[follower.client].unwatch(follower.id, self.now);
                    self.clients[follower.client].unwatch(follower.id, self.now);
                    assert_eq!(self.clients[follower.client].poll_update(follower.id), None);
                    assert_eq!(self.clients[follower.client].view(follower.id), None);
                }
            }
            Op::Look { at } => self.look(at),
            Op::Suspend { client, ends } => {
                self.suspended[client] = !ends;
                match ends {
                    true => self.clients[client].resume(self.now),
                    false => self.clients[client].suspend(self.now),
                }
            }
            Op::Evict { key: at } => {
                let mut hub = self.hub.lock().unwrap();
                let evicted = hub.registry_mut().evict(&key(at), "".into(), None, &Arc::default(), self.now);
                drop(hub);
                assert_eq!(evicted.is_ok(), self.model.contains_key(&at));
                if let Some((client, id, _)) = self.model.get(&at).cloned() {
                    self.drain();
                    let state = self.clients[client].registration(id).unwrap().state;
                    assert_eq!(state, RegistrationState::Lost(Loss::Told("lease_evicted".into())));
                    self.clients[client].handle_online(self.now);
                }
            }
            Op::Pass { millis } => self.pass(Duration::from_millis(millis)),
        }
        self.drain();
        self.check();
    }

    /// Time passes, and each client is called exactly when it wants to be.
    fn pass(&mut self, span: Duration) {
        let until = self.now.saturating_add(span);
        loop {
            let next =
                self.clients.iter().enumerate().filter_map(|(at, client)| Some((client.poll_timeout()?, at))).min();
            let Some((time, at)) = next.filter(|(time, _)| *time <= until) else { break };
            self.now = self.now.max(time);
            self.clients[at].handle_timeout(self.now);
            self.drain();
            assert!(self.clients[at].poll_timeout().is_none_or(|next| next > self.now), "no spin");
        }
        self.now = until;
    }

    fn drain(&mut self) {
        for (client, states) in self.clients.iter_mut().zip(&mut self.states) {
            assert_eq!(client.poll_transmit(), None);
            while let Some(event) = client.poll_event() {
                if let ClientEvent::Registration(id, state) = event {
                    let before = states.insert(id, state);
                    assert!(before.is_none_or(|before| !before.is_final()), "nothing follows the end");
                }
            }
            assert_eq!(client.poll_event(), None);
        }
    }

    /// A follower takes what it has not seen.
    fn look(&mut self, at: usize) {
        let Some(follower) = self.followers.get_mut(at) else { return };
        let client = &mut self.clients[follower.client];
        if let Some(update) = client.poll_update(follower.id) {
            let live = update.provenance == Provenance::Live;
            assert_eq!(live, !self.suspended[follower.client]);
            for change in update.changes {
                let named = change.after().or_else(|| change.before()).unwrap();
                let key = (named.service().to_owned(), named.id().to_owned());
                assert_eq!(follower.told.get(&key), change.before(), "a change starts from what was told");
                match change.after() {
                    Some(after) => drop(follower.told.insert(key, after.clone())),
                    None => drop(follower.told.remove(&key)),
                }
            }
        }
        assert_eq!(client.poll_update(follower.id), None, "told once");
        let view = client.view(follower.id).unwrap();
        assert_eq!(view.instances, follower.told.values().cloned().collect::<Vec<_>>());
    }

    fn check(&mut self) {
        let hub = self.hub.lock().unwrap();
        hub.registry().assert_consistent();
        assert_eq!(hub.registry().usage().instances, self.model.len());
        for (at, (_, _, wanted)) in &self.model {
            assert_eq!(hub.registry().instance(&key(*at)).unwrap().listed.instance.decode(), *wanted);
        }
        drop(hub);
        for (client, id, wanted) in self.model.values() {
            let view = self.clients[*client].registration(*id).unwrap();
            assert_eq!((&view.state, &view.instance, view.current), (&RegistrationState::Registered, wanted, true));
            assert!(view.until.unwrap() > self.now);
            assert_eq!(self.states[*client].get(id), Some(&RegistrationState::Registered));
        }
        for (client, id) in &self.superseded {
            assert_eq!(self.states[*client].get(id), Some(&RegistrationState::Superseded));
        }
        for follower in &self.followers {
            let shown = self.clients[follower.client].view(follower.id).unwrap();
            if self.suspended[follower.client] {
                // What it knew, if it knew anything.
                assert!(matches!(shown.provenance, Provenance::Stale { .. } | Provenance::Unknown));
                continue;
            }
            assert_eq!(shown.provenance, Provenance::Live);
            let named = |instance: &&ServiceInstance| {
                follower.selector.contains(&ServiceKey::new(Namespace::default(), instance.name.clone()))
            };
            let expected: Vec<_> =
                self.model.values().map(|(_, _, instance)| instance).filter(named).cloned().collect();
            assert_eq!(shown.instances.iter().map(Instance::decode).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn two_clients_and_their_watchers_see_what_a_plain_map_says() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) };
    proptest!(config, |(ops in ops())| {
        let mut world = World::new();
        for op in &ops {
            world.run(op);
        }
        for at in 0..world.followers.len() {
            world.look(at);
        }
        for client in &mut world.clients {
            client.close(world.now);
            client.close(world.now);
            prop_assert!(client.is_closed());
        }
        world.drain();
        let hub = world.hub.lock().unwrap();
        prop_assert_eq!((hub.registry().usage().instances, hub.registry().usage().watches), (0, 0));
    });
}

#[test]
fn a_closed_client_refuses_and_says_so_once() {
    let now = Instant::from_millis(1);
    let mut client = Memory::new(ClientConfig::default(), Hub::new([1; 32], Epoch("here".into()), now), now);
    let id = client.register(&Registration::new(instance(0, 0)), now).unwrap();
    client.close(now);
    assert_eq!(client.register(&Registration::new(instance(0, 0)), now), Err(CommandError::Closed));
    assert_eq!(client.update(id, &Patch::new(), now), Err(CommandError::Closed));
    assert_eq!(client.watch(&selector(0), now), Err(CommandError::Closed));
    client.deregister(id, now);
    client.suspend(now);
    client.resume(now);
    client.handle_online(now);
    client.handle_timeout(now.saturating_add(Duration::from_secs(100)));
    let gone = ClientEvent::Registration(id, RegistrationState::Deregistered { confirmed: true });
    assert_eq!(client.poll_event(), Some(gone));
    assert_eq!(client.poll_event(), Some(ClientEvent::Closed));
    assert_eq!((client.poll_event(), client.poll_timeout()), (None, None));
    assert_eq!(client.registration(id), None);
}

#[test]
fn a_client_that_slept_past_its_ttl_wakes_before_the_registry_looks() {
    let now = Instant::from_millis(1);
    let mut client = Memory::new(ClientConfig::default(), Hub::new([1; 32], Epoch("here".into()), now), now);
    let id = client.register(&Registration::new(instance(0, 0)), now).unwrap();
    let later = now.saturating_add(Duration::from_secs(3600));
    client.handle_timeout(later);
    assert_eq!(client.registration(id).unwrap().state, RegistrationState::Registered);
    assert_eq!(client.hub_mut().registry().usage().instances, 1);
    assert_eq!((client.counters().registrations, client.counters().losses), (1, 0));
}

#[test]
fn a_blocked_instance_registers_when_the_block_ends() {
    let now = Instant::from_millis(1);
    let mut client = Memory::new(ClientConfig::default(), Hub::new([1; 32], Epoch("here".into()), now), now);
    let span = Duration::from_secs(60);
    let registry = client.hub_mut().registry_mut();
    registry.evict(&key(0), "maintenance".into(), Some(span), &Arc::default(), now).unwrap();
    let id = client.register(&Registration::new(instance(0, 0)), now).unwrap();
    let view = client.registration(id).unwrap();
    assert_eq!(view.state, RegistrationState::Registering);
    assert!(view.problem.unwrap().contains("maintenance"));
    let at = client.poll_timeout().unwrap();
    assert_eq!(at, now.saturating_add(span));
    client.handle_timeout(at);
    assert_eq!(client.registration(id).unwrap().state, RegistrationState::Registered);
}

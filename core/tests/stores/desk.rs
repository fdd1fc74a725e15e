//! Operations one by one on an etcd, by several servers, over a network that loses requests and answers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::simulator::etcd::EtcdStore;
use crate::simulator::store::{Act, Place, Reply, Store as _};
use periplus_core::backend::desk::{Change, Denied, Done, Wanted};
use periplus_core::backend::etcd::EtcdOptions;
use periplus_core::backend::etcd::desk::{Desk, Operation};
use periplus_core::instance::Patch;
use periplus_core::registry::Incarnation;
use periplus_core::{
    InstanceId, InstanceLimits, Instant, Key, Lease, LeaseError, Namespace, ServiceInstance, ServiceName, Status,
};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Register { who: u8, reclaim: bool, hidden: bool },
    Update,
    Renew { known: bool },
    Deregister,
    Abandon { who: u8 },
    Foreign,
    Revoke,
    Remove,
    Pass(u8),
}

/// Which of the requests of an operation get lost, and whether on their way there or on their way back.
type Losses = Vec<Option<bool>>;

fn steps() -> impl Strategy<Value = Vec<(Step, usize, Losses)>> {
    let step = prop_oneof![
        4 => (0..3u8, any::<bool>(), prop::bool::weighted(0.15))
            .prop_map(|(who, reclaim, hidden)| Step::Register { who, reclaim, hidden }),
        2 => Just(Step::Update),
        3 => any::<bool>().prop_map(|known| Step::Renew { known }),
        1 => Just(Step::Deregister),
        1 => (0..3u8).prop_map(|who| Step::Abandon { who }),
        1 => Just(Step::Foreign),
        1 => Just(Step::Revoke),
        1 => Just(Step::Remove),
        1 => (0..8u8).prop_map(Step::Pass),
    ];
    let losses = vec(prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)], 0..4);
    vec((step, 0..2usize, losses), 1..40)
}

struct World {
    store: EtcdStore,
    desks: [Desk; 2],
    now: Instant,
    exchange: u64,
    versions: u32,
    /// Leases that were given out, with their names in the store; nothing: for what is hidden.
    leases: Vec<(Lease, Option<String>)>,
}

fn key() -> Key {
    Key::new(Namespace::default(), ServiceName::new("web").unwrap(), InstanceId::new("a").unwrap())
}

fn place() -> Place {
    let Key { namespace, service, id } = key();
    (namespace, service, id)
}

impl World {
    fn new(seed: u8) -> Self {
        let desk = || {
            let options = EtcdOptions::default().with_user("web", "secret");
            Desk::new(options, vec!["http://a:2379".into(), "http://b:2379".into()])
        };
        let seed = [seed, seed / 4, seed / 16, seed / 3, 0, 0, 0, 0].repeat(4).try_into().unwrap();
        let now = Instant::from_millis(1_000);
        let store = EtcdStore::new(seed);
        Self { store, desks: [desk(), desk()], now, exchange: 0, versions: 0, leases: Vec::new() }
    }

    fn drive(&mut self, at: usize, mut operation: Operation, losses: &Losses) -> (Result<Done, Denied>, bool) {
        let mut clean = true;
        for nth in 0..100 {
            self.exchange += 1;
            let request = self.desks[at].request(&mut operation);
            let loss = losses.get(nth).copied().flatten();
            clean &= loss.is_none();
            let answer = match loss {
                Some(false) => None,
                _ => match self.store.handle_request(self.exchange, &request, self.now) {
                    Reply::Whole(head, body) => Some((head, body)).filter(|_| loss.is_none()),
                    Reply::Held => panic!("an operation opens no stream"),
                },
            };
            let result = match answer {
                Some((head, body)) => self.desks[at].on_answer(&mut operation, &head, &body),
                None => self.desks[at].on_failure(&mut operation, "lost"),
            };
            if let Some(result) = result {
                return (result, clean);
            }
        }
        panic!("it goes on and on: {operation:?}");
    }

    fn holder(&self) -> Option<String> {
        self.store.holder(&place()).map(|(holder, _)| holder)
    }

    /// Whether anything is there, whoever's it is.
    fn is_there(&self) -> bool {
        self.store.visible(self.now).contains_key(&place())
    }

    fn version(&self) -> Option<String> {
        self.store.visible(self.now).get(&place()).map(|instance| instance.version.to_string())
    }

    fn next_version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    fn step(&mut self, step: &Step, at: usize, losses: &Losses) {
        let (there, before) = (self.is_there(), self.holder());
        match step {
            Step::Register { who, reclaim, hidden } => {
                let mut instance = ServiceInstance::new(key().service, key().id);
                instance.version = self.next_version().into();
                if *hidden {
                    instance.apply(&Patch::new().with_status(Status::Draining));
                }
                let version = instance.version.to_string();
                let incarnation = (*who > 0).then(|| Incarnation((*who).into()));
                let ttl = Some(Duration::from_secs(5));
                let wanted = Wanted { key: key(), instance, ttl, incarnation, reclaim: *reclaim };
                let operation = self.desks[at].register(wanted, u64::from(self.versions) << 8).unwrap();
                let (result, clean) = self.drive(at, operation, losses);
                match result {
                    Ok(Done::Registered { lease, ttl, .. }) => {
                        assert!(ttl > Duration::ZERO);
                        assert_eq!(self.version(), (!hidden).then_some(version));
                        let holder = self.holder();
                        if *reclaim && there && !hidden {
                            assert_eq!(holder, before, "what was taken meanwhile is not taken back");
                        }
                        self.leases.push((lease, holder.filter(|_| !hidden)));
                    }
                    Err(Denied::Superseded) => {
                        assert!(there, "somebody else has it");
                        assert!(*reclaim || !clean, "who is new takes it");
                    }
                    Err(Denied::Silent(_)) => assert!(!clean),
                    other => panic!("{other:?}"),
                }
            }
            Step::Update => {
                let Some((lease, name)) = self.leases.last().cloned() else { return };
                let version = self.next_version();
                let patch = Patch { version: Some(version.as_str().into()), ..Patch::new() };
                let change = Change { patch, limits: InstanceLimits::default() };
                let operation = self.desks[at].update(&key(), lease, change);
                let (result, clean) = self.drive(at, operation, losses);
                match result {
                    Ok(Done::Updated { .. }) => {
                        assert_eq!((self.version(), self.holder()), (Some(version), name));
                    }
                    Err(Denied::Lease(LeaseError::Superseded)) => {
                        assert!(there && (before != name || before.is_none()));
                    }
                    Err(Denied::Lease(_)) => assert!(!there, "{before:?} is not {name:?}"),
                    Err(Denied::Silent(_)) => assert!(!clean),
                    other => panic!("{other:?}"),
                }
                assert_eq!(self.holder(), before, "an update takes nothing and gives nothing away");
            }
            Step::Renew { known } => {
                let asked: Vec<_> = self.leases.iter().map(|(lease, _)| (*lease, known.then(key))).collect();
                if asked.is_empty() {
                    return;
                }
                let operation = self.desks[at].renew(asked);
                match self.drive(at, operation, losses) {
                    (Ok(Done::Renewed(failed)), _) => {
                        let failed: BTreeMap<usize, LeaseError> = failed.into_iter().collect();
                        for (at, (_, name)) in self.leases.iter().enumerate().filter(|(_, (_, name))| name.is_some()) {
                            let held = before == *name;
                            assert_eq!(failed.contains_key(&at), !held, "{before:?} {name:?} {failed:?}");
                            if *known && failed.get(&at) == Some(&LeaseError::Superseded) {
                                assert!(there);
                            }
                        }
                    }
                    (Err(Denied::Silent(_)), clean) => assert!(!clean),
                    other => panic!("{other:?}"),
                }
                assert_eq!(self.holder(), before);
            }
            Step::Deregister => {
                let Some((lease, name)) = self.leases.first().cloned() else { return };
                let operation = self.desks[at].deregister(&key(), &lease).unwrap();
                let (result, clean) = self.drive(at, operation, losses);
                let ours = name.is_some() && before == name;
                if matches!(result, Ok(Done::Gone { .. })) && ours {
                    assert_eq!(self.holder(), None);
                }
                if !ours && name.is_some() {
                    assert_eq!(self.holder(), before, "another's stays");
                }
                assert!(result.is_ok() || !clean, "{result:?}");
            }
            Step::Abandon { who } => {
                let operation = self.desks[at].abandon(&key(), Incarnation((*who).into()));
                let (result, clean) = self.drive(at, operation, losses);
                assert!(result.is_ok() || !clean, "{result:?}");
            }
            Step::Foreign => {
                let instance = ServiceInstance::new(key().service, key().id);
                self.store.act(&Act::ForeignPut(key().namespace, instance), self.now);
            }
            Step::Revoke => {
                let (namespace, service, id) = place();
                self.store.act(&Act::Revoke(namespace, service, id), self.now);
            }
            Step::Remove => {
                let (namespace, service, id) = place();
                self.store.act(&Act::Remove(namespace, service, id), self.now);
            }
            Step::Pass(seconds) => {
                self.now = self.now.saturating_add(Duration::from_secs((*seconds).into()));
                self.store.handle_timeout(self.now);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nobody takes what is another's but knowingly, and whoever is told that it holds something does.
    #[test]
    fn whoever_holds_an_instance_knows_it_and_nobody_else_believes_it(seed in any::<u8>(), steps in steps()) {
        let mut world = World::new(seed);
        for (step, at, losses) in &steps {
            world.step(step, *at, losses);
        }
    }
}

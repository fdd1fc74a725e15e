//! A model of dialling, and runs that hold the machine against it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use periplus_core::client::{Backoff, Provenance};
use periplus_core::dial::{ConnectionId, Dial, DialConfig, DialTransmit, DialUpdate, EmptyPolicy, NotReady, Readiness};
use periplus_core::fault::Faults;
use periplus_core::{Endpoint, Instance, InstanceId, Instant, ServiceInstance, ServiceName};

/// Instances that may be listed. The last has the address of the first.
const INSTANCES: u8 = 5;

const CONNECTING: Readiness = Readiness::Waiting(NotReady::Connecting);

/// One input, made of what proptest or a small generator gives.
pub(crate) type Op = (u8, u8, u8);

pub(crate) fn instance(id: u8, look: u8) -> Instance {
    let name = ServiceName::new("web").expect("a name");
    let plain = ServiceInstance::new(name, InstanceId::new(format!("i{id}")).expect("a name"));
    let address = format!("h:{}", 1 + id % (INSTANCES - 1));
    let with = |scheme: &str| Endpoint::foreign(format!("{scheme}://{address}"));
    Instance::pack(&match look % 5 {
        0 => plain.with_endpoint(with("grpc")),
        1 => plain.with_endpoint(with("grpc")).with_metadata("weight", "5"),
        2 => plain.with_endpoint(Endpoint::foreign("grpc://h:abc")).with_endpoint(with("grpc")),
        3 => plain.with_endpoint(with("grpc")).with_metadata("status", "draining"),
        _ => plain.with_endpoint(with("grpcs")),
    })
}

/// Where it is dialled, as a reader of the docs would say.
fn address_of(instance: &Instance) -> Option<String> {
    let plain = instance.decode();
    let texts = plain.endpoints.iter().filter(|endpoint| endpoint.parts().is_ok()).map(|e| e.as_str().to_owned());
    texts.filter_map(|text| text.strip_prefix("grpc://").map(str::to_owned)).next()
}

fn draining(instance: &Instance) -> bool {
    instance.decode().metadata.contains_key("status")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Connecting,
    Checking,
    Serving,
    Unhealthy,
}

/// The machine, and what should be true of it.
struct Run {
    dial: Dial,
    config: DialConfig,
    now: Instant,
    listed: BTreeMap<String, Instance>,
    /// The latest word on a list without addresses, if it can be believed.
    believed: Option<NotReady>,
    /// Whether there was ever somebody, or the registry's word that there is nobody.
    heard: bool,
    targets: BTreeMap<String, Instance>,
    kept: Option<Instant>,
    gathering: Option<Instant>,
    open: BTreeMap<ConnectionId, (String, Fate, Instant)>,
    ever: Vec<ConnectionId>,
    failed: BTreeSet<String>,
    lost_at: BTreeMap<String, Instant>,
    told: Option<DialUpdate>,
}

/// Plays the ops, and panics where machine and model come apart.
pub(crate) fn run(variant: u8, faults: Faults, ops: &[Op]) {
    let empty = match variant % 3 {
        0 => EmptyPolicy::Fail,
        1 => EmptyPolicy::Wait,
        _ => EmptyPolicy::KeepLast(Duration::from_secs(3)),
    };
    let config = DialConfig { subset: 0, health: variant & 8 != 0, empty, faults, ..DialConfig::new("grpc") };
    let mut run = Run {
        dial: Dial::new(config.clone(), [variant; 32], Instant::default()),
        config,
        now: Instant::default(),
        listed: BTreeMap::new(),
        believed: None,
        heard: false,
        targets: BTreeMap::new(),
        kept: None,
        gathering: None,
        open: BTreeMap::new(),
        ever: Vec::new(),
        failed: BTreeSet::new(),
        lost_at: BTreeMap::new(),
        told: None,
    };
    run.look();
    for op in ops {
        run.play(*op);
        run.look();
    }
}

impl Run {
    fn play(&mut self, (kind, a, b): Op) {
        match kind % 8 {
            0 | 1 => self.list(a, b),
            2 | 3 => self.about(a, Self::connected),
            4 => self.about(a, Self::lost),
            5 => self.about(a, |run, id| run.health(id, b % 3 > 0)),
            6 => self.pass(Duration::from_millis(u64::from(a) * u64::from(b) / 8)),
            _ => {
                let next = self.dial.poll_timeout();
                self.pass(next.map_or(Duration::from_millis(1), |at| at.saturating_since(self.now)));
            }
        }
    }

    fn list(&mut self, mask: u8, looks: u8) {
        let provenance = match mask >> 5 {
            0 | 1 => Provenance::Stale { since: self.now },
            2 => Provenance::Unconfirmed,
            3 => Provenance::Unknown,
            _ => Provenance::Live,
        };
        let ids = (0..INSTANCES).filter(|id| mask & 1 << id != 0);
        let instances: Vec<Instance> = ids.map(|id| instance(id, looks.rotate_left(u32::from(id)))).collect();
        self.dial.handle_listing(&instances, provenance, self.now);
        if provenance == Provenance::Unknown {
            return;
        }
        if !matches!(provenance, Provenance::Stale { .. }) {
            self.listed.clear();
        }
        self.listed.extend(instances.into_iter().map(|instance| (instance.id().to_owned(), instance)));
        let mut targets: BTreeMap<String, Instance> = BTreeMap::new();
        let up_first =
            self.listed.values().filter(|i| !draining(i)).chain(self.listed.values().filter(|i| draining(i)));
        for instance in up_first {
            if let Some(address) = address_of(instance) {
                targets.entry(address).or_insert_with(|| instance.clone());
            }
        }
        let none = match self.listed.is_empty() {
            true => NotReady::Empty,
            false => NotReady::NoEndpoint { scheme: "grpc".into() },
        };
        let (heard, before) = (self.heard, self.believed.take());
        self.heard |= !targets.is_empty() || provenance == Provenance::Live;
        self.believed = match provenance {
            _ if !targets.is_empty() => None,
            Provenance::Live => Some(none),
            Provenance::Unconfirmed => heard.then_some(none),
            _ => before,
        };
        if let EmptyPolicy::KeepLast(span) = self.config.empty
            && targets.is_empty()
            && !self.targets.is_empty()
        {
            self.kept = self.kept.or_else(|| Some(self.now.saturating_add(span)));
        } else {
            self.kept = None;
            if self.targets.is_empty() && !targets.is_empty() {
                self.gathering = Some(self.now.saturating_add(self.config.gather));
            }
            self.targets = targets;
        }
    }

    /// Something of one of the connections there ever were: mostly of one that there is.
    fn about(&mut self, which: u8, what: impl Fn(&mut Self, ConnectionId)) {
        let open: Vec<ConnectionId> = self.open.keys().copied().collect();
        let among = if which.is_multiple_of(4) { &self.ever } else { &open };
        if let Some(id) = among.get(usize::from(which / 4) % among.len().max(1)).copied() {
            what(self, id);
        }
    }

    fn connected(&mut self, id: ConnectionId) {
        self.dial.handle_connected(id, self.now);
        if let Some((address, fate @ Fate::Connecting, _)) = self.open.get_mut(&id) {
            *fate = if self.config.health { Fate::Checking } else { Fate::Serving };
            if *fate == Fate::Serving {
                self.failed.remove(address);
            }
        }
    }

    fn lost(&mut self, id: ConnectionId) {
        self.dial.handle_lost(id, "it went", self.now);
        if let Some((address, fate, _)) = self.open.remove(&id) {
            self.lost_at.insert(address.clone(), self.now);
            if matches!(fate, Fate::Connecting | Fate::Checking) {
                self.failed.insert(address);
            }
        }
    }

    fn health(&mut self, id: ConnectionId, serving: bool) {
        self.dial.handle_health(id, serving, self.now);
        match self.open.get_mut(&id) {
            Some((address, fate, _)) if self.config.health && *fate != Fate::Connecting => {
                *fate = if serving { Fate::Serving } else { Fate::Unhealthy };
                let _ = if serving { self.failed.remove(address) } else { self.failed.insert(address.clone()) };
            }
            _ => {}
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.saturating_add(span);
        self.dial.handle_timeout(self.now);
        if self.kept.is_some_and(|until| until <= self.now) {
            self.kept = None;
            self.targets.clear();
        }
        self.gathering = self.gathering.filter(|until| *until > self.now);
        assert!(self.dial.poll_timeout().is_none_or(|at| at > self.now), "it spins");
    }

    /// Drains the machine, and holds it against the model.
    fn look(&mut self) {
        while let Some(transmit) = self.dial.poll_transmit() {
            self.obey(transmit);
        }
        self.failed.retain(|address| self.targets.contains_key(address));
        let serving = self.open.values().filter(|(_, fate, _)| *fate == Fate::Serving);
        let settled: BTreeSet<&String> = serving.map(|(address, ..)| address).chain(&self.failed).collect();
        if settled.len() == self.targets.len() {
            self.gathering = None;
        }
        for (id, (address, ..)) in &self.open {
            assert!(self.targets.contains_key(address), "{id:?} leads to {address}, which nobody wants");
        }
        let tried: BTreeSet<&String> = self.open.values().map(|(address, ..)| address).collect();
        let next = self.dial.poll_timeout();
        assert!(tried.len() == self.targets.len() || next.is_some(), "somebody is forgotten");
        // Whoever waits is tried within the longest back-off.
        let latest = self.now.saturating_add(self.config.backoff_cap);
        assert!(tried.len() == self.targets.len() || next.is_some_and(|at| at <= latest), "somebody waits too long");
        if let Some(update) = self.dial.poll_update() {
            assert_ne!(Some(&update), self.told.as_ref(), "told twice");
            self.told = Some(update);
        }
        assert_eq!(self.told.as_ref(), Some(&self.expected()), "at {:?}", self.now);
        assert!(self.dial.poll_transmit().is_none() && self.dial.poll_update().is_none(), "not drained");
    }

    fn obey(&mut self, transmit: DialTransmit) {
        match transmit {
            DialTransmit::Connect(connect) => {
                let address = connect.address.to_string();
                assert!(self.targets.contains_key(&address), "nobody wants {address}");
                assert!(!self.open.values().any(|(other, ..)| *other == address), "two connections to {address}");
                if let Some(at) = self.lost_at.get(&address) {
                    assert!(self.now.saturating_since(*at) >= Backoff::BASE / 2, "no back-off for {address}");
                }
                self.ever.push(connect.id);
                self.open.insert(connect.id, (address, Fate::Connecting, self.now));
            }
            DialTransmit::Close { id, linger } => {
                let (address, fate, since) = self.open.remove(&id).expect("one that is open");
                let attempt = matches!(fate, Fate::Connecting | Fate::Checking);
                assert_eq!(linger, if attempt { Duration::ZERO } else { self.config.linger });
                if self.targets.contains_key(&address) {
                    assert!(
                        attempt && since.saturating_add(self.config.connect_timeout) <= self.now,
                        "{id:?} was good"
                    );
                    self.failed.insert(address.clone());
                    self.lost_at.insert(address, self.now);
                }
            }
        }
    }

    fn expected(&self) -> DialUpdate {
        let by_address: BTreeMap<&String, ConnectionId> = (self.open.iter())
            .filter(|(_, (_, fate, _))| *fate == Fate::Serving)
            .map(|(id, (address, ..))| (address, *id))
            .collect();
        let ready: Vec<_> = by_address.iter().map(|(address, id)| (*id, self.targets[*address].clone())).collect();
        let readiness = match (&self.believed, self.config.empty) {
            _ if self.gathering.is_some() => return DialUpdate { readiness: CONNECTING, ready: Vec::new() },
            _ if !ready.is_empty() => Readiness::Ready,
            _ if !self.targets.is_empty() && self.failed.len() == self.targets.len() => match self.dial.readiness() {
                told @ Readiness::Failing(NotReady::Unreachable { .. }) => told,
                told => panic!("all have failed, and calls are told {told:?}"),
            },
            _ if !self.targets.is_empty() => CONNECTING,
            (None, _) => Readiness::Waiting(NotReady::Unknown),
            (Some(reason), EmptyPolicy::Wait) => Readiness::Waiting(reason.clone()),
            (Some(reason), _) => Readiness::Failing(reason.clone()),
        };
        DialUpdate { readiness, ready }
    }
}

//! Does the same to the real registry and to the model, and compares everything they say after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Duration;

use periplus_core::config::{AlarmConfig, Collision, Config, Limits};
use periplus_core::fault::Faults;
use periplus_core::{
    Caller, Cursor, Endpoint, Epoch, Event, Incarnation, Instance, InstanceId, Instant, Key, Lease, Namespace,
    Operation, OperatorError, Outcome, Patch, Register, RegisterError, Registry, Revision, Selector, ServiceInstance,
    ServiceKey, ServiceName, Status, UpdateError, WallTime, WatchStart,
};

use super::ops::Op;
use super::reference::{Model, Said, Verdict, Visible};
use super::watcher::Watcher;

const START: Instant = Instant::from_micros(1_000_000_000);
const TTLS: [u64; 8] = [3_000, 5_000, 10_000, 3_000, 5_000, 10_000, 2_999, 90_000_000];
const SPANS: [u64; 10] = [1, 100, 1_000, 2_500, 3_000, 5_000, 9_999, 10_000, 31_000, 65_000];

/// The configurations that runs are made with: each makes other things likely.
pub fn config(variant: u8) -> Config {
    let mut config = Config {
        warm_up: Duration::ZERO,
        alarm: AlarmConfig { minimum: 3, share: 50, window: Duration::from_secs(16), hold: Duration::ZERO },
        ..Config::default()
    };
    match variant % 6 {
        0 => {}
        1 => config.limits = Limits { log_entries: 6, ..config.limits },
        2 => (config.collision, config.warm_up) = (Collision::Refuse, Duration::from_secs(20)),
        3 => config.alarm.hold = Duration::from_secs(4),
        4 => {
            let tight = Limits {
                instances: 6,
                instances_per_service: 3,
                services: 3,
                namespaces: 1,
                bytes: 900,
                ..config.limits
            };
            config.limits = Limits { overlays: 2, log_bytes: 4_000, watches: 5, ..tight };
        }
        _ => (config.warm_up, config.limits.log_entries) = (Duration::from_secs(40), 20),
    }
    config
}

pub struct Run {
    registry: Registry,
    model: Model,
    now: Instant,
    caller: Arc<Caller>,
    leases: Vec<Lease>,
    generations: BTreeMap<Key, u64>,
    all_generations: Vec<u64>,
    watchers: Vec<Watcher>,
    revisions_polled: Vec<u64>,
    sequence: u64,
    epoch: u32,
    step: u64,
    hash: u64,
}

/// Runs the operations; the result is a hash of everything the registry said. Panics if it says anything wrong.
pub fn run(variant: u8, faults: Faults, ops: &[Op]) -> u64 {
    let config = Config { faults, ..config(variant) };
    let mut run = Run::new(config);
    for op in ops {
        run.step(*op);
    }
    run.finish()
}

/// Runs what the bytes say: the first chooses the configuration.
pub fn run_bytes(bytes: &[u8]) -> u64 {
    let Some((variant, ops)) = bytes.split_first() else {
        return 0;
    };
    run(*variant, Faults::default(), &Op::decode(ops))
}

fn key(number: u8) -> Key {
    let namespace = ["default", "b"][usize::from(number / 12 % 2)];
    let service = ["web", "web-2", "api"][usize::from(number / 4 % 3)];
    let id = ["a", "b", "c", "d"][usize::from(number % 4)];
    Key::new(
        Namespace::new(namespace).expect("a name"),
        ServiceName::new(service).expect("a name"),
        InstanceId::new(id).expect("a name"),
    )
}

fn selector(number: u8) -> Selector {
    let default = Namespace::default();
    let other = Namespace::new("b").expect("a name");
    let service = |namespace: &Namespace, name: &str| {
        Selector::Service(ServiceKey::new(namespace.clone(), ServiceName::new(name).expect("a name")))
    };
    let prefix =
        |namespace: &Namespace, prefix: &str| Selector::Prefix { namespace: namespace.clone(), prefix: prefix.into() };
    match number % 9 {
        0 => service(&default, "web"),
        1 => service(&default, "web-2"),
        2 => service(&default, "api"),
        3 => prefix(&default, "web"),
        4 => prefix(&default, ""),
        5 => prefix(&other, ""),
        6 => service(&other, "web"),
        7 => service(&default, "none"),
        _ => prefix(&default, "web-"),
    }
}

fn body(key: &Key, body: u8) -> ServiceInstance {
    let instance = ServiceInstance::new(key.service.clone(), key.id.clone())
        .with_endpoint(Endpoint::new(format!("http://10.0.0.{}:80", body % 4)).expect("an endpoint"));
    match body % 5 {
        0 => instance,
        1 => instance.with_metadata("weight", "7"),
        2 => instance.with_metadata("status", "starting").with_version("v2"),
        3 => instance.with_metadata("note", "x".repeat(usize::from(body))),
        _ => instance.with_metadata("a", "").with_metadata("b", "ü\u{2028}<"),
    }
}

fn patch(number: u8) -> Patch {
    match number % 5 {
        0 => Patch::new().with_status(Status::Draining),
        1 => Patch::new().with_weight(u32::from(number)),
        2 => Patch::new().with_metadata("a", None).with_metadata("c", Some("1".into())),
        3 => Patch::new().with_status(Status::Up).with_metadata("weight", None),
        _ => Patch::new().with_metadata("note", Some("y".repeat(usize::from(number)))),
    }
}

fn pick<T>(from: &[T], number: u8) -> Option<&T> {
    from.get(usize::from(number) % from.len().max(1))
}

impl Run {
    fn new(config: Config) -> Self {
        let registry = Registry::new(config, [7; 32], Epoch("e0".into()), START, WallTime(1_700_000_000_000));
        let model = Model::new(config, START);
        Self {
            registry,
            model,
            now: START,
            caller: Arc::new(Caller::default()),
            leases: vec![],
            generations: BTreeMap::new(),
            all_generations: vec![],
            watchers: vec![],
            revisions_polled: vec![0],
            sequence: 0,
            epoch: 0,
            step: 0,
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }

    fn note(&mut self, what: &dyn Debug) {
        for byte in format!("{what:?}").bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn step(&mut self, op: Op) {
        self.step += 1;
        match op {
            Op::Register { key, body, ttl, holder, sequence, reclaim } => {
                self.register(key, body, ttl, holder, sequence, reclaim);
            }
            Op::Renew { lease } => {
                if let Some(&lease) = pick(&self.leases, lease) {
                    let said = self.registry.renew(&lease, &self.caller, self.now);
                    assert_eq!(said, self.model.renew(&lease), "renewing {lease:?}");
                    self.note(&said);
                }
            }
            Op::RenewForged { lease } => {
                if let Some(lease) = pick(&self.leases, lease) {
                    let mut text = lease.to_text();
                    text[31] = if text[31] == b'A' { b'B' } else { b'A' };
                    let forged = Lease::parse(&text).expect("it looks like a lease");
                    let said = self.registry.renew(&forged, &self.caller, self.now);
                    assert_eq!(said, Err(periplus_core::LeaseError::Unknown), "R1: a guessed lease renews nothing");
                }
            }
            Op::RenewAll { from, count } => {
                let from = usize::from(from) % self.leases.len().max(1);
                let batch: Vec<Lease> = self.leases.iter().skip(from).take(usize::from(count)).copied().collect();
                let mut failed = vec![];
                self.registry.renew_all(&batch, &self.caller, self.now, &mut failed);
                let expected = batch.iter().enumerate();
                let expected: Vec<_> =
                    expected.filter_map(|(at, lease)| Some((at, self.model.renew(lease).err()?))).collect();
                assert_eq!(failed, expected, "renewing a batch");
                self.note(&failed);
            }
            Op::Update { lease, patch: number, sequence } => self.update(lease, number, sequence),
            Op::Deregister { lease, sequence } => {
                if let Some(&lease) = pick(&self.leases, lease) {
                    let sequence = (sequence % 2 == 0).then_some(u64::from(sequence));
                    let said = self.registry.deregister(&lease, sequence, &self.caller, self.now);
                    assert_eq!(said, self.model.deregister(&lease, sequence), "deregistering {lease:?}");
                    self.note(&said);
                }
            }
            Op::Abandon { key: number, holder, sequence } => {
                let key = key(number);
                let operation = self.operation(holder, sequence);
                let said = self.registry.abandon(&key, operation, &self.caller, self.now);
                let expected = self.model.abandon(&key, operation.incarnation.0, operation.sequence);
                assert_eq!(said, expected, "abandoning {key:?}");
            }
            Op::Overlay { key: number, patch: change } => {
                let (key, patch) = (key(number), patch(change));
                let before = self.registry.export();
                let said = self.registry.overlay(&key, &patch, "why".into(), &self.caller, self.now);
                let expected = self.model.overlay(&key, &patch.metadata);
                self.compare_operator(said, expected, &before);
            }
            Op::ClearOverlay { key: number, only } => {
                let key = key(number);
                let only = (only % 2 == 0).then(|| vec!["status".to_owned(), "a".to_owned()]);
                let before = self.registry.export();
                let said = self.registry.clear_overlay(&key, only.as_deref(), "why".into(), &self.caller, self.now);
                let expected = self.model.clear_overlay(&key, only.as_deref());
                self.compare_operator(said, expected, &before);
            }
            Op::Evict { key: number, block } => {
                let key = key(number);
                let block = [None, Some(4), Some(20), Some(90_000)][usize::from(block % 4)].map(Duration::from_secs);
                let before = self.registry.export();
                let said = self.registry.evict(&key, "why".into(), block, &self.caller, self.now);
                let expected = self.model.evict(&key, block);
                self.compare_operator(said, expected, &before);
            }
            Op::Watch { selector: first, since, second } => self.watch(first, since, second),
            Op::Unwatch { watch } => {
                if !self.watchers.is_empty() {
                    let at = usize::from(watch) % self.watchers.len();
                    let gone = self.watchers.remove(at);
                    self.registry.unwatch(gone.id);
                    self.registry.unwatch(gone.id);
                    assert_eq!(self.registry.poll_watch(gone.id), None, "a closed watch delivers nothing");
                }
            }
            Op::Poll { watch } => {
                if !self.watchers.is_empty() {
                    self.poll(usize::from(watch) % self.watchers.len());
                }
            }
            Op::Bookmark { watch } => self.bookmark(watch),
            Op::Advance { by } => self.advance(Duration::from_millis(*pick(&SPANS, by).expect("spans"))),
            Op::Stall { by } => {
                self.now = self.now.saturating_add(Duration::from_millis(*pick(&SPANS, by).expect("spans")));
                self.timeout();
            }
            Op::ClockBack { by } => {
                let back = Duration::from_millis(*pick(&SPANS, by).expect("spans"));
                let earlier = Instant::from_micros(self.now.as_micros() - back.as_micros() as u64);
                if let Some(&lease) = pick(&self.leases, by) {
                    let said = self.registry.renew(&lease, &self.caller, earlier);
                    assert_eq!(said, self.model.renew(&lease), "K1: time that runs back stands still");
                }
                self.registry.handle_timeout(earlier);
            }
            Op::Settle => {
                self.registry.settle(Some(&self.caller), self.now);
                self.model.settle();
            }
            Op::Restart { epoch } => self.restart(epoch % 2 == 0),
        }
        self.check();
    }

    fn operation(&mut self, holder: u8, sequence: u8) -> Operation {
        let holder = u128::from(holder % 4);
        if holder == 0 {
            return Operation::ANONYMOUS;
        }
        self.sequence += 1;
        let sequence = if sequence.is_multiple_of(2) { self.sequence } else { u64::from(sequence) % self.sequence };
        Operation { incarnation: Incarnation(holder << 100 | 0xfeed), sequence }
    }

    fn register(&mut self, number: u8, look: u8, ttl: u8, holder: u8, sequence: u8, reclaim: u8) {
        let key = key(number);
        let base = body(&key, look);
        let ttl = Duration::from_millis(*pick(&TTLS, ttl).expect("ttls"));
        let operation = self.operation(holder, sequence);
        let reclaim = match reclaim {
            _ if reclaim.is_multiple_of(3) => pick(&self.all_generations, reclaim / 3).copied(),
            // Of another life of the registry, whose generations had come further.
            _ if reclaim.is_multiple_of(7) => self.all_generations.iter().max().map(|most| most + u64::from(reclaim)),
            _ => None,
        };
        // Now and then one that is later than the command itself.
        let since = (operation.sequence + 1).saturating_sub(u64::from(sequence % 32));
        let since = number.is_multiple_of(2).then_some(since);
        let holder = operation.incarnation.0;
        let verdict = self.model.judge(&key, &base, ttl, holder, operation.sequence, reclaim, since);
        let before = matches!(verdict, Verdict::Refused(_)).then(|| self.registry.export());
        let request = Register {
            namespace: key.namespace.clone(),
            instance: Instance::pack(&base),
            ttl: Some(ttl),
            operation,
            reclaim,
            since,
        };
        let said = self.registry.register(request.clone(), &self.caller, self.now);
        self.note(&said);
        let registered = match (said, &verdict) {
            (Err(error), Verdict::Refused(why)) => {
                assert_eq!(refusal(&error), *why, "registering {key:?} is refused for another reason: {error}");
                assert_eq!(Some(self.registry.export()), before, "what is refused changes nothing");
                return;
            }
            (Ok(registered), verdict) => {
                let outcome = match registered.outcome {
                    Outcome::Registered => Verdict::Registered,
                    Outcome::Repeated => Verdict::Repeated,
                    Outcome::Replaced => Verdict::Replaced,
                    Outcome::Superseded => Verdict::Superseded,
                };
                assert_eq!(outcome, *verdict, "registering {key:?}");
                registered
            }
            (said, verdict) => {
                panic!("registering {key:?}: {verdict:?} was expected, not {said:?}")
            }
        };
        self.note(&registered.lease.to_text());
        if verdict == Verdict::Repeated {
            let held = &self.model.held[self.model.find(&key).expect("it is held")];
            assert_eq!((registered.lease, registered.generation), (held.lease, held.generation), "R6: the same lease");
        } else {
            assert!(!self.leases.contains(&registered.lease), "R2: a lease is never given out twice");
            let latest = self.generations.insert(key.clone(), registered.generation);
            assert!(latest < Some(registered.generation), "R7: generations rise");
            assert!(reclaim.is_none_or(|reclaim| registered.generation > reclaim), "R7: above what was reclaimed");
            self.leases.push(registered.lease);
            self.all_generations.push(registered.generation);
        }
        let (lease, generation) = (registered.lease, registered.generation);
        self.model.register(&verdict, &key, base, ttl, holder, operation.sequence, lease, generation);
        if operation != Operation::ANONYMOUS && number.is_multiple_of(5) {
            let revision = self.registry.cursor();
            let again = self.registry.register(request, &self.caller, self.now).expect("the same registration again");
            assert_eq!(
                (again.lease, again.outcome),
                (registered.lease, Outcome::Repeated),
                "R6: sent twice is sent once"
            );
            assert_eq!(self.registry.cursor(), revision, "R6: sent twice changes nothing");
        }
    }

    fn update(&mut self, lease: u8, number: u8, sequence: u8) {
        let Some(&lease) = pick(&self.leases, lease) else {
            return;
        };
        let patch = patch(number);
        let sequence = match sequence % 3 {
            0 => None,
            1 => Some(u64::from(sequence)),
            _ => {
                self.sequence += 1;
                Some(self.sequence)
            }
        };
        let before = self.registry.export();
        let said = self.registry.update(&lease, &patch, sequence, &self.caller, self.now);
        let expected = self.model.update(&lease, &patch, sequence);
        self.note(&said);
        let failed = said.is_err();
        let said = said.map_err(|error| match error {
            UpdateError::Lease(error) => error.code(),
            UpdateError::Outdated { .. } => "outdated",
            UpdateError::Limit(_) => "limit",
            error => panic!("updating: {error}"),
        });
        assert_eq!(said, expected, "updating {lease:?}");
        assert!(!failed || self.registry.export() == before, "what is refused changes nothing");
    }

    fn compare_operator(
        &mut self,
        said: Result<bool, OperatorError>,
        expected: Result<bool, &'static str>,
        before: &periplus_core::registry::State,
    ) {
        self.note(&said);
        let failed = said.is_err();
        let said = said.map_err(|error| match error {
            OperatorError::NotFound => "not_found",
            OperatorError::Limit(_) => "limit",
            OperatorError::BlockTooLong { .. } => "block",
            error => panic!("an operator's command: {error}"),
        });
        assert_eq!(said, expected, "an operator's command");
        assert!(!failed || self.registry.export() == *before, "what is refused changes nothing");
    }

    // Watching.

    fn watch(&mut self, first: u8, since: u8, second: u8) {
        let mut selectors = vec![selector(first)];
        if second.is_multiple_of(3) {
            let more = selector(second / 3);
            let overlap = self.overlap(&selectors[0], &more);
            if !overlap {
                selectors.push(more);
            }
        }
        let current = self.model.revision();
        let epoch = self.registry.cursor().epoch;
        let mut start = WatchStart::default();
        let (mut held, mut seen, mut ahead) = (Visible::new(), vec![], None);
        for (at, selector) in selectors.iter().enumerate() {
            let kind = since.wrapping_add(at as u8 * 5);
            let cursor = match kind % 6 {
                0 | 1 => None,
                2 => Some((epoch.clone(), current)),
                3 => Some((Epoch("foreign".into()), current)),
                4 if kind.is_multiple_of(8) => Some((epoch.clone(), current + u64::from(kind % 3))),
                _ => pick(&self.revisions_polled, kind / 6).map(|&revision| (epoch.clone(), revision)),
            };
            let from = cursor.as_ref().filter(|(of, _)| *of == epoch).map(|(_, revision)| *revision);
            if let Some(from) = from.filter(|&from| from > current) {
                let until = self.model.now.saturating_add(self.model.config.behind_wait);
                ahead = ahead.max(Some((from, until)));
            } else if let Some(from) = from.filter(|&from| from >= self.model.first) {
                held.extend(Model::filtered(self.model.visible_at(from), from_ref(selector)));
            }
            seen.push(from);
            let cursor = cursor.map(|(epoch, revision)| Cursor { epoch, revision: Revision(revision) });
            start.selectors.push((selector.clone(), cursor));
        }
        let full = self.watchers.len() >= self.model.config.limits.watches;
        let opened = self.registry.watch(&start, &self.caller, self.now);
        assert_eq!(opened.is_err(), full, "a watch is opened unless there are too many");
        let Ok(id) = opened else { return };
        self.watchers.push(Watcher {
            id,
            selectors,
            since: seen,
            seen: None,
            held,
            named: false,
            ended: false,
            ahead,
            warming: false,
            alarms: BTreeSet::new(),
        });
    }

    fn overlap(&self, one: &Selector, other: &Selector) -> bool {
        let all: Visible = (0..24).map(|number| (key(number), (Instance::pack(&body(&key(number), 0)), 0))).collect();
        let (one, other) = (Model::filtered(&all, from_ref(one)), Model::filtered(&all, from_ref(other)));
        one.is_empty() || other.is_empty() || one.keys().any(|key| other.contains_key(key))
    }

    fn poll(&mut self, at: usize) {
        let first = self.registry.catalog().first_revision().0;
        let delivery = self.registry.poll_watch(self.watchers[at].id);
        self.note(&delivery);
        let watcher = &mut self.watchers[at];
        watcher.named = false;
        match delivery {
            Some(delivery) => watcher.receive(&delivery, &self.model, first),
            None if watcher.ahead.is_none() && !watcher.ended => {
                let now = Model::filtered(self.model.visible(), &watcher.selectors);
                assert_eq!(watcher.held, now, "L2: a watcher that is told nothing has seen everything");
            }
            None => {}
        }
        self.revisions_polled.extend(watcher.seen);
        assert_eq!(self.registry.poll_watch(self.watchers[at].id), None, "a second poll gives nothing");
    }

    fn bookmark(&mut self, watch: u8) {
        if self.watchers.is_empty() {
            return;
        }
        let at = usize::from(watch) % self.watchers.len();
        let cursor = self.registry.poll_bookmark(self.watchers[at].id);
        let watcher = &mut self.watchers[at];
        if let Some(cursor) = cursor {
            assert_eq!(cursor.revision.0, self.model.revision());
            let now = Model::filtered(self.model.visible(), &watcher.selectors);
            assert_eq!(watcher.held, now, "W9: a bookmark says that everything was delivered");
            watcher.seen = Some(cursor.revision.0);
        }
    }

    // Time.

    fn advance(&mut self, by: Duration) {
        let until = self.now.saturating_add(by);
        let mut turns = 0;
        while let Some(at) = self.registry.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.timeout();
            turns += 1;
            assert!(turns < 10_000, "L3: the registry spins");
        }
        self.now = until;
        self.timeout();
    }

    fn timeout(&mut self) {
        let announced = self.registry.poll_timeout();
        let earliest = self.model.held.iter().map(|held| held.deadline).min();
        if let Some(earliest) = earliest {
            assert!(announced.is_some_and(|at| at <= earliest), "R5: {announced:?} is after the deadline {earliest:?}");
        }
        self.registry.handle_timeout(self.now);
        let next = self.registry.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "L3: {next:?} is not after {:?}", self.now);
        if self.registry.usage().leases > 0 {
            let second = Some(self.now.saturating_add(Duration::from_secs(1)));
            assert!(next.is_some() && next <= second, "K2: a driver that stalls from now on is not missed");
        }
        self.model.now = self.model.now.max(self.now);
        let mut events = vec![];
        while let Some(event) = self.registry.poll_event() {
            events.push(event);
        }
        let expired: Vec<Key> =
            events.iter().filter(|event| event.kind.name() == "expired").filter_map(about).collect();
        self.model.handle_timeout(announced, &expired);
        self.compare_events(&events);
        let cursor = self.registry.cursor();
        self.registry.handle_timeout(self.now);
        assert_eq!(self.registry.cursor(), cursor, "a timeout too many does nothing");
        assert!(self.registry.poll_event().is_none(), "a timeout too many says nothing");
        for watcher in &mut self.watchers {
            if watcher.ahead.is_some_and(|(revision, until)| until <= self.now && revision > self.model.revision()) {
                watcher.ended = true;
            }
        }
    }

    fn restart(&mut self, same_epoch: bool) {
        let state = self.registry.export();
        let bytes = serde_json::to_vec(&state).expect("plain data");
        let state = serde_json::from_slice(&bytes).expect("plain data");
        self.epoch += 1;
        let epoch = (!same_epoch).then(|| Epoch(format!("e{}", self.epoch).into()));
        let config = *self.registry.config();
        let seed = [self.epoch as u8; 32];
        let restored = Registry::restore(config, seed, &state, epoch, self.now, WallTime(1_700_000_000_000));
        self.registry = restored.expect("a state that was exported is restored");
        if same_epoch {
            assert_eq!(self.registry.export(), state, "what is restored is what was exported");
        }
        self.model.restart();
        self.watchers.clear();
    }

    // What must hold after every step.

    fn compare_events(&mut self, events: &[Event]) {
        for event in events {
            self.note(event);
        }
        let mut said: Vec<Said> = events.iter().map(|event| (event.kind.name(), about(event))).collect();
        let mut expected = std::mem::take(&mut self.model.said);
        // Alarms of several namespaces come in no order that the model knows.
        let rank = |said: &Said| usize::from(said.0.starts_with("alarm"));
        said.sort_by_key(rank);
        expected.sort_by_key(rank);
        assert_eq!(said, expected, "the events");
    }

    fn check(&mut self) {
        let mut events = vec![];
        while let Some(event) = self.registry.poll_event() {
            events.push(event);
        }
        self.compare_events(&events);
        while let Some(id) = self.registry.poll_ready() {
            let watcher = self.watchers.iter_mut().find(|watcher| watcher.id == id).expect("an open watch");
            assert!(!watcher.named, "a watch is named once until it takes its turn");
            watcher.named = true;
        }
        assert!(self.registry.poll_event().is_none() && self.registry.poll_ready().is_none(), "a second drain is dry");
        self.registry.assert_consistent();

        let cursor = self.registry.cursor();
        assert_eq!(cursor.revision.0, self.model.revision(), "R8: one revision for each visible change");
        self.compare_visible(cursor.revision.0);
        let first = self.registry.catalog().first_revision().0;
        self.compare_visible(first + self.step % (cursor.revision.0 - first + 1));
        for held in &self.model.held {
            let view = self.registry.instance(&held.key).expect("it is held");
            assert_eq!(view.deadline, held.deadline, "the deadline of {:?}", held.key);
            assert_eq!(view.generation, held.generation);
        }
        let usage = self.registry.usage();
        assert_eq!(
            (usage.instances, usage.leases),
            (self.model.held.len(), self.model.held.len()),
            "R1: one lease each"
        );
        assert_eq!(usage.bytes, self.model.held.iter().map(|held| held.shown.size()).sum::<usize>(), "R10: the bytes");
        assert_eq!(self.registry.warming_until(), self.model.warming_until, "the warm-up");
        let alarms: BTreeSet<&Namespace> = self.registry.alarms().map(|alarm| &alarm.namespace).collect();
        assert_eq!(alarms, self.model.alarms.iter().collect(), "R14: the alarms");

        for watcher in self.watchers.iter_mut() {
            if watcher.ahead.is_some_and(|(revision, _)| revision <= cursor.revision.0) && !watcher.ended {
                let (revision, _) = watcher.ahead.take().expect("it was ahead");
                watcher.held = Visible::new();
                for (selector, since) in watcher.selectors.iter().zip(&watcher.since) {
                    let since = since.filter(|&since| since >= self.model.first && since <= revision);
                    if let Some(since) = since {
                        let visible = self.model.visible_at(since);
                        watcher.held.extend(Model::filtered(visible, from_ref(selector)));
                    }
                }
            }
            let pending = watcher.ended && watcher.ahead.is_some();
            let behind = watcher.ahead.is_none()
                && !watcher.ended
                && (watcher.is_fresh()
                    || watcher.warming != self.model.warming_until.is_some()
                    || watcher.held != Model::filtered(self.model.visible(), &watcher.selectors));
            assert!(!(behind || pending) || watcher.named, "L2: a watcher that has something to see is named");
        }
    }

    fn compare_visible(&self, revision: u64) {
        let at = self.registry.catalog().at(Revision(revision), None, None).expect("it is retained");
        let at: Visible = at.into_iter().map(|(key, listed)| (key, (listed.instance, listed.ttl_ms))).collect();
        assert_eq!(at, *self.model.visible_at(revision), "the registry as it was at revision {revision}");
    }

    fn finish(mut self) -> u64 {
        for at in 0..self.watchers.len() {
            self.poll(at);
        }
        self.check();
        for watcher in self.watchers.iter().filter(|watcher| watcher.ahead.is_none() && !watcher.ended) {
            let now = Model::filtered(self.model.visible(), &watcher.selectors);
            assert_eq!(watcher.held, now, "W5: in the end every watcher has seen everything");
        }
        let state = serde_json::to_vec(&self.registry.export()).expect("plain data");
        self.note(&state);
        self.hash
    }
}

fn about(event: &Event) -> Option<Key> {
    let subject = event.kind.subject()?;
    let service = &subject.service;
    Some(Key::new(service.namespace.clone(), service.service.clone(), subject.instance.instance_id()))
}

fn refusal(error: &RegisterError) -> &'static str {
    match error {
        RegisterError::Blocked { .. } => "blocked",
        RegisterError::Ended => "ended",
        RegisterError::Limit(_) => "limit",
        RegisterError::OperationReused { .. } => "reused",
        RegisterError::Outdated { .. } => "outdated",
        RegisterError::Since { .. } => "since",
        RegisterError::Superseded => "superseded",
        RegisterError::Taken => "taken",
        RegisterError::Ttl { .. } => "ttl",
        _ => "other",
    }
}

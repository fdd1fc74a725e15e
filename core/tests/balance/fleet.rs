//! A fleet in virtual time: instances with latencies, and callers that a balancer serves.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use periplus_core::balance::{BalanceConfig, Balancer, CallOutcome, Filter, Pick, PickError, PickRequest};
use periplus_core::fault::Faults;
use periplus_core::{Instance, InstanceId, Instant, ServiceInstance, ServiceName};

pub(crate) fn id(id: &str) -> InstanceId {
    InstanceId::new(id).unwrap()
}

pub(crate) fn plain(id: &str) -> ServiceInstance {
    ServiceInstance::new(ServiceName::new("web").unwrap(), self::id(id))
}

pub(crate) fn weighed(id: &str, weight: u32) -> Instance {
    Instance::pack(&plain(id).with_metadata("weight", weight.to_string()))
}

/// `i0`, `i1`, … without weights.
pub(crate) fn equals(count: usize) -> Vec<Instance> {
    (0..count).map(|at| Instance::pack(&plain(&format!("i{at}")))).collect()
}

/// A balancer of these instances since the beginning.
pub(crate) fn balancer(config: BalanceConfig, instances: &[Instance]) -> Balancer {
    let mut balancer = Balancer::new(config, [7; 32]);
    balancer.update(instances.iter().cloned(), Instant::default());
    balancer
}

/// Random bits, the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct Bits(pub(crate) u64);

impl Bits {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// How an instance behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behaviour {
    /// What a call takes in the middle; each takes between a half and one and a half of it.
    pub(crate) latency: Duration,
    pub(crate) fails: bool,
}

impl Behaviour {
    pub(crate) const fn takes(millis: u64) -> Self {
        Self { latency: Duration::from_millis(millis), fails: false }
    }

    pub(crate) const fn failing(millis: u64) -> Self {
        Self { fails: true, ..Self::takes(millis) }
    }
}

#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) balancer: Balancer,
    pub(crate) now: Instant,
    pub(crate) bits: Bits,
    pub(crate) behaviours: BTreeMap<String, Behaviour>,
    in_flight: BinaryHeap<Reverse<(Instant, u64)>>,
    picks: BTreeMap<u64, (Pick, CallOutcome)>,
    made: u64,
}

/// Calls by instance.
pub(crate) type Calls = BTreeMap<String, u64>;

impl Fleet {
    /// A fleet in which everybody answers after 10 ms.
    pub(crate) fn new(config: BalanceConfig, faults: Faults, instances: &[Instance]) -> Self {
        Self {
            balancer: balancer(BalanceConfig { faults, ..config }, instances),
            now: Instant::default(),
            bits: Bits(0x1234_5678_9abc_def1),
            behaviours: BTreeMap::new(),
            in_flight: BinaryHeap::new(),
            picks: BTreeMap::new(),
            made: 0,
        }
    }

    pub(crate) fn behaves(&mut self, id: &str, behaviour: Behaviour) {
        self.behaviours.insert(id.into(), behaviour);
    }

    /// Calls at an even rate for a while, and says who was called.
    pub(crate) fn run(&mut self, span: Duration, a_second: u64) -> Calls {
        self.run_in(None, span, a_second)
    }

    /// The same in a view.
    pub(crate) fn run_in(&mut self, view: Option<&Filter>, span: Duration, a_second: u64) -> Calls {
        let gap = Duration::from_micros(1_000_000 / a_second);
        let end = self.now.saturating_add(span);
        let mut calls = Calls::new();
        while self.now < end {
            let id = self.call(view).expect("somebody to call");
            *calls.entry(id).or_default() += 1;
            self.pass(gap);
        }
        calls
    }

    /// Starts a call.
    pub(crate) fn call(&mut self, view: Option<&Filter>) -> Result<String, PickError> {
        let picker = match view {
            Some(filter) => self.balancer.view(filter),
            None => self.balancer.picker().clone(),
        };
        let pick = picker.pick(&PickRequest::new(self.bits.next()), self.now)?;
        let id = pick.node().id().to_string();
        let behaviour = self.behaviours.get(&id).copied().unwrap_or(Behaviour::takes(10));
        let micros = behaviour.latency.as_micros() as u64;
        let took = micros / 2 + self.bits.next() % (micros + 1);
        let outcome = if behaviour.fails { CallOutcome::Failure } else { CallOutcome::Success };
        self.made += 1;
        self.in_flight.push(Reverse((self.now.saturating_add(Duration::from_micros(took)), self.made)));
        self.picks.insert(self.made, (pick, outcome));
        Ok(id)
    }

    /// Lets time pass: calls end, and what is due is done.
    pub(crate) fn pass(&mut self, span: Duration) {
        let until = self.now.saturating_add(span);
        loop {
            let ends = self.in_flight.peek().map(|Reverse((at, _))| *at);
            let next = ends.into_iter().chain(self.balancer.poll_timeout()).min().filter(|&at| at <= until);
            let Some(at) = next else { break };
            self.now = self.now.max(at);
            if ends == Some(at) {
                let Some(Reverse((_, number))) = self.in_flight.pop() else { continue };
                let (pick, outcome) = self.picks.remove(&number).unwrap();
                let wants = pick.done(outcome, self.now);
                assert!(!wants || self.balancer.poll_timeout().is_some(), "what is pending is not silent");
            } else {
                self.balancer.handle_timeout(self.now);
                let next = self.balancer.poll_timeout();
                assert!(next.is_none_or(|next| next > self.now), "the next timeout is later: {next:?}");
            }
        }
        self.now = until;
    }

    pub(crate) fn ejected(&self) -> Vec<String> {
        self.balancer.ejected().map(|(id, _)| id.to_string()).collect()
    }
}

/// The share of calls that an instance had, in percent.
pub(crate) fn percent(calls: &Calls, id: &str) -> f64 {
    let all: u64 = calls.values().sum();
    *calls.get(id).unwrap_or(&0) as f64 * 100.0 / all as f64
}

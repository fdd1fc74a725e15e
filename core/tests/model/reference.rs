//! The model: what a registry is, without any thought for speed.

use std::collections::BTreeMap;
use std::time::Duration;

use periplus_core::config::{Collision, Config};
use periplus_core::{Instance, Instant, Key, Lease, LeaseError, Namespace, Patch, Selector, ServiceInstance};

/// What everyone can see at one revision.
pub type Visible = BTreeMap<Key, (Instance, u32)>;

#[derive(Clone, Debug)]
pub struct Held {
    pub key: Key,
    pub base: ServiceInstance,
    pub shown: Instance,
    pub ttl: Duration,
    pub lease: Lease,
    pub generation: u64,
    pub holder: u128,
    pub sequence: u64,
    pub deadline: Instant,
    /// It was kept beyond its deadline because of an alarm, until then.
    pub kept_until: Option<Instant>,
}

/// What a registration comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Registered,
    Repeated,
    Replaced,
    Superseded,
    Refused(&'static str),
}

/// What a registry should say of an event: its name, and the instance it is about.
pub type Said = (&'static str, Option<Key>);

pub struct Model {
    pub config: Config,
    pub now: Instant,
    pub held: Vec<Held>,
    /// Leases that ended, and how.
    pub ended: Vec<(Lease, LeaseError)>,
    /// Commands of a holder for a key that are over, up to a sequence; whether another holder had taken the key.
    pub over: Vec<(Key, u128, u64, bool)>,
    pub overlays: Vec<(Key, BTreeMap<String, Option<String>>)>,
    pub blocks: Vec<(Key, Instant)>,
    /// Everything visible at each revision.
    pub past: Vec<Visible>,
    /// The revisions in `past` start here.
    pub first: u64,
    pub warming_until: Option<Instant>,
    /// Expiries, for the alarm.
    pub expired: Vec<(Namespace, Instant)>,
    pub alarms: Vec<Namespace>,
    /// How many expiries there were, and the part of the window, when the alarms were looked at last.
    pub looked: (usize, u64),
    pub said: Vec<Said>,
}

pub const DAY: Duration = Duration::from_secs(24 * 3600);

impl Model {
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            now,
            held: vec![],
            ended: vec![],
            over: vec![],
            overlays: vec![],
            blocks: vec![],
            past: vec![Visible::new()],
            first: 0,
            warming_until: (config.warm_up > Duration::ZERO).then(|| now.saturating_add(config.warm_up)),
            expired: vec![],
            alarms: vec![],
            looked: (0, 0),
            said: vec![],
        }
    }

    pub fn revision(&self) -> u64 {
        self.first + self.past.len() as u64 - 1
    }

    pub fn visible(&self) -> &Visible {
        self.past.last().expect("there is a present")
    }

    pub fn visible_at(&self, revision: u64) -> &Visible {
        &self.past[usize::try_from(revision - self.first).expect("a revision of the run")]
    }

    pub fn find(&self, key: &Key) -> Option<usize> {
        self.held.iter().position(|held| held.key == *key)
    }

    /// The live lease, or how it ended.
    pub fn by_lease(&self, lease: &Lease) -> Result<usize, LeaseError> {
        if let Some(at) = self.held.iter().position(|held| held.lease == *lease) {
            return Ok(at);
        }
        Err(self.ended.iter().find(|(ended, _)| ended == lease).map_or(LeaseError::Unknown, |(_, how)| *how))
    }

    /// One visible change, one revision; none, none.
    fn show(&mut self, key: &Key, shown: Option<(Instance, u32)>) -> bool {
        let mut next = self.visible().clone();
        let before = next.get(key).cloned();
        match &shown {
            Some(shown) => drop(next.insert(key.clone(), shown.clone())),
            None => drop(next.remove(key)),
        }
        if before != shown {
            self.past.push(next);
        }
        before != shown
    }

    fn under_overlay(&self, key: &Key, base: &ServiceInstance) -> Instance {
        let mut shown = base.clone();
        for (_, metadata) in self.overlays.iter().filter(|(of, _)| of == key) {
            shown.apply(&Patch { metadata: metadata.clone(), ..Patch::default() });
        }
        Instance::pack(&shown)
    }

    fn bytes(&self) -> usize {
        self.held.iter().map(|held| held.shown.size()).sum()
    }

    fn is_full(&self, key: &Key, shown: &Instance, replaces: Option<usize>) -> bool {
        let limits = &self.config.limits;
        let old = replaces.map_or(0, |at| self.held[at].shown.size());
        let crowded = shown.size() > old && self.bytes() + shown.size() - old > limits.bytes;
        if replaces.is_some() {
            return crowded;
        }
        let same_service = |held: &&Held| held.key.namespace == key.namespace && held.key.service == key.service;
        let mut services: Vec<_> = self.held.iter().map(|held| (&held.key.namespace, &held.key.service)).collect();
        services.sort();
        services.dedup();
        let mut namespaces: Vec<_> = services.iter().map(|(namespace, _)| namespace).collect();
        namespaces.dedup();
        let new_service = !services.contains(&(&key.namespace, &key.service));
        let new_namespace = !namespaces.contains(&&&key.namespace);
        crowded
            || self.held.len() >= limits.instances
            || self.held.iter().filter(same_service).count() >= limits.instances_per_service
            || (new_service && services.len() >= limits.services)
            || (new_namespace && namespaces.len() >= limits.namespaces)
    }

    /// Decides what a registration comes to, without changing anything.
    #[allow(clippy::too_many_arguments, reason = "a registration says this much")]
    pub fn judge(
        &self,
        key: &Key,
        base: &ServiceInstance,
        ttl: Duration,
        holder: u128,
        sequence: u64,
        reclaim: Option<u64>,
        since: Option<u64>,
    ) -> Verdict {
        let refused = Verdict::Refused;
        if ttl < self.config.ttl.min || ttl > self.config.ttl.max {
            return refused("ttl");
        }
        if since.is_some_and(|since| since > sequence) {
            return refused("since");
        }
        if self.blocks.iter().any(|(blocked, until)| blocked == key && *until > self.now) {
            return refused("blocked");
        }
        let over = self.over.iter().filter(|(of, by, ..)| of == key && *by == holder && holder != 0);
        // The first that was told of a sequence counts.
        if let Some((.., upto, taken)) = over.rev().max_by_key(|(.., upto, _)| *upto) {
            let taken = *taken || self.find(key).is_some_and(|at| self.held[at].holder != holder);
            if taken && (since.unwrap_or(sequence)..=sequence).contains(upto) {
                return refused("superseded");
            }
            if sequence <= *upto {
                return refused("ended");
            }
        }
        let shown = self.under_overlay(key, base);
        let Some(at) = self.find(key) else {
            return if self.is_full(key, &shown, None) { refused("limit") } else { Verdict::Registered };
        };
        let held = &self.held[at];
        let same = holder != 0 && holder == held.holder;
        if same && sequence < held.sequence {
            return refused("outdated");
        }
        if same && sequence == held.sequence {
            let equal = held.base == *base && held.ttl == ttl;
            return if equal { Verdict::Repeated } else { refused("reused") };
        }
        if !same && reclaim.is_some_and(|reclaim| held.generation > reclaim) {
            return refused("superseded");
        }
        if !same && self.config.collision == Collision::Refuse {
            return refused("taken");
        }
        if self.is_full(key, &shown, Some(at)) {
            return refused("limit");
        }
        if same { Verdict::Replaced } else { Verdict::Superseded }
    }

    /// Carries out what was judged. The lease and the generation are the real registry's; the caller has checked that
    /// they are new and rising.
    #[allow(clippy::too_many_arguments, reason = "a registration says this much")]
    pub fn register(
        &mut self,
        verdict: &Verdict,
        key: &Key,
        base: ServiceInstance,
        ttl: Duration,
        holder: u128,
        sequence: u64,
        lease: Lease,
        generation: u64,
    ) {
        let deadline = self.now.saturating_add(ttl);
        match verdict {
            Verdict::Refused(_) => return,
            Verdict::Repeated => {
                let at = self.find(key).expect("it was found");
                self.held[at].deadline = self.held[at].deadline.max(deadline);
                return;
            }
            Verdict::Registered => {}
            Verdict::Replaced | Verdict::Superseded => {
                let at = self.find(key).expect("it was found");
                let old = self.held.remove(at);
                self.over.push((key.clone(), old.holder, old.sequence, *verdict == Verdict::Superseded));
                self.ended.push((old.lease, LeaseError::Superseded));
            }
        }
        let shown = self.under_overlay(key, &base);
        self.show(key, Some((shown.clone(), ttl.as_millis() as u32)));
        self.said.push((if *verdict == Verdict::Superseded { "superseded" } else { "registered" }, Some(key.clone())));
        let key = key.clone();
        self.held.push(Held { key, base, shown, ttl, lease, generation, holder, sequence, deadline, kept_until: None });
    }

    pub fn renew(&mut self, lease: &Lease) -> Result<(), LeaseError> {
        let at = self.by_lease(lease)?;
        let held = &mut self.held[at];
        if held.deadline < self.now.saturating_add(held.ttl / 4) {
            self.said.push(("renewed_late", Some(held.key.clone())));
        }
        held.deadline = held.deadline.max(self.now.saturating_add(held.ttl));
        Ok(())
    }

    pub fn update(&mut self, lease: &Lease, patch: &Patch, sequence: Option<u64>) -> Result<bool, &'static str> {
        let at = self.by_lease(lease).map_err(LeaseError::code)?;
        let held = &self.held[at];
        if sequence.is_some_and(|sequence| sequence < held.sequence) {
            return Err("outdated");
        }
        let mut base = held.base.clone();
        base.apply(patch);
        let key = held.key.clone();
        let shown = self.under_overlay(&key, &base);
        if self.is_full(&key, &shown, Some(at)) {
            return Err("limit");
        }
        let held = &mut self.held[at];
        (held.base, held.shown) = (base, shown.clone());
        held.sequence = sequence.unwrap_or(held.sequence);
        let ttl_ms = held.ttl.as_millis() as u32;
        let changed = self.show(&key, Some((shown, ttl_ms)));
        if changed {
            self.said.push(("updated", Some(key)));
        }
        Ok(changed)
    }

    fn take_out(&mut self, at: usize, how: LeaseError, said: &'static str) {
        let held = self.held.remove(at);
        self.over.push((held.key.clone(), held.holder, held.sequence, false));
        self.ended.push((held.lease, how));
        self.show(&held.key, None);
        self.said.push((said, Some(held.key)));
    }

    pub fn deregister(&mut self, lease: &Lease, sequence: Option<u64>) -> Result<(), LeaseError> {
        match self.by_lease(lease) {
            Ok(at) => {
                let held = &mut self.held[at];
                held.sequence = held.sequence.max(sequence.unwrap_or(0));
                self.take_out(at, LeaseError::Deregistered, "deregistered");
                Ok(())
            }
            Err(LeaseError::Deregistered) => Ok(()),
            Err(how) => Err(how),
        }
    }

    pub fn abandon(&mut self, key: &Key, holder: u128, sequence: u64) -> bool {
        if holder == 0 {
            return false;
        }
        let at = self.find(key).filter(|&at| self.held[at].holder == holder && self.held[at].sequence <= sequence);
        if let Some(at) = at {
            self.take_out(at, LeaseError::Deregistered, "deregistered");
        }
        self.over.push((key.clone(), holder, sequence, false));
        at.is_some()
    }

    pub fn overlay(&mut self, key: &Key, metadata: &BTreeMap<String, Option<String>>) -> Result<bool, &'static str> {
        let at = self.find(key).ok_or("not_found")?;
        let known = self.overlays.iter().position(|(of, _)| of == key);
        if known.is_none() && self.overlays.len() >= self.config.limits.overlays {
            return Err("limit");
        }
        let saved = self.overlays.clone();
        match known {
            Some(known) => self.overlays[known].1.extend(metadata.clone()),
            None => self.overlays.push((key.clone(), metadata.clone())),
        }
        self.look_again(at, "overlaid").inspect_err(|_| self.overlays = saved)
    }

    pub fn clear_overlay(&mut self, key: &Key, only: Option<&[String]>) -> Result<bool, &'static str> {
        let known = self.overlays.iter().position(|(of, _)| of == key).ok_or("not_found")?;
        let saved = self.overlays.clone();
        match only {
            Some(only) => self.overlays[known].1.retain(|key, _| !only.contains(key)),
            None => self.overlays[known].1.clear(),
        }
        if self.overlays[known].1.is_empty() {
            self.overlays.remove(known);
        }
        match self.find(key) {
            Some(at) => self.look_again(at, "overlay_cleared").inspect_err(|_| self.overlays = saved),
            None => Ok(false),
        }
    }

    fn look_again(&mut self, at: usize, said: &'static str) -> Result<bool, &'static str> {
        let key = self.held[at].key.clone();
        let shown = self.under_overlay(&key, &self.held[at].base);
        if self.is_full(&key, &shown, Some(at)) {
            return Err("limit");
        }
        self.held[at].shown = shown.clone();
        let changed = self.show(&key, Some((shown, self.held[at].ttl.as_millis() as u32)));
        if changed {
            self.said.push((said, Some(key)));
        }
        Ok(changed)
    }

    pub fn evict(&mut self, key: &Key, block: Option<Duration>) -> Result<bool, &'static str> {
        let at = self.find(key);
        if at.is_none() && block.is_none() {
            return Err("not_found");
        }
        if block.is_some_and(|block| block > DAY) {
            return Err("block");
        }
        if let Some(block) = block {
            self.blocks.retain(|(of, until)| of != key && *until > self.now);
            self.blocks.push((key.clone(), self.now.saturating_add(block)));
        }
        if let Some(at) = at {
            self.take_out(at, LeaseError::Evicted, "evicted");
        }
        Ok(at.is_some())
    }

    pub fn settle(&mut self) {
        if self.warming_until.take().is_some() {
            self.said.push(("settled", None));
        }
    }

    /// What passes with time. `announced` is when the registry had asked for this call.
    pub fn handle_timeout(&mut self, announced: Option<Instant>, expired: &[Key]) {
        let late = announced.map_or(Duration::ZERO, |at| self.now.saturating_since(at));
        if late > self.config.stall_threshold {
            for held in &mut self.held {
                held.deadline = held.deadline.max(self.now.saturating_add(late.min(held.ttl)));
            }
            let until = self.now.saturating_add(late.min(self.config.warm_up));
            self.warming_until = self.warming_until.map(|warming| warming.max(until));
            self.said.push(("stalled", None));
        }
        if self.warming_until.is_some_and(|until| until <= self.now) {
            self.settle();
        }
        if self.config.alarm.hold > Duration::ZERO {
            self.hold_back();
        }
        // Leases that are due at the same time may end in any order; the registry says in which they did.
        let mut latest = Instant::from_micros(0);
        for key in expired {
            let at = self.find(key).unwrap_or_else(|| panic!("{key:?} expired but was not there"));
            let deadline = self.held[at].deadline;
            assert!(deadline <= self.now, "R4: {key:?} expired at {:?}, but was due at {deadline:?}", self.now);
            assert!(deadline >= latest, "expiries come in the order of their deadlines");
            latest = deadline;
            self.expired.push((key.namespace.clone(), self.now));
            self.take_out(at, LeaseError::Expired, "expired");
        }
        let due = self.held.iter().find(|held| held.deadline <= self.now);
        assert!(due.is_none(), "L1: {due:?} was due and did not expire");
        self.sound_alarms();
    }

    /// The window moves on by an eighth of itself.
    fn part(&self, at: Instant) -> u64 {
        at.as_micros() / (self.config.alarm.window.as_micros() as u64 / 8).max(1)
    }

    fn window(&self, namespace: &Namespace) -> usize {
        let recent = |(of, at): &&(Namespace, Instant)| of == namespace && self.part(*at) + 8 > self.part(self.now);
        self.expired.iter().filter(recent).count()
    }

    fn instances(&self, namespace: &Namespace) -> usize {
        self.held.iter().filter(|held| held.key.namespace == *namespace).count()
    }

    fn exceeds(&self, expired: usize, of: usize) -> bool {
        expired >= self.config.alarm.minimum && expired * 100 > of * self.config.alarm.share as usize
    }

    fn hold_back(&mut self) {
        let first_time = |held: &Held| held.deadline <= self.now && held.kept_until != Some(held.deadline);
        let namespaces: Vec<Namespace> = self.held.iter().map(|held| held.key.namespace.clone()).collect();
        let until = self.now.saturating_add(self.config.alarm.hold);
        let mut done = vec![];
        for namespace in namespaces {
            let here = |held: &&Held| held.key.namespace == namespace && first_time(held);
            let count = self.held.iter().filter(here).count();
            if count == 0 || done.contains(&namespace) {
                continue;
            }
            let expired = self.window(&namespace) + count;
            let sounds =
                self.alarms.contains(&namespace) || self.exceeds(expired, self.instances(&namespace) + expired);
            if sounds {
                done.push(namespace);
            }
        }
        for namespace in done {
            for at in 0..self.held.len() {
                let held = &self.held[at];
                if held.key.namespace == namespace
                    && held.deadline <= self.now
                    && held.kept_until != Some(held.deadline)
                {
                    self.held[at].deadline = until;
                    self.held[at].kept_until = Some(until);
                    self.expired.push((namespace.clone(), self.now));
                }
            }
        }
    }

    fn sound_alarms(&mut self) {
        let (expired, part) = (self.expired.len(), self.part(self.now));
        let moved = !self.alarms.is_empty() && part > self.looked.1;
        if expired == self.looked.0 && !moved {
            return;
        }
        self.looked = (expired, part);
        let mut namespaces: Vec<Namespace> = self.expired.iter().map(|(namespace, _)| namespace.clone()).collect();
        namespaces.sort();
        namespaces.dedup();
        for namespace in namespaces {
            let expired = self.window(&namespace);
            let sounds = self.exceeds(expired, self.instances(&namespace) + expired);
            let sounding = self.alarms.contains(&namespace);
            if sounds && !sounding {
                self.alarms.push(namespace);
                self.said.push(("alarm", None));
            } else if !sounds && sounding {
                self.alarms.retain(|of| *of != namespace);
                self.said.push(("alarm_ended", None));
            }
        }
    }

    /// The registry was carried over a restart: everyone has a whole ttl to come back.
    /// How the leases before it ended is not remembered.
    pub fn restart(&mut self) {
        self.ended.clear();
        for held in &mut self.held {
            held.deadline = self.now.saturating_add(held.ttl);
            held.kept_until = None;
        }
        self.blocks.retain(|(_, until)| *until > self.now);
        self.expired.clear();
        self.looked.0 = 0;
        self.alarms.clear();
    }

    pub fn filtered(visible: &Visible, selectors: &[Selector]) -> Visible {
        let named = |key: &Key| {
            let service = periplus_core::ServiceKey::new(key.namespace.clone(), key.service.clone());
            selectors.iter().any(|selector| selector.contains(&service))
        };
        visible.iter().filter(|(key, _)| named(key)).map(|(key, shown)| (key.clone(), shown.clone())).collect()
    }
}

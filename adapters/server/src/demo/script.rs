//! What happens in the demo: a function of its seed.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use periplus_core::instance::{WEIGHT, ZONE};
use periplus_core::{Endpoint, NameError, ServiceInstance};

use super::cast::{self, CAST, HOSTS, HostId, Role};
use super::stories;
use crate::client::registration::Registration;
use crate::random::Random;

/// What the fleet, or its operator, is to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// An instance comes up.
    Register {
        /// Where.
        host: HostId,
        /// What.
        registration: Registration,
    },
    /// An instance changes its metadata.
    Change { host: HostId, id: String, metadata: BTreeMap<String, Option<String>> },
    /// An instance goes in good order.
    Deregister { host: HostId, id: String },
    /// An instance goes without a word.
    Crash { host: HostId, id: String },
    /// An instance renews late, once.
    Pause { host: HostId, id: String },
    /// The operator lays a status or weight over an instance.
    Overlay { service: String, id: String, key: &'static str, value: &'static str, reason: String },
    /// The operator takes it off.
    ClearOverlay { service: String, id: String, key: &'static str },
    /// The operator takes an instance out.
    Evict { service: String, id: String, reason: String, block_for: Duration },
}

/// Something that happens at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Beat {
    /// Who, and what: to be told.
    pub(super) line: Option<(String, String)>,
    pub(super) acts: Vec<Act>,
    /// Instances that other stories may use again.
    frees: Vec<String>,
}

/// An instance as the script knows it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its place in the cast.
    pub(super) role: usize,
    pub(super) host: HostId,
    pub(super) registration: Registration,
    /// A story is about it.
    pub(super) busy: bool,
}

/// The story, beat by beat, in its own time.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) random: Random,
    /// By id: ids are unique in the whole fleet.
    pub(super) members: BTreeMap<String, Member>,
    /// The version that each service runs.
    pub(super) versions: [[u32; 3]; CAST.len()],
    /// Services in the middle of a deployment.
    pub(super) deploying: [bool; CAST.len()],
    /// How many instances each service should have.
    pub(super) sizes: [usize; CAST.len()],
    agenda: BTreeMap<(Duration, u64), Beat>,
    planned: u64,
    now: Duration,
    next_story: Duration,
    on_host: [usize; HOSTS],
}

/// How the fleet moves in: so many instances at a time.
const MOVING_IN: usize = 10;

impl Script {
    /// The story of this seed, with about so many instances.
    pub(super) fn new(seed: u64, instances: usize) -> Self {
        let mut script = Self {
            random: Random::seeded(seed),
            members: BTreeMap::new(),
            versions: CAST.each_ref().map(|role| role.version),
            deploying: [false; CAST.len()],
            sizes: cast::sizes(instances),
            agenda: BTreeMap::new(),
            planned: 0,
            now: Duration::ZERO,
            next_story: Duration::from_secs(5),
            on_host: [0; HOSTS],
        };
        for (role, Role { name, owner, .. }) in CAST.iter().enumerate() {
            let size = script.sizes[role];
            let version = version_text(script.versions[role]);
            let text = format!("{size} instances of {version} move in, owned by {owner}");
            let begin = role as f64 * 0.2;
            script.tell(begin, name, text);
            for n in 0..size {
                let id = script.join(role, false);
                let act = script.register(&id);
                script.act(begin + (n / MOVING_IN) as f64 * 0.2, act);
            }
        }
        script
    }

    /// When the next beat is.
    pub(super) fn next_at(&self) -> Duration {
        self.agenda.first_key_value().map_or(self.next_story, |((at, _), _)| (*at).min(self.next_story))
    }

    /// The next beat.
    pub(super) fn step(&mut self) -> Beat {
        let due = self.agenda.first_key_value().is_some_and(|((at, _), _)| *at <= self.next_story);
        if due && let Some(((at, _), beat)) = self.agenda.pop_first() {
            self.now = self.now.max(at);
            for id in &beat.frees {
                if let Some(member) = self.members.get_mut(id) {
                    member.busy = false;
                }
                // A deployment frees its service under the service's name.
                if let Some(role) = CAST.iter().position(|role| role.name == id) {
                    self.deploying[role] = false;
                }
            }
            return beat;
        }
        self.now = self.now.max(self.next_story);
        stories::begin_one(self);
        self.next_story = self.now + Duration::from_secs_f64(3.0 + 4.0 * self.random.unit());
        Beat::default()
    }

    // What stories are made of.

    /// Tells something, so many seconds from now.
    pub(super) fn tell(&mut self, seconds: f64, who: &str, what: String) {
        self.plan(seconds, Beat { line: Some((who.into(), what)), ..Beat::default() });
    }

    /// Lets something happen.
    pub(super) fn act(&mut self, seconds: f64, act: Act) {
        self.plan(seconds, Beat { acts: vec![act], ..Beat::default() });
    }

    /// Lets other stories use an instance again, or deploy a service again.
    pub(super) fn free(&mut self, seconds: f64, name: &str) {
        self.plan(seconds, Beat { frees: vec![name.into()], ..Beat::default() });
    }

    fn plan(&mut self, seconds: f64, beat: Beat) {
        self.planned += 1;
        self.agenda.insert((self.now + Duration::from_secs_f64(seconds), self.planned), beat);
    }

    /// Adds an instance of a service at its current version, on the machine that has the fewest.
    pub(super) fn join(&mut self, role: usize, busy: bool) -> String {
        let start = self.random.below(HOSTS);
        let hosts = (0..HOSTS).map(|n| (start + n) % HOSTS);
        let host = hosts.min_by_key(|host| self.on_host[*host]).unwrap_or_default();
        self.on_host[host] += 1;
        let Role { name, owner, speaks, .. } = &CAST[role];
        let id = loop {
            let id = format!("{name}-{:05x}", self.random.next() & 0xf_ffff);
            if !self.members.contains_key(&id) {
                break id;
            }
        };
        let address = cast::address(host, self.random.below(250));
        let weight = ["5", "10", "10", "10", "20"][self.random.below(5)];
        let mut instance = ServiceInstance::new(name_of(name), name_of(&id))
            .with_version(version_text(self.versions[role]))
            .with_metadata("host", cast::host_name(host))
            .with_metadata("owner", *owner)
            .with_metadata(WEIGHT, weight)
            .with_metadata(ZONE, cast::zone(host));
        for (scheme, port) in *speaks {
            instance = instance.with_endpoint(Endpoint::foreign(format!("{scheme}://{address}:{port}")));
        }
        let registration = Registration { instance, ttl: Some(super::TTL) };
        self.members.insert(id.clone(), Member { role, host, registration, busy });
        id
    }

    /// Takes an instance out of the script; what becomes of it in the registry is the story's affair.
    pub(super) fn leave(&mut self, id: &str) {
        if let Some(member) = self.members.remove(id) {
            self.on_host[member.host] -= 1;
        }
    }

    /// The registration of an instance.
    pub(super) fn register(&self, id: &str) -> Act {
        let Member { host, registration, .. } = &self.members[id];
        Act::Register { host: *host, registration: registration.clone() }
    }

    /// The registration of an instance that says more than usual.
    pub(super) fn register_with(&self, id: &str, key: &str, value: &str) -> Act {
        let Member { host, registration, .. } = &self.members[id];
        let mut registration = registration.clone();
        registration.instance.metadata.insert(key.into(), value.into());
        Act::Register { host: *host, registration }
    }

    /// A change of one metadata key.
    pub(super) fn change(&self, id: &str, key: &str, value: Option<&str>) -> Act {
        let metadata = BTreeMap::from([(key.to_owned(), value.map(ToOwned::to_owned))]);
        Act::Change { host: self.members[id].host, id: id.into(), metadata }
    }

    /// The instances that no story is about.
    pub(super) fn idle(&self, filter: impl Fn(&Member) -> bool) -> Vec<String> {
        let idle = self.members.iter().filter(|(_, member)| !member.busy && filter(member));
        idle.map(|(id, _)| id.clone()).collect()
    }

    /// One of the instances that no story is about, for a story of its own.
    pub(super) fn take_one(&mut self) -> Option<String> {
        let idle = self.idle(|_| true);
        let id = self.random.pick(&idle)?.clone();
        self.take(&id);
        Some(id)
    }

    /// Marks an instance as one that a story is about.
    pub(super) fn take(&mut self, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.busy = true;
        }
    }
}

/// A name of the script's own making.
fn name_of<T: FromStr<Err = NameError>>(text: &str) -> T {
    text.parse().expect("the cast has good names")
}

/// A version as people write it.
pub(super) fn version_text([major, minor, patch]: [u32; 3]) -> String {
    format!("{major}.{minor}.{patch}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn beats(seed: u64, seconds: u64) -> Vec<(Duration, Beat)> {
        let mut script = Script::new(seed, 200);
        let mut beats = Vec::new();
        while script.next_at() < Duration::from_secs(seconds) {
            let at = script.next_at();
            beats.push((at, script.step()));
        }
        beats
    }

    #[test]
    fn one_seed_tells_one_story() {
        assert_eq!(beats(7, 300), beats(7, 300));
        assert_ne!(beats(7, 300), beats(8, 300));
    }

    #[test]
    fn the_story_goes_forward_only() {
        let beats = beats(3, 600);
        assert!(beats.is_sorted_by_key(|(at, _)| *at));
    }

    #[test]
    fn the_fleet_keeps_its_size_over_an_hour() {
        for seed in 0..5 {
            let mut script = Script::new(seed, 200);
            while script.next_at() < Duration::from_secs(3600) {
                script.step();
            }
            let size = script.members.len();
            assert!((150..=260).contains(&size), "seed {seed}: {size}");
            let stuck = script.members.values().filter(|member| member.busy).count();
            assert!(stuck < 120, "seed {seed}: {stuck} instances are in stories");
        }
    }

    /// What a registry would hold if it did as it is told.
    #[test]
    fn no_act_is_about_an_instance_that_is_not_there() {
        for seed in 0..10 {
            let mut there = BTreeSet::new();
            let mut services = BTreeSet::new();
            for (at, beat) in beats(seed, 1800) {
                for act in beat.acts {
                    match &act {
                        Act::Register { registration, .. } => {
                            services.insert(registration.service().to_owned());
                            assert!(there.insert(registration.id().to_owned()), "{at:?}: {act:?}");
                        }
                        Act::Deregister { id, .. } | Act::Crash { id, .. } => {
                            assert!(there.remove(id), "{at:?}: {act:?}");
                        }
                        Act::Change { id, .. }
                        | Act::Pause { id, .. }
                        | Act::Overlay { id, .. }
                        | Act::ClearOverlay { id, .. }
                        | Act::Evict { id, .. } => assert!(there.contains(id), "{at:?}: {act:?}"),
                    }
                }
            }
            assert_eq!(services.len(), CAST.len());
        }
    }

    #[test]
    fn half_an_hour_shows_everything_that_can_happen() {
        let (mut kinds, mut lines) = (BTreeSet::new(), 0);
        for (_, beat) in beats(1, 1800) {
            lines += usize::from(beat.line.is_some());
            kinds
                .extend(beat.acts.iter().map(|act| format!("{act:?}").split([' ', '{']).next().map(ToOwned::to_owned)));
        }
        assert_eq!(kinds.len(), 8, "{kinds:?}");
        assert!(lines > 300, "{lines} lines");
    }
}

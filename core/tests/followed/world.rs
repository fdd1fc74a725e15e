//! A registry with all its past, and the streams that tell of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use periplus_core::client::subscription::{Delivery, Following, Told};
use periplus_core::{
    Cursor, Epoch, Instance, InstanceId, Key, Namespace, Revision, Selector, ServiceInstance, ServiceKey, ServiceName,
};

/// What is registered, with the ttl if the registry says it.
pub type State = BTreeMap<Key, (Instance, Option<Duration>)>;

/// A revision of a life.
pub type Place = (usize, u64);

/// For each revision of one epoch what was changed and what was there after it.
type Life = Vec<(Option<Key>, State)>;

pub struct World {
    lives: Vec<Life>,
    pub warming: bool,
    /// Changes up to here are forgotten.
    pub floor: u64,
}

impl World {
    pub fn new() -> Self {
        Self { lives: vec![vec![(None, State::new())]], warming: false, floor: 0 }
    }

    pub fn latest(&self) -> Place {
        (self.lives.len() - 1, self.lives.last().expect("there is one").len() as u64 - 1)
    }

    pub fn at(&self, (life, revision): Place) -> &State {
        &self.lives[life][revision as usize].1
    }

    /// A revision that was, or is.
    pub fn some_place(&self, life: u8, revision: u8) -> Place {
        let life = usize::from(life) % self.lives.len();
        (life, u64::from(revision) % self.lives[life].len() as u64)
    }

    pub fn put(&mut self, key: Key, look: u8, ttl: u8) {
        let ttl = [Some(5), Some(20), Some(40), None][usize::from(ttl % 4)].map(Duration::from_secs);
        let instance = instance(&key, look);
        self.change(key, Some((instance, ttl)));
    }

    pub fn remove(&mut self, key: Key) {
        self.change(key, None);
    }

    fn change(&mut self, key: Key, after: Option<(Instance, Option<Duration>)>) {
        let life = self.lives.last_mut().expect("there is one");
        let mut state = life.last().expect("it began").1.clone();
        let before = match after.clone() {
            Some(after) => state.insert(key.clone(), after),
            None => state.remove(&key),
        };
        if before != after {
            life.push((Some(key), state));
        }
    }

    /// It has forgotten everything, and says so.
    pub fn restart(&mut self) {
        self.lives.push(vec![(None, State::new())]);
        (self.warming, self.floor) = (true, 0);
    }

    /// Whether it was there in this life, up to now.
    pub fn was_there(&self, key: &Key, (life, revision): Place) -> bool {
        self.lives[life][..=revision as usize].iter().any(|(_, state)| state.contains_key(key))
    }

    /// What was touched after one revision, up to another, the last touched last.
    fn touched(&self, life: usize, from: u64, to: u64) -> Vec<(u64, Key)> {
        let mut touched: BTreeMap<Key, u64> = BTreeMap::new();
        for revision in from + 1..=to {
            touched.extend(self.lives[life][revision as usize].0.clone().map(|key| (key, revision)));
        }
        let mut touched: Vec<(u64, Key)> = touched.into_iter().map(|(key, revision)| (revision, key)).collect();
        touched.sort();
        touched
    }
}

/// Who answers a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The registry.
    Current,
    /// Somebody who has stopped at this place.
    Behind(Place),
}

pub struct Stream {
    pub following: Following,
    pub server: Server,
    /// What is told of, and up to where it was.
    told: Vec<(Selector, Option<Place>)>,
    /// In which stretch between suspensions it said something first.
    pub since: Option<u64>,
    /// What it said last.
    pub last: Option<Said>,
}

/// A delivery, and what it is made of.
#[derive(Clone)]
pub struct Said {
    pub delivery: Delivery,
    pub place: Place,
    pub touched: BTreeSet<Key>,
}

impl Stream {
    pub fn open(asked: &[(Selector, Option<Place>)], server: Server) -> Self {
        let covers = |wide: &Selector, other: &Selector| wide != other && covers(wide, other);
        let distinct = asked.iter().filter(|(s, _)| !asked.iter().any(|(wide, _)| covers(wide, s))).cloned();
        let told = distinct.collect();
        let following = Following::new(asked.iter().map(|(selector, _)| selector.clone()).collect());
        Self { following, server, told, since: None, last: None }
    }

    /// What a registry says next. Nothing, if it is behind what was seen of it. It may say less than it could.
    pub fn speak(&mut self, world: &World, less: u8) -> Option<Said> {
        let (life, mut to) = match self.server {
            Server::Current => world.latest(),
            Server::Behind(place) => place,
        };
        let whole = |at: &Option<Place>| at.is_none_or(|at| at.0 != life || at.1 < world.floor);
        if self.told.iter().all(|(_, at)| !whole(at)) {
            let seen = self.told.iter().filter_map(|(_, at)| *at).map(|(_, revision)| revision).max();
            to = to.saturating_sub(less.into()).max(seen.unwrap_or(0).min(to));
        }
        if self.told.iter().any(|(_, at)| !whole(at) && at.is_some_and(|at| at.1 > to)) {
            return None;
        }
        let cursor = Some(cursor((life, to)));
        let warming = self.server == Server::Current && world.warming;
        let mut delivery = Delivery { cursor, warming, ..Delivery::default() };
        let mut touched = BTreeSet::new();
        let mut changes = vec![];
        for (selector, at) in &mut self.told {
            let state = world.at((life, to));
            if whole(at) {
                let listed = state.iter().filter(|(key, _)| contains(selector, key)).map(|(_, put)| put.clone());
                delivery.snapshots.push((selector.clone(), listed.collect()));
            } else {
                let from = at.expect("it was told").1;
                changes.extend(world.touched(life, from, to).into_iter().filter(|(_, key)| contains(selector, key)));
            }
            *at = Some((life, to));
        }
        changes.sort();
        for (_, key) in changes {
            let told = match world.at((life, to)).get(&key) {
                Some((instance, ttl)) => Told::Put(instance.clone(), *ttl),
                None => Told::Remove(key.id.clone(), "expired".into()),
            };
            delivery.changes.push((ServiceKey::new(key.namespace.clone(), key.service.clone()), told));
            touched.insert(key);
        }
        let said = Said { delivery, place: (life, to), touched };
        self.last = Some(said.clone());
        Some(said)
    }
}

pub fn cursor((life, revision): Place) -> Cursor {
    Cursor { epoch: Epoch(format!("e{life}").into()), revision: Revision(revision) }
}

pub fn place(cursor: &Cursor) -> Place {
    (cursor.epoch.0[1..].parse().expect("an epoch of the world"), cursor.revision.0)
}

pub fn contains(selector: &Selector, key: &Key) -> bool {
    selector.contains(&ServiceKey::new(key.namespace.clone(), key.service.clone()))
}

pub fn covers(wide: &Selector, other: &Selector) -> bool {
    match (wide, other) {
        (Selector::Prefix { namespace, prefix }, Selector::Prefix { namespace: ns, prefix: longer }) => {
            namespace == ns && longer.starts_with(prefix.as_str())
        }
        (wide, Selector::Service(key)) => wide.contains(key),
        _ => false,
    }
}

fn name(number: u8, of: &[&'static str]) -> &'static str {
    of[usize::from(number) % of.len()]
}

pub fn key(number: u8) -> Key {
    Key::new(
        Namespace::new(name(number / 128, &["default", "b"])).expect("a name"),
        ServiceName::new(name(number / 4, &["web", "web-2", "api"])).expect("a name"),
        InstanceId::new(name(number, &["a", "b", "c", "d"])).expect("a name"),
    )
}

fn instance(key: &Key, look: u8) -> Instance {
    let plain = ServiceInstance::new(key.service.clone(), key.id.clone());
    Instance::pack(&if look.is_multiple_of(3) { plain } else { plain.with_metadata("look", (look % 3).to_string()) })
}

pub fn selector(number: u8) -> Selector {
    let (default, other) = (Namespace::default(), Namespace::new("b").expect("a name"));
    let service = |namespace: &Namespace, name: &str| {
        Selector::Service(ServiceKey::new(namespace.clone(), ServiceName::new(name).expect("a name")))
    };
    let prefix =
        |namespace: &Namespace, prefix: &str| Selector::Prefix { namespace: namespace.clone(), prefix: prefix.into() };
    match number % 8 {
        0 => service(&default, "web"),
        1 => service(&default, "web-2"),
        2 => service(&default, "api"),
        3 => prefix(&default, "web"),
        4 => prefix(&default, ""),
        5 => prefix(&other, ""),
        6 => service(&other, "web"),
        _ => prefix(&default, "web-"),
    }
}

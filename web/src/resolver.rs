//! Whom a client would get, and why not the others: worked out by the code that clients run.

use periplus_core::balance::{BalanceConfig, Balancer, Filter, Picker, Policy, Subset};
use periplus_core::query::Query;
use periplus_core::{Instance, InstanceId, Instant, Status};
use smol_str::SmolStr;

use crate::fleet::Service;
use crate::route::Route;

/// The policies by name.
pub const POLICIES: [(&str, Policy); 6] = [
    ("p2c", Policy::P2c),
    ("weighted round robin", Policy::WeightedRoundRobin),
    ("weighted random", Policy::WeightedRandom),
    ("least request", Policy::LeastRequest),
    ("ring hash", Policy::Ring),
    ("Maglev", Policy::Maglev),
];

/// A client, as the address describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Its zone, which it prefers.
    pub zone: SmolStr,
    /// What lets instances pass.
    pub filter: SmolStr,
    /// How many it connects to; all, if 0.
    pub size: usize,
    /// What tells it from others.
    pub key: SmolStr,
    /// The place of its policy.
    pub policy: usize,
}

impl Client {
    /// The one that an address describes.
    #[must_use]
    pub fn of(route: &Route) -> Self {
        Self {
            zone: route.arg("zone").into(),
            filter: route.arg("filter").into(),
            size: route.arg("size").parse().unwrap_or(0),
            key: route.arg("key").into(),
            policy: POLICIES.iter().position(|(name, _)| *name == route.arg("policy")).unwrap_or(0),
        }
    }
}

/// Why an instance is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not up.
    Status(Status),
    /// Its weight is 0.
    Weight,
    /// The filter does not let it pass.
    Filter,
    /// There are instances of the client's own zone.
    Zone,
    /// The subset has others.
    Subset,
}

/// What a client gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Whom, and how many of a million calls.
    pub gets: Vec<(Instance, u32)>,
    /// Who is left out.
    pub left_out: Vec<(Instance, Why)>,
    /// What is wrong with the filter.
    pub problem: Option<SmolStr>,
}

/// Works out what a client gets of a service, as its balancer does: it connects to a subset of those that may be called,
/// and calls those of them that pass the filter and are of its own zone, if any are. O(n log n).
#[must_use]
pub fn resolve(client: &Client, service: &Service) -> Resolved {
    let mut resolved = Resolved::default();
    let query = match client.filter.parse::<Query>() {
        Ok(query) => query,
        Err(error) => {
            resolved.problem = Some(error.to_string().into());
            return resolved;
        }
    };
    let (_, policy) = POLICIES[client.policy];
    let subset = Subset { key: client.key.clone(), size: client.size };
    let config = BalanceConfig { subset: Some(subset), ..BalanceConfig::new(policy) };
    let mut balancer = Balancer::new(config, [0; 32]);
    let instances = service.instances().map(|(_, row)| row.packed.clone());
    let connected = balancer.update(instances, Instant::default()).clone();
    let passing = if query.is_empty() { Filter::Any } else { Filter::Query(query) };
    let passed = balancer.view(&passing);
    let near = if client.zone.is_empty() { Filter::Any } else { Filter::prefer_zones([client.zone.as_str()]) };
    let called = balancer.view(&passing.and(near));
    let has = |picker: &Picker, id: &InstanceId| picker.nodes().any(|node| node.id() == id);
    for (_, row) in service.instances() {
        let (packed, id) = (row.packed.clone(), row.packed.instance_id());
        let why = if row.status() != Status::Up {
            Why::Status(row.status())
        } else if row.instance().weight() == Some(0) {
            Why::Weight
        } else if !has(&connected, &id) {
            Why::Subset
        } else if !has(&passed, &id) {
            Why::Filter
        } else if !has(&called, &id) {
            Why::Zone
        } else {
            resolved.gets.push((packed, called.share_ppm(&id)));
            continue;
        };
        resolved.left_out.push((packed, why));
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{fleet, with};

    #[test]
    fn everybody_is_either_got_or_left_out_for_a_reason() {
        let mut fleet = fleet(&[("web", "a", "up"), ("web", "b", "draining"), ("web", "c", "up"), ("web", "d", "up")]);
        with(&mut fleet, "web", "a", &[("zone", "x"), ("weight", "300")]);
        with(&mut fleet, "web", "c", &[("zone", "y")]);
        with(&mut fleet, "web", "d", &[("weight", "0")]);
        let service = fleet.service("web").expect("it is there");
        let told = |client: &Client| {
            let resolved = resolve(client, service);
            let gets: Vec<String> = resolved.gets.iter().map(|(it, share)| format!("{} {share}", it.id())).collect();
            let mut out: Vec<String> =
                resolved.left_out.iter().map(|(it, why)| format!("{} {why:?}", it.id())).collect();
            out.sort();
            (gets, out)
        };
        let (gets, out) = told(&Client::default());
        assert_eq!(gets, ["a 750000", "c 250000"]);
        assert_eq!(out, ["b Status(Draining)", "d Weight"]);
        let (gets, out) = told(&Client { zone: "y".into(), ..Client::default() });
        assert_eq!(gets, ["c 1000000"]);
        assert_eq!(out, ["a Zone", "b Status(Draining)", "d Weight"]);
        let (gets, out) = told(&Client { filter: "zone:x".into(), ..Client::default() });
        assert_eq!((gets.len(), out.len()), (1, 3));
        let (gets, out) = told(&Client { size: 1, key: "me".into(), ..Client::default() });
        assert_eq!((gets.len(), out.iter().filter(|text| text.ends_with("Subset")).count()), (1, 1));
        assert!(resolve(&Client { filter: "zone:".into(), ..Client::default() }, service).problem.is_some());
    }
}

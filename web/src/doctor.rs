//! What looks wrong with a fleet, and what to do about it.

use periplus_core::ordered::sorted::SortedMap;

use periplus_core::http::origin::is_own;
use periplus_core::{Endpoint, Status};
use serde_json::Value;
use smol_str::{SmolStr, ToSmolStr as _};

use crate::fleet::{Fleet, Place};
use crate::json::Read as _;
use crate::list::sort;
use crate::log::Log;
use crate::words::{Words, fill};

/// Something that looks wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether callers feel it.
    pub serious: bool,
    /// What is wrong.
    pub what: Ailment,
    /// The service.
    pub service: SmolStr,
    /// The instance, if it is one.
    pub id: SmolStr,
    /// How often, how many, or what.
    pub detail: SmolStr,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ailment {
    /// Nobody takes calls.
    Dead,
    /// All who are up have weight 0.
    Weights,
    /// One address, several instances.
    SameAddress,
    /// An address that means the caller's own machine.
    Loopback,
    /// No address at all.
    NoEndpoint,
    /// It expires between two heartbeats.
    Short,
    /// It comes and goes.
    Flapping,
    /// Its renewals come late.
    Late,
    /// There is one instance.
    Single,
    /// Nobody ever asked for it.
    Unwatched,
}

impl Ailment {
    const fn is_serious(self) -> bool {
        !matches!(self, Self::Late | Self::Single | Self::Unwatched)
    }

    const fn sentences(self, words: &Words) -> (&'static str, &'static str) {
        match self {
            Self::Dead => (words.sick_dead, words.cure_dead),
            Self::Weights => (words.sick_weights, words.cure_weights),
            Self::SameAddress => (words.sick_same_address, words.cure_same_address),
            Self::Loopback => (words.sick_loopback, words.cure_loopback),
            Self::NoEndpoint => (words.sick_no_endpoint, words.cure_no_endpoint),
            Self::Short => (words.sick_short, words.cure_late),
            Self::Flapping => (words.sick_flapping, words.cure_flapping),
            Self::Late => (words.sick_late, words.cure_late),
            Self::Single => (words.sick_single, words.cure_single),
            Self::Unwatched => (words.sick_unwatched, words.cure_unwatched),
        }
    }
}

impl Finding {
    fn new(what: Ailment, service: &str, id: &str, detail: impl Into<SmolStr>) -> Self {
        Self { serious: what.is_serious(), what, service: service.into(), id: id.into(), detail: detail.into() }
    }

    /// What is wrong, and what to do about it.
    #[must_use]
    pub fn says(&self, words: &Words) -> (SmolStr, SmolStr) {
        let (sick, cure) = self.what.sentences(words);
        let sick = match self.what {
            // The address goes first: it is what several instances have in common.
            Ailment::SameAddress => {
                let (address, count) = self.detail.rsplit_once(' ').unwrap_or((&self.detail, ""));
                fill(sick, &[address, count])
            }
            Ailment::Weights => fill(sick, &[&self.service, &self.detail]),
            _ => fill(sick, &[&self.service, &self.id, &self.detail]),
        };
        (sick, cure.into())
    }
}

/// So many flaps are too many.
const FLAPS: usize = 2;
/// So many late renewals.
const LATE: usize = 3;

/// Looks at everything, the worst first. O(n log n).
///
/// `services` is what the registry says of its services, page by page: who watches each.
#[must_use]
pub fn examine<'a>(
    fleet: &Fleet,
    log: &Log,
    namespace: &str,
    services: impl IntoIterator<Item = &'a Value>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut addresses: SortedMap<SmolStr, Vec<Place>> = SortedMap::new();
    for (name, service) in fleet.services() {
        let ups = service.instances().filter(|(_, row)| row.status() == Status::Up);
        let (mut up, mut weightless) = (0_usize, 0);
        ups.for_each(|(_, row)| {
            up += 1;
            weightless += usize::from(row.instance().weight() == Some(0));
        });
        if up == 0 {
            found.push(Finding::new(Ailment::Dead, name, "", ""));
        } else if weightless == up {
            found.push(Finding::new(Ailment::Weights, name, "", up.to_smolstr()));
        }
        if service.len() == 1 && up == 1 {
            found.push(Finding::new(Ailment::Single, name, "", ""));
        }
        for (id, row) in service.instances() {
            let endpoints = &row.instance().endpoints;
            if endpoints.is_empty() {
                found.push(Finding::new(Ailment::NoEndpoint, name, id, ""));
            }
            for endpoint in endpoints {
                if is_loopback(endpoint) {
                    found.push(Finding::new(Ailment::Loopback, name, id, endpoint.as_str()));
                }
                let place = (name.clone(), id.clone());
                addresses.entry(endpoint.as_str().into()).or_default().push(place);
            }
        }
    }
    for (address, places) in addresses {
        // The same loopback address on two machines is two addresses.
        if places.len() > 1 && !address.parse().is_ok_and(|endpoint: Endpoint| is_loopback(&endpoint)) {
            let (service, id) = &places[0];
            let detail = fill("{0} {1}", &[&address, &places.len().to_smolstr()]);
            found.push(Finding::new(Ailment::SameAddress, service, id, detail));
        }
    }
    for ((service, id), habits) in log.habits(namespace) {
        let count = habits.flaps.to_smolstr();
        // Who expires and comes back has a ttl that is too short for it, or was away; twice is no accident.
        if habits.revivals >= FLAPS {
            found.push(Finding::new(Ailment::Short, &service, &id, count));
        } else if habits.flaps >= FLAPS {
            found.push(Finding::new(Ailment::Flapping, &service, &id, count));
        } else if habits.late >= LATE {
            found.push(Finding::new(Ailment::Late, &service, &id, habits.late.to_smolstr()));
        }
    }
    for service in services.into_iter().flat_map(|page| page.list("services")) {
        if service.part("watched").as_bool() == Some(false) {
            found.push(Finding::new(Ailment::Unwatched, &service.text("name"), "", ""));
        }
    }
    // They are found by service and id, and each kind stays so.
    sort(&mut found, |finding| finding.what as u64);
    found
}

/// Whether others who connect there reach themselves.
fn is_loopback(endpoint: &Endpoint) -> bool {
    endpoint.parts().is_ok_and(|parts| is_own(parts.host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Event;
    use crate::tests::{fleet, with};
    use crate::words::Language;
    use serde_json::json;

    fn ailments(found: &[Finding]) -> Vec<(Ailment, &str, &str)> {
        found.iter().map(|it| (it.what, &*it.service, &*it.id)).collect()
    }

    #[test]
    fn each_ailment_is_found_where_it_is_and_nowhere_else() {
        let mut fleet = fleet(&[
            ("dead", "1", "draining"),
            ("dead", "2", "down"),
            ("idle", "1", "up"),
            ("idle", "2", "up"),
            ("lone", "1", "up"),
            ("fine", "1", "up"),
            ("fine", "2", "up"),
        ]);
        with(&mut fleet, "idle", "1", &[("weight", "0")]);
        with(&mut fleet, "idle", "2", &[("weight", "0")]);
        let services = json!({"services": [{"name": "fine", "watched": true}, {"name": "lone", "watched": false}]});
        let found = examine(&fleet, &Log::default(), "default", Some(&services));
        let expected = [
            (Ailment::Dead, "dead", ""),
            (Ailment::Weights, "idle", ""),
            (Ailment::Single, "lone", ""),
            (Ailment::Unwatched, "lone", ""),
        ];
        assert_eq!(ailments(&found), expected);
        assert_eq!(
            found[1].says(Language::English.words()).0,
            "All 2 instances of idle that are up have weight 0: nobody is called"
        );
    }

    #[test]
    fn addresses_are_looked_at_across_services() {
        let mut fleet = fleet(&[]);
        for (service, id, endpoints) in [
            ("a", "1", &["http://10.0.0.1:80"][..]),
            ("a", "2", &["http://10.0.0.2:80"]),
            ("b", "1", &["http://10.0.0.1:80"]),
            ("b", "2", &["http://127.0.0.1:80"]),
            ("c", "1", &["http://127.0.0.1:80"]),
            ("c", "2", &[]),
        ] {
            crate::tests::put(&mut fleet, &crate::tests::endpoints(service, id, endpoints));
        }
        let found = examine(&fleet, &Log::default(), "default", None);
        let expected = [
            (Ailment::SameAddress, "a", "1"),
            (Ailment::Loopback, "b", "2"),
            (Ailment::Loopback, "c", "1"),
            (Ailment::NoEndpoint, "c", "2"),
        ];
        assert_eq!(ailments(&found), expected);
        let (sick, _) = found[0].says(Language::English.words());
        assert_eq!(sick, "http://10.0.0.1:80 is advertised by 2 instances: calls meant for one reach another");
    }

    #[test]
    fn habits_are_told_by_their_causes() {
        let fleet = fleet(&[("web", "1", "up"), ("web", "2", "up")]);
        let mut log = Log::default();
        let mut number = 0;
        let mut happens = |id: &str, kind: &str| {
            number += 1;
            let (service, namespace) = ("web".into(), "default".into());
            let event = Event {
                number,
                time: number,
                kind: kind.into(),
                service,
                id: id.into(),
                namespace,
                ..Event::default()
            };
            log.push(event);
        };
        for _ in 0..2 {
            for (id, kind) in
                [("short", "expired"), ("short", "registered"), ("flap", "deregistered"), ("flap", "registered")]
            {
                happens(id, kind);
            }
        }
        (0..3).for_each(|_| happens("late", "renewed_late"));
        let found = examine(&fleet, &log, "default", None);
        let expected =
            [(Ailment::Short, "web", "short"), (Ailment::Flapping, "web", "flap"), (Ailment::Late, "web", "late")];
        assert_eq!(ailments(&found), expected);
    }
}

//! The two long lists, found and ordered once and not for every picture of them.

use periplus_core::ordered;
use periplus_core::query::Query;
use smol_str::SmolStr;

use crate::Millis;
use crate::fleet::{Counts, Fleet, Health, Place, Row};
use crate::route::{Page, Route};

/// How long an order may be out of date while the fleet changes: rows that jump all the time cannot be read.
const SETTLES: Millis = 250;

/// A service in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: SmolStr,
    /// How many of its instances match, by status.
    pub counts: Counts,
}

/// What by rows are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The worst first.
    #[default]
    State,
    /// By name.
    Name,
    /// Most instances first.
    Size,
    /// The latest change first.
    Changed,
}

impl Order {
    /// As an address says it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::State => "",
            Self::Name => "name",
            Self::Size => "size",
            Self::Changed => "changed",
        }
    }

    /// What an address says.
    #[must_use]
    pub fn of(word: &str) -> Self {
        [Self::Name, Self::Size, Self::Changed].into_iter().find(|order| order.word() == word).unwrap_or_default()
    }
}

/// The list of the screen that is shown.
#[derive(Debug, Default)]
pub struct List {
    /// The services, if it is of services.
    pub services: Vec<Found>,
    /// The instances, if it is of instances.
    pub instances: Vec<Place>,
    /// What is wrong with the search, and where.
    pub problem: Option<(SmolStr, usize, usize)>,
    /// For what it was made.
    made: Option<(Route, u64)>,
    at: Millis,
}

impl List {
    /// How many rows it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.services.len().max(self.instances.len())
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes it anew if something else is asked for, or the fleet has changed and it is not too soon. Says whether it
    /// has to be looked at again by itself. O(n log n), at most four times a second while nobody asks.
    pub fn arrange(&mut self, route: &Route, fleet: &Fleet, now: Millis) -> bool {
        if !matches!(route.page, Page::Services | Page::Instances | Page::Service(_)) {
            return false;
        }
        if let Some((made, version)) = &self.made
            && made == route
        {
            if *version == fleet.version() {
                return false;
            }
            // That the fleet is there at last is shown at once.
            if *version != 0 && now < self.at + SETTLES {
                return true;
            }
        }
        self.made = Some((route.clone(), fleet.version()));
        self.at = now;
        let query = match route.arg("q").parse::<Query>() {
            Ok(query) => {
                self.problem = None;
                query
            }
            Err(error) => {
                // What was found before stays while one types.
                let range = error.range.clone();
                self.problem = Some((error.to_string().into(), range.start, range.end));
                return false;
            }
        };
        self.services.clear();
        self.instances.clear();
        let order = Order::of(route.arg("sort"));
        match &route.page {
            Page::Services => self.find_services(&query, order, fleet),
            Page::Service(name) => self.find_instances(&query, order, fleet, Some(name)),
            _ => self.find_instances(&query, order, fleet, None),
        }
        if route.arg("dir") == "up" {
            self.services.reverse();
            self.instances.reverse();
        }
        false
    }

    /// It is of another fleet.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    fn find_services(&mut self, query: &Query, order: Order, fleet: &Fleet) {
        for (name, service) in fleet.services() {
            let mut counts = Counts::default();
            if query.is_empty() {
                counts = service.counts();
            } else {
                for (_, row) in service.instances().filter(|(_, row)| query.matches(&row.packed)) {
                    counts[row.status() as usize] += 1;
                }
            }
            if query.is_empty() || counts != Counts::default() {
                self.services.push(Found { name: name.clone(), counts });
            }
        }
        // They come by name, and an equal one stays where it is.
        let changed = |found: &Found| fleet.service(&found.name).and_then(|service| service.changed);
        let size = |found: &Found| found.counts.iter().sum::<usize>() as u64;
        match order {
            Order::Name => {}
            Order::State => sort(&mut self.services, |found| Health::of(found.counts) as u64),
            Order::Size => sort(&mut self.services, |found| u64::MAX - size(found)),
            Order::Changed => sort(&mut self.services, |found| u64::MAX - changed(found).unwrap_or(0)),
        }
    }

    fn find_instances(&mut self, query: &Query, order: Order, fleet: &Fleet, of: Option<&str>) {
        let number = |row: &Row| match order {
            // The worst: down, draining, starting, up.
            Order::State => [2, 3, 1, 0][row.status() as usize],
            Order::Changed => u64::MAX - row.changed.unwrap_or(0),
            Order::Name | Order::Size => 0,
        };
        let wanted = |name: &str| of.is_none_or(|of| of == name);
        let mut numbers = Vec::new();
        for (name, service) in fleet.services().filter(|(name, _)| wanted(name)) {
            for (id, row) in service.instances() {
                if query.is_empty() || query.matches(&row.packed) {
                    self.instances.push((name.clone(), id.clone()));
                    numbers.push(number(row));
                }
            }
        }
        sort_by(&mut self.instances, numbers);
    }
}

/// Orders by a number; equal ones stay as they are. O(n log n).
pub fn sort<T>(items: &mut Vec<T>, number: impl Fn(&T) -> u64) {
    let numbers = items.iter().map(number).collect();
    sort_by(items, numbers);
}

/// Orders by these numbers, one for each; equal ones stay as they are. O(n log n), and O(n) if they are in order.
/// Everything is sorted by the same code: each kind of item would be some kilobytes of its own.
fn sort_by<T>(items: &mut Vec<T>, numbers: Vec<u64>) {
    if numbers.is_sorted() {
        return;
    }
    let mut order: Vec<(u64, usize)> = numbers.into_iter().zip(0..).collect();
    ordered::sort(&mut order);
    let mut taken: Vec<Option<T>> = items.drain(..).map(Some).collect();
    items.extend(order.into_iter().filter_map(|(_, at)| taken[at].take()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fleet;

    fn names(list: &List) -> Vec<&str> {
        list.services.iter().map(|found| &*found.name).collect()
    }

    #[test]
    fn services_come_worst_first_unless_another_order_is_asked_for() {
        let fleet =
            fleet(&[("b", "1", "up"), ("a", "1", "up"), ("c", "1", "down"), ("d", "1", "draining"), ("d", "2", "up")]);
        let mut list = List::default();
        let route = Route::from(Page::Services);
        list.arrange(&route, &fleet, 0);
        assert_eq!(names(&list), ["c", "d", "a", "b"]);
        list.arrange(&route.clone().with("sort", "size"), &fleet, 0);
        assert_eq!(names(&list), ["d", "a", "b", "c"]);
        list.arrange(&route.clone().with("sort", "name").with("dir", "up"), &fleet, 0);
        assert_eq!(names(&list), ["d", "c", "b", "a"]);
        list.arrange(&route.with("q", "status:up name:d"), &fleet, 0);
        assert_eq!(list.services, [Found { name: "d".into(), counts: [0, 1, 0, 0] }]);
    }

    #[test]
    fn a_search_that_makes_no_sense_says_so_and_keeps_what_was_found() {
        let fleet = fleet(&[("a", "1", "up")]);
        let mut list = List::default();
        list.arrange(&Page::Instances.into(), &fleet, 0);
        list.arrange(&Route::from(Page::Instances).with("q", "nonsense:1"), &fleet, 0);
        assert_eq!(list.instances, [("a".into(), "1".into())]);
        assert!(list.problem.is_some());
    }

    #[test]
    fn a_list_that_waits_for_its_fleet_has_it_at_once() {
        let mut list = List::default();
        let route = Route::from(Page::Instances);
        list.arrange(&route, &Fleet::default(), 0);
        assert!(!list.arrange(&route, &fleet(&[("a", "1", "up")]), 1));
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn an_order_stands_for_a_moment_while_the_fleet_changes() {
        let one = fleet(&[("a", "1", "up")]);
        let two = fleet(&[("a", "1", "up"), ("a", "2", "up")]);
        let mut list = List::default();
        let route = Route::from(Page::Instances);
        assert!(!list.arrange(&route, &one, 0));
        assert!(list.arrange(&route, &two, SETTLES - 1));
        assert_eq!(list.len(), 1);
        assert!(!list.arrange(&route, &two, SETTLES));
        assert_eq!(list.len(), 2);
    }
}

//! The core's table: medians, and what was wanted.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::contestants::{BTree, Contestant as _, Periplus};
use crate::rounds::{Figures, Limit};
use crate::stats::median;
use crate::table;
use crate::wanted::{Bound, Wanted};

/// One contestant's medians.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    #[serde(flatten)]
    figures: Figures,
}

/// All there is to say of one number of instances.
#[derive(Debug, Serialize)]
pub struct Size {
    instances: usize,
    rounds: usize,
    contestants: Vec<Row>,
    slab: Limit,
    wanted: Vec<Wanted>,
}

impl Size {
    /// Takes the medians of all rounds.
    #[must_use]
    pub fn new(
        instances: usize,
        order: &[&'static str],
        figures: &BTreeMap<&'static str, Vec<Figures>>,
        limits: &[Limit],
    ) -> Self {
        let contestants: Vec<Row> = order.iter().map(|&name| Row { name, figures: medians(&figures[name]) }).collect();
        let slab = Limit { batch: middle(limits, |l| l.batch), chain: middle(limits, |l| l.chain) };
        // What was wanted was wanted of many: fewer fit into the caches, where other things count.
        let wanted = if instances >= 1_000_000 { wanted(&contestants, &slab) } else { Vec::new() };
        Self { instances, rounds: limits.len(), contestants, slab, wanted }
    }
}

fn middle<T>(values: &[T], of: impl Fn(&T) -> f64) -> f64 {
    median(&mut values.iter().map(of).collect::<Vec<_>>())
}

fn medians(rounds: &[Figures]) -> Figures {
    Figures {
        register: middle(rounds, |f| f.register),
        renew: middle(rounds, |f| f.renew),
        renew_batch: middle(rounds, |f| f.renew_batch),
        expire: middle(rounds, |f| f.expire),
        change: middle(rounds, |f| f.change),
        idle: middle(rounds, |f| f.idle),
        heap: middle(rounds, |f| f.heap),
    }
}

fn wanted(contestants: &[Row], slab: &Limit) -> Vec<Wanted> {
    let named = |name| contestants.iter().find(|row| row.name == name).map(|row| row.figures);
    let (Some(ours), Some(btree)) = (named(Periplus::NAME), named(BTree::NAME)) else {
        return Vec::new();
    };
    let others = || contestants.iter().filter(|row| row.name != Periplus::NAME).map(|row| row.figures);
    let best = |of: fn(&Figures) -> f64| others().map(|figures| of(&figures)).fold(0.0, f64::max);
    let least = |of: fn(&Figures) -> f64| others().map(|figures| of(&figures)).fold(f64::INFINITY, f64::min);
    let at_least = |what: &str, value: f64, bound| Wanted::new(what, value, Bound::AtLeast(bound));
    let at_most = |what: &str, value: f64, bound| Wanted::new(what, value, Bound::AtMost(bound));
    vec![
        at_least("batch renewal / slab", ours.renew_batch / slab.batch, 1.0 / 3.0),
        at_least("batch renewal / HashMap + BTreeMap", ours.renew_batch / btree.renew_batch, 25.0),
        at_least("register / fastest other", ours.register / best(|f| f.register), 1.0),
        at_least("expire / fastest other", ours.expire / best(|f| f.expire), 1.0),
        at_most("idle poll, ns", ours.idle, 100.0),
        at_most("heap / leanest other", ours.heap / least(|f| f.heap), 1.0),
    ]
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} instances, medians of {} rounds", table::count(self.instances as f64), self.rounds)?;
        let mut rows = table::new(
            1,
            [
                "",
                "register/s",
                "renew/s",
                "renew in batches/s",
                "expire all/s",
                "1 change to 10 k watchers us",
                "idle poll ns",
                "heap bytes/instance",
            ],
        );
        for Row { name, figures } in &self.contestants {
            let numbers = [
                figures.register,
                figures.renew,
                figures.renew_batch,
                figures.expire,
                figures.change,
                figures.idle,
                figures.heap,
            ];
            rows.add_row(std::iter::once((*name).to_owned()).chain(numbers.map(table::count)));
        }
        let slab = [table::count(self.slab.chain), table::count(self.slab.batch)];
        rows.add_row(["slab of 64-byte slots (dependent; batch)", "", &slab[0], &slab[1], "", "", "", ""]);
        writeln!(f, "{rows}")?;
        self.wanted.iter().try_for_each(|wanted| writeln!(f, "{wanted}"))
    }
}

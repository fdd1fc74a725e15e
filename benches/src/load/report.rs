//! Figures side by side, and what was wanted.

use std::fmt;

use serde::Serialize;

use super::record::{Name, Record};
use crate::table;
use crate::wanted::{Bound, Wanted};

/// All figures of a run.
#[derive(Debug)]
pub struct Report {
    /// What each registry is called, and its figures; ours first.
    columns: Vec<(String, Record)>,
    wanted: Vec<Wanted>,
}

/// etcd 3.4.23's figures on two quiet cores, for a run without etcd: registrations and listings a second.
const ETCD_REGISTER: f64 = 4_400.0;
const ETCD_LIST: f64 = 3_700.0;

impl Report {
    /// Judges the first column; another whose name begins with `etcd 3.4` is what it is measured against.
    #[must_use]
    pub fn new(columns: Vec<(String, Record)>) -> Self {
        let ours = columns.first().map(|(_, record)| record);
        let etcd = columns.iter().find(|(name, _)| name.starts_with("etcd 3.4")).map(|(_, record)| record);
        let wanted = ours.map(|ours| wanted(ours, etcd)).unwrap_or_default();
        Self { columns, wanted }
    }

    /// Judges nothing.
    #[must_use]
    pub const fn beside(columns: Vec<(String, Record)>) -> Self {
        Self { columns, wanted: Vec::new() }
    }

    /// The figures as one JSON document.
    ///
    /// # Errors
    /// None that this data has.
    pub fn to_json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Figure<'a> {
            registry: &'a str,
            #[serde(flatten)]
            name: &'a Name,
            median: f64,
            least: f64,
            most: f64,
        }
        #[derive(Serialize)]
        struct Document<'a> {
            figures: Vec<Figure<'a>>,
            wanted: &'a [Wanted],
        }
        let figures = self.columns.iter().flat_map(|(registry, record)| {
            record.names().filter_map(move |name| {
                let values = record.get(name)?;
                let (least, most) = values.range();
                Some(Figure { registry, name, median: values.median(), least, most })
            })
        });
        serde_json::to_string_pretty(&Document { figures: figures.collect(), wanted: &self.wanted })
    }
}

fn wanted(ours: &Record, etcd: Option<&Record>) -> Vec<Wanted> {
    const REGISTER: &str = "register 10000";
    const LIST: &str = "list 100";
    const WATCH: &str = "watch: 100 watchers, 1000 changes/s";
    let per_second = |work, or| etcd.and_then(|etcd| etcd.median(work, "per second")).unwrap_or(or);
    let bounds = [
        (REGISTER, "per second", Bound::AtLeast(10.0 * per_second(REGISTER, ETCD_REGISTER))),
        (REGISTER, "server CPU us each", Bound::AtMost(15.0)),
        ("renew", "per second", Bound::AtLeast(60_000.0)),
        ("renew", "server CPU us each", Bound::AtMost(8.0)),
        ("renew 1000 together", "server CPU us each", Bound::AtMost(1.0)),
        (LIST, "per second", Bound::AtLeast(10.0 * per_second(LIST, ETCD_LIST))),
        (LIST, "server CPU us each", Bound::AtMost(15.0)),
        (WATCH, "p50 ms", Bound::AtMost(1.5)),
        (WATCH, "p99 ms", Bound::AtMost(6.0)),
        (WATCH, "server CPU us each", Bound::AtMost(5.0)),
        ("watch: 100 watchers, all changes it takes", "per second", Bound::AtLeast(500_000.0)),
        ("expire 5000 together", "first to last gone s", Bound::AtMost(0.1)),
        ("register 100000", "memory bytes each", Bound::AtMost(1_024.0)),
        ("1000 idle watches", "memory bytes each", Bound::AtMost(20.0 * 1_024.0)),
    ];
    let judge =
        |(work, figure, bound)| Some(Wanted::new(format!("{work}: {figure}"), ours.median(work, figure)?, bound));
    bounds.into_iter().filter_map(judge).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&Name> = Vec::new();
        for name in self.columns.iter().flat_map(|(_, record)| record.names()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let header = ["work", "figure"].into_iter().chain(self.columns.iter().map(|(name, _)| name.as_str()));
        let mut rows = table::new(2, header);
        let mut work = "";
        for name in names {
            let shown = if name.work == work { "" } else { &name.work };
            work = &name.work;
            let values = self.columns.iter().map(|(_, record)| {
                record.get(name).map_or_else(String::new, |values| {
                    let (least, most) = values.range();
                    let [median, least, most] = [values.median(), least, most].map(table::count);
                    if least == most { median } else { format!("{median} [{least}..{most}]") }
                })
            });
            rows.add_row([shown.to_owned(), name.figure.to_owned()].into_iter().chain(values));
        }
        writeln!(f, "{rows}")?;
        self.wanted.iter().try_for_each(|wanted| writeln!(f, "{wanted}"))
    }
}

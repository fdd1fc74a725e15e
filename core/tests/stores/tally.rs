//! What happened in a run: what went wrong, by kind, and the rare states that must be reached now and then.

use std::collections::BTreeMap;

/// Counts of everything.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub micros: u64,
    pub runs: u64,
    pub events: u64,
    pub requests: u64,
    pub faults: BTreeMap<String, u64>,
    pub marks: BTreeMap<&'static str, u64>,
}

/// Rare states that every kind of store must see in a campaign.
pub const MARKS: &[&str] = &[
    "a client lapsed before the store ended its registration",
    "a client was told that it is not registered any more",
    "a deregistration was confirmed",
    "a client closed and everything was confirmed",
    "a client closed and could not say so",
    "a registration ended because nobody renewed it",
    "a client slept past its ttl",
    "a set became empty by the store's word",
    "a set was kept through an outage",
    "after an outage, several changes came as one difference",
    "the store lost its memory",
    "an unconfirmed instance came back",
    "an unconfirmed instance went",
    "a watch was cut in the middle of what it said",
    "a client was told to come back later",
    "a request arrived twice",
    "a request took effect after its client had given it up",
    "two clients wanted one id",
    "an entry was skipped",
];

/// Those that only a store with fencing sees.
pub const FENCED: &[&str] = &["a holder was superseded", "a holder was superseded while it could not be told"];

/// Those of many servers, datacenters and rights.
pub const WIDE: &[&str] = &[
    "a registration was made anew at another agent",
    "an instance was at two agents",
    "an index that was waited from fell",
    "a list was empty for want of rights",
    "a datacenter did not answer",
    "a token was not known",
];

impl Tally {
    pub fn mark(&mut self, mark: &'static str) {
        *self.marks.entry(mark).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.micros += other.micros;
        self.runs += other.runs;
        self.events += other.events;
        self.requests += other.requests;
        for (fault, n) in &other.faults {
            *self.faults.entry(fault.clone()).or_default() += n;
        }
        for (mark, n) in &other.marks {
            *self.marks.entry(mark).or_default() += n;
        }
    }

    pub fn hours(&self) -> f64 {
        self.micros as f64 / 3.6e9
    }

    pub fn never_reached(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        wanted.iter().filter(|&&mark| !self.marks.contains_key(mark)).copied().collect()
    }

    /// Everything in a few lines.
    pub fn lines(&self, name: &str) -> String {
        let faults: Vec<String> = self.faults.iter().map(|(label, n)| format!("{label}: {n}")).collect();
        let marks: Vec<String> = self.marks.iter().map(|(label, n)| format!("{label}: {n}")).collect();
        let (hours, runs, events, requests) = (self.hours(), self.runs, self.events, self.requests);
        format!(
            "{name}: {hours:.0} simulated hours in {runs} runs, {events} events, {requests} requests\n  {}\n  {}",
            faults.join(", "),
            marks.join(", ")
        )
    }
}

//! Periplus's core beside what people write by hand, all in one process and one run.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use anyhow::{Result, ensure};
use clap::Parser;
use periplus_benches::contestants::{BTree, Contestant, DashSweep, Delay, LazyHeap, Periplus};
use periplus_benches::rounds::{self, Course, Figures, Limit};
use periplus_benches::{heap, scoreboard};

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// Measures the core beside hand-written structures that do equal work.
#[derive(Debug, Parser)]
struct Options {
    /// How many instances: numbers, with k or m for thousands or millions.
    #[arg(long, value_delimiter = ',', value_parser = size, default_value = "10k,100k,1m")]
    size: Vec<usize>,
    /// Rounds; in each, every contestant runs once. Figures are medians.
    #[arg(long, default_value_t = 5)]
    reps: usize,
    /// Prints one JSON document instead of tables.
    #[arg(long)]
    json: bool,
}

fn size(text: &str) -> Result<usize> {
    let text = text.to_ascii_lowercase();
    let (digits, factor) = match text.strip_suffix(['k', 'm']) {
        Some(digits) => (digits, if text.ends_with('k') { 1_000 } else { 1_000_000 }),
        None => (text.as_str(), 1),
    };
    let size = digits.parse::<usize>()? * factor;
    ensure!((1..=50_000_000).contains(&size), "between 1 and 50m");
    Ok(size)
}

/// A contestant's name and how it runs a course.
type Runner = (&'static str, fn(&Course) -> Figures);

fn runner<C: Contestant>() -> Runner {
    (C::NAME, rounds::run::<C>)
}

fn main() -> Result<()> {
    let options = Options::parse();
    let runners =
        [runner::<Periplus>(), runner::<BTree>(), runner::<LazyHeap>(), runner::<Delay>(), runner::<DashSweep>()];
    let progress = std::io::stderr().is_terminal();
    let mut sizes = Vec::new();
    for size in options.size {
        let course = Course::new(size);
        let mut figures: BTreeMap<&'static str, Vec<Figures>> = BTreeMap::new();
        let mut limits: Vec<Limit> = Vec::new();
        for rep in 0..options.reps {
            limits.push(rounds::limit(&course));
            // Each starts once in each place, so that none always runs on the heap another left.
            for place in 0..runners.len() {
                let (name, run) = runners[(rep + place) % runners.len()];
                if progress {
                    eprint!("\r{size} instances, round {} of {}: {name:<24}", rep + 1, options.reps);
                }
                figures.entry(name).or_default().push(run(&course));
            }
        }
        if progress {
            eprint!("\r{:<70}\r", "");
        }
        let order = runners.map(|(name, _)| name);
        let board = scoreboard::Size::new(size, &order, &figures, &limits);
        if !options.json {
            println!("{board}");
        }
        sizes.push(board);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&sizes)?);
    }
    Ok(())
}

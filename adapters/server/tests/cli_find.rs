//! Instances are found by a query, and operators do to all of them what they do to one.
#![cfg(unix)]

mod common;

use common::{Registry, Running};
use serde_json::{Value, json};

/// Two services in two zones, held by two processes.
fn with_a_fleet() -> (Registry, Vec<Running>) {
    let registry = Registry::start();
    let fleet = [("pay", "p-1", "a"), ("web", "w-1", "a"), ("web", "w-2", "b"), ("web", "w-3", "a")];
    let holders = fleet.map(|(service, id, zone)| {
        let [service, id, zone] = [("service", service), ("id", id), ("zone", zone)].map(|(k, v)| format!("--{k}={v}"));
        registry.start_client(&["register", &service, &id, &zone, "--ttl=10s"])
    });
    let mut holders = Vec::from(holders);
    holders.iter_mut().for_each(|holder| drop(holder.remark("registered")));
    (registry, holders)
}

/// The ids and statuses of all instances.
fn statuses(registry: &Registry) -> Vec<(String, String)> {
    let instances = registry.run(&["find", "*", "--json"]).json();
    let status = |it: &Value| it["metadata"]["status"].as_str().unwrap_or("up").to_owned();
    let instances = instances.as_array().expect("a list").iter();
    instances.map(|it| (it["id"].as_str().expect("an id").to_owned(), status(it))).collect()
}

fn drained(registry: &Registry) -> Vec<String> {
    statuses(registry).into_iter().filter(|(_, status)| status == "draining").map(|(id, _)| id).collect()
}

#[test]
fn instances_are_found_whatever_their_service() {
    let (registry, _holders) = with_a_fleet();
    let found = registry.run(&["find", "zone:a", "!id:w-3"]).ok();
    let lines: Vec<Vec<&str>> = found.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["SERVICE", "ID", "VERSION"]);
    assert_eq!(lines[1][..2], ["pay", "p-1"]);
    assert_eq!(lines[2][..2], ["web", "w-1"]);
    assert_eq!(lines.len(), 3);
    let found = registry.run(&["find", "name:web zone:b", "--json"]).json();
    assert_eq!(found[0]["id"], "w-2");
    let nobody = registry.run(&["find", "zone:c"]);
    assert!(nobody.stderr.contains("no instances match zone:c"), "{nobody:?}");
    assert_eq!(nobody.ok(), "");
}

#[test]
fn lists_have_only_what_matches() {
    let (registry, _holders) = with_a_fleet();
    let services = registry.run(&["list", "--filter=zone:a", "--json"]).json();
    let counts: Vec<_> = services.as_array().unwrap().iter().map(|it| (&it["name"], &it["instances"])).collect();
    assert_eq!(counts, [(&json!("pay"), &json!(1)), (&json!("web"), &json!(2))]);
    let instances = registry.run(&["get", "web", "--filter=zone:b", "--json"]).json();
    assert_eq!((&instances[0]["id"], instances.as_array().map(Vec::len)), (&json!("w-2"), Some(1)));
    let nobody = registry.run(&["get", "web", "--filter=zone:c"]);
    assert!(nobody.stderr.contains("no instances of web that match zone:c"), "{nobody:?}");
}

#[test]
fn a_query_that_is_none_gives_2_and_says_where() {
    for command in [
        vec!["find", "zone:a", "colour:red"],
        vec!["list", "--filter=zone:a colour:red"],
        vec!["evict", "--filter=zone:a colour:red", "--reason=x"],
    ] {
        let done = common::run(&command);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(
            done.stderr.contains("there is no key \"colour\"") && done.stderr.contains("bytes 7 to 13"),
            "{done:?}"
        );
    }
}

#[test]
fn a_dry_run_shows_who_matches_and_does_nothing() {
    let (registry, _holders) = with_a_fleet();
    let done = registry.run(&["drain", "--filter=zone:a", "--dry-run", "--reason=x"]);
    assert!(done.stderr.contains("3 instances would be touched"), "{done:?}");
    let shown = done.ok();
    assert!(shown.contains("p-1") && shown.contains("w-3") && !shown.contains("w-2"), "{shown}");
    let as_json = registry.run(&["evict", "--filter=zone:b", "--dry-run", "--reason=x", "--json"]).json();
    assert_eq!(as_json[0]["id"], "w-2");
    assert_eq!(statuses(&registry).len(), 4);
    assert_eq!(drained(&registry), [""; 0]);
}

#[test]
fn what_is_done_to_several_needs_a_yes() {
    let (registry, _holders) = with_a_fleet();
    let done = registry.run(&["drain", "--filter=zone:a", "--reason=x"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("3 instances match: add --yes"), "{done:?}");
    assert_eq!(drained(&registry), [""; 0]);
    // One is as good as named.
    let said = registry.run(&["drain", "--filter=zone:b", "--reason=x"]).ok();
    assert!(said.contains("web/w-2 is draining"), "{said}");
    assert_eq!(drained(&registry), ["w-2"]);
    let nobody = registry.run(&["drain", "--filter=zone:c", "--reason=x"]);
    assert_eq!((nobody.code, &*nobody.stdout), (0, ""), "{nobody:?}");
}

#[test]
fn all_that_match_are_drained_resumed_set_and_evicted() {
    let (registry, _holders) = with_a_fleet();
    let said = registry.run(&["drain", "--filter=name:web", "--yes", "--reason=x"]).ok();
    assert_eq!(said.lines().count(), 3, "{said}");
    assert_eq!(drained(&registry), ["w-1", "w-2", "w-3"]);
    registry.run(&["resume", "--filter=status:draining zone:a", "--yes"]).ok();
    assert_eq!(drained(&registry), ["w-2"]);
    registry.run(&["set", "--filter=zone:a", "--weight=7", "--yes", "--reason=x"]).ok();
    let weights = registry.run(&["find", "weight:7", "--json"]).json();
    assert_eq!(weights.as_array().map(Vec::len), Some(3));
    let evicted = ["evict", "--filter=zone:a name:web", "--block-for=1m", "--reason=x", "--yes", "--json"];
    let lines = registry.run(&evicted).ok();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!((&lines[0]["id"], &lines[0]["answer"]["evicted"]), (&json!("w-1"), &json!(true)));
    assert_eq!(registry.ids("web"), ["w-2"]);
}

#[test]
fn a_failure_does_not_end_it_and_gives_6() {
    // An instance with a zone has no room for a status.
    let registry = Registry::start_with(&["--limits-metadata-pairs=1"]);
    for id in ["a", "b", "c"] {
        let more: &[&str] = if id == "b" { &["--zone=x"] } else { &[] };
        registry.run(&[&["register", "--service=web", "--id", id, "--detach"], more].concat()).ok();
    }
    let done = registry.run(&["drain", "--filter=name:web", "--yes", "--reason=x"]);
    assert_eq!(done.code, 6, "{done:?}");
    assert!(done.stdout.contains("web/a is draining") && done.stdout.contains("web/c is draining"), "{done:?}");
    for text in ["web/b: the registry refused (invalid_metadata)", "left as they were: 1 of 3 instances"] {
        assert!(done.stderr.contains(text), "{text}: {done:?}");
    }
    assert_eq!(drained(&registry), ["a", "c"]);
}

#[test]
fn help_says_how_queries_are_written() {
    let help = common::run(&["find", "--help"]).ok();
    assert!(help.contains("version:>=1.10") && help.contains("meta.KEY"), "{help}");
    for command in ["drain", "resume", "set", "evict"] {
        assert!(common::run(&[command, "--help"]).ok().contains("--dry-run"), "{command}");
    }
    assert!(common::run(&["--help"]).ok().contains("  6  "));
}

//! The operator's commands against a real registry.
#![cfg(unix)]

mod common;

use common::{Registry, Running, eventually};
use serde_json::Value;

fn with_one_instance() -> (Registry, Running) {
    let registry = Registry::start();
    let mut holder = registry.start_client(&["register", "--service=web", "--id=a", "--ttl=3s", "--metadata=k=v"]);
    holder.remark("registered web/a");
    (registry, holder)
}

fn metadata(registry: &Registry) -> Value {
    registry.run(&["get", "web", "--json"]).json()[0]["metadata"].clone()
}

#[test]
fn a_drained_instance_stays_listed_and_can_be_resumed() {
    let (registry, _holder) = with_one_instance();
    let said = registry.run(&["drain", "web", "a", "--reason=INC-1"]).ok();
    assert!(said.contains("web/a is draining"), "{said}");
    assert_eq!(metadata(&registry)["status"], "draining");
    registry.run(&["resume", "web", "a"]).ok();
    assert!(metadata(&registry).get("status").is_none());
}

#[test]
fn a_drain_outlives_a_new_registration() {
    let (registry, mut holder) = with_one_instance();
    registry.run(&["drain", "web", "a", "--reason=INC-1"]).ok();
    holder.interrupt();
    let mut again = registry.start_client(&["register", "--service=web", "--id=a", "--ttl=3s"]);
    again.remark("registered web/a");
    assert_eq!(metadata(&registry)["status"], "draining");
}

#[test]
fn weight_and_metadata_are_laid_over_and_cleared() {
    let (registry, _holder) = with_one_instance();
    registry.run(&["set", "web", "a", "--weight=7", "--metadata=x=y", "--unset=k", "--reason=test"]).ok();
    assert_eq!(metadata(&registry), serde_json::json!({"weight": "7", "x": "y"}));
    let details = registry.run(&["get", "web", "a"]).ok();
    assert!(details.contains("overlay") && details.contains("k v -> none"), "{details}");
    registry.run(&["set", "web", "a", "--clear=weight", "--clear=x", "--clear=k", "--reason=over"]).ok();
    assert_eq!(metadata(&registry), serde_json::json!({"k": "v"}));
}

#[test]
fn an_evicted_instance_comes_back_when_its_block_ends() {
    let (registry, mut holder) = with_one_instance();
    registry.run(&["evict", "web", "a", "--reason=test", "--block-for=2s"]).ok();
    assert!(registry.ids("web").is_empty());
    holder.remark("lease_evicted");
    holder.remark("registered web/a again");
    registry.wait_for_ids("web", &["a"]);
}

#[test]
fn what_is_not_there_gives_4() {
    let registry = Registry::start();
    for command in [vec!["get", "web", "a"], vec!["evict", "web", "a", "--reason=x"]] {
        let done = registry.run(&command);
        assert_eq!(done.code, 4, "{command:?}: {done:?}");
    }
}

#[test]
fn history_and_events_say_why() {
    let (registry, _holder) = with_one_instance();
    registry.run(&["drain", "web", "a", "--reason=because-of-INC-7"]).ok();
    let history = registry.run(&["history", "web"]).ok();
    assert!(history.contains("registered") && history.contains("up -> draining"), "{history}");
    let events = registry.run(&["events", "--no-follow"]).ok();
    assert!(events.contains("overlaid") && events.contains("because-of-INC-7"), "{events}");
}

#[test]
fn the_past_can_be_looked_at() {
    let (registry, mut holder) = with_one_instance();
    let there = registry.run(&["get", "web", "a", "--json"]).json();
    holder.interrupt();
    assert!(registry.ids("web").is_empty());
    let revision = there["modified"].as_u64().expect("a revision").to_string();
    let past = registry.run(&["history", "--at", &revision, "--json"]).json();
    assert_eq!(past[0]["id"], "a");
    let changes = registry.run(&["history", "--json"]).json();
    assert_eq!(changes.as_array().map(Vec::len), Some(2), "{changes}");
    let one = registry.run(&["history", "--json", "--limit=1"]).json();
    assert_eq!(one.as_array().map(Vec::len), Some(1), "{one}");
}

#[test]
fn services_are_counted_by_status() {
    let (registry, _holder) = with_one_instance();
    registry.run(&["register", "--service=web", "--id=b", "--status=starting", "--detach"]).ok();
    registry.run(&["register", "--service=other", "--id=c", "--detach"]).ok();
    let services = registry.run(&["list", "--json"]).json();
    let names: Vec<&Value> = services.as_array().expect("a list").iter().map(|service| &service["name"]).collect();
    assert_eq!(names, ["other", "web"]);
    assert_eq!(
        (&services[1]["instances"], &services[1]["up"], &services[1]["starting"]),
        (&2.into(), &1.into(), &1.into())
    );
    let table = registry.run(&["list", "--prefix=we"]).ok();
    assert!(table.contains("web") && !table.contains("other"), "{table}");
}

#[test]
fn events_are_followed_as_they_happen() {
    let (registry, _holder) = with_one_instance();
    let mut events = registry.start_client(&["events", "--json"]);
    events.json_that("the registration", |event| event["event"] == "registered" && event["id"] == "a");
    registry.run(&["evict", "web", "a", "--reason=test"]).ok();
    let evicted = events.json_that("the eviction", |event| event["event"] == "evicted");
    assert_eq!(evicted["service"], "web");
    assert_eq!(events.interrupt(), 0);
    eventually("the holder is back", || (registry.ids("web") == ["a"]).then_some(()));
}

#[test]
fn a_drain_waits_until_those_who_watch_have_applied_it() {
    let (registry, _holder) = with_one_instance();
    // The table is of a whole client, which takes what it is told.
    let mut watcher = registry.start_client(&["watch", "web", "--json"]);
    watcher.line();
    eventually("it reports", || {
        let watches = registry.run(&["watches", "web", "--json"]).json();
        (watches["told"] == 1).then_some(())
    });
    let said = registry.run(&["drain", "web", "a", "--reason=INC-1", "--wait=20s"]).ok();
    assert!(said.contains("web/a is draining") && said.contains("1 of 1 has applied revision"), "{said}");
    let table = registry.run(&["watches", "web"]).ok();
    assert!(table.contains("APPLIED") && table.contains("1 of 1 has applied revision"), "{table}");
    assert!(registry.run(&["watches"]).ok().contains("web"), "without a service there are all");
}

#[test]
fn a_drain_whose_watchers_have_not_applied_it_in_time_says_who() {
    let (registry, _holder) = with_one_instance();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let client = runtime.block_on(periplus_tokio::connect(&format!("{}?caller=sluggard", registry.url())));
    let client = client.unwrap();
    let _never_looks = runtime.block_on(async { client.watch("web") }).unwrap();
    eventually("it reports", || {
        let watches = registry.run(&["watches", "web", "--json"]).json();
        (watches["not_told"] == 1).then_some(())
    });
    let done = registry.run(&["drain", "web", "a", "--reason=INC-1", "--wait=500ms"]);
    assert_eq!(done.code, 7, "{done:?}");
    assert!(done.stdout.contains("web/a is draining"), "{done:?}");
    assert!(done.stderr.contains("0 of 1 have applied") && done.stderr.contains("sluggard"), "{done:?}");
}

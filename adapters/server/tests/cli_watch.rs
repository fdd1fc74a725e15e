//! `periplus watch` against a real registry.
#![cfg(unix)]

mod common;

use common::{Registry, Running, start};
use serde_json::json;

fn register(registry: &Registry, service: &str, id: &str) -> Running {
    let mut holder = registry.start_client(&[
        "register",
        "--service",
        service,
        "--id",
        id,
        "--ttl=3s",
        "--endpoint=http://127.0.0.1:8000",
    ]);
    holder.remark("registered");
    holder
}

#[test]
fn the_first_line_is_a_snapshot_even_if_it_is_empty() {
    let registry = Registry::start_with(&["--warm-up=0s"]);
    let mut watch = registry.start_client(&["watch", "web", "--json"]);
    let first = watch.json_that("a delivery", |line| line.get("revision").is_some());
    assert_eq!(first["snapshot"], json!([]));
    assert_eq!(first["of"], json!([{"service": "web"}]));
    assert_eq!(watch.interrupt(), 0);
}

#[test]
fn changes_follow_with_their_causes() {
    let registry = Registry::start();
    let mut watch = registry.start_client(&["watch", "web", "--json"]);
    watch.json_that("the snapshot", |line| line.get("snapshot").is_some());
    let mut holder = register(&registry, "web", "a");
    let came = watch.json_that("the registration", |line| line.get("changes").is_some());
    assert_eq!(came["changes"][0]["put"]["id"], "a");
    let _other = register(&registry, "webby", "b");
    holder.interrupt();
    let went = watch.json_that("the deregistration", |line| line.get("changes").is_some());
    assert_eq!(went["changes"][0]["remove"], json!({"name": "web", "id": "a", "cause": "deregistered"}));
    assert!(went["revision"].as_u64() > came["revision"].as_u64());
}

#[test]
fn an_instance_that_says_nothing_more_expires() {
    let registry = Registry::start();
    registry.run(&["register", "--service=web", "--id=a", "--ttl=3s", "--detach"]).ok();
    let mut watch = registry.start_client(&["watch", "web", "--json"]);
    let snapshot = watch.json_that("the snapshot", |line| line.get("snapshot").is_some());
    assert_eq!(snapshot["snapshot"][0]["id"], "a");
    let went = watch.json_that("the expiry", |line| line.get("changes").is_some());
    assert_eq!(went["changes"][0]["remove"]["cause"], "expired");
}

#[test]
fn prefixes_and_everything_can_be_watched() {
    let registry = Registry::start();
    let mut prefix = registry.start_client(&["watch", "--prefix=we", "--json"]);
    let mut all = registry.start_client(&["watch", "--all", "--json"]);
    prefix.json_that("the snapshot", |line| line.get("snapshot").is_some());
    all.json_that("the snapshot", |line| line.get("snapshot").is_some());
    let _other = register(&registry, "other", "a");
    let _web = register(&registry, "web", "b");
    let first = prefix.json_that("a change", |line| line.get("changes").is_some());
    assert_eq!(first["changes"][0]["put"]["name"], "web");
    let first = all.json_that("a change", |line| line.get("changes").is_some());
    assert_eq!(first["changes"][0]["put"]["name"], "other");
}

#[test]
fn a_watch_survives_a_restart_of_the_registry() {
    let mut registry = Registry::start();
    let _holder = register(&registry, "web", "a");
    let mut watch = registry.start_client(&["watch", "web"]);
    watch.line_with("+ web/a");
    registry.kill();
    watch.remark("what is shown is stale");
    registry.restart();
    watch.remark("connected again");
    registry.wait_for_ids("web", &["a"]);
    let mut second = register(&registry, "web", "b");
    let told = watch.lines_to("+ web/b");
    let news = told.iter().find(|line| line.contains("+ web/a") || line.contains("- web/a"));
    assert!(news.is_none(), "an instance that came back is nothing new: {told:?}");
    second.interrupt();
    watch.line_with("- web/b deregistered");
}

#[test]
fn a_watch_goes_on_where_it_was_when_only_the_connection_is_lost() {
    let registry = Registry::start();
    let mut relay = common::Relay::start(registry.port());
    let url = format!("--registry=periplus://127.0.0.1:{}", relay.port());
    let mut watch = start(&["watch", "web", "--json", &url]);
    watch.json_that("the snapshot", |line| line.get("snapshot").is_some());
    relay.cut();
    watch.json_that("the loss", |line| line["notice"] == "stale");
    let _holder = register(&registry, "web", "a");
    relay.mend();
    watch.json_that("the connection", |line| line["notice"] == "live");
    let next = watch.json_that("a delivery", |line| line.get("revision").is_some());
    assert!(next.get("snapshot").is_none(), "{next}");
    assert_eq!(next["changes"][0]["put"]["id"], "a");
}

#[test]
fn where_one_host_of_the_registry_is_down_another_one_is_watched() {
    let registry = Registry::start();
    let _holder = register(&registry, "web", "a");
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", common::free_port(), registry.port());
    let mut watch = start(&["watch", "web", &format!("--registry=periplus://{hosts}")]);
    watch.remark("trying the next host");
    watch.line_with("+ web/a");
    assert_eq!(watch.interrupt(), 0);
}

#[test]
fn a_watch_that_nobody_answers_at_first_gives_3() {
    let url = format!("--registry=periplus://127.0.0.1:{}", common::free_port());
    let done = common::run(&["watch", "web", &url]);
    assert_eq!(done.code, 3, "{done:?}");
    assert!(done.stderr.contains("cannot reach the registry"), "{done:?}");
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let registry = Registry::start();
    let _holder = register(&registry, "web", "a");
    let command =
        format!("exec '{}' watch web --json --registry {} | head -n 1", env!("CARGO_BIN_EXE_periplus"), registry.url());
    let output =
        std::process::Command::new("bash").args(["-c", &format!("set -o pipefail; {command}")]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1);
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_table_whose_reader_goes_is_no_error() {
    let registry = Registry::start();
    let command = format!("'{}' list --registry {} | true", env!("CARGO_BIN_EXE_periplus"), registry.url());
    let output =
        std::process::Command::new("bash").args(["-c", &format!("set -o pipefail; {command}")]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

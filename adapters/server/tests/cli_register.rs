//! `periplus register` and `periplus deregister` against a real registry.
#![cfg(unix)]

mod common;

use common::{Registry, eventually, free_port, run, start};
use nix::sys::signal::Signal;
use serde_json::json;

const WEB: [&str; 5] = ["register", "--service=web", "--id=a", "--ttl=3s", "--endpoint=http://127.0.0.1:8000"];

#[test]
fn an_instance_is_seen_until_its_holder_is_interrupted() {
    let registry = Registry::start();
    let mut holder = registry.start_client(&[&WEB[..], &["--version=1.2", "--weight=5", "--metadata=k=v"]].concat());
    holder.remark("registered web/a");
    let instances = registry.run(&["get", "web", "--json"]).json();
    let expected = json!([{
        "id": "a", "name": "web", "version": "1.2", "metadata": {"k": "v", "weight": "5"},
        "endpoints": ["http://127.0.0.1:8000"]
    }]);
    assert_eq!(instances, expected);
    assert_eq!(holder.interrupt(), 0);
    assert!(holder.said().contains("deregistered web/a"));
    assert!(registry.ids("web").is_empty());
}

#[test]
fn a_supervisor_ends_it_just_as_well() {
    let registry = Registry::start();
    let mut holder = registry.start_client(&WEB);
    holder.remark("registered web/a");
    holder.signal(Signal::SIGTERM);
    assert_eq!(holder.end(), 0);
    assert!(registry.ids("web").is_empty());
}

#[test]
fn a_lease_is_renewed_before_it_ends() {
    let registry = Registry::start();
    let mut holder = registry.start_client(&WEB);
    holder.remark("registered web/a");
    let left = || {
        let answer = registry.run(&["get", "web", "a", "--json"]).json();
        let text = answer["expires_in"].as_str().expect("it expires some time");
        text.trim_end_matches('s').parse::<f64>().expect("a number of seconds")
    };
    let mut lowest = left();
    for _ in 0..3 {
        eventually("a renewal", || {
            let now = left();
            let renewed = now > lowest + 0.3;
            lowest = now;
            renewed.then_some(())
        });
    }
}

#[test]
fn after_a_restart_of_the_registry_it_registers_again() {
    let mut registry = Registry::start();
    let mut holder = registry.start_client(&[&WEB[..], &["--json"]].concat());
    let first = holder.json();
    registry.kill();
    holder.remark("trying again in");
    registry.restart();
    holder.remark("registered web/a again");
    let second = holder.json();
    registry.wait_for_ids("web", &["a"]);
    assert_eq!((&first["registered"], &second["registered"]), (&json!(1), &json!(2)));
    assert!(first["generation"].is_u64() && second["outcome"] == "registered", "{first} {second}");
    assert_eq!(second["ttl"], "3s");
    assert_eq!(holder.interrupt(), 0);
    assert!(registry.ids("web").is_empty());
}

#[test]
fn a_registry_that_comes_late_is_waited_for() {
    let port = free_port().to_string();
    let url = format!("--registry=periplus://127.0.0.1:{port}");
    let mut holder = start(&[&WEB[..], &[&url]].concat());
    holder.remark("trying again in");
    let _server = start(&["serve", "--listen", &format!("127.0.0.1:{port}")]);
    holder.remark("registered web/a");
}

#[test]
fn where_one_host_of_the_registry_is_down_another_one_is_asked() {
    let registry = Registry::start();
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", free_port(), registry.port());
    let url = format!("--registry=periplus://{hosts}");
    let mut holder = start(&[&WEB[..], &[&url]].concat());
    holder.remark("trying the next host");
    holder.remark("registered web/a");
    assert_eq!(run(&["get", "web", "a", &url]).code, 0);
    assert_eq!(holder.interrupt(), 0);
    assert!(holder.said().contains("deregistered web/a"));
    assert!(registry.ids("web").is_empty());
}

#[test]
fn whose_id_is_taken_leaves_it_and_gives_5() {
    let registry = Registry::start();
    let mut first = registry.start_client(&WEB);
    first.remark("registered web/a");
    let mut second = registry.start_client(&WEB);
    second.remark("in place of another holder");
    assert_eq!(first.end(), 5);
    assert!(first.said().contains("somebody else has registered this id"));
    assert_eq!(registry.ids("web"), ["a"]);
    assert!(second.is_running());
}

#[test]
fn a_registry_that_refuses_newcomers_says_so() {
    let registry = Registry::start_with(&["--collision=refuse"]);
    let mut first = registry.start_client(&WEB);
    first.remark("registered web/a");
    let second = registry.run(&WEB);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("taken"), "{second:?}");
}

#[test]
fn a_registration_that_the_registry_does_not_take_gives_1() {
    let registry = Registry::start();
    let done = registry.run(&["register", "--service=web", "--id=a", "--ttl=1s"]);
    assert_eq!(done.code, 1);
    assert!(done.stderr.contains("ttl"), "{done:?}");
}

#[test]
fn who_detaches_gets_the_lease_to_deregister_with() {
    let registry = Registry::start();
    let lease = registry.run(&[&WEB[..], &["--detach"]].concat()).ok();
    assert_eq!(registry.ids("web"), ["a"]);
    let wrong = registry.run(&["deregister", "web", "a", "--lease=nonsense"]);
    assert_ne!(wrong.code, 0);
    assert_eq!(registry.ids("web"), ["a"]);
    registry.run(&["deregister", "web", "a", "--lease", lease.trim()]).ok();
    assert!(registry.ids("web").is_empty());
}

#[test]
fn who_detaches_expires_with_the_ttl() {
    let registry = Registry::start();
    let lease = registry.run(&[&WEB[..], &["--detach"]].concat()).ok();
    registry.wait_for_ids("web", &[]);
    let late = registry.run(&["deregister", "web", "a", "--lease", lease.trim()]);
    assert_eq!(late.code, 5, "{late:?}");
}

#[test]
fn namespaces_do_not_meet() {
    let registry = Registry::start();
    registry.run(&[&WEB[..], &["--detach", "--ns=blue"]].concat()).ok();
    assert!(registry.ids("web").is_empty());
    let there = registry.run(&["get", "web", "--ns=blue", "--json"]).json();
    assert_eq!(there[0]["id"], "a");
}

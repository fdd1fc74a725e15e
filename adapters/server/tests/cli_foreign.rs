//! The commands that work with any registry, with a real Consul and a real etcd.
#![cfg(unix)]

mod common;

use common::{free_port, run, run_with, start};
use periplus_conformance::stores::{Consul, Etcd, Server, Store};
use serde_json::json;

/// What registers, finds, follows and runs, at a server that is there and then is not.
fn speaks(store: &mut dyn Store) {
    let url = store.url();
    let with = |arguments: &[&str]| run(&[arguments, &["--registry", &url]].concat());
    // Consul lists itself.
    assert!(!with(&["list"]).ok().contains("web"));

    let endpoint = format!("http://127.0.0.1:{}", store.port());
    let endpoint = ["--endpoint", &endpoint];
    let instance = ["register", "--service=web", "--id=a", "--version=1.2", "--metadata=k=v", "--ttl=3s"];
    let mut holder = start(&[&instance[..], &endpoint[..], &["--registry", &url]].concat());
    let remark = holder.remark("registered web/a");
    assert!(!remark.contains("generation"), "{remark}");
    let shown = json!({"id": "a", "name": "web", "version": "1.2", "metadata": {"k": "v"}, "endpoints": [endpoint[1]]});
    assert_eq!(with(&["get", "web", "--json"]).json(), json!([shown]));
    assert_eq!(with(&["get", "web", "a", "--json"]).json()["instance"], shown);
    assert!(with(&["get", "web", "a"]).ok().contains("1.2"));
    assert_eq!(with(&["get", "web", "b"]).code, 4);
    let list = with(&["list", "--json"]).json();
    let web = list.as_array().into_iter().flatten().find(|service| service["name"] == "web").expect("it is listed");
    assert_eq!((&web["instances"], &web["up"]), (&json!(1), &json!(1)));
    assert_eq!(with(&["find", "meta.k:v", "version:>1.1", "--json"]).json(), json!([shown]));
    assert_eq!(with(&["find", "meta.k:w", "--json"]).json(), json!([]));
    assert_eq!(with(&["get", "web", "--filter=id:b", "--json"]).json(), json!([]));
    assert_eq!(with(&["list", "--filter=name:web !meta.k:*", "--json"]).json(), json!([]));

    let mut watch = start(&["watch", "web", "--json", "--registry", &url]);
    let first = watch.json_that("what is there", |line| line["snapshot"].is_array());
    assert_eq!(first["snapshot"], json!([shown]));
    let program = ["run", "--service=web", "--id=b"];
    let program = [&program[..], &endpoint[..], &["--registry", &url, "--", "sleep", "60"]].concat();
    let mut sidecar = start(&program);
    watch.json_that("the program's instance", |line| line["changes"][0]["put"]["id"] == "b");
    sidecar.interrupt();
    watch.json_that("it goes with the program", |line| line["changes"][0]["remove"]["id"] == "b");

    assert_eq!(holder.interrupt(), 0);
    assert!(holder.said().contains("deregistered web/a"));
    watch.json_that("it goes", |line| line["changes"][0]["remove"]["id"] == "a");
    assert!(store.ids("web").is_empty());

    store.kill();
    let done = with(&["list"]);
    assert_eq!(done.code, 3, "{done:?}");
    assert!(done.stderr.contains("cannot reach the registry"), "{done:?}");
}

#[test]
fn the_commands_speak_to_consul() {
    if let Some(mut consul) = Consul::new() {
        speaks(&mut consul);
    }
}

#[test]
fn the_commands_speak_to_etcd() {
    for server in [Server::Etcd, Server::EtcdCurrent] {
        if let Some(mut etcd) = Etcd::new(server) {
            speaks(&mut etcd);
        }
    }
}

#[test]
fn what_only_a_periplus_server_can_be_asked_says_so() {
    for command in [
        vec!["events"],
        vec!["history"],
        vec!["demo"],
        vec!["drain", "web", "a", "--reason=x"],
        vec!["evict", "web", "a", "--reason=x"],
        vec!["evict", "--filter=zone:a", "--reason=x"],
        vec!["register", "--service=web", "--id=a", "--detach"],
    ] {
        let done = run(&[&command[..], &["--registry", "consul://127.0.0.1?token=secret-word"]].concat());
        assert_eq!(done.code, 2, "{command:?}: {done:?}");
        assert!(done.stderr.contains("consul://127.0.0.1 is none"), "{done:?}");
        assert!(!done.stderr.contains("secret-word"), "{done:?}");
    }
}

#[test]
fn secrets_are_not_shown_by_those_who_refuse_them() {
    let port = free_port();
    for (url, hint) in [
        (format!("consul://127.0.0.1:{port}?token=secret-word&tokn=x"), "`tokn` is no option of a consul registry"),
        (format!("consul://127.0.0.1:{port}?token=secret-word&token_env=X"), "`token` and `token_env` are both there"),
        ("zookeeper://a?token=secret-word".to_owned(), "zookeeper"),
        (format!("consul://127.0.0.1:{port}?token=secret-word&ca_file=x"), "tls=true"),
        (format!("consul://127.0.0.1:{port}?token=secret-word&tls=true&ca_file=no-such-file"), "no-such-file"),
    ] {
        let done = run_with(&[("PERIPLUS_REGISTRY", &url)], &["list"]);
        assert_eq!(done.code, 2, "{url}: {done:?}");
        assert!(done.stderr.contains(hint), "{hint}: {done:?}");
        assert!(!done.stderr.contains("secret-word"), "{done:?}");
    }
    let url = format!("consul://127.0.0.1:{port}?token_env=OUR_TOKEN");
    let done = run_with(&[("OUR_TOKEN", "secret-word")], &["list", "--registry", &url]);
    assert_eq!(done.code, 3, "{done:?}");
    assert!(!done.stderr.contains("secret-word"), "{done:?}");
    let done = run(&["list", "--registry", &url]);
    assert!(done.code == 2 && done.stderr.contains("OUR_TOKEN"), "{done:?}");
}

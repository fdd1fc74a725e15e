//! Limits: each is met, and the server goes on.
#![cfg(unix)]

mod common;
mod http;

use std::time::{Duration, Instant};

use common::eventually;
use http::{Body, Connection, Server};
use serde_json::json;

const A: &str = "/v1/services/web/instances/a";

#[test]
fn a_body_that_is_too_large_is_not_read() {
    let server = Server::start_with(&["--limits-body-bytes=2KiB"]);
    let mut connection = Connection::open(&server.address);
    let head = format!("PUT {A} HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000000\r\n\r\n", server.address);
    connection.send(head.as_bytes());
    let answer = connection.answer();
    assert_eq!(answer.refused(), (413, "too_large".into(), "".into()));
    assert_eq!(answer.json()["limit"], 2048);
    assert_eq!(answer.headers["connection"], "close");

    // Nor one whose length is not said beforehand.
    let mut connection = Connection::open(&server.address);
    let head = format!("PUT {A} HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\r\n", server.address);
    connection.send(head.as_bytes());
    connection.send(format!("1000\r\n{}\r\n0\r\n\r\n", " ".repeat(0x1000)).as_bytes());
    assert_eq!(connection.answer().refused().0, 413);
}

#[test]
fn a_body_in_pieces_is_read_whole() {
    let server = Server::start();
    let mut connection = Connection::open(&server.address);
    let head = format!("PUT {A} HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\r\n", server.address);
    connection.send(head.as_bytes());
    for piece in ["{\"vers", "ion\":", "\"1\"}"] {
        connection.send(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes());
    }
    connection.send(b"0\r\n\r\n");
    assert_eq!(connection.answer().ok()["outcome"], "registered");
    assert_eq!(server.get(A).ok()["instance"]["version"], "1");
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Server::start_with(&["--limits-body-timeout=200ms"]);
    let mut connection = Connection::open(&server.address);
    let head = format!("PUT {A} HTTP/1.1\r\nhost: {}\r\ncontent-length: 10\r\n\r\n{{", server.address);
    connection.send(head.as_bytes());
    assert_eq!(connection.answer().refused(), (408, "request_timeout".into(), "".into()));
}

#[test]
fn a_head_that_is_too_long_or_does_not_end_closes_the_connection() {
    let server = Server::start_with(&["--limits-head-bytes=8KiB", "--limits-head-timeout=300ms"]);
    let mut connection = Connection::open(&server.address);
    let filler = "x".repeat(20_000);
    connection.send(format!("GET /v1/services HTTP/1.1\r\nhost: {}\r\nx: {filler}\r\n\r\n", server.address).as_bytes());
    // What is not read makes the kernel cut the connection: the answer may get lost.
    assert!(matches!(connection.head_status(), None | Some(431)));

    let begun = Instant::now();
    let mut stuck: Vec<_> = ["", "G", "P", "PR", "GET / HTTP/1.1\r\nhost"]
        .map(|start| {
            let mut connection = Connection::open(&server.address);
            connection.send(start.as_bytes());
            connection
        })
        .into();
    // One that says what it wants is not closed with them.
    let mut fine = Connection::open(&server.address);
    fine.call("GET", "/healthz", Body::None).json();
    for connection in &mut stuck {
        assert!(connection.is_closed());
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    fine.call("GET", "/healthz", Body::None).json();
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let server = Server::start_with(&["--limits-connections=3"]);
    let mut held: Vec<_> = (0..3).map(|_| Connection::open(&server.address)).collect();
    for connection in &mut held {
        connection.call("GET", "/healthz", Body::None).json();
    }
    let refused = server.get("/healthz");
    assert_eq!(refused.refused(), (503, "limit_connections".into(), "".into()));
    assert_eq!(refused.headers["retry-after"], "5");
    drop(held);
    eventually("there is room again", || (server.get("/healthz").status == 200).then_some(()));
}

#[test]
fn watches_and_instances_have_limits_with_names() {
    let server = Server::start_with(&["--limits-watches=1", "--limits-instances=2", "--limits-namespaces=1"]);
    let held = server.watch("service=web");
    let refused = server.get("/v1/watch?service=web");
    assert_eq!(refused.refused(), (503, "limit_watches".into(), "".into()));
    assert_eq!((&refused.json()["limit"], refused.headers["retry-after"].as_str()), (&json!(1), "5"));
    drop(held);
    eventually("there is room again", || (server.get("/v1/watches").ok()["watches"] == json!([])).then_some(()));
    server.watch("service=web");

    server.register("web", "a", json!({}));
    let refused = server.call("PUT", "/v1/services/web/instances/b?ns=prod", json!({}));
    assert_eq!(refused.refused(), (503, "limit_namespaces".into(), "".into()));
    server.register("web", "b", json!({}));
    assert_eq!(server.call("PUT", "/v1/services/web/instances/c", json!({})).refused().1, "limit_instances");
    server.register("web", "b", json!({"version": "2"}));
}

#[test]
fn a_batch_of_renewals_has_a_limit_of_its_own() {
    let server = Server::start();
    let lease = server.register("web", "a", json!({}))["lease"].clone();
    let renewed = server.call("POST", "/v1/leases/renew", json!({"leases": vec![&lease; 10_000]}));
    assert_eq!(renewed.ok()["renewed"], 10_000);
    let refused = server.call("POST", "/v1/leases/renew", json!({"leases": vec!["x"; 10_001]}));
    assert_eq!(refused.refused(), (413, "too_large".into(), "leases".into()));
    assert_eq!(refused.json()["limit"], 10_000);
}

#[test]
fn an_instance_that_is_too_large_is_refused_as_a_whole() {
    let server = Server::start_with(&["--limits-instance-bytes=200"]);
    let refused = server.call("PUT", A, json!({"version": "x".repeat(120), "metadata": {"k": "x".repeat(100)}}));
    assert_eq!(refused.refused(), (413, "too_large".into(), "instance".into()));
    assert_eq!(server.ids("web"), [""; 0]);
}

#[test]
fn when_memory_runs_out_renewals_and_deregistrations_go_on() {
    // Each instance is charged with what it takes at most: some hundreds fill a megabyte.
    let server = Server::start_with(&["--limits-memory=1MiB", "--limits-history-entries=10"]);
    let mut connection = Connection::open(&server.address);
    let mut leases = Vec::new();
    let mut refusals = std::collections::BTreeSet::new();
    for id in 0..20_000 {
        let path = format!("/v1/services/web/instances/{id}");
        let answer = connection.call("PUT", &path, json!({"ttl": "1h"}));
        if answer.status == 200 {
            leases.push((path, answer.json()["lease"].clone()));
            continue;
        }
        refusals.insert(answer.refused().1);
        assert_eq!(answer.headers["retry-after"], "5");
        break;
    }
    assert!(refusals.contains("overloaded") || refusals.contains("limit_bytes"), "{refusals:?}");
    let mut connection = Connection::open(&server.address);
    eventually("the server has counted", || {
        (server.get("/v1/status").ok()["memory"]["refused"] == "registrations").then_some(())
    });
    for path in ["/v1/watch?service=web", "/v1/services"] {
        assert_eq!(server.get(path).refused(), (503, "overloaded".into(), "".into()));
    }
    let (path, lease) = &leases[0];
    let renewed = connection.call("POST", "/v1/leases/renew", json!({"leases": [lease]})).ok();
    assert_eq!(renewed["renewed"], 1);
    connection.call("DELETE", path, json!({"lease": lease})).ok();
    assert_eq!(server.get("/v1/status").ok()["memory"]["refused"], "registrations");
    for (path, lease) in &leases[1..] {
        connection.call("DELETE", path, json!({"lease": lease})).ok();
    }
    eventually("there is room again", || (server.get("/v1/services").status == 200).then_some(()));
}

#[test]
fn a_connection_that_is_used_is_not_taken_for_an_idle_or_a_stuck_one() {
    let server = Server::start_with(&["--limits-head-timeout=20ms"]);
    let mut connection = Connection::open(&server.address);
    let until = Instant::now() + Duration::from_millis(800);
    let head = format!("PUT {A} HTTP/1.1\r\nhost: {}\r\ncontent-length: 2\r\n\r\n", server.address);
    while Instant::now() < until {
        // Head and body come apart, and there are pauses.
        connection.send(head.as_bytes());
        std::thread::sleep(Duration::from_millis(2));
        connection.send(b"{}");
        connection.answer().ok();
        std::thread::sleep(Duration::from_millis(15));
    }
    // One that is not used is closed in the end.
    assert!(connection.is_closed());
}

#[test]
fn answers_that_nobody_reads_are_not_held_for_ever() {
    let server = Server::start_with(&["--limits-head-timeout=50ms"]);
    let filler = "x".repeat(500);
    let metadata: serde_json::Map<_, _> = (0..20).map(|at| (format!("k{at}"), json!(filler))).collect();
    for id in 0..200 {
        server.register("web", &id.to_string(), json!({"metadata": metadata}));
    }
    // Two megabytes a list: more than the sockets hold, sooner or later.
    let mut deaf = Connection::open(&server.address);
    let request = format!("GET /v1/services/web HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    for _ in 0..20 {
        deaf.send(request.as_bytes());
    }
    eventually("the deaf one is cut off", || (server.get("/v1/status").ok()["connections"] == 1).then_some(()));
}

#[test]
fn what_is_no_http_is_told_so_and_cut_off() {
    let server = Server::start();
    for nonsense in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n"] {
        let mut connection = Connection::open(&server.address);
        connection.send(nonsense.as_bytes());
        assert_eq!(connection.head_status(), Some(400), "{nonsense:?}");
    }
}

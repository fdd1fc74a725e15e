//! The page that the server shows, and what that asks for.
#![cfg(unix)]

mod common;
mod http;

use http::{Connection, Server};
use serde_json::{Value, json};

#[test]
fn the_page_runs_its_own_code_and_nothing_else() {
    let server = Server::start();
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    let policy = &page.headers["content-security-policy"];
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
    // With the dashboard it loads that, without it it says how to get it.
    assert!(page.body.contains("dashboard/boot.js") || page.body.contains("cargo xtask web"), "{}", page.body);
    assert_eq!(server.get("/dashboard/no-such-file").refused(), (404, "not_found".into(), "".into()));
    let (status, code, _) = server.call("POST", "/", json!({})).refused();
    assert_eq!((status, &*code), (405, "method_not_allowed"));
    // It is no part of the protocol.
    assert!(server.get("/openapi.json").json()["paths"].get("/").is_none());
}

#[test]
fn a_file_that_is_known_is_not_sent_again() {
    let server = Server::start();
    let first = server.get("/");
    let Some(tag) = first.headers.get("etag") else {
        // The page that a server shows that was built without the dashboard has none.
        assert!(first.body.contains("cargo xtask web"));
        return;
    };
    let mut connection = Connection::open(&server.address);
    connection.send(format!("GET / HTTP/1.1\r\nhost: {}\r\nif-none-match: {tag}\r\n\r\n", server.address).as_bytes());
    assert_eq!(connection.head_status(), Some(304));
}

fn sum(trends: &Value, kind: &str) -> u64 {
    let minutes = trends[kind].as_array().expect("a list");
    assert_eq!(minutes.len(), 60);
    minutes.iter().map(|n| n.as_u64().expect("a number")).sum()
}

#[test]
fn what_happens_is_counted_minute_by_minute() {
    let server = Server::start();
    let a = "/v1/services/web/instances/a";
    let lease = server.register("web", "a", json!({}))["lease"].clone();
    server.call("DELETE", a, json!({"lease": lease})).ok();
    server.register("web", "a", json!({}));
    server.register("web", "b", json!({}));
    server.call("PATCH", &format!("{a}/overlay"), json!({"weight": 1, "reason": "test"})).ok();
    server.call("POST", "/v1/services/web/instances/b/evict", json!({"reason": "test"})).ok();
    let trends = server.get("/v1/trends").ok();
    let counts =
        ["registered", "flapped", "deregistered", "overlaid", "evicted", "expired"].map(|kind| sum(&trends, kind));
    assert_eq!(counts, [3, 1, 1, 1, 1, 0]);
}

#[test]
fn the_leases_of_a_service_are_told_with_what_is_left_of_them() {
    let server = Server::start();
    for id in ["c", "a", "b"] {
        server.register("web", id, json!({"ttl": "60s"}));
    }
    server.call("PATCH", "/v1/services/web/instances/b/overlay", json!({"weight": 1, "reason": "test"})).ok();
    let answer = server.get("/v1/services/web/leases?limit=2").ok();
    assert_eq!(answer["next"], "b");
    let leases = answer["leases"].as_array().expect("a list");
    let told: Vec<_> = leases.iter().map(|it| (it["id"].as_str().unwrap_or_default(), &it["overlaid"])).collect();
    assert_eq!(told, [("a", &json!(false)), ("b", &json!(true))]);
    for lease in leases {
        let (ttl, left) = (lease["ttl_ms"].as_u64(), lease["left_ms"].as_u64());
        assert!(ttl == Some(60_000) && left.is_some_and(|left| left <= 60_000), "{lease}");
    }
    let rest = server.get("/v1/services/web/leases?after=b").ok();
    assert_eq!(rest["leases"].as_array().map(Vec::len), Some(1));
    assert_eq!(server.get("/v1/services/nobody/leases").ok()["leases"], json!([]));
}

#[test]
fn the_latest_of_the_past_comes_first_if_one_asks_for_it() {
    let server = Server::start();
    for id in ["a", "b", "c"] {
        server.register("web", id, json!({}));
        server.register("other", id, json!({}));
    }
    let ids = |query: &str| -> Vec<u64> {
        let answer = server.get(&format!("/v1/history?{query}")).ok();
        let entries = answer["entries"].as_array().expect("a list").clone();
        entries.iter().map(|entry| entry["revision"].as_u64().expect("a number")).collect()
    };
    assert_eq!(ids("service=web&newest=true&limit=2"), [5, 3]);
    assert_eq!(ids("newest=true&to=3"), [3, 2, 1]);
    assert_eq!(ids("limit=2"), [1, 2]);
    let (status, code, field) = server.get("/v1/history?newest=perhaps").refused();
    assert_eq!((status, &*code, &*field), (400, "invalid_query", "newest"));
}

#[test]
fn a_service_says_whether_anybody_has_ever_watched_it() {
    let server = Server::start();
    server.register("web", "a", json!({}));
    let watched = || server.get("/v1/services").ok()["services"][0]["watched"].clone();
    assert_eq!(watched(), false);
    let mut watch = server.watch("service=web");
    watch.delivery();
    assert_eq!(watched(), true);
    drop(watch);
    assert_eq!(watched(), true);
}

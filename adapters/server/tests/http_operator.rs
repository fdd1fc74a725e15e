//! What operators lay over instances and take out, and how the past is read.
#![cfg(unix)]

mod common;
mod http;

use common::eventually;
use http::{Server, ids};
use serde_json::{Value, json};

const A: &str = "/v1/services/web/instances/a";

fn overlay(server: &Server, body: Value) -> Value {
    server.call("PATCH", &format!("{A}/overlay"), body).ok()
}

#[test]
fn an_overlay_survives_registrations_until_it_is_cleared() {
    let server = Server::start();
    server.register("web", "a", json!({"metadata": {"k": "own", "weight": "1"}}));
    assert_eq!(overlay(&server, json!({"status": "draining", "weight": 7, "reason": "INC-1"}))["changed"], true);
    assert_eq!(overlay(&server, json!({"metadata": {"k": null}, "reason": "INC-2"}))["changed"], true);
    let shown = json!({"status": "draining", "weight": "7"});
    let one = server.get(A).ok();
    assert_eq!(one["instance"]["metadata"], shown);
    assert_eq!(one["registered"]["metadata"], json!({"k": "own", "weight": "1"}));
    assert_eq!(one["overlay"]["reason"], "INC-2");
    assert_eq!(one["overlay"]["metadata"], json!({"status": "draining", "weight": "7", "k": null}));

    server.register("web", "a", json!({"version": "2", "metadata": {"k": "new"}}));
    let again = server.get(A).ok();
    assert_eq!((&again["instance"]["version"], &again["instance"]["metadata"]), (&json!("2"), &shown));
    assert_eq!(server.get("/v1/overlays").ok()["overlays"][0]["id"], "a");

    let clear = |body: Value| server.call("DELETE", &format!("{A}/overlay"), body).ok();
    assert_eq!(clear(json!({"keys": ["k", "status"]}))["changed"], true);
    assert_eq!(server.get(A).ok()["instance"]["metadata"], json!({"k": "new", "weight": "7"}));
    assert_eq!(server.call("DELETE", &format!("{A}/overlay"), http::Body::None).ok()["changed"], true);
    let plain = server.get(A).ok();
    assert_eq!(plain["instance"]["metadata"], json!({"k": "new"}));
    assert!(plain.get("overlay").is_none());
}

#[test]
fn an_evicted_instance_is_out_and_kept_out() {
    let server = Server::start();
    let lease = server.register("web", "a", json!({}))["lease"].clone();
    let mut watch = server.watch("service=web");
    watch.delivery();
    let body = json!({"reason": "INC-3", "block_for": "700ms"});
    assert_eq!(server.call("POST", &format!("{A}/evict"), body).ok()["evicted"], true);
    assert_eq!(watch.delivery()[0].json()["cause"], "evicted");
    let renewed = server.call("POST", "/v1/leases/renew", json!({"leases": [lease]})).ok();
    assert_eq!(renewed["failed"][0]["code"], "lease_evicted");
    let blocked = server.call("PUT", A, json!({}));
    assert_eq!(blocked.refused().0, 423);
    assert_eq!(blocked.refused().1, "blocked");
    assert!(blocked.body.contains("INC-3"));
    assert_eq!(blocked.headers["retry-after"], "1");
    assert_eq!(server.get("/v1/overlays").ok()["blocks"][0]["reason"], "INC-3");
    server.register("web", "b", json!({}));
    eventually("the block ends", || (server.call("PUT", A, json!({})).status == 200).then_some(()));
}

#[test]
fn the_past_is_read_change_by_change_and_as_it_was() {
    let server = Server::start();
    let lease = server.register("web", "a", json!({"version": "1"}))["lease"].clone();
    server.register("other", "x", json!({}));
    server.call("PATCH", A, json!({"lease": lease, "version": "2"})).ok();
    server.register("web", "b", json!({}));
    server.call("DELETE", A, json!({"lease": lease})).ok();

    let past = server.get("/v1/history?service=web").ok();
    let entries = past["entries"].as_array().unwrap();
    let causes: Vec<_> = entries.iter().map(|entry| entry["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["registered", "updated", "registered", "deregistered"]);
    assert_eq!((&entries[1]["before"]["version"], &entries[1]["after"]["version"]), (&json!("1"), &json!("2")));
    assert!(entries[3].get("after").is_none() && entries[3]["time"].as_u64() > Some(1_500_000_000_000));

    let page = server.get("/v1/history?service=web&limit=2").ok();
    assert_eq!((page["entries"].as_array().unwrap().len(), &page["next"]), (2, &json!(4)));
    let page = server.get("/v1/history?service=web&limit=2&from=4").ok();
    assert_eq!(page["entries"][1]["revision"], 5);
    assert!(page.get("next").is_none());
    let part = server.get("/v1/history?from=2&to=3").ok();
    assert_eq!(part["entries"].as_array().unwrap().len(), 2);

    let at = |revision: u64| server.get(&format!("/v1/history?service=web&at={revision}")).ok()["instances"].clone();
    assert_eq!(at(0), json!([]));
    assert_eq!(at(2)[0]["version"], "1");
    assert_eq!(ids(&at(4)), ["a", "b"]);
    assert_eq!(ids(&at(5)), ["b"]);
}

#[test]
fn what_is_forgotten_is_refused_with_the_oldest_that_is_known() {
    let server = Server::start_with(&["--limits-history-entries=3"]);
    for version in 0..10 {
        server.register("web", "a", json!({"version": version.to_string()}));
    }
    let past = server.get("/v1/history").ok();
    assert_eq!((&past["first"], past["entries"].as_array().unwrap().len()), (&json!(7), 3));
    for path in ["/v1/history?from=7", "/v1/history?at=6"] {
        let refused = server.get(path);
        assert_eq!(refused.refused(), (410, "compacted".into(), "".into()), "{path}");
        assert_eq!(refused.json()["limit"], 7);
    }
    assert_eq!(server.get("/v1/history?at=7").ok()["instances"][0]["version"], "6");
}

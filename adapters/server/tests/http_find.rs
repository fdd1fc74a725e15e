//! Instances are found by a query: in one service, over all, and counted by service.
#![cfg(unix)]

mod common;
mod http;

use std::collections::BTreeMap;

use http::{Body, Connection, Server, ids};
use serde_json::{Value, json};

/// Three services with instances in two zones, one of them drained.
fn with_a_fleet() -> Server {
    let server = Server::start();
    for (service, id, zone) in [("pay", "p-1", "a"), ("web", "w-1", "a"), ("web", "w-2", "b"), ("web", "w-3", "a")] {
        let endpoint = format!("http://{id}.example:80");
        let body = json!({"metadata": {"zone": zone}, "version": "1.10", "endpoints": [endpoint]});
        server.register(service, id, body);
    }
    server.register("auth", "x", json!({"metadata": {"zone": "b", "status": "draining"}}));
    server
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Reads page after page, to the end.
fn pages(server: &Server, path: &str, key: &str) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("{path}{after}")).ok();
        pages.push(page[key].as_array().expect("a list").clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", encoded(next)),
            None => return pages,
        }
        assert!(pages.len() < 100, "pages end");
    }
}

#[test]
fn a_list_has_only_the_instances_that_match() {
    let server = with_a_fleet();
    assert_eq!(ids(&server.get("/v1/services/web?filter=zone:a").ok()["instances"]), ["w-1", "w-3"]);
    assert_eq!(ids(&server.get("/v1/services/web?filter=version:%3E=1.9+zone:b").ok()["instances"]), ["w-2"]);
    assert_eq!(ids(&server.get("/v1/services/web?filter=W-1.EXAMPLE").ok()["instances"]), ["w-1"]);
    assert_eq!(ids(&server.get("/v1/services/nobody?filter=zone:a").ok()["instances"]), [""; 0]);
    // An empty filter is none.
    assert_eq!(ids(&server.get("/v1/services/web?filter=+").ok()["instances"]).len(), 3);
}

#[test]
fn a_filtered_list_is_not_taken_for_the_whole_and_the_whole_not_for_it() {
    let server = with_a_fleet();
    for _ in 0..3 {
        assert_eq!(server.ids("web").len(), 3);
        assert_eq!(ids(&server.get("/v1/services/web?filter=zone:b").ok()["instances"]), ["w-2"]);
    }
}

#[test]
fn pages_of_what_matches_leave_nothing_out() {
    let server = with_a_fleet();
    let page = server.get("/v1/services/web?filter=zone:a&limit=1").ok();
    assert_eq!((ids(&page["instances"]), &page["next"]), (vec!["w-1".into()], &json!("w-1")));
    let page = server.get("/v1/services/web?filter=zone:a&limit=1&after=w-1").ok();
    assert_eq!(ids(&page["instances"]), ["w-3"]);
    assert!(page.get("next").is_none());
}

#[test]
fn services_are_counted_by_what_matches_of_them() {
    let server = with_a_fleet();
    let services = |query: &str| {
        let answer = server.get(&format!("/v1/services?{query}")).ok();
        let counts = answer["services"].as_array().expect("a list").iter().map(|it| {
            let count = |key: &str| it[key].as_u64().expect("a number");
            (it["name"].as_str().expect("a name").to_owned(), count("instances"), count("up"), count("draining"))
        });
        (counts.collect::<Vec<_>>(), answer.get("next").cloned())
    };
    let zone_a = vec![("pay".into(), 1, 1, 0), ("web".into(), 2, 2, 0)];
    assert_eq!(services("filter=zone:a"), (zone_a.clone(), None));
    assert_eq!(services("filter=status:draining").0, [("auth".into(), 1, 0, 1)]);
    assert_eq!(services("filter=zone:a&limit=1"), (zone_a[..1].to_vec(), Some(json!("pay"))));
    assert_eq!(services("filter=zone:a&limit=1&after=pay"), (zone_a[1..].to_vec(), None));
    assert_eq!(services("filter=zone:a&prefix=we").0, zone_a[1..]);
    assert_eq!(services("filter=zone:c").0, []);
}

#[test]
fn instances_are_found_over_all_services_of_a_namespace() {
    let server = with_a_fleet();
    server.call("PUT", "/v1/services/web/instances/w-1?ns=prod", json!({"metadata": {"zone": "a"}})).ok();
    let found = server.get("/v1/instances?filter=zone:a").ok();
    assert_eq!(ids(&found["instances"]), ["p-1", "w-1", "w-3"]);
    assert_eq!((&found["namespace"], &found["instances"][0]["ttl"]), (&json!("default"), &json!("30s")));
    assert_eq!(found["revision"], 6);
    assert_eq!(ids(&server.get("/v1/instances").ok()["instances"]), ["x", "p-1", "w-1", "w-2", "w-3"]);
    let prod = server.get("/v1/instances?ns=prod&filter=zone:a").ok();
    assert_eq!(prod["instances"][0]["namespace"], "prod");
    assert_eq!(server.get("/v1/instances?ns=nobody").ok()["instances"], json!([]));
}

#[test]
fn places_are_right_whatever_the_names_have_in_them() {
    let server = Server::start();
    let mut expected = Vec::new();
    for service in ["a", "a/b", "a%2Fb", "支付 x", "a b"] {
        for id in ["1", "/", "a/b", "%2F", "é"] {
            let path = format!("/v1/services/{}/instances/{}", encoded(service), encoded(id));
            server.call("PUT", &path, json!({"metadata": {"odd": (id.len() % 2).to_string()}})).ok();
            expected.push((service.to_owned(), id.to_owned()));
        }
    }
    expected.sort();
    let key = |it: &Value| (it["name"].as_str().unwrap().to_owned(), it["id"].as_str().unwrap().to_owned());
    for limit in [1, 2, 7, 100] {
        let pages = pages(&server, &format!("/v1/instances?limit={limit}"), "instances");
        assert!(pages.iter().all(|page| page.len() <= limit));
        assert_eq!(pages.concat().iter().map(key).collect::<Vec<_>>(), expected, "{limit}");
        let odd = self::pages(&server, &format!("/v1/instances?filter=meta.odd:1&limit={limit}"), "instances");
        let expected = expected.iter().filter(|(_, id)| id.len() % 2 == 1).cloned();
        assert_eq!(odd.concat().iter().map(key).collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{limit}");
    }
}

#[test]
fn a_page_goes_on_after_what_went_in_between() {
    let server = with_a_fleet();
    let page = server.get("/v1/instances?limit=3").ok();
    assert_eq!((ids(&page["instances"]).len(), &page["next"]), (3, &json!("web/w-1")));
    for id in ["w-1", "w-2"] {
        server.call("POST", &format!("/v1/services/web/instances/{id}/evict"), json!({"reason": "test"})).ok();
    }
    assert_eq!(ids(&server.get("/v1/instances?limit=3&after=web%2Fw-1").ok()["instances"]), ["w-3"]);
    assert_eq!(ids(&server.get("/v1/instances?after=auto%2Fz").ok()["instances"]), ["p-1", "w-3"]);
}

#[test]
fn more_than_one_request_looks_at_is_found_in_several() {
    let server = Server::start_with(&["--ttl-default=10m", "--limits-instances-per-service=20000"]);
    let mut connection = Connection::open(&server.address);
    let mut expected = BTreeMap::new();
    // The one that is looked for is the last of a big service, and there is one behind.
    for at in 0..10_500 {
        let service = if at < 10_499 { "big" } else { "small" };
        let rare = at >= 10_498;
        let body = json!({"metadata": {"rare": rare.to_string()}});
        let id = format!("i{at:05}");
        connection.call("PUT", &format!("/v1/services/{service}/instances/{id}"), body).ok();
        if rare {
            expected.insert(id, service);
        }
    }
    let found = |path: &str| {
        let pages = pages(&server, path, "instances");
        let found: Vec<String> = pages.concat().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
        (pages.len(), found)
    };
    let all: Vec<String> = expected.keys().cloned().collect();
    assert_eq!(found("/v1/instances?filter=meta.rare:true"), (2, all.clone()));
    assert_eq!(found("/v1/services/big?filter=meta.rare:true"), (2, all[..1].to_vec()));
    let services = pages(&server, "/v1/services?filter=meta.rare:true", "services");
    let counts: Vec<_> = services.iter().flatten().map(|it| (&it["name"], &it["instances"])).collect();
    assert_eq!(services.len(), 2);
    assert_eq!(counts, [(&json!("big"), &json!(1)), (&json!("small"), &json!(1))]);
}

#[test]
fn a_filter_that_is_none_is_refused_with_its_place() {
    let server = with_a_fleet();
    for path in ["/v1/services", "/v1/services/web", "/v1/instances"] {
        let answer = server.get(&format!("{path}?filter=zone:a+colour:red"));
        assert_eq!(answer.refused(), (400, "invalid_filter".into(), "filter".into()), "{path}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("\"colour\"") && message.contains("bytes 7 to 13"), "{message}");
    }
    let long = server.get(&format!("/v1/instances?filter={}", "a".repeat(1_025)));
    assert_eq!((long.refused().1, &long.json()["limit"]), ("invalid_filter".into(), &json!(1_024)));
    let many = server.get(&format!("/v1/instances?filter={}", "a+".repeat(33)));
    assert_eq!((many.refused().1, &many.json()["limit"]), ("invalid_filter".into(), &json!(32)));
    let twice = server.get("/v1/instances?filter=a&filter=b");
    assert_eq!(twice.refused(), (400, "invalid_query".into(), "filter".into()));
    for after in ["web", "web%2F", "%2Fa", "web%2Fa%25"] {
        let answer = server.get(&format!("/v1/instances?after={after}"));
        assert_eq!(answer.refused(), (400, "invalid_query".into(), "after".into()), "{after}");
    }
    let posted = server.call("POST", "/v1/instances", Body::Text("{}".into()));
    assert_eq!(posted.refused().1, "method_not_allowed");
}

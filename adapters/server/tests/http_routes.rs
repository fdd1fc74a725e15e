//! Every route, and what becomes of requests that are wrong.
#![cfg(unix)]

mod common;
mod http;

use http::{Body, Connection, Server, ids};
use serde_json::{Value, json};

const A: &str = "/v1/services/web/instances/a";

#[test]
fn every_answer_that_is_an_object_is_dated() {
    let server = Server::start();
    server.register("web", "a", json!({"endpoints": ["http://10.0.0.1:80"]}));
    for path in [
        "/v1/services",
        "/v1/services/web",
        "/v1/services/nobody",
        "/v1/services?filter=web",
        "/v1/instances",
        A,
        "/v1/namespaces",
        "/v1/overlays",
        "/v1/watches",
        "/v1/status",
        "/v1/history",
        "/v1/history?at=0",
        "/v1/events",
        "/readyz",
    ] {
        let answer = server.get(path).ok();
        assert_eq!(answer["revision"], 1, "{path}");
        assert_eq!(answer["warming"], false, "{path}");
        assert!(answer["epoch"].as_str().is_some_and(|epoch| epoch.len() >= 16), "{path}");
    }
}

#[test]
fn a_registration_is_listed_as_it_was_given() {
    let server = Server::start();
    let given = json!({"version": "1.2", "metadata": {"zone": "b", "a<b": "\"&"}, "ttl": "1m30s",
        "endpoints": ["grpc://10.0.0.1:9000", "http://[::1]:80"], "id": "a", "name": "web", "unknown": [1]});
    let answer = server.register("web", "a", given);
    assert_eq!(answer["outcome"], "registered");
    assert_eq!(answer["ttl"], "90s");
    assert_eq!(answer["lease"].as_str().map(str::len), Some(32));
    let listed = json!({"id": "a", "name": "web", "version": "1.2", "metadata": {"zone": "b", "a<b": "\"&"},
        "endpoints": ["grpc://10.0.0.1:9000", "http://[::1]:80"], "ttl": "90s"});
    assert_eq!(server.get("/v1/services/web").ok()["instances"], json!([listed]));
    let one = server.get(A).ok();
    assert_eq!(one["instance"], listed);
    assert_eq!((&one["generation"], &one["modified"]), (&json!(1), &json!(1)));
    assert!(one["expires_in"].as_str().is_some_and(|text| text.ends_with('s')));
    assert!(one.get("overlay").is_none() && one.get("registered").is_none());
}

#[test]
fn a_lease_is_renewed_updated_and_given_up() {
    let server = Server::start();
    let lease = server.register("web", "a", json!({}))["lease"].clone();
    let renewed = server.call("POST", "/v1/leases/renew", json!({"leases": [lease, "no-lease"], "number": 7})).ok();
    assert_eq!((&renewed["renewed"], &renewed["number"]), (&json!(1), &json!(7)));
    assert_eq!(renewed["failed"], json!([{"index": 1, "code": "lease_unknown"}]));

    let update = json!({"lease": lease, "sequence": 3, "weight": 5, "status": "draining", "metadata": {"k": "v"}});
    assert_eq!(server.call("PATCH", A, update.clone()).ok()["changed"], true);
    assert_eq!(server.call("PATCH", A, update).ok()["changed"], false);
    let metadata = server.get(A).ok()["instance"]["metadata"].clone();
    assert_eq!(metadata, json!({"k": "v", "status": "draining", "weight": "5"}));
    let late = server.call("PATCH", A, json!({"lease": lease, "sequence": 2, "version": "2"}));
    assert_eq!(late.refused(), (409, "outdated".into(), "".into()));

    server.call("DELETE", A, json!({"lease": lease})).ok();
    // Doing so twice is doing it once.
    server.call("DELETE", A, json!({"lease": lease})).ok();
    assert_eq!(server.get(A).refused(), (404, "not_found".into(), "".into()));
    let gone = server.call("PATCH", A, json!({"lease": lease}));
    assert_eq!(gone.refused(), (410, "lease_deregistered".into(), "lease".into()));
    let renewed = server.call("POST", "/v1/leases/renew", json!({"leases": [lease]})).ok();
    assert_eq!(renewed["failed"][0]["code"], "lease_deregistered");
}

#[test]
fn the_same_registration_twice_is_one_and_one_given_up_is_none() {
    let server = Server::start();
    let body = |sequence: u64| json!({"incarnation": "0123456789abcdef0123456789abcdef", "sequence": sequence});
    let first = server.register("web", "a", body(1));
    let again = server.register("web", "a", body(1));
    assert_eq!((&first["outcome"], &again["outcome"]), (&json!("registered"), &json!("repeated")));
    assert_eq!((&first["lease"], &first["revision"]), (&again["lease"], &again["revision"]));
    assert_eq!(server.register("web", "a", body(2))["outcome"], "replaced");
    assert_eq!(server.call("PUT", A, body(1)).refused().1, "ended");
    server.call("DELETE", A, body(2)).ok();
    assert_eq!(server.ids("web"), [""; 0]);
    assert_eq!(server.call("PUT", A, body(2)).refused(), (410, "ended".into(), "".into()));
    assert_eq!(server.register("web", "a", body(3))["outcome"], "registered");
}

#[test]
fn lists_come_in_pages_in_order() {
    let server = Server::start();
    for id in ["c", "a", "d", "b"] {
        server.register("web", id, json!({}));
        server.register(&format!("s-{id}"), "x", json!({}));
    }
    let page = server.get("/v1/services/web?limit=3").ok();
    assert_eq!((ids(&page["instances"]), &page["next"]), (vec!["a".into(), "b".into(), "c".into()], &json!("c")));
    let page = server.get("/v1/services/web?limit=3&after=c").ok();
    assert_eq!(ids(&page["instances"]), ["d"]);
    assert!(page.get("next").is_none());
    assert!(server.get("/v1/services/web?limit=4").ok().get("next").is_none());

    let names = |answer: &Value| -> Vec<String> {
        let services = answer["services"].as_array().unwrap();
        services.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    let page = server.get("/v1/services?prefix=s-&limit=2").ok();
    assert_eq!((names(&page), &page["next"]), (vec!["s-a".into(), "s-b".into()], &json!("s-b")));
    assert_eq!(names(&server.get("/v1/services?prefix=s-&after=s-b").ok()), ["s-c", "s-d"]);
}

#[test]
fn services_are_counted_by_status() {
    let server = Server::start();
    server.register("web", "a", json!({"metadata": {"status": "draining"}}));
    server.register("web", "b", json!({}));
    let service = server.get("/v1/services").ok()["services"][0].clone();
    let expected = json!({"name": "web", "instances": 2, "starting": 0, "up": 1, "draining": 1, "down": 0,
        "revision": 2, "watchers": 0, "watched": false});
    assert_eq!(service, expected);
}

#[test]
fn namespaces_never_meet() {
    let server = Server::start();
    server.register("web", "a", json!({}));
    server.call("PUT", "/v1/services/web/instances/a?ns=prod", json!({"version": "2"})).ok();
    assert_eq!(server.get("/v1/services/web").ok()["instances"][0]["version"], "");
    let prod = server.get("/v1/services/web?ns=prod").ok();
    assert_eq!(prod["instances"][0]["version"], "2");
    assert_eq!(prod["instances"][0]["namespace"], "prod");
    let namespaces = server.get("/v1/namespaces").ok()["namespaces"].clone();
    let one = |name: &str| json!({"name": name, "services": 1, "instances": 1});
    assert_eq!(namespaces, json!([one("default"), one("prod")]));
}

#[test]
fn names_are_decoded_once() {
    let server = Server::start();
    server.call("PUT", "/v1/services/a%2Fb/instances/%E6%94%AF%2541", json!({})).ok();
    let answer = server.get("/v1/services/a%2fb").ok();
    assert_eq!(answer["instances"][0]["id"], "支%41");
    assert_eq!(answer["service"], "a/b");
}

#[test]
fn wrong_requests_are_refused_with_code_and_field() {
    let server = Server::start();
    server.register("web", "a", json!({}));
    let lease = server.register("web", "b", json!({}))["lease"].clone();
    let long = "x".repeat(300);
    let renew = "/v1/leases/renew";
    let text = |value: Value| value.to_string();
    #[rustfmt::skip]
    let table: Vec<(&str, String, String, u16, &str, &str)> = vec![
        ("GET", "/nope".into(), "".into(), 404, "not_found", ""),
        ("GET", "/v1".into(), "".into(), 404, "not_found", ""),
        ("GET", "/v1/services/web/instances".into(), "".into(), 404, "not_found", ""),
        ("GET", "/v1/services/web/instances/x".into(), "".into(), 404, "not_found", ""),
        ("POST", "/v1/services".into(), "{}".into(), 405, "method_not_allowed", ""),
        ("GET", renew.into(), "".into(), 405, "method_not_allowed", ""),
        ("BREW", "/v1/status".into(), "".into(), 405, "method_not_allowed", ""),
        ("OPTIONS", "/v1/status".into(), "".into(), 405, "method_not_allowed", ""),
        // Names.
        ("GET", "/v1/services/".into(), "".into(), 400, "invalid_service", "service"),
        ("PUT", format!("/v1/services/{long}/instances/a"), "{}".into(), 400, "invalid_service", "service"),
        ("PUT", "/v1/services/web/instances/%00".into(), "{}".into(), 400, "invalid_id", "id"),
        ("PUT", "/v1/services/web/instances/%20a".into(), "{}".into(), 400, "invalid_id", "id"),
        ("PUT", "/v1/services/web/instances/a%E2%80%AE".into(), "{}".into(), 400, "invalid_id", "id"),
        ("PUT", "/v1/services/web/instances/%ff".into(), "{}".into(), 400, "invalid_encoding", "id"),
        ("PUT", format!("{A}?ns="), "{}".into(), 400, "invalid_ns", "ns"),
        ("GET", "/v1/services?ns=a&ns=b".into(), "".into(), 400, "invalid_query", "ns"),
        ("GET", "/v1/services?limit=x".into(), "".into(), 400, "invalid_query", "limit"),
        ("GET", "/v1/services?limit=0".into(), "".into(), 400, "invalid_query", "limit"),
        // Registrations.
        ("PUT", A.into(), "".into(), 400, "invalid_json", ""),
        ("PUT", A.into(), "{".into(), 400, "invalid_json", ""),
        ("PUT", A.into(), "[]".into(), 400, "invalid_json", ""),
        ("PUT", A.into(), "{} {}".into(), 400, "invalid_json", ""),
        ("PUT", A.into(), text(json!({"id": "b"})), 400, "invalid_id", "id"),
        ("PUT", A.into(), text(json!({"name": "b"})), 400, "invalid_name", "name"),
        ("PUT", A.into(), text(json!({"ttl": 15})), 400, "invalid_ttl", "ttl"),
        ("PUT", A.into(), text(json!({"ttl": "15"})), 400, "invalid_ttl", "ttl"),
        ("PUT", A.into(), text(json!({"ttl": "1ms"})), 400, "invalid_ttl", "ttl"),
        ("PUT", A.into(), text(json!({"ttl": "1000h"})), 400, "invalid_ttl", "ttl"),
        ("PUT", A.into(), text(json!({"endpoints": ["http://a:1", "b"]})), 400, "invalid_endpoints", "endpoints[1]"),
        ("PUT", A.into(), text(json!({"endpoints": "http://a:1"})), 400, "invalid_endpoints", "endpoints"),
        ("PUT", A.into(), text(json!({"endpoints": vec!["http://a:1"; 17]})), 400, "invalid_endpoints", "endpoints"),
        ("PUT", A.into(), text(json!({"metadata": {"a": 1}})), 400, "invalid_metadata", "metadata.a"),
        ("PUT", A.into(), text(json!({"metadata": {"": "1"}})), 400, "invalid_metadata", "metadata"),
        ("PUT", A.into(), text(json!({"metadata": {"a": "\u{1}"}})), 400, "invalid_metadata", "metadata"),
        ("PUT", A.into(), text(json!({"metadata": {"a": "x".repeat(513)}})), 400, "invalid_metadata", "metadata \"a\""),
        ("PUT", A.into(), text(json!({"version": "x".repeat(129)})), 400, "invalid_version", "version"),
        ("PUT", A.into(), text(json!({"incarnation": "x"})), 400, "invalid_incarnation", "incarnation"),
        ("PUT", A.into(), text(json!({"sequence": -1})), 400, "invalid_sequence", "sequence"),
        ("PUT", A.into(), text(json!({"reclaim": u64::MAX})), 400, "invalid_reclaim", "reclaim"),
        ("PUT", A.into(), text(json!({"since": "x"})), 400, "invalid_since", "since"),
        ("PUT", A.into(), text(json!({"since": 1})), 400, "invalid_since", "since"),
        ("PUT", A.into(), text(json!({"reclaim": 0})), 409, "superseded", ""),
        // What a holder does with its lease.
        ("PATCH", A.into(), "{}".into(), 400, "invalid_lease", "lease"),
        ("PATCH", A.into(), text(json!({"lease": "x"})), 410, "lease_unknown", "lease"),
        ("PATCH", A.into(), text(json!({"lease": lease, "status": "upp"})), 400, "invalid_status", "status"),
        ("PATCH", A.into(), text(json!({"lease": lease, "weight": -1})), 400, "invalid_weight", "weight"),
        ("DELETE", A.into(), "{}".into(), 400, "invalid_lease", "lease"),
        ("DELETE", A.into(), text(json!({"lease": "x"})), 410, "lease_unknown", "lease"),
        ("POST", renew.into(), "{}".into(), 400, "invalid_leases", "leases"),
        ("POST", renew.into(), r#"{"leases":[1]}"#.into(), 400, "invalid_leases", "leases[0]"),
        ("POST", renew.into(), r#"{"leases":[],"leases":[]}"#.into(), 400, "invalid_json", ""),
        ("POST", renew.into(), r#"{"leases":[],"number":"x"}"#.into(), 400, "invalid_number", "number"),
        // Operators.
        ("PATCH", format!("{A}/overlay"), text(json!({"weight": 1})), 400, "invalid_reason", "reason"),
        ("PATCH", format!("{A}/overlay"), text(json!({"weight": 1, "reason": " "})), 400, "invalid_reason", "reason"),
        ("PATCH", format!("{A}/overlay"), text(json!({"reason": "r"})), 400, "invalid_overlay", "metadata"),
        ("DELETE", format!("{A}/overlay"), "{}".into(), 404, "not_found", ""),
        ("POST", format!("{A}/evict"), "{}".into(), 400, "invalid_reason", "reason"),
        ("POST", format!("{A}/evict"), text(json!({"reason": "r", "block_for": "25h"})), 400, "invalid_block_for", "block_for"),
        ("POST", "/v1/services/web/instances/x/evict".into(), text(json!({"reason": "r"})), 404, "not_found", ""),
        // Watches and the past.
        ("GET", "/v1/watch".into(), "".into(), 400, "invalid_watch", "service"),
        ("GET", "/v1/watch?service=".into(), "".into(), 400, "invalid_service", "service"),
        ("GET", "/v1/watch?service=web&since=7".into(), "".into(), 400, "invalid_cursor", "since"),
        ("POST", "/v1/watch".into(), "{}".into(), 400, "invalid_watch", "watch"),
        ("POST", "/v1/watch".into(), r#"{"watch":[]}"#.into(), 400, "invalid_watch", "watch"),
        ("POST", "/v1/watch".into(), r#"{"watch":[{"service":"a"},{}]}"#.into(), 400, "invalid_watch", "watch[1].service"),
        ("POST", "/v1/watch".into(), r#"{"watch":[{"prefix":"","since":"x"}]}"#.into(), 400, "invalid_cursor", "watch[0].since"),
        ("GET", "/v1/history?at=99".into(), "".into(), 400, "invalid_query", "at"),
    ];
    let mut connection = Connection::open(&server.address);
    for (method, path, body, status, code, field) in table {
        let body = if body.is_empty() && method == "GET" { Body::None } else { Body::Text(body) };
        let shown = match &body {
            Body::None => String::new(),
            Body::Text(text) => text.chars().take(60).collect(),
        };
        let answer = connection.call(method, &path, body);
        let refused = answer.refused();
        assert_eq!(refused, (status, code.into(), field.into()), "{method} {path} {shown}: {}", answer.body);
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {path}");
    }
    assert_eq!(server.ids("web"), ["a", "b"], "nothing was changed");
}

#[test]
fn the_document_names_every_route() {
    let server = Server::start();
    let document = server.get("/openapi.json").ok();
    assert_eq!(document["openapi"], "3.1.0");
    let mut connection = Connection::open(&server.address);
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{service}", "web").replace("{id}", "a");
        for method in methods.as_object().unwrap().keys() {
            // Wrong bodies and missing queries are refused, but not as unknown paths or methods.
            let method = method.to_uppercase();
            if (method.as_str(), path.as_str()) == ("POST", "/v1/watch") {
                continue;
            }
            let answer = connection.call(&method, &path, if method == "GET" { Body::None } else { "[".into() });
            let unknown = answer.status == 405 || answer.body.contains("there is nothing here");
            assert!(!unknown, "{method} {path}: {answer:?}");
        }
    }
}

#[test]
fn metrics_count_what_happens() {
    let server = Server::start();
    let lease = server.register("web", "a", json!({}))["lease"].clone();
    server.call("POST", "/v1/leases/renew", json!({"leases": [lease, "x"]})).ok();
    server.get("/nope");
    let answer = server.get("/metrics");
    assert!(answer.headers["content-type"].starts_with("application/openmetrics-text"));
    for line in [
        "periplus_requests_total{operation=\"register\",outcome=\"ok\"} 1",
        "periplus_requests_total{operation=\"none\",outcome=\"not_found\"} 1",
        "periplus_events_total{event=\"registered\"} 1",
        "periplus_leases_renewed_total 1",
        "periplus_leases_not_renewed_total 1",
        "periplus_instances 1",
        "periplus_revision 1",
        "# EOF",
    ] {
        assert!(answer.body.lines().any(|it| it == line), "{line} is not in {}", answer.body);
    }
}

#[test]
fn prometheus_is_told_what_to_scrape() {
    let server = Server::start();
    let endpoints = json!(["grpc://10.0.0.1:9000", "http://10.0.0.1:80/metrics", "http://[::1]:80"]);
    server.register("web", "a", json!({"endpoints": endpoints, "metadata": {"rack-nr": "7"}}));
    server.register("db", "b", json!({"endpoints": ["grpc://10.0.0.2:9000"]}));
    let groups = server.get("/v1/targets").ok();
    assert_eq!(groups.as_array().unwrap().len(), 1);
    assert_eq!(groups[0]["targets"], json!(["10.0.0.1:80", "[::1]:80"]));
    assert_eq!(groups[0]["labels"]["__meta_periplus_service"], "web");
    assert_eq!(groups[0]["labels"]["__meta_periplus_metadata_rack_nr"], "7");
    let groups = server.get("/v1/targets?scheme=grpc&service=db").ok();
    assert_eq!(groups[0]["targets"], json!(["10.0.0.2:9000"]));
}

#[test]
fn a_head_request_gets_the_head_alone() {
    let server = Server::start();
    let mut connection = Connection::open(&server.address);
    connection.send(format!("HEAD /v1/services HTTP/1.1\r\nhost: {}\r\n\r\n", server.address).as_bytes());
    // The answer to the next request follows at once: there is no body in between.
    connection.send(format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", server.address).as_bytes());
    let head = connection.call_head();
    assert!(head.contains_key("content-length"));
    assert_eq!(connection.answer().body, r#"{"status":"up"}"#);
}

#[test]
fn who_calls_is_known_in_events_and_history() {
    let server = Server::start();
    let mut connection = Connection::open(&server.address);
    let headers = [("user-agent", "test/1"), ("periplus-caller", "ann")];
    connection.call_with("PUT", A, &headers, json!({})).ok();
    connection.call_with("PUT", A, &[("periplus-caller", "ben")], json!({})).ok();
    let entries = server.get("/v1/events").ok()["events"].clone();
    assert_eq!(entries[0]["caller"]["who"], "ann");
    assert_eq!(entries[0]["caller"]["client"], "test/1");
    assert!(entries[0]["caller"]["from"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!((&entries[1]["event"], &entries[1]["caller"]["who"]), (&json!("superseded"), &json!("ben")));
}

#[test]
fn events_are_told_as_they_happen_and_resumed_by_number() {
    let server = Server::start();
    server.register("web", "a", json!({}));
    let mut stream = http::Watch::open(&server.address, "/v1/events?limit=10", None);
    let first = stream.next().unwrap();
    assert_eq!((first.event.as_str(), first.id.as_str()), ("registered", "1"));
    server.register("web", "b", json!({"ttl": "100ms"}));
    assert_eq!(stream.next().unwrap().json()["id"], "b");
    let expired = stream.next_called("expired");
    assert_eq!(expired.id, "3");
    drop(stream);
    let mut resumed = http::Watch::open(&server.address, "/v1/events", Some("1"));
    assert_eq!(resumed.next().unwrap().id, "2");
    assert_eq!(resumed.next().unwrap().id, "3");
    let last = server.get("/v1/events?limit=1").ok()["events"].clone();
    assert_eq!((last.as_array().unwrap().len(), &last[0]["number"]), (1, &json!(3)));
}

//! Whom the server listens to: not to other names, and not to other pages.
#![cfg(unix)]

mod common;
mod http;

use http::{Body, Connection, Server};
use serde_json::json;

const A: &str = "/v1/services/web/instances/a";

#[test]
fn other_names_are_refused() {
    let server = Server::start_with(&["--allowed-hosts=registry.example"]);
    let port = server.address.rsplit_once(':').unwrap().1;
    for (host, status) in [
        ("evil.example", 403),
        ("127.0.0.1.nip.io", 403),
        ("10.0.0.1", 403),
        ("", 403),
        ("registry.example", 200),
        ("localhost", 200),
        (&format!("localhost:{port}"), 200),
    ] {
        let mut connection = Connection::open(&server.address);
        let answer = connection.call_with("GET", "/v1/services", &[("host", host)], Body::None);
        assert_eq!(answer.status, status, "{host}");
        if status == 403 {
            assert_eq!(answer.refused().1, "host_refused");
        }
    }
    let mut connection = Connection::open(&server.address);
    connection.send(b"GET /v1/services HTTP/1.1\r\n\r\n");
    assert_eq!(connection.answer().refused().1, "host_refused");
    let mut connection = Connection::open(&server.address);
    connection.send(b"GET http://evil.example/v1/services HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(connection.answer().refused().1, "host_refused");
}

#[test]
fn other_pages_are_refused_and_change_nothing() {
    let server = Server::start();
    let own = format!("http://{}", server.address);
    for (origin, status) in [("http://evil.example", 403), ("null", 403), (own.as_str(), 200)] {
        let headers = [("origin", origin), ("content-type", "application/json")];
        let mut connection = Connection::open(&server.address);
        let answer = connection.call_with("PUT", A, &headers, json!({}));
        assert_eq!(answer.status, status, "{origin}: {answer:?}");
        assert!(!answer.headers.keys().any(|name| name.starts_with("access-control")));
        let listed = server.ids("web").len();
        assert_eq!(listed, usize::from(status == 200), "{origin}");
    }
}

#[test]
fn a_page_must_say_json_and_a_shell_need_not() {
    let server = Server::start();
    let own = format!("http://{}", server.address);
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let mut connection = Connection::open(&server.address);
        let from_page = connection.call_with("PUT", A, &[("origin", &own), ("content-type", kind)], json!({}));
        assert_eq!(from_page.refused(), (415, "unsupported_type".into(), "".into()));
        connection.call_with("PUT", A, &[("content-type", kind)], json!({})).ok();
    }
    let mut connection = Connection::open(&server.address);
    let packed = connection.call_with("PUT", A, &[("content-encoding", "gzip")], json!({}));
    assert_eq!(packed.refused().0, 415);
}

#[test]
fn pages_that_are_named_may_read_and_ask_first() {
    let server = Server::start_with(&["--cors-origin=https://dashboard.example"]);
    let origin = ("origin", "https://dashboard.example");
    let mut connection = Connection::open(&server.address);
    let ask = [origin, ("access-control-request-method", "PUT")];
    let preflight = connection.call_with("OPTIONS", A, &ask, Body::None);
    assert_eq!(preflight.status, 204);
    assert!(preflight.headers["access-control-allow-methods"].contains("PUT"));
    assert_eq!(preflight.headers["access-control-allow-origin"], origin.1);
    let answer = connection.call_with("PUT", A, &[origin, ("content-type", "application/json")], json!({}));
    assert_eq!(answer.ok()["outcome"], "registered");
    assert_eq!(answer.headers["access-control-allow-origin"], origin.1);
    assert_eq!(answer.headers["vary"], "origin");
    let other = connection.call_with("OPTIONS", A, &[("origin", "https://evil.example")], Body::None);
    assert_eq!(other.refused().1, "origin_refused");
}

#[test]
fn nothing_that_was_registered_is_more_than_text() {
    let server = Server::start();
    let hostile = "</script><img src=x onerror=alert(1)>";
    server.register("web", "a", json!({"metadata": {"k": hostile}}));
    let answer = server.get("/v1/services/web");
    assert!(!answer.body.contains('<') && !answer.body.contains('>'));
    assert_eq!(answer.ok()["instances"][0]["metadata"]["k"], hostile);
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(answer.headers["content-security-policy"].starts_with("default-src 'none'"));
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[test]
fn an_address_that_others_can_reach_is_refused_without_a_word_that_it_is_meant() {
    let refused = common::run(&["serve", "--listen=0.0.0.0:0"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("--insecure"), "{refused:?}");
}

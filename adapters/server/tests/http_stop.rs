//! The end of a server, and its next life.
#![cfg(unix)]

mod common;
mod http;

use http::{Body, Connection, Server, Watch};
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn a_server_that_is_told_to_stop_says_goodbye_and_ends_well() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut server = Server::start();
        server.register("web", "a", json!({}));
        let mut watch = server.watch("service=web");
        watch.delivery();
        let mut events = Watch::open(&server.address, "/v1/events?limit=1", None);
        events.next();
        let mut idle = Connection::open(&server.address);
        idle.call("GET", "/healthz", Body::None).json();
        server.process.signal(signal);
        let bye = watch.next().expect("a last word");
        assert_eq!((bye.event.as_str(), bye.id.as_str()), ("bye", ""));
        assert!(bye.retry.is_some_and(|millis| millis >= 500));
        assert_eq!(watch.next(), None, "then the stream ends");
        assert_eq!(events.next().expect("a last word").event, "bye");
        assert!(idle.is_closed());
        assert_eq!(server.process.end(), 0);
    }
}

#[test]
fn a_request_under_way_is_answered_before_the_end() {
    let mut server = Server::start();
    let mut slow = Connection::open(&server.address);
    let head =
        format!("PUT /v1/services/web/instances/a HTTP/1.1\r\nhost: {}\r\ncontent-length: 2\r\n\r\n{{", server.address);
    slow.send(head.as_bytes());
    let mut watch = server.watch("service=web");
    watch.delivery();
    server.process.signal(Signal::SIGTERM);
    watch.next_called("bye");
    slow.send(b"}");
    assert_eq!(slow.answer().ok()["outcome"], "registered");
    assert_eq!(server.process.end(), 0);
}

#[test]
fn nobody_waits_for_a_connection_that_has_said_nothing() {
    let mut server = Server::start_with(&["--shutdown-grace=1h"]);
    let mut silent = Connection::open(&server.address);
    // It was taken in before this one.
    server.get("/healthz").json();
    server.process.signal(Signal::SIGTERM);
    assert!(silent.is_closed());
    assert_eq!(server.process.end(), 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start_with(&["--shutdown-grace=1h"]);
    let mut stuck = Connection::open(&server.address);
    let head =
        format!("PUT /v1/services/web/instances/a HTTP/1.1\r\nhost: {}\r\ncontent-length: 2\r\n\r\n{{", server.address);
    stuck.send(head.as_bytes());
    let mut watch = server.watch("service=web");
    watch.delivery();
    server.process.signal(Signal::SIGTERM);
    watch.next_called("bye");
    assert!(server.process.is_running());
    server.process.signal(Signal::SIGTERM);
    assert_eq!(server.process.end(), 130);
}

#[test]
fn a_stuck_request_is_not_waited_for_beyond_the_grace() {
    let mut server = Server::start_with(&["--shutdown-grace=300ms"]);
    let mut stuck = Connection::open(&server.address);
    let head =
        format!("PUT /v1/services/web/instances/a HTTP/1.1\r\nhost: {}\r\ncontent-length: 2\r\n\r\n{{", server.address);
    stuck.send(head.as_bytes());
    server.get("/healthz").json();
    server.process.signal(Signal::SIGTERM);
    assert_eq!(server.process.end(), 0);
}

#[test]
fn each_life_has_its_own_epoch() {
    let epoch = || Server::start().get("/v1/status").ok()["epoch"].clone();
    let (one, other) = (epoch(), epoch());
    assert_ne!(one, other);
}

//! Watching: what a watcher holds is what is registered, whatever happens in between.
#![cfg(unix)]

mod common;
mod http;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::eventually;
use http::{Connection, Mirror, Server, Watch, ids};
use serde_json::json;

fn names(events: &[http::Event]) -> Vec<&str> {
    events.iter().map(|event| event.event.as_str()).collect()
}

#[test]
fn a_watcher_hears_of_registration_update_and_expiry() {
    let server = Server::start();
    let mut watch = server.watch("service=web");
    let empty = watch.delivery();
    assert_eq!(names(&empty), ["snapshot"]);
    assert_eq!(empty[0].json(), json!({"service": "web", "count": 0}));
    assert_eq!(empty[0].revision(), 0);

    let lease = server.register("web", "a", json!({"ttl": "400ms"}))["lease"].clone();
    let put = watch.delivery();
    assert_eq!((names(&put), put[0].revision()), (vec!["put"], 1));
    assert_eq!(put[0].json()["ttl"], "400ms");
    server.call("PATCH", "/v1/services/web/instances/a", json!({"lease": lease, "weight": 3})).ok();
    assert_eq!(watch.delivery()[0].json()["metadata"], json!({"weight": "3"}));

    let remove = watch.delivery();
    assert_eq!(remove[0].json(), json!({"name": "web", "id": "a", "cause": "expired"}));
    assert_eq!(remove[0].revision(), 3);
    let renewed = server.call("POST", "/v1/leases/renew", json!({"leases": [lease]})).ok();
    assert_eq!(renewed["failed"][0]["code"], "lease_expired");
}

#[test]
fn a_lease_that_is_renewed_does_not_end() {
    let server = Server::start();
    let lease = server.register("web", "a", json!({"ttl": "300ms"}))["lease"].clone();
    let until = Instant::now() + Duration::from_millis(900);
    let mut connection = Connection::open(&server.address);
    while Instant::now() < until {
        let renewed = connection.call("POST", "/v1/leases/renew", json!({"leases": [lease]})).ok();
        assert_eq!(renewed["renewed"], 1);
        std::thread::sleep(Duration::from_millis(30));
    }
    eventually("it ends without renewals", || server.ids("web").is_empty().then_some(()));
}

#[test]
fn a_watch_resumes_where_it_was_without_a_gap() {
    let server = Server::start();
    server.register("web", "a", json!({}));
    let mut watch = server.watch("service=web");
    let mut mirror = Mirror::default();
    mirror.apply(&watch.delivery());
    drop(watch);
    server.register("web", "b", json!({}));
    server.register("web", "c", json!({}));
    server.register("other", "x", json!({}));

    let mut watch = Watch::open(&server.address, "/v1/watch?service=web", Some(&mirror.cursor));
    let missed = watch.delivery();
    assert_eq!(names(&missed), ["put", "put"], "what was missed, and no snapshot");
    mirror.apply(&missed);
    assert_eq!(mirror.list("web"), server.get("/v1/services/web").ok()["instances"]);

    // Last-Event-ID wins over the query, and with nothing new there is a bookmark at once.
    let path = format!("/v1/watch?service=web&since={}", "nonsense.0");
    let mut watch = Watch::open(&server.address, &path, Some(&mirror.cursor));
    let bookmark = watch.delivery();
    assert_eq!(names(&bookmark), [""]);
    assert_eq!(bookmark[0].revision(), 4, "a bookmark may be later than what was seen");
}

#[test]
fn a_cursor_of_another_life_gets_a_snapshot() {
    let server = Server::start();
    server.register("web", "a", json!({}));
    let mut watch = server.watch("service=web&since=another-epoch.7");
    assert_eq!(names(&watch.delivery()), ["snapshot", "put"]);
}

#[test]
fn a_cursor_that_lies_ahead_is_told_so_in_the_end() {
    let server = Server::start();
    let epoch = server.get("/v1/status").ok()["epoch"].as_str().unwrap().to_owned();
    let mut watch = server.watch(&format!("service=web&since={epoch}.1000"));
    let behind = watch.next().unwrap();
    assert_eq!((behind.event.as_str(), behind.json()), ("behind", json!({"revision": 0})));
    assert_eq!(watch.next(), None, "the stream ends");
}

#[test]
fn one_stream_carries_many_services_and_prefixes() {
    let server = Server::start();
    server.register("web", "a", json!({}));
    server.register("db-1", "b", json!({}));
    server.call("PUT", "/v1/services/web/instances/p?ns=prod", json!({})).ok();
    let selectors = json!({"watch": [{"service": "web"}, {"prefix": "db-"}, {"ns": "prod", "prefix": ""}]});
    let mut watch = Watch::request(&server.address, "POST", "/v1/watch", &[], &selectors.to_string());
    let delivery = watch.delivery();
    assert_eq!(names(&delivery), ["snapshot", "put", "snapshot", "put", "snapshot", "put"]);
    assert_eq!(delivery[4].json(), json!({"prefix": "", "count": 1, "namespace": "prod"}));
    assert_eq!(delivery[5].json()["namespace"], "prod");
    server.register("other", "x", json!({}));
    server.register("db-2", "c", json!({}));
    assert_eq!(watch.delivery()[0].json()["id"], "c", "what is not named is not told");

    let watches = server.get("/v1/watches").ok()["watches"].clone();
    assert_eq!(watches[0]["selectors"].as_array().unwrap().len(), 3);
    assert_eq!(watches[0]["pending"], false);
    drop(watch);
    eventually("a watch ends with its connection", || {
        let watches = server.get("/v1/watches").ok()["watches"].clone();
        watches.as_array().unwrap().is_empty().then_some(())
    });
}

#[test]
fn a_holder_that_is_superseded_is_told_so() {
    let server = Server::start();
    let first = server.register("web", "a", json!({"version": "1"}));
    let mut watch = server.watch("service=web");
    watch.delivery();
    let second = server.register("web", "a", json!({"version": "2"}));
    assert_eq!(second["outcome"], "superseded");
    assert!(second["generation"].as_u64() > first["generation"].as_u64());
    assert_eq!(watch.delivery()[0].json()["version"], "2");
    let lease = &first["lease"];
    let renewed = server.call("POST", "/v1/leases/renew", json!({"leases": [lease]})).ok();
    assert_eq!(renewed["failed"][0]["code"], "lease_superseded");
    let late = server.call("DELETE", "/v1/services/web/instances/a", json!({"lease": lease}));
    assert_eq!(late.refused(), (410, "lease_superseded".into(), "lease".into()));
    assert_eq!(server.ids("web"), ["a"]);
}

#[test]
fn a_registry_that_warms_up_says_so_and_says_when_it_has_settled() {
    let server = Server::start_as(&["serve", "--listen=127.0.0.1:0", "--warm-up=1h"]);
    assert_eq!(server.get("/v1/services").ok()["warming"], true);
    assert_eq!(server.get("/readyz").ok()["status"], "ready");
    let mut watch = server.watch("prefix=");
    assert_eq!(names(&watch.delivery()), ["warming", "snapshot"]);
    assert_eq!(server.call("POST", "/v1/settle", "").ok()["warming"], false);
    let settled = watch.next().unwrap();
    assert_eq!((settled.event.as_str(), settled.id.as_str()), ("settled", ""));
}

#[test]
fn a_quiet_watch_gets_bookmarks() {
    let server = Server::start_with(&["--keep-alive=200ms"]);
    let mut watch = server.watch("service=web");
    watch.delivery();
    server.register("other", "a", json!({}));
    let mut revision = 0;
    while revision == 0 {
        let bookmark = watch.next().unwrap();
        assert_eq!((bookmark.event.as_str(), bookmark.data.as_str()), ("", ""));
        revision = bookmark.revision();
    }
    assert_eq!(revision, 1);
}

#[test]
fn a_watch_is_not_taken_for_an_idle_connection() {
    let server = Server::start_with(&["--limits-head-timeout=20ms", "--keep-alive=400ms"]);
    let mut watch = server.watch("service=web");
    watch.delivery();
    // Idle connections are closed after a dozen times the time for a head.
    for _ in 0..2 {
        assert_eq!(watch.next().expect("it goes on").event, "");
    }
}

#[test]
fn a_mass_expiry_raises_the_alarm() {
    let server = Server::start_with(&["--alarm-minimum=3", "--alarm-share=50", "--alarm-window=10s"]);
    let mut watch = server.watch("service=web");
    for id in 0..4 {
        server.register("web", &id.to_string(), json!({"ttl": "300ms"}));
    }
    let alarm = watch.next_called("alarm").json();
    assert_eq!((&alarm["namespace"], &alarm["window"]), (&json!("default"), &json!("10s")));
    assert!(alarm["expired"].as_u64() >= Some(3));
    assert_eq!(server.get("/v1/status").ok()["alarms"][0]["namespace"], "default");
}

#[test]
fn every_watcher_of_a_storm_ends_with_what_is_registered() {
    const CHANGES: u64 = 1_000;
    let server = Server::start();
    let address = server.address.clone();
    let selectors = ["service=s0", "service=s0&service=s1", "prefix=s", "prefix=", "service=s2"];
    let watchers: Vec<_> = (0..20)
        .map(|nth| {
            let mut watch = server.watch(selectors[nth % selectors.len()]);
            let first = watch.delivery();
            (nth, watch, first)
        })
        .collect();
    let threads: Vec<_> = watchers
        .into_iter()
        .map(|(nth, mut watch, first)| {
            let address = address.clone();
            std::thread::spawn(move || {
                let mut mirror = Mirror::default();
                mirror.apply(&first);
                while mirror.instances.keys().all(|(_, id)| id != "end") {
                    mirror.apply(&watch.delivery());
                    // Some break off in the middle, and come back.
                    if nth % 4 == 3 && mirror.instances.len() % 7 == 3 {
                        let path = format!("/v1/watch?{}", selectors[nth % selectors.len()]);
                        watch = Watch::open(&address, &path, Some(&mirror.cursor));
                    }
                }
                (nth, mirror)
            })
        })
        .collect();

    let mut random = 7_u64;
    let mut connection = Connection::open(&server.address);
    let mut leases = std::collections::BTreeMap::new();
    for change in 0..CHANGES {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (service, id) = (format!("s{}", random >> 33 & 3), format!("i{}", random >> 40 & 15));
        let path = format!("/v1/services/{service}/instances/{id}");
        match leases.remove(&path) {
            Some(lease) if random >> 50 & 3 == 0 => {
                drop(connection.call("DELETE", &path, json!({"lease": lease})).ok())
            }
            _ => {
                let answer = connection.call("PUT", &path, json!({"version": change.to_string()})).ok();
                leases.insert(path, answer["lease"].clone());
            }
        }
    }
    // The last change of each service comes after all others.
    for service in ["s0", "s1", "s2", "s3"] {
        connection.call("PUT", &format!("/v1/services/{service}/instances/end"), json!({})).ok();
    }
    for thread in threads {
        let (nth, mut mirror) = thread.join().expect("a watcher is content");
        let last = selectors[nth % selectors.len()];
        // It has seen the end of one of its services; it may not have seen the others' yet.
        let mut watch = Watch::open(&server.address, &format!("/v1/watch?{last}"), Some(&mirror.cursor));
        mirror.apply(&watch.delivery());
        for service in ["s0", "s1", "s2", "s3"] {
            let watched = last.contains(&format!("service={service}")) || last.starts_with("prefix");
            let listed = server.get(&format!("/v1/services/{service}")).ok()["instances"].clone();
            assert_eq!(mirror.list(service), if watched { listed } else { json!([]) }, "{last}: {service}");
        }
    }
}

/// A connection whose end here holds little.
fn with_small_buffer(address: &str) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        socket.connect(address.parse().unwrap()).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

#[test]
fn a_watcher_that_does_not_read_holds_up_nobody_and_is_told_the_rest_at_once() {
    let server = Server::start();
    // This one asks and never reads.
    let mut stalled = with_small_buffer(&server.address);
    let request = format!("GET /v1/watch?service=web HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    stalled.write_all(request.as_bytes()).unwrap();
    let mut watch = server.watch("service=web");
    let mut mirror = Mirror::default();
    mirror.apply(&watch.delivery());

    // Much more than the sockets hold.
    let filler = "x".repeat(500);
    let metadata: serde_json::Map<_, _> = (0..20).map(|at| (format!("k{at}"), json!(filler))).collect();
    let mut connection = Connection::open(&server.address);
    let mut worst = Duration::ZERO;
    for change in 0..500 {
        let body = json!({"version": change.to_string(), "metadata": metadata});
        let revision = connection.call("PUT", "/v1/services/web/instances/a", body).ok()["revision"].as_u64().unwrap();
        let begun = Instant::now();
        mirror.follow(&mut watch, revision);
        worst = worst.max(begun.elapsed());
    }
    assert!(worst < Duration::from_secs(2), "the other watcher waited for {worst:?}");

    // What the stalled one has missed comes coalesced once it reads.
    let mut received = 0;
    let mut tail = Vec::new();
    stalled.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let mut buffer = vec![0; 1 << 16];
    while !tail.windows(15).any(|window| window == b"\"version\":\"499\"") {
        let count = stalled.read(&mut buffer).unwrap();
        assert!(count > 0);
        received += count;
        tail.drain(..tail.len().saturating_sub(64));
        tail.extend_from_slice(&buffer[..count]);
    }
    assert!(received < 2 << 20, "told {received} bytes: what was missed is told once");
    assert_eq!(ids(&server.get("/v1/services/web").ok()["instances"]), ["a"]);
}

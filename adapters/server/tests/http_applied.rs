//! Who has heard of a change: what watchers report, and what the server makes of it.
#![cfg(unix)]

mod common;
mod http;

use std::time::{Duration, Instant};

use common::{PATIENCE, eventually};
use http::{Connection, Server};
use periplus_tokio::{Client, connect};
use serde_json::{Value, json};

fn counts(server: &Server) -> [Value; 4] {
    let answer = server.get("/v1/watches?service=web").ok();
    ["watchers", "told", "not_told", "silent"].map(|key| answer[key].clone())
}

async fn client(server: &Server) -> Client {
    connect(&format!("periplus://{}?caller=tester", server.address)).await.expect("the address is good")
}

/// Runs what a client does beside a server; what asks the server blocks meanwhile on another thread.
fn with_client<F: Future>(test: impl FnOnce() -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async { tokio::time::timeout(PATIENCE, test()).await.expect("in time") })
}

async fn told(server: &Server, expected: [u64; 4]) {
    let deadline = Instant::now() + PATIENCE;
    while counts(server) != expected {
        assert!(Instant::now() < deadline, "in vain waited for {expected:?}: {:?}", counts(server));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_change_is_not_told_until_its_watcher_has_taken_it() {
    let server = Server::start();
    with_client(async || {
        let client = client(&server).await;
        let mut watcher = client.watch("web").expect("it can be watched");
        watcher.next().await.expect("a first list");
        told(&server, [1, 1, 0, 0]).await;

        let revision = server.register("web", "a", json!({}))["revision"].clone();
        assert_eq!(counts(&server), [1, 0, 1, 0]);
        // It has been handed the change, and nobody has taken it.
        eventually("it is handed out", || {
            let watch = server.get("/v1/watches").ok()["watches"][0].clone();
            (watch["seen"] == revision).then_some(())
        });
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let answer = server.get("/v1/watches?service=web").ok();
        assert_eq!((&answer["service_revision"], &answer["not_told"]), (&revision, &json!(1)));
        let watch = &answer["watches"][0];
        assert_eq!((&watch["seen"], &watch["applied"], &watch["behind"]), (&revision, &json!(0), &json!(1)));
        assert_eq!((&watch["told"], &watch["pending"]), (&json!(false), &json!(false)));
        assert_eq!(watch["caller"]["who"], "tester");
        assert!(watch["since"].is_string() && watch["applied_since"].is_string());

        assert_eq!(watcher.next().await.expect("a second list").len(), 1);
        let taken = Instant::now();
        told(&server, [1, 1, 0, 0]).await;
        assert!(taken.elapsed() < Duration::from_millis(1500), "it took {:?}", taken.elapsed());
        let watch = server.get("/v1/watches?service=web").ok()["watches"][0].clone();
        assert_eq!((&watch["applied"], &watch["behind"], &watch["told"]), (&revision, &json!(0), &json!(true)));
        drop(watcher);
        drop(client);
    });
}

#[test]
fn one_slow_holder_of_a_shared_watch_holds_it_back_until_it_is_gone() {
    let server = Server::start();
    server.register("web", "a", json!({}));
    with_client(async || {
        let client = client(&server).await;
        let mut quick = client.watch("web").expect("it can be watched");
        let slow = client.watch("web").expect("it can be watched");
        quick.next().await.expect("a first list");
        told(&server, [1, 0, 1, 0]).await;
        drop(slow);
        told(&server, [1, 1, 0, 0]).await;
    });
}

#[test]
fn a_watcher_that_never_takes_anything_is_not_told_and_one_that_does_not_report_is_silent() {
    let server = Server::start();
    server.register("web", "a", json!({}));
    let mut raw = server.watch("prefix=we");
    raw.delivery();
    let _other = server.watch("service=other");
    with_client(async || {
        let client = client(&server).await;
        let idle = client.watch("web").expect("it can be watched");
        told(&server, [2, 0, 1, 1]).await;
        let listed = server.get("/v1/watches?service=web&limit=1").ok();
        assert_eq!(
            (&listed["watches"][0]["told"], &listed["watchers"]),
            (&json!(false), &json!(2)),
            "who is late comes first"
        );
        drop(idle);
    });
}

#[test]
fn a_storm_of_changes_costs_each_watcher_a_report_a_second() {
    const CLIENTS: u64 = 20;
    let server = Server::start();
    let mut connection = Connection::open(&server.address);
    let lease = connection.call("PUT", "/v1/services/web/instances/a", json!({})).ok()["lease"].clone();
    with_client(async || {
        let mut readers = Vec::new();
        for _ in 0..CLIENTS {
            let client = client(&server).await;
            let mut watcher = client.watch("web").expect("it can be watched");
            readers.push(tokio::spawn(async move {
                while watcher.next_changes().await.is_some() {}
                drop(client);
            }));
        }
        told(&server, [CLIENTS, CLIENTS, 0, 0]).await;
        let (begun, mut changes) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_secs(3) {
            changes += 1;
            let update = json!({"lease": lease, "version": changes.to_string()});
            connection.call("PATCH", "/v1/services/web/instances/a", update).ok();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        told(&server, [CLIENTS, CLIENTS, 0, 0]).await;
        let time = begun.elapsed();
        let metrics = server.get("/metrics").body;
        let line = metrics.lines().find(|line| line.contains("operation=\"applied\",outcome=\"ok\""));
        let reports: u64 = line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("reports are counted");
        println!("{changes} changes in {time:?} to {CLIENTS} watchers: {reports} reports");
        // Each has reported where it was at first, perhaps twice, and then once a second, the last change included.
        assert!(reports <= CLIENTS * (time.as_secs() + 4), "{reports} reports in {time:?}");
        readers.iter().for_each(tokio::task::JoinHandle::abort);
    });
}

#[test]
fn a_report_by_hand_is_taken_if_it_can_be_true() {
    let server = Server::start();
    let mut watch = server.watch("service=web");
    let first = watch.delivery();
    let cursor = first.last().expect("a snapshot").id.clone();
    let (name, epoch) = (watch.name.clone(), cursor.split_once('.').expect("a cursor").0.to_owned());
    assert!(name.len() > 32, "{name}");
    let says = |name: &str, applied: &str| {
        server.call("POST", "/v1/watches/applied", json!({"watch": name, "applied": applied})).ok()["taken"] == true
    };
    assert_eq!(counts(&server), [1, 0, 0, 1]);
    assert!(says(&name, &cursor));
    assert_eq!(counts(&server), [1, 1, 0, 0]);
    server.register("web", "a", json!({}));
    let revision = watch.delivery()[0].revision();
    assert_eq!(counts(&server), [1, 0, 1, 0]);
    let wrong = name.replace(|c: char| c.is_ascii_digit(), "0");
    for (name, applied) in [
        (&*name, &*format!("{epoch}.{}", revision + 1)),
        (&*name, "another-epoch.1"),
        (&*wrong, &*format!("{epoch}.{revision}")),
        ("0", &*format!("{epoch}.{revision}")),
        ("", &*format!("{epoch}.{revision}")),
    ] {
        assert!(!says(name, applied), "{name} {applied}");
    }
    assert_eq!(counts(&server), [1, 0, 1, 0]);
    assert!(says(&name, &format!("{epoch}.{revision}")) && !says(&name, &format!("{epoch}.0")));
    assert_eq!(counts(&server), [1, 1, 0, 0]);

    let bad = server.call("POST", "/v1/watches/applied", json!({"watch": name, "applied": "x"}));
    assert_eq!(bad.refused(), (400, "invalid_cursor".into(), "applied".into()));
    let bad = server.call("POST", "/v1/watches/applied", json!({"watch": name}));
    assert_eq!(bad.status, 400);
    let body = json!({"watch": name, "applied": cursor});
    let headers = [("origin", "http://evil.example"), ("content-type", "application/json")];
    let foreign = Connection::open(&server.address).call_with("POST", "/v1/watches/applied", &headers, body);
    assert_eq!(foreign.status, 403, "{foreign:?}");
    // Its name is nobody else's to know.
    assert!(!server.get("/v1/watches").body.contains(&name));
}

#[test]
fn what_was_asked_for_is_all_that_is_listed() {
    let server = Server::start();
    let _web = server.watch("service=web");
    let _prod = server.watch("service=web&ns=prod");
    let _all = server.watch("prefix=");
    let listed = |query: &str| {
        let answer = server.get(&format!("/v1/watches{query}")).ok();
        (answer["watches"].as_array().expect("a list").len(), answer["watchers"].clone())
    };
    eventually("all are open", || (listed("") == (3, Value::Null)).then_some(()));
    assert_eq!(listed("?ns=prod"), (1, Value::Null));
    assert_eq!(listed("?service=web"), (2, json!(2)));
    assert_eq!(listed("?service=web&ns=prod"), (1, json!(1)));
    assert_eq!(listed("?service=nobody"), (1, json!(1)));
    let bad = server.get("/v1/watches?service=");
    assert_eq!(bad.refused(), (400, "invalid_service".into(), "service".into()));
}

//! Servers without a registry of their own, over a real etcd: nothing is lost with one of them.
#![cfg(unix)]

mod common;
mod http;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{eventually, free_port};
use http::{Mirror, Server, Watch};
use nix::sys::signal::Signal;
use periplus_conformance::stores::{self, Etcd, Store as _};
use periplus_core::client::RegistrationState;
use periplus_core::set::Change;
use periplus_core::{Endpoint, InstanceId, ServiceInstance, ServiceName, Status};
use periplus_tokio::{Client, Registration};
use serde_json::json;

const HOLDER: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn over(etcd: &Etcd) -> Server {
    Server::start_with(&["--upstream", &etcd.url()])
}

/// The fixtures block, and clients go on meanwhile.
fn blocking<T>(f: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(f)
}

fn instance(id: &str) -> ServiceInstance {
    ServiceInstance::new(ServiceName::new("web").unwrap(), InstanceId::new(id).unwrap())
        .with_endpoint(Endpoint::new("http://10.0.0.1:8000").unwrap())
}

async fn client(servers: &[&Server]) -> Client {
    let hosts: Vec<&str> = servers.iter().map(|server| server.address.as_str()).collect();
    periplus_tokio::connect(&format!("periplus://{}?ttl=3s", hosts.join(","))).await.unwrap()
}

/// The key of an instance in etcd with its value and its lease.
fn pair(etcd: &Etcd, id: &str) -> Option<(String, String)> {
    let key = format!("/microservices/web/{id}");
    etcd.pairs(&key).into_iter().find(|(name, ..)| *name == key).map(|(_, value, lease)| (value, lease))
}

async fn until(registration: &mut Registration, wanted: impl Fn(&RegistrationState) -> bool) -> RegistrationState {
    let change = async {
        loop {
            let state = registration.state();
            if wanted(&state) {
                return state;
            }
            registration.changed().await.expect("the client is open");
        }
    };
    tokio::time::timeout(common::PATIENCE, change).await.expect("the state comes")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_takes_no_registration_along_and_no_watcher_misses_a_change() {
    for kind in [stores::Server::Etcd, stores::Server::EtcdCurrent] {
        let Some(etcd) = blocking(|| Etcd::new(kind)) else { continue };
        let (a, b) = blocking(|| (over(&etcd), over(&etcd)));

        // Somebody asks etcd itself all the time.
        let direct = periplus_tokio::connect(&etcd.url()).await.unwrap();
        let mut at_etcd = direct.watch("web").unwrap();
        // Clients come to the first server, and know of the second.
        let holder = client(&[&a, &b]).await;
        let mut registration = holder.register(instance("held")).await.unwrap();
        let (_, lease) = blocking(|| pair(&etcd, "held")).expect("it is in etcd");
        let follower = client(&[&a, &b]).await;
        let mut watcher = follower.watch("web").unwrap();
        let mut heard: BTreeMap<String, usize> = BTreeMap::new();
        let mut cursor = None;
        let put = |n: u32| {
            let id = format!("k{n:02}");
            etcd.put(&format!("/microservices/web/{id}"), &instance(&id).to_string_json());
            etcd.put("/elsewhere", &id);
        };
        blocking(|| (0..10).for_each(put));
        while heard.len() < 11 {
            let changed = watcher.next_changes().await.unwrap();
            note(&mut heard, &changed.changes);
            cursor = changed.cursor.or(cursor);
        }
        let epoch = cursor.expect("it has a place").epoch;

        a.process.signal(Signal::SIGKILL);
        blocking(|| (10..20).for_each(put));
        while heard.len() < 21 {
            let changed = watcher.next_changes().await.unwrap();
            note(&mut heard, &changed.changes);
            if let Some(cursor) = changed.cursor {
                assert_eq!(cursor.epoch, epoch, "it is the cluster's own history, whoever tells it");
            }
        }
        assert!(heard.values().all(|times| *times == 1), "{heard:?}");

        // It is renewed at the other server, and nobody had to register anew.
        tokio::time::sleep(Duration::from_secs(7)).await;
        until(&mut registration, |state| matches!(state, RegistrationState::Registered)).await;
        assert_eq!(blocking(|| pair(&etcd, "held")).expect("it is still there").1, lease);
        let mut there = false;
        while let Ok(Some(changed)) = tokio::time::timeout(Duration::from_millis(100), at_etcd.next_changes()).await {
            for change in changed.changes {
                assert!(!matches!(&change, Change::Remove(gone) if gone.id() == "held"), "it left etcd");
                there |= matches!(&change, Change::Insert(new) if new.id() == "held");
            }
        }
        assert!(there);

        // It is taken out through the server that never registered it.
        assert!(registration.close().await.confirmed);
        assert!(blocking(|| pair(&etcd, "held")).is_none());
        blocking(|| eventually("its removal", || (!b.ids("web").contains(&"held".to_owned())).then_some(())));
        blocking(|| drop((a, b, etcd)));
    }
}

fn note(heard: &mut BTreeMap<String, usize>, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Insert(new) => *heard.entry(new.id().into()).or_default() += 1,
            other => panic!("nothing else happened: {other:?}"),
        }
    }
}

trait Written {
    fn to_string_json(&self) -> String;
}

impl Written for ServiceInstance {
    fn to_string_json(&self) -> String {
        serde_json::to_string(self).unwrap()
    }
}

#[test]
fn a_watcher_goes_on_at_another_server_from_where_it_was() {
    let Some(etcd) = Etcd::new(stores::Server::Etcd) else { return };
    let (a, b) = (over(&etcd), over(&etcd));
    let put = |id: &str, version: &str| {
        let value = json!({"id": id, "name": "web", "version": version, "metadata": null, "endpoints": null});
        etcd.put(&format!("/microservices/web/{id}"), &value.to_string());
        etcd.put("/elsewhere", id);
    };
    let mut watch = a.watch("prefix=");
    let mut mirror = Mirror::default();
    mirror.apply(&watch.delivery());
    for n in 0..5 {
        put(&format!("i{n}"), "1");
        mirror.apply(&watch.delivery());
    }
    eventually("the other server", || (b.ids("web").len() == 5).then_some(()));
    a.process.signal(Signal::SIGKILL);
    put("i1", "2");
    etcd.delete("/microservices/web/i2");
    put("i9", "1");
    let mut watch = Watch::open(&b.address, "/v1/watch?prefix=", Some(&mirror.cursor));
    let first = watch.delivery();
    assert!(first.iter().all(|event| event.event != "snapshot"), "it is resumed: {first:?}");
    mirror.apply(&first);
    while b.get("/v1/services/web").ok()["instances"] != mirror.list("web") {
        mirror.apply(&watch.delivery());
    }
    let ids: Vec<&String> = mirror.instances.keys().map(|(_, id)| id).collect();
    assert_eq!(ids, ["i0", "i1", "i3", "i4", "i9"]);

    // A server that starts later knows only what is there. Who is ahead of an idle one is not sent away.
    let c = over(&etcd);
    let mut ahead = c.watch("prefix=");
    let cursor = ahead.delivery().last().unwrap().id.clone();
    let mut moved = Watch::open(&b.address, "/v1/watch?prefix=", Some(&cursor));
    let event = moved.next().unwrap();
    assert_ne!(event.event, "behind");
    put("i10", "1");
    eventually("the new one", || moved.delivery().iter().any(|event| event.data.contains("i10")).then_some(()));
}

#[test]
fn what_others_write_is_listed_and_what_is_registered_others_read() {
    let Some(etcd) = Etcd::new(stores::Server::Etcd) else { return };
    let server = over(&etcd);
    etcd.put_as_kratos(&instance("k"));
    etcd.put_garbage("web");
    eventually("the foreign one", || (server.ids("web") == ["k"]).then_some(()));
    let body = json!({"incarnation": HOLDER, "sequence": 1, "version": "v1", "endpoints": ["http://10.0.0.9:1"]});
    let registered = server.register("web", "p", body.clone());
    assert_eq!(registered["outcome"], "registered");
    assert_eq!(server.ids("web"), ["k", "p"]);
    let expected =
        json!({"id": null, "name": "web", "version": "v1", "metadata": null, "endpoints": ["http://10.0.0.9:1"]});
    let mut seen = etcd.as_others_see("web", "p");
    for empty in ["metadata"] {
        if seen[empty] == json!({}) {
            seen[empty].take();
        }
    }
    assert_eq!(seen, expected);
    // Sent again, it is the same registration.
    let again = server.register("web", "p", body);
    assert_eq!((&again["outcome"], &again["lease"]), (&json!("repeated"), &registered["lease"]));

    // An operator may take something out, and nothing else.
    let path = "/v1/services/web/instances/k";
    let evicted = server.call("POST", &format!("{path}/evict"), json!({"reason": "it is old"})).ok();
    assert_eq!(evicted["evicted"], true);
    assert_eq!(server.ids("web"), ["p"]);
    let overlay = server.call("PATCH", &format!("{path}/overlay"), json!({"weight": 1, "reason": "x"})).refused();
    assert_eq!((overlay.0, overlay.1.as_str()), (501, "not_over_upstream"));
    for path in ["/v1/services/web?ns=other", "/v1/instances?ns=other"] {
        let elsewhere = server.get(path).refused();
        assert_eq!((elsewhere.0, elsewhere.1.as_str()), (400, "invalid_ns"), "{path}");
    }
}

#[test]
fn a_takeover_in_etcd_is_told_at_the_next_renewal_and_is_not_undone() {
    let Some(etcd) = Etcd::new(stores::Server::Etcd) else { return };
    let (a, b) = (over(&etcd), over(&etcd));
    let body = |of: &str, sequence: u32| json!({"incarnation": of, "sequence": sequence, "ttl": "5s"});
    let lease = a.register("web", "x", body(HOLDER, 1))["lease"].clone();
    let generation = a.register("web", "y", body(HOLDER, 2))["generation"].clone();
    let renew = |server: &Server| server.call("POST", "/v1/leases/renew", json!({"leases": [lease, "nonsense"]})).ok();
    assert_eq!(renew(&b)["renewed"], 1);
    etcd.put_as_kratos(&instance("x"));
    for server in [&a, &b] {
        let answer = renew(server);
        assert_eq!((&answer["renewed"], &answer["failed"][0]["code"]), (&json!(0), &json!("lease_superseded")));
    }
    let path = "/v1/services/web/instances/x";
    let patch = a.call("PATCH", path, json!({"lease": lease, "weight": 3})).refused();
    assert_eq!(patch.1, "lease_superseded");
    let mut back = body(HOLDER, 3);
    back["reclaim"] = generation;
    assert_eq!(b.call("PUT", path, back).refused().1, "superseded");
    // Its end ends nothing of the other's.
    b.call("DELETE", path, json!({"lease": lease})).ok();
    assert_eq!(etcd.ids("web"), ["x", "y"]);
    // Somebody new takes it knowingly.
    assert_eq!(b.register("web", "x", body(OTHER, 1))["outcome"], "superseded");

    // What an operator takes out in etcd is said, too.
    let lease = a.register("web", "z", body(HOLDER, 4))["lease"].clone();
    etcd.delete("/microservices/web/z");
    let answer = a.call("POST", "/v1/leases/renew", json!({"leases": [lease]})).ok();
    assert_eq!(answer["failed"][0]["code"], "lease_unknown");
    etcd.forget("web", "y");
    let deregistered = json!({"incarnation": HOLDER, "sequence": 2});
    a.call("DELETE", "/v1/services/web/instances/y", deregistered).ok();
}

#[test]
fn an_etcd_that_is_down_leaves_what_was_known() {
    let Some(mut etcd) = Etcd::new(stores::Server::Etcd) else { return };
    let server = over(&etcd);
    etcd.put("/microservices/web/k", &instance("k").to_string_json());
    eventually("it", || (server.ids("web") == ["k"]).then_some(()));
    let mut watch = server.watch("service=web");
    watch.delivery();
    etcd.kill();
    let state = || server.get("/v1/status").ok()["upstream"]["state"].as_str().unwrap_or_default().to_owned();
    eventually("staleness", || (state() == "stale").then_some(()));
    assert_eq!(server.ids("web"), ["k"]);
    assert!(server.get("/metrics").body.contains("periplus_upstream_live 0"));
    let (status, code, _) = server.call("PUT", "/v1/services/web/instances/n", json!({"ttl": "5s"})).refused();
    assert_eq!((status, code.as_str()), (503, "upstream"));
    etcd.start();
    etcd.put("/microservices/web/l", &instance("l").to_string_json());
    eventually("both", || (server.ids("web") == ["k", "l"]).then_some(()));
    assert_eq!(state(), "live");
    assert_eq!(watch.delivery().last().map(|event| event.data.contains("\"l\"")), Some(true));

    // Another history: watchers come back and are told everything.
    etcd.wipe();
    etcd.start();
    etcd.put("/microservices/web/m", &instance("m").to_string_json());
    assert_eq!(watch.next_called("bye").event, "bye");
    eventually("the new one", || server.ids("web").contains(&"m".to_owned()).then_some(()));
}

#[test]
fn a_server_that_starts_before_its_etcd_says_that_it_knows_nothing() {
    let Some(mut etcd) = Etcd::new(stores::Server::Etcd) else { return };
    etcd.kill();
    let server = over(&etcd);
    let list = server.get("/v1/services/web").ok();
    assert_eq!((&list["warming"], &list["instances"]), (&json!(true), &json!([])));
    etcd.start();
    etcd.put("/microservices/web/k", &instance("k").to_string_json());
    eventually("it", || {
        let list = server.get("/v1/services/web").ok();
        (list["warming"] == false && list["instances"].as_array().is_some_and(|list| list.len() == 1)).then_some(())
    });
    assert_ne!(free_port(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_drains_is_hidden_and_comes_back() {
    let Some(etcd) = blocking(|| Etcd::new(stores::Server::Etcd)) else { return };
    let server = blocking(|| over(&etcd));
    let client = client(&[&server]).await;
    let mut registration = client.register(instance("d").with_metadata("zone", "a")).await.unwrap();
    registration.set_status(Status::Draining).unwrap();
    blocking(|| eventually("its absence", || pair(&etcd, "d").is_none().then_some(())));
    // It is renewed all the while.
    tokio::time::sleep(Duration::from_secs(5)).await;
    until(&mut registration, |state| matches!(state, RegistrationState::Registered)).await;
    assert!(blocking(|| pair(&etcd, "d")).is_none());
    registration.set_status(Status::Up).unwrap();
    let value = blocking(|| eventually("its return", || pair(&etcd, "d"))).0;
    assert!(value.contains("zone"), "{value}");
    assert!(registration.close().await.confirmed);
    blocking(|| drop((server, etcd)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_of_a_mirror_says_what_it_has_applied() {
    let Some(etcd) = blocking(|| Etcd::new(stores::Server::Etcd)) else { return };
    let server = blocking(|| over(&etcd));
    let client = client(&[&server]).await;
    let mut watcher = client.watch("web").unwrap();
    watcher.next().await.unwrap();
    let told = |told: u64, not_told: u64| {
        let answer = || server.get("/v1/watches?service=web").ok();
        let same = |answer: serde_json::Value| answer["told"] == told && answer["not_told"] == not_told;
        blocking(|| eventually("the report", || same(answer()).then_some(())));
    };
    told(1, 0);
    blocking(|| etcd.put("/microservices/web/a", &instance("a").to_string_json()));
    told(0, 1);
    watcher.next().await.unwrap();
    told(1, 0);
    drop(watcher);
    blocking(|| drop((server, etcd)));
}

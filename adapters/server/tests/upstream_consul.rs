//! Servers without a registry of their own, over a real Consul.
#![cfg(unix)]

mod common;
mod http;

use std::time::Duration;

use common::eventually;
use http::Server;
use nix::sys::signal::Signal;
use periplus_conformance::stores::{Consul, Store as _};
use periplus_core::client::RegistrationState;
use periplus_core::set::Change;
use periplus_core::{Endpoint, InstanceId, ServiceInstance, ServiceName, Status};
use serde_json::{Value, json};

fn over(consul: &Consul) -> Server {
    let url = consul.url();
    let sign = if url.contains('?') { '&' } else { '?' };
    // Nobody listens at the endpoints of these tests.
    let url = if url.contains("checks=") { url } else { format!("{url}{sign}checks=ttl") };
    Server::start_with(&["--upstream", &url])
}

fn blocking<T>(f: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(f)
}

fn instance(id: &str) -> ServiceInstance {
    ServiceInstance::new(ServiceName::new("web").unwrap(), InstanceId::new(id).unwrap())
        .with_endpoint(Endpoint::new("http://10.0.0.1:8000").unwrap())
}

#[test]
fn what_is_registered_is_consuls_and_what_is_consuls_is_listed() {
    let Some(consul) = Consul::new() else { return };
    let (a, b) = (over(&consul), over(&consul));
    let path = "/v1/services/web/instances/p";
    let lease = a.register("web", "p", json!({"ttl": "3s", "version": "v1", "endpoints": ["http://10.0.0.9:1"]}));
    let lease = lease["lease"].clone();
    for server in [&a, &b] {
        eventually("it", || server.ids("web").contains(&"p".to_owned()).then_some(()));
    }
    let renew =
        |server: &Server, lease: &Value| server.call("POST", "/v1/leases/renew", json!({"leases": [lease]})).ok();
    assert_eq!(renew(&b, &lease)["renewed"], 1);
    let patched =
        |version: &str| b.call("PATCH", path, json!({"lease": lease, "version": version})).ok()["changed"].clone();
    assert_eq!((patched("v2"), patched("v2")), (json!(true), json!(false)));
    let version = |server: &Server| server.get(path).ok()["instance"]["version"] == "v2";
    eventually("the change", || version(&a).then_some(()));

    // The agent forgets it: that is said, and it registers again.
    consul.forget("web", "p");
    assert_eq!(renew(&a, &lease)["failed"][0]["code"], "lease_unknown");
    let patch = a.call("PATCH", path, json!({"lease": lease, "version": "v3"})).refused();
    assert_eq!((patch.0, patch.1.as_str()), (410, "lease_unknown"));
    let lease = b.register("web", "p", json!({"ttl": "3s"}))["lease"].clone();
    a.call("DELETE", path, json!({"lease": lease})).ok();
    assert!(consul.ids("web").is_empty());

    // What readers of Consul would choke on is refused.
    let body = json!({"metadata": {"a.b": "c"}});
    assert_eq!(a.call("PUT", path, body).refused().1, "invalid_metadata");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_takes_no_registration_along() {
    let Some(consul) = blocking(Consul::new) else { return };
    let (a, b) = blocking(|| (over(&consul), over(&consul)));
    let url = format!("periplus://{},{}?ttl=3s", a.address, b.address);
    let client = periplus_tokio::connect(&url).await.unwrap();
    let follower = periplus_tokio::connect(&url).await.unwrap();
    let mut watcher = follower.watch("web").unwrap();
    let registration = client.register(instance("held")).await.unwrap();
    let mut heard = Vec::new();
    while heard.is_empty() {
        heard.extend(watcher.next_changes().await.unwrap().changes);
    }
    a.process.signal(Signal::SIGKILL);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(matches!(registration.state(), RegistrationState::Registered), "{:?}", registration.state());
    assert_eq!(blocking(|| consul.ids("web")), ["held"]);
    while let Ok(Some(changed)) = tokio::time::timeout(Duration::from_millis(100), watcher.next_changes()).await {
        heard.extend(changed.changes);
    }
    assert!(heard.iter().all(|change| !matches!(change, Change::Remove(_))), "{heard:?}");
    registration.set_status(Status::Draining).unwrap();
    blocking(|| eventually("its absence", || b.ids("web").is_empty().then_some(())));
    registration.set_status(Status::Up).unwrap();
    blocking(|| eventually("its return", || (b.ids("web") == ["held"]).then_some(())));
    assert!(registration.close().await.confirmed);
    blocking(|| {
        assert!(consul.ids("web").is_empty());
        drop((a, b, consul));
    });
}

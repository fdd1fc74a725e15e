//! What only Consul can do.

mod agents;

use std::time::Duration;

use periplus::core::Status;
use periplus::core::client::RegistrationState;
use periplus::{ConnectOptions, Runtime, connect_with};
use serde_json::json;

use crate::stores::field::{LONG, SHORT, client, config, reachable, stage};
use crate::stores::tls::Certificates;
use crate::stores::{Consul, Store};
use crate::suite::stage::ids;

pub use agents::an_agent_that_is_killed_is_made_up_for_at_the_next_one;

/// With access lists on: a token that may lets in, wherever it comes from; without one nothing is registered, and what is
/// hidden is not taken for nothing.
pub async fn tokens_let_in_and_what_is_hidden_is_not_gone<R: Runtime>(runtime: R) {
    let Some(mut consul) = Consul::new() else { return };
    consul.turn_acls_on();
    let stage = stage(runtime);
    let token = consul.token_for("hello");
    let file = std::env::temp_dir().join(format!("periplus-token-{}-{}", std::process::id(), consul.port));
    std::fs::write(&file, format!("{token}\n")).expect("there is a folder for temporary files");
    let url = consul.url();
    let holder = client(&stage, &format!("{url}&token_file={}", file.display()));
    std::fs::remove_file(&file).expect("it is there");
    let mut watcher = holder.watch("hello").expect("it can be watched");
    let register = holder.register(reachable("hello", "a", consul.port)).ttl(SHORT);
    let held = stage.soon("registering", register).await.expect("it may");
    stage.list("it is found", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;

    // Another service than the token is for.
    let mut denied = holder.register(reachable("other", "b", consul.port)).in_background().expect("it can be tried");
    stage.sleep(Duration::from_millis(700)).await;
    assert_ne!(denied.state(), RegistrationState::Registered);
    let problem = denied.view().and_then(|view| view.problem);
    assert!(problem.as_ref().is_some_and(|problem| !problem.contains(&token)), "{problem:?}");
    stage.within(Duration::from_millis(10), denied.changed()).await;
    drop(denied);

    // Eyes for something else: a list is empty because all of it is hidden. (To those who show no token at all, Consul does
    // not say that it hides anything.)
    let nobody =
        client(&stage, &format!("{url}&token={}", consul.token("for-else", "service \"else\" { policy = \"read\" }")));
    let asked = nobody.get_service("hello").timeout(Duration::from_secs(1)).await;
    assert!(asked.as_ref().map_or(true, |list| !list.is_live()), "{asked:?}");

    // The token loses its rights: nobody is taken out by that, and they are given back.
    let rules = |rules: &str| json!({"Name": "for-hello", "Rules": rules});
    let policy = consul.call("GET", "acl/policy/name/for-hello", None);
    let path = format!("acl/policy/{}", policy["ID"].as_str().expect("it has an id"));
    consul.call("PUT", &path, Some(&rules("")));
    stage
        .list("it is stale", &mut watcher, |list| {
            assert_eq!(ids(list), ["a"], "{list:?}");
            !list.is_live()
        })
        .await;
    consul.call("PUT", &path, Some(&rules(policy["Rules"].as_str().expect("it has rules"))));
    stage.list("it is live", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;
    stage.soon("going", held.close()).await;
    for client in [holder, nobody] {
        stage.soon("closing", client.close()).await;
    }
    assert!(consul.held("a").is_null());
}

/// Two datacenters: what is in either is found with where it is, and one that is down does not hide the other.
pub async fn one_datacenter_that_is_down_does_not_hide_the_other<R: Runtime>(runtime: R) {
    let Some([near, mut far]) = Consul::two_datacenters() else { return };
    let stage = stage(runtime);
    let known = async || {
        let all = near.try_call("GET", "catalog/datacenters", None).json();
        all.as_array().is_some_and(|all| all.len() == 2)
    };
    stage.until("they know each other", known).await;
    let provider = client(&stage, &far.url());
    let both = client(&stage, &format!("{}&dc=dc1,dc2", near.url()));
    let mut watcher = both.watch("hello").expect("it can be watched");
    let register = provider.register(reachable("hello", "far", far.port)).ttl(LONG);
    let _held = stage.soon("registering", register).await.expect("it is new");
    let list = stage.list("it is found", &mut watcher, |list| list.is_live() && ids(list) == ["far"]).await;
    assert_eq!(list.decode()[0].metadata.get("dc").map(String::as_str), Some("dc2"));

    far.kill();
    stage.list("a part is stale", &mut watcher, |list| !list.is_live() && ids(list) == ["far"]).await;
    let register = both.register(reachable("hello", "near", near.port)).ttl(LONG);
    let held = stage.soon("registering", register).await.expect("it is new");
    stage.list("the other is heard", &mut watcher, |list| ids(list) == ["far", "near"]).await;
    stage.soon("going", held.close()).await;
    stage.list("and goes", &mut watcher, |list| ids(list) == ["far"]).await;
    stage.soon("closing", both.close()).await;
    drop(provider);
}

/// What is draining gets no new calls from those who do not know what that is: they do not see it, until it is up again.
pub async fn what_is_draining_is_in_maintenance<R: Runtime>(runtime: R) {
    let Some(consul) = Consul::new() else { return };
    let stage = stage(runtime);
    let client = client(&stage, &consul.url());
    let register = client.register(reachable("hello", "a", consul.port)).ttl(LONG);
    let held = stage.soon("registering", register).await.expect("it is new");
    held.set_status(Status::Draining).expect("it is held");
    stage.until("others do not see it", async || consul.ids("hello").is_empty()).await;
    assert_eq!(held.state(), RegistrationState::Registered);
    held.set_status(Status::Up).expect("it is held");
    stage.until("others see it", async || consul.ids("hello") == ["a"]).await;
    stage.soon("closing", client.close()).await;
}

/// An instance of fewer endpoints leaves no check behind that would hide it.
pub async fn fewer_endpoints_leave_no_check_behind<R: Runtime>(runtime: R) {
    let Some(consul) = Consul::new() else { return };
    let stage = stage(runtime);
    let client = client(&stage, &consul.url());
    let mut instance = reachable("hello", "a", consul.port);
    let register = client.register(instance.clone()).ttl(LONG);
    let held = stage.soon("registering", register).await.expect("it is new");
    let before = consul.checks("a").len();
    instance.endpoints.truncate(1);
    stage.soon("changing", client.update(instance)).await.expect("it is held");
    stage.until("one check has gone", async || consul.checks("a").len() == before - 1).await;
    assert_eq!(consul.ids("hello"), ["a"]);
    drop(held);
    stage.soon("closing", client.close()).await;
}

/// With TLS, an authority of one's own and a certificate to show; without the certificate nothing is let in.
pub async fn certificates_of_ones_own_are_shown_and_believed_by_consul<R: Runtime>(runtime: R) {
    let certificates = Certificates::new("server.dc1.consul");
    let Some(consul) = Consul::with_tls(&certificates) else { return };
    let stage = stage(runtime);
    let files = certificates.files();
    let port = consul.tls_port.expect("it speaks TLS");
    let client = client(&stage, &format!("consul://localhost:{port}?wait=2s&tls=true&{}", files.query()));
    let mut watcher = client.watch("hello").expect("it can be watched");
    let register = client.register(reachable("hello", "a", consul.port)).ttl(SHORT);
    let held = stage.soon("registering", register).await.expect("it is let in");
    stage.list("it is found", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;
    stage.soon("going", held.close()).await;
    stage.soon("closing", client.close()).await;

    let url = format!("consul://localhost:{port}?tls=true&ca_file={}", files.root());
    let options = ConnectOptions { config: config::<R>(), ..ConnectOptions::default() };
    let stranger = connect_with(stage.runtime.clone(), &url, options).expect("it is an address");
    let asked = stranger.get_service("hello").timeout(Duration::from_secs(1)).await;
    assert!(asked.is_err(), "{asked:?}");
    stage.soon("closing", stranger.close()).await;
}

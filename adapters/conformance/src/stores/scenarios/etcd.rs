//! What only etcd can do.

mod members;

use std::time::Duration;

use periplus::core::client::{ClientEvent, RegistrationState};
use periplus::{ConnectOptions, Runtime, connect_with};

use crate::stores::field::{LONG, SHORT, client, config, reachable, stage};
use crate::stores::tls::Certificates;
use crate::stores::{Etcd, Server, Store};
use crate::suite::stage::ids;

pub use members::{a_member_that_is_killed_is_missed_by_nobody, without_a_quorum_what_is_known_is_kept_and_stale};

/// History is forgotten while a watcher sleeps in an outage: it lists anew, and shows the one difference.
pub async fn a_compaction_is_one_difference<R: Runtime>(runtime: R, server: Server) {
    let Some(mut etcd) = Etcd::new(server) else { return };
    let stage = stage(runtime);
    let client = client(&stage, &etcd.url());
    let mut watcher = client.watch("hello").expect("it can be watched");
    let port = etcd.port;
    for id in ["a", "b"] {
        etcd.put_as_kratos(&reachable("hello", id, port));
    }
    stage.list("both are found", &mut watcher, |list| ids(list) == ["a", "b"]).await;
    etcd.compact();
    etcd.put_as_kratos(&reachable("hello", "c", port));
    stage.list("the watch goes on", &mut watcher, |list| ids(list) == ["a", "b", "c"]).await;

    // On another port there is an etcd with the same files while the client cannot hear it.
    etcd.kill();
    stage.list("it is stale", &mut watcher, |list| !list.is_live()).await;
    let own = etcd.move_to(crate::stores::etcd::free());
    etcd.start();
    etcd.forget("hello", "a");
    etcd.put_as_kratos(&reachable("hello", "d", port));
    etcd.compact();
    etcd.kill();
    etcd.move_to(own);
    etcd.start();
    let expected = ["b", "c", "d"];
    stage
        .list("one difference", &mut watcher, |list| {
            let seen = ids(list);
            assert!(seen == ["a", "b", "c"] || seen == expected, "{seen:?}");
            list.is_live() && seen == expected
        })
        .await;
    stage.soon("closing", client.close()).await;
}

/// Another holder takes the id: the first learns it from its own key, although its lease lives on, and does not fight.
pub async fn another_holder_supersedes_and_is_not_fought<R: Runtime>(runtime: R, server: Server) {
    let Some(etcd) = Etcd::new(server) else { return };
    let stage = stage(runtime);
    let (first, second) = (client(&stage, &etcd.url()), client(&stage, &etcd.url()));
    let register = |client: &periplus::Client, version: &str| {
        client.register(reachable("hello", "a", etcd.port).with_version(version)).ttl(LONG)
    };
    let mut old = stage.soon("registering", register(&first, "1")).await.expect("it is new");
    let new = stage.soon("registering", register(&second, "2")).await.expect("it takes over");
    stage.state("it is superseded", &mut old, |state| *state == RegistrationState::Superseded).await;
    drop(old);
    stage.soon("closing", first.close()).await;
    stage.sleep(Duration::from_millis(500)).await;
    assert_eq!(new.state(), RegistrationState::Registered);
    assert_eq!(etcd.as_others_see("hello", "a")["version"], "2");
    // The lease of the loser is not left to its ttl.
    stage.until("one lease is left", async || etcd.leases() == 1).await;
    stage.soon("closing", second.close()).await;
    assert_eq!(etcd.leases(), 0);
}

/// A new life with the same id takes its old place at once, and the end of the old lease does not take it away.
pub async fn a_new_life_takes_its_old_place_at_once<R: Runtime>(runtime: R, server: Server) {
    let Some(etcd) = Etcd::new(server) else { return };
    let stage = stage(runtime);
    etcd.put_as_kratos(&reachable("hello", "a", etcd.port).with_version("old"));
    let client = client(&stage, &etcd.url());
    let register = client.register(reachable("hello", "a", etcd.port)).ttl(SHORT);
    let held = stage.within(Duration::from_secs(2), register).await.expect("it is at once").expect("it takes over");
    assert_eq!(etcd.as_others_see("hello", "a")["version"], "v1.0.0");
    assert_eq!(held.state(), RegistrationState::Registered);
    stage.soon("closing", client.close()).await;
}

/// Somebody deletes the key and leaves the lease: it is written again.
pub async fn a_key_deleted_by_others_is_written_again<R: Runtime>(runtime: R, server: Server) {
    let Some(etcd) = Etcd::new(server) else { return };
    let stage = stage(runtime);
    let client = client(&stage, &etcd.url());
    let register = client.register(reachable("hello", "a", etcd.port)).ttl(LONG);
    let mut held = stage.soon("registering", register).await.expect("it is new");
    etcd.delete("/microservices/hello/a");
    stage.until("it is there again", async || etcd.ids("hello") == ["a"]).await;
    stage.registered(&mut held).await;
    stage.soon("closing", client.close()).await;
    assert!(etcd.ids("hello").is_empty());
}

/// With authentication on: the right password lets in, a token that the server has forgotten is got anew, a wrong password
/// says so and never shows itself.
pub async fn passwords_let_in_and_tokens_are_got_anew<R: Runtime>(runtime: R, server: Server) {
    let Some(mut etcd) = Etcd::new(server) else { return };
    etcd.turn_auth_on("open-sesame");
    let stage = stage(runtime);
    let url = |user: &str, password: &str| format!("{}&user={user}&password={password}", etcd.url());
    let writer = client(&stage, &url("writer", "open-sesame"));
    let reader = client(&stage, &url("reader", "open-sesame"));
    let mut watcher = reader.watch("hello").expect("it can be watched");
    let register = writer.register(reachable("hello", "a", etcd.port)).ttl(LONG);
    let mut held = stage.soon("registering", register).await.expect("it may");
    stage.list("it is found", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;

    // Who may only read.
    let mut denied = reader.register(reachable("hello", "b", etcd.port)).in_background().expect("it can be tried");
    stage.sleep(Duration::from_millis(700)).await;
    assert_ne!(denied.state(), RegistrationState::Registered);
    let problem = denied.view().and_then(|view| view.problem);
    assert!(problem.is_none_or(|problem| !problem.contains("open-sesame")));
    stage.within(Duration::from_millis(10), denied.changed()).await;
    drop(denied);

    // Who is nobody.
    let wrong = client(&stage, &url("writer", "wrong-word"));
    let mut events = wrong.events();
    let _watcher = wrong.watch("hello").expect("it can be watched");
    let held_out = wrong.register(reachable("hello", "c", etcd.port)).in_background().expect("it can be tried");
    let told = async {
        loop {
            match events.next().await {
                Some(ClientEvent::Disconnected { reason, .. }) => return reason,
                Some(ClientEvent::Registration(_, RegistrationState::Refused(problem))) => {
                    return format!("{problem:?}");
                }
                Some(ClientEvent::WatchRefused(problem)) => return format!("{problem:?}"),
                Some(_) => {}
                None => panic!("it is open"),
            }
        }
    };
    let told = stage.soon("it is told", told).await;
    assert!(!told.contains("wrong-word"), "{told}");
    assert_ne!(held_out.state(), RegistrationState::Registered);

    // Tokens live in the server's memory.
    etcd.kill();
    etcd.start();
    etcd.log_in("open-sesame");
    stage.registered(&mut held).await;
    etcd.put_as_kratos(&reachable("hello", "d", etcd.port));
    stage.list("it is heard again", &mut watcher, |list| list.is_live() && ids(list) == ["a", "d"]).await;
    drop((held, held_out));
    for client in [writer, reader, wrong] {
        stage.soon("closing", client.close()).await;
    }
    assert_eq!(etcd.ids("hello"), ["d"]);
}

/// The first of two addresses answers nobody: the second stands in.
pub async fn a_second_address_stands_in<R: Runtime>(runtime: R, server: Server) {
    let Some(etcd) = Etcd::new(server) else { return };
    let stage = stage(runtime);
    let url = format!("etcd://127.0.0.1:{},127.0.0.1:{}", crate::stores::etcd::free(), etcd.port);
    let client = client(&stage, &url);
    let mut watcher = client.watch("hello").expect("it can be watched");
    let register = client.register(reachable("hello", "a", etcd.port)).ttl(SHORT);
    let held = stage.soon("registering", register).await.expect("it is new");
    stage.list("it is found", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;
    stage.soon("going", held.close()).await;
    stage.soon("closing", client.close()).await;
}

/// Another prefix, as `namespace` names it, is another world.
pub async fn a_prefix_of_ones_own_is_kept_to<R: Runtime>(runtime: R, server: Server) {
    let Some(etcd) = Etcd::new(server) else { return };
    let stage = stage(runtime);
    let own = client(&stage, &format!("{}&namespace=/team/services", etcd.url()));
    let usual = client(&stage, &etcd.url());
    let mut watcher = usual.watch("hello").expect("it can be watched");
    let register = own.register(reachable("hello", "a", etcd.port)).ttl(LONG);
    let _held = stage.soon("registering", register).await.expect("it is new");
    let first = stage.list("nothing of others", &mut watcher, |_| true).await;
    assert!(first.is_empty());
    let keys: Vec<String> = etcd.pairs("/").into_iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, ["/team/services/hello/a"]);
    stage.soon("closing", own.close()).await;
    stage.soon("closing", usual.close()).await;
}

/// With TLS, an authority of one's own and a certificate to show; without the certificate nothing is let in.
pub async fn certificates_of_ones_own_are_shown_and_believed_by_etcd<R: Runtime>(runtime: R, server: Server) {
    let certificates = Certificates::new("etcd.example");
    let Some(etcd) = Etcd::with_tls(server, &certificates) else { return };
    let stage = stage(runtime);
    let files = certificates.files();
    let port = etcd.tls_port.expect("it speaks TLS");
    let client = client(&stage, &format!("etcd://localhost:{port}?tls=true&{}", files.query()));
    let mut watcher = client.watch("hello").expect("it can be watched");
    let register = client.register(reachable("hello", "a", etcd.port)).ttl(SHORT);
    let held = stage.soon("registering", register).await.expect("it is let in");
    stage.list("it is found", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;
    stage.soon("going", held.close()).await;
    stage.soon("closing", client.close()).await;

    let url = format!("etcd://localhost:{port}?tls=true&ca_file={}", files.root());
    let options = ConnectOptions { config: config::<R>(), ..ConnectOptions::default() };
    let stranger = connect_with(stage.runtime.clone(), &url, options).expect("it is an address");
    let asked = stranger.get_service("hello").timeout(Duration::from_secs(1)).await;
    assert!(asked.is_err(), "{asked:?}");
    stage.soon("closing", stranger.close()).await;
}

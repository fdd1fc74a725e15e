//! An etcd of three members, of which some are killed.

use std::collections::BTreeSet;
use std::time::Duration;

use periplus::core::client::{ClientEvent, RegistrationState};
use periplus::core::{Change, ServiceInstance};
use periplus::{Runtime, Watcher};

use crate::stores::Server;
use crate::stores::etcd::Cluster;
use crate::stores::field::{SHORT, client, is_lost, reachable, stage};
use crate::suite::Stage;
use crate::suite::stage::ids;

/// Shorter than what happens to it.
const TTL: Duration = Duration::from_secs(4);

/// Each member is killed in turn and comes back, so that one of them leads and one is asked when it dies: a registration
/// stays what it is, under its lease, and a watcher is told each change once.
pub async fn a_member_that_is_killed_is_missed_by_nobody<R: Runtime>(runtime: R, server: Server) {
    let Some(mut cluster) = Cluster::new(server) else { return };
    let stage = stage(runtime);
    let client = client(&stage, &cluster.url());
    let mut events = client.events();
    let mut watcher = client.watch("hello").expect("it can be watched");
    let instance = reachable("hello", "a", cluster.member(0).port);
    let mut held = stage.soon("registering", client.register(instance.clone()).ttl(TTL)).await.expect("it is new");
    let mut told = BTreeSet::from(["a".to_owned()]);
    let mut seen = BTreeSet::new();
    tell(&stage, &mut watcher, &told, &mut seen).await;
    let before = cluster.written(0, "/microservices/hello/a");

    for at in 0..3 {
        let other = (at + 1) % 3;
        // Told while it lives, and perhaps not heard when it dies; told while it is dead; told when it is back.
        put(&cluster, other, &instance, &format!("{at}-before"), &mut told);
        cluster.kill(at);
        stage.until("the others are led", async || cluster.member(other).is_led()).await;
        put(&cluster, other, &instance, &format!("{at}-without"), &mut told);
        tell(&stage, &mut watcher, &told, &mut seen).await;
        stage.registered(&mut held).await;
        cluster.launch(at);
        stage.until("it is back", async || cluster.member(at).is_led()).await;
        put(&cluster, at, &instance, &format!("{at}-again"), &mut told);
        tell(&stage, &mut watcher, &told, &mut seen).await;
    }
    stage.sleep(TTL / 2).await;
    assert_eq!(cluster.written(0, "/microservices/hello/a"), before, "it was registered once");
    assert_eq!(cluster.member(0).leases(), 1);
    while let Some(event) = stage.within(Duration::from_millis(10), events.next()).await {
        let lost =
            matches!(&event, Some(ClientEvent::Registration(_, state)) if *state != RegistrationState::Registered);
        assert!(!lost, "{event:?}");
    }
    stage.soon("closing", client.close()).await;
    assert_eq!(cluster.member(0).leases(), 0);
}

/// Two of three members are dead: the set is stale and stays, the registration is lost in the end; when they are back, all
/// is as it was, and what changed meanwhile is told.
pub async fn without_a_quorum_what_is_known_is_kept_and_stale<R: Runtime>(runtime: R, server: Server) {
    let Some(mut cluster) = Cluster::new(server) else { return };
    let stage = stage(runtime);
    let client = client(&stage, &cluster.url());
    let mut watcher = client.watch("hello").expect("it can be watched");
    let instance = reachable("hello", "a", cluster.member(0).port);
    let mut held = stage.soon("registering", client.register(instance.clone()).ttl(SHORT)).await.expect("it is new");
    stage.list("it is found", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;

    cluster.kill(0);
    cluster.kill(1);
    let stale = |list: &periplus::Listing| {
        assert_eq!(ids(list), ["a"], "an outage empties nothing: {list:?}");
        !list.is_live()
    };
    stage.list("it is stale", &mut watcher, stale).await;
    stage.state("it is lost", &mut held, is_lost).await;
    // The member that is left lets itself be watched, but knows no more than it knew.
    stage.sleep(SHORT).await;
    let list = watcher.current().expect("it is open");
    assert!(!list.is_live() && ids(&list) == ["a"], "{list:?}");

    cluster.launch(0);
    stage.until("there is a quorum", async || cluster.member(2).is_led()).await;
    put(&cluster, 2, &instance, "b", &mut BTreeSet::new());
    stage.registered(&mut held).await;
    stage
        .list("it is live", &mut watcher, |list| {
            assert!(list.find("a").is_some(), "one that lives was lost: {list:?}");
            list.is_live() && ids(list) == ["a", "b"]
        })
        .await;
    stage.soon("going", held.close()).await;
    stage.list("it has gone", &mut watcher, |list| list.is_live() && ids(list) == ["b"]).await;
    stage.soon("closing", client.close()).await;
}

/// Puts an instance behind everybody's back.
fn put(cluster: &Cluster, at: usize, like: &ServiceInstance, id: &str, told: &mut BTreeSet<String>) {
    let mut instance = like.clone();
    instance.id = id.parse().expect("it is an id");
    let value = serde_json::to_string(&instance).expect("an instance is plain JSON");
    cluster.member(at).put(&format!("/microservices/hello/{id}"), &value);
    told.insert(id.to_owned());
}

/// Reads changes until all that was put was seen to come: each once, and nothing else.
async fn tell<R: Runtime>(
    stage: &Stage<R>,
    watcher: &mut Watcher,
    told: &BTreeSet<String>,
    seen: &mut BTreeSet<String>,
) {
    let reading = async {
        while seen != told {
            for change in watcher.next_changes().await.expect("it is open").changes {
                let Change::Insert(instance) = &change else { panic!("nothing else changed: {change:?}") };
                assert!(seen.insert(instance.id().to_owned()), "twice: {change:?}");
            }
        }
    };
    stage.soon("all changes are told", reading).await;
}

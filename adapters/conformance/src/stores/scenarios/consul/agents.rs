//! Several agents of one datacenter, of which one is killed.

use periplus::core::client::RegistrationState;
use periplus::{Listing, Runtime};

use crate::stores::field::{SHORT, client, reachable, stage};
use crate::stores::{Consul, Store as _};
use crate::suite::stage::ids;

/// A registration belongs to the agent that it was made at. When that is killed it is made anew at the next one that the
/// address names, and no reader misses it. The agent comes back with what it knew, which is over when its ttl is, and the
/// client stays where it went.
pub async fn an_agent_that_is_killed_is_made_up_for_at_the_next_one<R: Runtime>(runtime: R) {
    let Some((server, mut agents)) = Consul::server_and_agents() else { return };
    let stage = stage(runtime);
    let [first, second] = &agents;
    let agents_url = format!("consul://127.0.0.1:{},127.0.0.1:{}?wait=2s", first.port, second.port);
    let (provider, consumer) = (client(&stage, &agents_url), client(&stage, &server.url()));
    let mut near = provider.watch("hello").expect("it can be watched");
    let mut far = consumer.watch("hello").expect("it can be watched");
    let register = provider.register(reachable("hello", "a", server.port)).ttl(SHORT);
    let mut held = stage.soon("registering", register).await.expect("it is new");
    for watcher in [&mut near, &mut far] {
        stage.list("it is found", watcher, |list| list.is_live() && ids(list) == ["a"]).await;
    }
    let (old, new) = if agents[0].held("a").is_null() { (1, 0) } else { (0, 1) };
    assert!(agents[new].held("a").is_null(), "it is at one agent");

    let kept = |list: &Listing| {
        assert_eq!(ids(list), ["a"], "one that lives was lost: {list:?}");
        list.is_live()
    };
    agents[old].kill();
    stage.until("it is at the other agent", async || !agents[new].held("a").is_null()).await;
    stage.registered(&mut held).await;
    let node = |entry: &serde_json::Value| entry["Node"]["Node"].as_str().map(ToOwned::to_owned);
    let expected = [format!("agent-{new}")];
    let only_there = async || server.passing("hello").iter().filter_map(node).collect::<Vec<String>>() == expected;
    stage.until("the dead agent is missed", &only_there).await;
    stage.until("it is heard there", async || near.current().is_some_and(|list| kept(&list))).await;

    agents[old].start();
    let over = |(id, status): &(String, String)| id == "service:a" && status == "critical";
    stage.until("what the old agent knew is over", async || agents[old].checks("a").iter().any(over)).await;
    stage.until("readers see that", &only_there).await;
    assert_eq!(held.state(), RegistrationState::Registered);
    assert!(!agents[new].held("a").is_null(), "it is where it went");
    for watcher in [&mut near, &mut far] {
        assert!(kept(&watcher.current().expect("it is open")));
        while let Some(list) = stage.within(std::time::Duration::from_millis(10), watcher.next()).await {
            kept(&list.expect("it is open"));
        }
    }
    stage.soon("going", held.close()).await;
    for watcher in [&mut near, &mut far] {
        stage.list("it has gone", watcher, |list| list.is_live() && list.is_empty()).await;
    }
    for client in [provider, consumer] {
        stage.soon("closing", client.close()).await;
    }
}

//! The server is down, dead, frozen, or has forgotten all.

use periplus::Runtime;
use periplus::core::client::{Provenance, RegistrationState};

use crate::stores::field::{Field, LONG, SHORT, is_lost};
use crate::suite::stage::ids;

const fn is_stale(provenance: Provenance) -> bool {
    matches!(provenance, Provenance::Stale { .. })
}

/// Down at start: the client builds, calls wait, and it recovers by itself.
pub async fn a_client_waits_for_a_server_that_is_down_at_start<R: Runtime>(mut field: Field<R>) {
    field.store.kill();
    let client = field.client();
    let mut watcher = client.watch("hello").expect("it can be watched");
    let register = client.register(field.instance("hello", "a")).ttl(LONG);
    let mut held = register.in_background().expect("it can be registered");
    field.stage.sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(held.state(), RegistrationState::Registering);
    assert_eq!(watcher.current().expect("it is open").provenance, Provenance::Unknown);
    field.store.start();
    field.stage.registered(&mut held).await;
    field.stage.list("it is found", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;
    field.close(client).await;
    assert!(field.store.ids("hello").is_empty());
}

/// Killed, and started with its files: what was known stays and is stale meanwhile; it is there still, or again.
pub async fn what_was_registered_stays_over_a_kill<R: Runtime>(mut field: Field<R>) {
    let (provider, consumer) = (field.client(), field.client());
    let mut watcher = consumer.watch("hello").expect("it can be watched");
    let mut held = field.register(&provider, "hello", "a", SHORT).await;
    field.stage.list("it is found", &mut watcher, |list| ids(list) == ["a"]).await;

    field.store.kill();
    let list = field.stage.list("the outage is noticed", &mut watcher, |list| !list.is_live()).await;
    assert_eq!(ids(&list), ["a"], "an outage empties nothing");
    assert!(is_stale(list.provenance) && list.age.is_some(), "{list:?}");
    field.stage.state("it is lost", &mut held, is_lost).await;

    field.store.start();
    field.stage.registered(&mut held).await;
    field.stage.list("it is heard again", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;
    field.seen_by_others("hello", &["a"]).await;
    field.close(provider).await;
    field.stage.list("it has gone", &mut watcher, |list| list.is_live() && list.is_empty()).await;
    field.close(consumer).await;
}

/// Killed, and started with nothing: who lives registers again, no watcher loses one that lives, and one whose holder died
/// meanwhile goes in the end.
pub async fn what_was_registered_comes_back_after_a_loss_of_memory<R: Runtime>(mut field: Field<R>) {
    let (provider, consumer) = (field.client(), field.client());
    let mut watcher = consumer.watch("hello").expect("it can be watched");
    let mut held = field.register(&provider, "hello", "a", SHORT).await;
    field.store.put_as_kratos(&field.instance("hello", "dead"));
    field.stage.list("both are found", &mut watcher, |list| ids(list) == ["a", "dead"]).await;

    field.store.wipe();
    field.store.start();
    field.seen_by_others("hello", &["a"]).await;
    field.stage.registered(&mut held).await;
    field
        .stage
        .list("who died has gone", &mut watcher, |list| {
            assert!(list.find("a").is_some(), "one that lives was lost: {list:?}");
            list.is_live() && ids(list) == ["a"]
        })
        .await;
    field.close(provider).await;
    field.stage.list("it has gone", &mut watcher, |list| list.is_live() && list.is_empty()).await;
    field.close(consumer).await;
}

/// Frozen for longer than the ttl: the registration is lost and what is shown is stale; when it goes on, all is as it was.
pub async fn a_server_frozen_past_the_ttl_is_an_outage_and_recovers<R: Runtime>(field: Field<R>) {
    let (provider, consumer) = (field.client(), field.client());
    let mut watcher = consumer.watch("hello").expect("it can be watched");
    let mut held = field.register(&provider, "hello", "a", SHORT).await;
    field.stage.list("it is found", &mut watcher, |list| ids(list) == ["a"]).await;

    field.store.freeze();
    field.stage.state("it is lost", &mut held, is_lost).await;
    let list = field.stage.list("it is stale", &mut watcher, |list| is_stale(list.provenance)).await;
    assert_eq!(ids(&list), ["a"]);
    field.stage.sleep(SHORT).await;
    field.store.thaw();
    field.stage.registered(&mut held).await;
    field.stage.list("it is live", &mut watcher, |list| list.is_live() && ids(list) == ["a"]).await;
    field.seen_by_others("hello", &["a"]).await;
    field.close(provider).await;
    field.close(consumer).await;
}

//! Registering, finding, changing, going.

use periplus::Runtime;
use periplus::core::client::RegistrationState;
use periplus::core::{Endpoint, Patch};

use crate::stores::field::{Field, LONG, SHORT};
use crate::suite::stage::ids;

/// What is registered is seen by others and by us; when the last one goes, an empty list is delivered as the registry's
/// own word.
pub async fn what_is_registered_is_found_and_goes<R: Runtime>(field: Field<R>) {
    let (provider, consumer) = (field.client(), field.client());
    let mut watcher = consumer.watch("hello").expect("it can be watched");
    let first = field.stage.list("nothing is there", &mut watcher, |_| true).await;
    assert!(first.is_empty() && first.is_live(), "{first:?}");

    let held = field.register(&provider, "hello", "a", SHORT).await;
    field.seen_by_others("hello", &["a"]).await;
    let list = field.stage.list("it is found", &mut watcher, |list| !list.is_empty()).await;
    assert_eq!(list.decode(), [field.instance("hello", "a")]);
    assert_eq!(consumer.get_service("hello").await.expect("it is known").decode(), list.decode());
    // It is renewed for longer than it would live without.
    field.stage.sleep(SHORT + SHORT / 2).await;
    assert_eq!(held.state(), RegistrationState::Registered);
    assert_eq!(field.store.ids("hello"), ["a"]);
    let now = watcher.current().expect("it is open");
    assert!(now.is_live() && ids(&now) == ["a"], "{now:?}");

    assert!(field.stage.soon("going", held.close()).await.confirmed);
    assert!(field.store.ids("hello").is_empty());
    field.stage.list("it has gone", &mut watcher, |list| list.is_live() && list.is_empty()).await;
    field.close(provider).await;
    field.close(consumer).await;
}

/// A change of metadata is seen in place: nothing goes and comes.
pub async fn an_update_is_seen<R: Runtime>(field: Field<R>) {
    let (provider, consumer) = (field.client(), field.client());
    let mut watcher = consumer.watch("hello").expect("it can be watched");
    let held = field.register(&provider, "hello", "a", LONG).await;
    field.stage.list("it is found", &mut watcher, |list| ids(list) == ["a"]).await;
    let patch = Patch { metadata: [("weight".to_owned(), Some("50".to_owned()))].into(), ..Patch::default() };
    held.update(&patch).expect("it is held");
    field.stage.soon("the change is taken", held.acknowledged()).await.expect("it is held");
    field
        .stage
        .list("the change is seen", &mut watcher, |list| {
            assert_eq!(ids(list), ["a"], "nothing goes while it changes");
            list.decode()[0].weight() == Some(50)
        })
        .await;
    assert_eq!(field.store.ids("hello"), ["a"]);
    field.close(provider).await;
    field.close(consumer).await;
}

/// Dropping what holds a registration takes it out, and so does dropping the last handle of a client.
pub async fn what_is_dropped_is_taken_out<R: Runtime>(field: Field<R>) {
    let client = field.client();
    let held = field.register(&client, "hello", "a", LONG).await;
    let other = field.register(&client, "hello", "b", LONG).await;
    drop(held);
    field.seen_by_others("hello", &["b"]).await;
    drop((client, other));
    field.seen_by_others("hello", &[]).await;
}

/// What a Kratos program writes is found as it meant it, its going is seen, and what we write of the same instance is the
/// same to others.
pub async fn what_kratos_writes_is_found_and_its_going_is_seen<R: Runtime>(field: Field<R>) {
    let client = field.client();
    let mut watcher = client.watch("hello").expect("it can be watched");
    field.store.put_as_kratos(&field.instance("hello", "k"));
    let list = field.stage.list("it is found", &mut watcher, |list| !list.is_empty()).await;
    assert_eq!(list.decode(), [field.instance("hello", "k")]);
    let theirs = field.store.as_others_see("hello", "k");

    let held = field.register(&client, "hello", "o", LONG).await;
    field.stage.list("both are found", &mut watcher, |list| ids(list) == ["k", "o"]).await;
    assert_eq!(field.store.as_others_see("hello", "o"), theirs);

    field.store.forget("hello", "k");
    field.stage.list("it has gone", &mut watcher, |list| ids(list) == ["o"]).await;
    field.stage.soon("going", held.close()).await;
    field.close(client).await;
}

/// Somebody else ends the lease, or takes the registration out: it is registered again, and says in between that it was lost
/// or was never seen to be.
pub async fn what_others_take_out_is_registered_again<R: Runtime>(field: Field<R>) {
    let client = field.client();
    let mut held = field.register(&client, "hello", "a", SHORT).await;
    for _ in 0..2 {
        field.store.forget("hello", "a");
        field.seen_by_others("hello", &["a"]).await;
        field.stage.registered(&mut held).await;
    }
    assert!(client.counters().registrations >= 3, "{:?}", client.counters());
    field.close(client).await;
    assert!(field.store.ids("hello").is_empty());
}

/// What is no instance is skipped and counted where there can be such a thing; the others are delivered.
pub async fn garbage_is_skipped_and_the_others_are_delivered<R: Runtime>(field: Field<R>) {
    let garbage = field.store.put_garbage("hello");
    let client = field.client();
    let mut watcher = client.watch("hello").expect("it can be watched");
    let held = field.register(&client, "hello", "a", LONG).await;
    let list = field.stage.list("it is found", &mut watcher, |list| list.find("a").is_some()).await;
    assert!(list.is_live(), "{list:?}");
    if garbage > 0 {
        assert_eq!(ids(&list), ["a"]);
        assert!(client.counters().skipped >= garbage, "{:?}", client.counters());
    }
    field.stage.soon("going", held.close()).await;
    field.stage.list("it has gone", &mut watcher, |list| list.find("a").is_none()).await;
    field.close(client).await;
}

/// A service whose name is the beginning of another's sees only its own.
pub async fn a_name_that_begins_alike_is_another_service<R: Runtime>(field: Field<R>) {
    let client = field.client();
    let mut watcher = client.watch("hello").expect("it can be watched");
    let long = field.register(&client, "hello-world", "a", LONG).await;
    let short = field.register(&client, "hello", "b", LONG).await;
    field
        .stage
        .list("only its own", &mut watcher, |list| {
            assert!(list.find("a").is_none(), "{list:?}");
            ids(list) == ["b"]
        })
        .await;
    field.stage.soon("going", short.close()).await;
    field.stage.list("none of its own", &mut watcher, |list| list.is_live() && list.is_empty()).await;
    assert_eq!(field.store.ids("hello-world"), ["a"]);
    field.stage.soon("going", long.close()).await;
    field.close(client).await;
}

/// Two endpoints of one scheme, a secure one, and metadata that needs an encoding survive the round trip.
pub async fn all_kinds_of_endpoints_come_back_as_they_were<R: Runtime>(field: Field<R>) {
    let client = field.client();
    let mut watcher = client.watch("hello").expect("it can be watched");
    let mut instance = field.instance("hello", "a").with_metadata("zone", "a&b<1> ä\"\\");
    let port = field.store.port();
    for text in [format!("http://localhost:{port}"), format!("grpcs://127.0.0.1:{port}")] {
        instance.endpoints.push(Endpoint::new(text).expect("it is an endpoint"));
    }
    let held = field.stage.soon("registering", client.register(instance.clone()).ttl(LONG)).await.expect("it is new");
    let list = field.stage.list("it is found", &mut watcher, |list| !list.is_empty()).await;
    let mut found = list.decode().remove(0);
    let sorted = |instance: &mut periplus::core::ServiceInstance| {
        instance.endpoints.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    };
    sorted(&mut found);
    sorted(&mut instance);
    assert_eq!(found, instance);
    field.stage.soon("going", held.close()).await;
    field.close(client).await;
}

/// Whatever changes while a watch begins is seen in the end, and only that.
pub async fn nothing_is_lost_between_listing_and_watching<R: Runtime>(field: Field<R>) {
    let (provider, consumer) = (field.client(), field.client());
    let mut held = Vec::new();
    let mut watchers = Vec::new();
    for number in 0..12 {
        let register = provider.register(field.instance("hello", &format!("i{number:02}"))).ttl(LONG);
        held.push(register.in_background().expect("it can be registered"));
        if number % 3 == 0 {
            let client = if number % 2 == 0 { consumer.clone() } else { field.client() };
            watchers.push(client.watch("hello").expect("it can be watched"));
        }
        field.stage.sleep(std::time::Duration::from_millis(15)).await;
        if number % 4 == 3 {
            drop(held.remove(0));
        }
    }
    let expected = ["i03", "i04", "i05", "i06", "i07", "i08", "i09", "i10", "i11"];
    for watcher in &mut watchers {
        field.stage.list("all that is there", watcher, |list| list.is_live() && ids(list) == expected).await;
    }
    field.seen_by_others("hello", &expected).await;
    field.close(provider).await;
    for watcher in &mut watchers {
        field.stage.list("all have gone", watcher, |list| list.is_live() && list.is_empty()).await;
    }
    field.close(consumer).await;
}

/// Many registrations of one process: ending one leaves the others.
pub async fn every_registration_goes_alone<R: Runtime>(field: Field<R>) {
    let client = field.client();
    let mut held = Vec::new();
    for id in ["a", "b", "c"] {
        held.push(field.register(&client, "hello", id, SHORT).await);
    }
    field.stage.soon("going", held.remove(1).close()).await;
    assert_eq!(field.store.ids("hello"), ["a", "c"]);
    field.stage.sleep(SHORT + SHORT / 2).await;
    assert_eq!(field.store.ids("hello"), ["a", "c"]);
    assert!(held.iter().all(|held| held.state() == RegistrationState::Registered));
    field.close(client).await;
    assert!(field.store.ids("hello").is_empty());
}

/// A client that is suspended keeps what it knew; later it has the present, and never shows less than was there.
pub async fn who_is_suspended_keeps_what_it_knew_and_has_the_present_later<R: Runtime>(field: Field<R>) {
    let (provider, consumer) = (field.client(), field.client());
    let mut watcher = consumer.watch("hello").expect("it can be watched");
    let a = field.register(&provider, "hello", "a", LONG).await;
    let _b = field.register(&provider, "hello", "b", LONG).await;
    field.stage.list("both are found", &mut watcher, |list| list.is_live() && ids(list) == ["a", "b"]).await;

    consumer.suspend();
    let list = field.stage.list("it knows that it hears nothing", &mut watcher, |list| !list.is_live()).await;
    assert_eq!(ids(&list), ["a", "b"]);
    field.stage.soon("going", a.close()).await;
    let _c = field.register(&provider, "hello", "c", LONG).await;
    field.seen_by_others("hello", &["b", "c"]).await;
    let list = watcher.current().expect("it is open");
    assert!(!list.is_live() && ids(&list) == ["a", "b"], "{list:?}");

    consumer.resume();
    field
        .stage
        .list("it has the present", &mut watcher, |list| {
            assert!(ids(list).contains(&"b"), "nobody who stayed goes: {list:?}");
            list.is_live() && ids(list) == ["b", "c"]
        })
        .await;
    field.close(provider).await;
    field.close(consumer).await;
}

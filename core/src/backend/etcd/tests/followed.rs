//! What is followed.

use super::*;
use crate::set::Cursor;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn cursor(hand: &Hand, id: SubscriptionId) -> Option<String> {
    hand.etcd.view(id).unwrap().cursor.map(|cursor: Cursor| cursor.to_string())
}

#[test]
fn what_is_followed_is_listed_at_a_revision_and_watched_from_there() {
    let mut hand = Hand::new();
    let id = hand.etcd.watch(&web(), hand.now).unwrap();
    let listed = hand.listed(7, &[&[pair("a", 5, 99), pair("b", 6, 98)]]);
    let range = &listed.body[0]["success"][0]["request_range"];
    assert_eq!(
        (text(&range["key"]), text(&range["range_end"])),
        ("/microservices/web/".into(), "/microservices/web0".into())
    );
    assert_eq!(cursor(&hand, id), Some("77.7".into()));
    let stream = hand.watched(7);
    assert!(stream.request.streaming);
    let create = &stream.body[0]["create_request"];
    assert_eq!((text(&create["key"]).as_str(), &create["start_revision"]), ("/microservices/web/", &json!("8")));
    assert_eq!(stream.body[1], json!({ "progress_request": {} }));

    hand.etcd.poll_update(id).unwrap();
    // Several revisions at once are one difference, dated with the last.
    hand.events_of(
        stream.id,
        0,
        12,
        &[json!({ "kv": pair("c", 8, 97) }), gone("a", 9), json!({ "kv": pair("d", 9, 97) })],
    );
    let update = hand.etcd.poll_update(id).unwrap();
    assert_eq!((update.changes.len(), cursor(&hand, id)), (3, Some("77.9".into())));
    assert_eq!(hand.shown(id), ["b", "c", "d"]);
    assert!(hand.asked().is_none(), "nothing is listed again");
}

#[test]
fn what_is_no_instance_is_skipped_and_counted_and_the_others_are_there() {
    let mut hand = Hand::new();
    let id = hand.etcd.watch(&web(), hand.now).unwrap();
    let bad = pair_of("/microservices/web/n", "null", 6, 0);
    hand.listed(7, &[&[bad, pair("a", 5, 99)]]);
    let stream = hand.watched(7).id;
    assert_eq!(hand.shown(id), ["a"]);
    hand.events_of(stream, 0, 8, &[json!({ "kv": pair_of("/microservices/web/a", "{", 8, 0) })]);
    assert_eq!((hand.shown(id).len(), hand.etcd.counters().skipped), (0, 2));
    assert_eq!(hand.events().iter().filter(|event| matches!(event, ClientEvent::Skipped { .. })).count(), 2);
}

#[test]
fn the_answer_to_a_question_for_progress_is_no_place_to_go_on_from() {
    let mut hand = Hand::new();
    let (id, stream) = hand.following(&["a"]);
    hand.say(stream, &json!({ "header": header(20), "watch_id": "-1" }));
    assert_eq!(cursor(&hand, id), Some("77.7".into()));
    // What a watch says of itself is.
    hand.say(stream, &json!({ "header": header(21) }));
    assert_eq!(cursor(&hand, id), Some("77.21".into()));
}

#[test]
fn a_past_that_is_gone_is_listed_anew_while_the_others_go_on() {
    let mut hand = Hand::new();
    let (id, stream) = hand.following(&["a", "b"]);
    hand.etcd.poll_update(id).unwrap();
    hand.say(stream, &json!({ "header": { "cluster_id": "77" }, "canceled": true, "compact_revision": "40" }));
    hand.pass(Duration::from_millis(300));
    let listed = hand.listed(50, &[&[pair("b", 3, 99), pair("c", 44, 99)], &[], &[pair("b", 3, 99)]]);
    assert_eq!(listed.body[0]["success"].as_array().unwrap().len(), 3, "and what proves the history");
    let again = hand.watched(50);
    assert_eq!(again.body[0]["create_request"]["start_revision"], "51");
    assert_eq!(hand.cancelled, [stream]);
    assert_eq!((hand.etcd.poll_update(id).unwrap().changes.len(), hand.provenance(id)), (2, Provenance::Live));
}

#[test]
fn a_watch_that_may_not_be_is_told_and_tried_again_and_the_others_go_on() {
    let mut hand = Hand::new();
    let other = Selector::all(Namespace::new("b").unwrap());
    let (first, second) = (hand.etcd.watch(&web(), hand.now).unwrap(), hand.etcd.watch(&other, hand.now).unwrap());
    hand.listed(7, &[&[]]);
    hand.drain();
    hand.pass(Duration::from_millis(3));
    // One may not be read, so each is asked for alone.
    let mut stream = None;
    while let Some(asked) = hand.asked() {
        let ranges = asked.body[0]["success"].as_array().cloned().unwrap_or_default();
        let denied = ranges.iter().any(|range| text(&range["request_range"]["key"]) == "/b/");
        if asked.path == "/watch" {
            hand.etcd.handle_response(asked.id, &Head::new(200), hand.now);
            hand.say(asked.id, &json!({ "header": header(7), "created": true }));
            stream = Some(asked.id);
        } else if denied {
            hand.answer(asked.id, 403, &json!({ "code": 7, "message": "etcdserver: permission denied" }));
        } else {
            let ranges: Vec<Value> = ranges.iter().map(|_| json!({ "response_range": {} })).collect();
            hand.answer(asked.id, 200, &json!({ "header": header(7), "responses": ranges }));
        }
    }
    let refused = |event: &ClientEvent| matches!(event, ClientEvent::WatchRefused(problem) if problem.code == "permission_denied");
    assert!(hand.events().iter().any(refused));
    assert_eq!((hand.provenance(first), hand.provenance(second)), (Provenance::Live, Provenance::Unknown));
    assert!(stream.is_some());
    hand.pass(Duration::from_secs(1));
    assert!(hand.asked().is_some(), "it is tried again");
}

#[test]
fn a_watch_that_is_denied_with_success_ends_and_the_stream_goes_on() {
    let mut hand = Hand::new();
    let id = hand.etcd.watch(&web(), hand.now).unwrap();
    hand.listed(7, &[&[pair("a", 5, 99)]]);
    let stream = hand.ask("/watch").id;
    hand.etcd.handle_response(stream, &Head::new(200), hand.now);
    let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    hand.say(
        stream,
        &json!({ "header": header(7), "created": true, "canceled": true, "watch_id": "-1", "cancel_reason": reason }),
    );
    assert!(hand.events().iter().any(|event| matches!(event, ClientEvent::WatchRefused(_))));
    assert!(matches!(hand.provenance(id), Provenance::Stale { .. }));
    assert_eq!(hand.shown(id), ["a"]);
}

#[test]
fn a_quiet_stream_is_opened_anew_before_it_counts_as_dead() {
    let mut hand = Hand::new();
    let (id, stream) = hand.following(&["a"]);
    hand.pass(Duration::from_secs(31));
    // Nothing has been lost in between, as a key proves.
    hand.listed(7, &[&[pair("a", 2, 99)]]);
    let again = hand.ask("/watch");
    assert!(hand.cancelled.is_empty(), "the one before is still heard");
    hand.events_of(stream, 0, 8, &[json!({ "kv": pair("b", 8, 99) })]);
    hand.etcd.handle_response(again.id, &Head::new(200), hand.now);
    hand.say(again.id, &json!({ "header": header(8), "created": true }));
    hand.drain();
    assert_eq!(hand.cancelled, [stream]);
    hand.events_of(again.id, 0, 8, &[json!({ "kv": pair("b", 8, 99) })]);
    assert_eq!((hand.shown(id), hand.provenance(id)), (alloc::vec!["a".into(), "b".into()], Provenance::Live));
    // If that fails, what was heard is stale in time.
    let heard = hand.now;
    while hand.provenance(id) == Provenance::Live {
        while let Some(asked) = hand.asked() {
            hand.fail(asked.id);
        }
        hand.pass(Duration::from_millis(500));
        assert!(hand.now.saturating_since(heard) <= Duration::from_secs(61));
    }
}

#[test]
fn a_stream_goes_on_where_it_was() {
    let mut hand = Hand::new();
    let (id, stream) = hand.following(&["a"]);
    hand.events_of(stream, 0, 9, &[json!({ "kv": pair("b", 9, 99) })]);
    hand.fail(stream);
    assert!(matches!(hand.provenance(id), Provenance::Stale { .. }));
    hand.listed(11, &[&[pair("a", 2, 99)], &[pair("b", 9, 99)]]);
    let again = hand.watched(11);
    assert_eq!(again.body[0]["create_request"]["start_revision"], "10");
    assert!(matches!(hand.provenance(id), Provenance::Stale { .. }), "something is to come yet");
    hand.events_of(again.id, 0, 11, &[gone("a", 11)]);
    assert_eq!((hand.shown(id), hand.provenance(id)), (alloc::vec!["b".into()], Provenance::Live));
}

#[test]
fn a_client_that_was_suspended_goes_on_where_it_was() {
    let mut hand = Hand::new();
    let (id, stream) = hand.following(&["a"]);
    hand.etcd.suspend(hand.now);
    hand.drain();
    assert!(hand.cancelled.contains(&stream) && matches!(hand.provenance(id), Provenance::Stale { .. }));
    assert_eq!((hand.asked().is_none(), hand.etcd.poll_timeout()), (true, None), "nothing is asked or waited for");

    hand.etcd.resume(hand.now);
    // What was there proves that it is the same history: it is not listed anew.
    let proof = hand.listed(7, &[&[pair("a", 2, 99)]]);
    assert_eq!(proof.body[0]["success"].as_array().unwrap().len(), 1);
    let again = hand.watched(7);
    assert_eq!(again.body[0]["create_request"]["start_revision"], "8");
    hand.events_of(again.id, 0, 9, &[json!({ "kv": pair("b", 9, 99) })]);
    assert_eq!((hand.shown(id).len(), hand.provenance(id)), (2, Provenance::Live));
}

#[test]
fn a_client_that_is_suspended_does_not_wait_to_be_let_in_or_for_a_list() {
    let mut hand = Hand::new();
    hand.etcd.watch(&web(), hand.now).unwrap();
    let listing = hand.ask("/kv/txn").id;
    hand.etcd.suspend(hand.now);
    hand.drain();
    assert!(hand.cancelled.contains(&listing));
    assert_eq!((hand.asked().is_none(), hand.etcd.poll_timeout()), (true, None));
}

#[test]
fn what_was_listed_is_stale_if_the_stream_that_is_to_follow_is_not_answered() {
    let mut hand = Hand::new();
    let id = hand.etcd.watch(&web(), hand.now).unwrap();
    hand.listed(7, &[&[pair("a", 2, 99)]]);
    assert_eq!(hand.provenance(id), Provenance::Live);
    let stream = hand.ask("/watch").id;
    hand.fail(stream);
    assert!(matches!(hand.provenance(id), Provenance::Stale { .. }));
}

/// What comes of a history that is lost: it is told at the first word of a stream, or by a listing.
fn forgotten(tell: fn(&mut Hand)) -> (Hand, SubscriptionId) {
    let mut hand = Hand::new();
    let (id, stream) = hand.following(&["a", "b"]);
    hand.etcd.poll_update(id).unwrap();
    hand.fail(stream);
    tell(&mut hand);
    (hand, id)
}

#[test]
fn a_history_that_is_lost_loses_nobody_who_is_alive() {
    let tellers: [fn(&mut Hand); 4] = [
        // Revisions count from the start again.
        |hand| drop(hand.listed(3, &[&[], &[]])),
        // They have caught up, and what was there at a revision is not what was there then.
        |hand| drop(hand.listed(9, &[&[pair("a", 4, 98)], &[]])),
        // Another cluster.
        |hand| {
            let asked = hand.ask("/kv/txn");
            let other = json!({ "cluster_id": "78", "member_id": "5", "revision": "50", "raft_term": "9" });
            hand.answer(
                asked.id,
                200,
                &json!({ "header": other, "responses": [{ "response_range": {} }, { "response_range": {} }] }),
            );
        },
        // It happens after the listing.
        |hand| {
            hand.listed(7, &[&[pair("a", 2, 99)], &[pair("b", 3, 99)]]);
            let stream = hand.ask("/watch").id;
            hand.etcd.handle_response(stream, &Head::new(200), hand.now);
            hand.say(stream, &json!({ "header": header(2), "created": true }));
        },
    ];
    for tell in tellers {
        let (mut hand, id) = forgotten(tell);
        let listing = hand.ask("/kv/txn");
        let ranges = listing.body[0]["success"].as_array().unwrap().len();
        let lists: Vec<Value> = (0..ranges).map(|at| json!({ "response_range": if at == 0 { json!({ "kvs": [pair("b", 9, 97)] }) } else { json!({}) } })).collect();
        let header = header(51);
        hand.answer(listing.id, 200, &json!({ "header": header, "responses": lists }));
        hand.watched(51);
        assert_eq!(
            (hand.provenance(id), hand.shown(id)),
            (Provenance::Unconfirmed, alloc::vec!["a".into(), "b".into()])
        );
        assert_eq!(hand.etcd.poll_update(id).unwrap().changes.len(), 0);
        // It is over after a while: who did not come back goes.
        for _ in 0..400 {
            hand.pass(Duration::from_millis(250));
            while let Some(asked) = hand.asked() {
                let ranges = asked.body[0].get("success").and_then(Value::as_array).map_or(0, Vec::len);
                if asked.path == "/watch" {
                    hand.etcd.handle_response(asked.id, &Head::new(200), hand.now);
                    hand.say(asked.id, &json!({ "header": header, "created": true }));
                } else {
                    let lists: Vec<Value> =
                        (0..ranges).map(|_| json!({ "response_range": { "kvs": [pair("b", 9, 97)] } })).collect();
                    hand.answer(asked.id, 200, &json!({ "header": header, "responses": lists }));
                }
            }
        }
        assert_eq!((hand.provenance(id), hand.shown(id)), (Provenance::Live, alloc::vec!["b".into()]));
    }
}

#[test]
fn a_member_that_lags_is_not_taken_for_one_that_has_lost_its_history() {
    let mut hand = Hand::new();
    let (id, stream) = hand.following(&["a"]);
    hand.fail(stream);
    let other = |revision: u64| json!({ "cluster_id": "77", "member_id": "6", "revision": revision.to_string(), "raft_term": "2" });
    hand.listed(7, &[&[pair("a", 2, 99)]]);
    let stream = hand.ask("/watch").id;
    hand.etcd.handle_response(stream, &Head::new(200), hand.now);
    hand.say(stream, &json!({ "header": other(6), "created": true }));
    let asked = hand.ask("/kv/txn");
    let found = json!({ "response_range": { "kvs": [pair("a", 2, 99)] } });
    hand.answer(asked.id, 200, &json!({ "header": other(7), "responses": [found, found] }));
    hand.watched(7);
    assert_eq!((cursor(&hand, id), hand.provenance(id)), (Some("77.7".into()), Provenance::Live));
}

#[test]
fn everything_of_a_namespace_is_followed_with_one_watch() {
    let mut hand = Hand::new();
    let all = hand.etcd.watch(&Selector::all(Namespace::default()), hand.now).unwrap();
    let one = hand.etcd.watch(&web(), hand.now).unwrap();
    let other = pair_of("/microservices/api/x", r#"{"id":"x","name":"api"}"#, 6, 99);
    hand.listed(7, &[&[other, pair("a", 5, 99)]]);
    let stream = hand.watched(7);
    assert_eq!(stream.body.len(), 2, "one watch, and the question for progress");
    assert_eq!((hand.shown(all), hand.shown(one)), (alloc::vec!["x".into(), "a".into()], alloc::vec!["a".into()]));
    hand.events_of(stream.id, 0, 8, &[gone("a", 8)]);
    assert_eq!((hand.shown(all), hand.shown(one).len()), (alloc::vec!["x".into()], 0));
}

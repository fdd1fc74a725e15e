//! Registrations.

use super::*;
use crate::client::{CommandError, Loss};
use crate::instance::{Patch, Status};
use crate::registry::Outcome;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn lost(code: &str) -> RegistrationState {
    RegistrationState::Lost(Loss::Told(code.into()))
}

const EXISTS: &str = "etcdserver: lease already exists";

#[test]
fn a_registration_is_a_lease_and_a_key_under_it() {
    let mut hand = Hand::new();
    let sent = hand.now;
    let id = hand.etcd.register(&registration("a/b"), hand.now).unwrap();
    hand.now = hand.now.saturating_add(Duration::from_secs(1));
    let lease = hand.grant(7);
    assert!(lease > 0);
    hand.now = hand.now.saturating_add(Duration::from_secs(1));
    let write = hand.written(8);
    assert_eq!(write.request.url, "http://a:1/v3/kv/txn");
    let key = encode(b"/microservices/web/a/b");
    assert_eq!(
        write.body[0]["compare"],
        json!([{ "key": key, "target": "MOD", "result": "LESS", "mod_revision": "8" }])
    );
    let put = &write.body[0]["success"][0]["request_put"];
    assert_eq!((&put["key"], &put["lease"]), (&json!(key), &json!(lease.to_string())));
    assert_eq!(text(&put["value"]), r#"{"id":"a/b","name":"web","version":"","metadata":{"k":"v"},"endpoints":null}"#);
    let view = hand.etcd.registration(id).unwrap();
    assert_eq!(view.outcome, Some(Outcome::Registered));
    // From when the lease was asked for, less what clocks may drift apart.
    assert!(view.until.unwrap() <= sent.saturating_add(Duration::from_secs(15)));
    assert!(view.until.unwrap() > sent.saturating_add(Duration::from_secs(14)));
}

#[test]
fn a_ttl_is_asked_for_in_whole_seconds_and_the_one_that_is_given_counts() {
    let mut hand = Hand::new();
    let wanted = Registration { ttl: Some(Duration::from_millis(1_200)), ..registration("a") };
    let id = hand.etcd.register(&wanted, hand.now).unwrap();
    let grant = hand.ask("/lease/grant");
    assert_eq!(grant.body[0]["TTL"], "2");
    let lease = &grant.body[0]["ID"];
    hand.answer(grant.id, 200, &json!({ "header": header(1), "ID": lease, "TTL": "5" }));
    hand.written(2);
    assert_eq!(hand.etcd.registration(id).unwrap().ttl, Some(Duration::from_secs(5)));
}

#[test]
fn a_lease_that_is_there_already_is_renewed_and_used() {
    let old = json!({ "error": EXISTS, "message": EXISTS, "code": 9 });
    let new = json!({ "code": 9, "message": EXISTS, "details": [] });
    for (status, refusal) in [(412, old), (400, new)] {
        let mut hand = Hand::new();
        let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
        let first = hand.ask("/lease/grant");
        hand.fail(first.id);
        hand.pass(Duration::from_secs(20));
        let again = hand.ask("/lease/grant");
        assert_eq!(again.body, first.body);
        hand.answer(again.id, status, &refusal);
        let kept = hand.ask("/lease/keepalive");
        assert_eq!(kept.body[0], json!({ "ID": first.body[0]["ID"] }));
        let sent = hand.now;
        let line = json!({ "result": { "header": header(3), "ID": first.body[0]["ID"], "TTL": "15" } });
        hand.answer_text(kept.id, 200, &(line.to_string() + "\n"));
        hand.written(4);
        let until = hand.etcd.registration(id).unwrap().until.unwrap();
        assert!(until > sent.saturating_add(Duration::from_secs(14)));
    }
}

#[test]
fn a_first_registration_takes_the_key_from_whoever_has_it() {
    let mut hand = Hand::new();
    let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
    hand.grant(7);
    // Somebody has come since the lease was granted: that is known now, and decided anew.
    let first = hand.found(9, &[pair("a", 9, 66)]);
    assert_eq!(first.body[0]["compare"][0]["result"], "LESS");
    let asked = hand.ask("/kv/txn");
    assert_eq!(asked.body[0]["compare"][0]["mod_revision"], "9");
    let done = json!({ "header": header(10), "succeeded": true,
        "responses": [{ "response_put": { "prev_kv": pair("a", 9, 66) } }] });
    hand.answer(asked.id, 200, &done);
    let view = hand.etcd.registration(id).unwrap();
    assert_eq!((view.state, view.outcome), (RegistrationState::Registered, Some(Outcome::Superseded)));
}

#[test]
fn a_retry_takes_nothing_that_was_taken_since_and_finds_what_was_written() {
    for ours in [true, false] {
        let mut hand = Hand::new();
        let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
        let lease = hand.grant(7);
        let first = hand.ask("/kv/txn");
        hand.fail(first.id);
        hand.pass(Duration::from_secs(20));
        let again = hand.ask("/lease/grant");
        hand.answer(again.id, 200, &json!({ "header": header(20), "ID": lease.to_string(), "TTL": "15" }));
        let retry = hand.found(20, &[pair("a", 9, if ours { lease } else { 66 })]);
        assert_eq!(retry.body, first.body, "as of the time when it was decided");
        if ours {
            assert_eq!(hand.state(id), RegistrationState::Registered);
            assert_eq!(hand.etcd.registration(id).unwrap().outcome, Some(Outcome::Repeated));
        } else {
            assert_eq!(hand.state(id), RegistrationState::Superseded);
            assert_eq!(hand.ask("/lease/revoke").body[0], json!({ "ID": lease.to_string() }));
        }
    }
}

#[test]
fn a_write_that_was_refused_leaves_no_doubt() {
    let mut hand = Hand::new();
    let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
    hand.grant(7);
    let write = hand.ask("/kv/txn");
    hand.answer(write.id, 403, &json!({ "code": 7, "message": "etcdserver: permission denied" }));
    hand.grant(9);
    // Whoever has it by now is taken for one who had it when it was decided.
    assert_eq!(hand.written(10).body[0]["compare"][0]["mod_revision"], "10");
    assert_eq!(hand.state(id), RegistrationState::Registered);
}

#[test]
fn who_was_lost_registers_again_under_another_lease_and_takes_nothing_back() {
    for taken in [false, true] {
        let mut hand = Hand::new();
        let (id, lease) = hand.registered("a", 8);
        hand.pass(Duration::from_secs(5));
        let renewal = hand.ask("/lease/keepalive");
        let gone = json!({ "result": { "header": header(9), "ID": lease.to_string() } });
        hand.answer_text(renewal.id, 200, &gone.to_string());
        assert_eq!(hand.state(id), lost("lease_expired"));
        assert_ne!(hand.grant(12), lease);
        let found = if taken { alloc::vec![pair("a", 12, 66)] } else { alloc::vec![] };
        let write = hand.found(13, &found);
        assert_eq!(
            write.body[0]["compare"],
            json!([{ "key": encode(b"/microservices/web/a"), "target": "MOD", "result": "EQUAL", "mod_revision": "8" },
                { "key": encode(b"/microservices/web/a"), "target": "LEASE", "result": "EQUAL", "lease": lease.to_string() }])
        );
        if taken {
            assert_eq!(hand.state(id), RegistrationState::Superseded);
        } else {
            assert_eq!(hand.written(14).body[0]["compare"][0]["mod_revision"], "0");
            assert_eq!(hand.state(id), RegistrationState::Registered);
        }
    }
}

#[test]
fn leases_are_renewed_together_and_each_has_its_own_answer() {
    let mut hand = Hand::new();
    let (a, first) = hand.registered("a", 8);
    let (b, second) = hand.registered("b", 9);
    let (c, third) = hand.registered("c", 10);
    let until = |hand: &Hand, id| hand.etcd.registration(id).unwrap().until;
    let before = until(&hand, c);
    hand.pass(Duration::from_secs(5));
    let renewal = hand.ask("/lease/keepalive");
    assert_eq!(renewal.body.len(), 3);
    let line = |lease: i64, ttl: &str| {
        json!({ "result": { "header": header(10), "ID": lease.to_string(), "TTL": ttl } }).to_string()
    };
    // In another order; one is gone, and for one there is no answer.
    let text = format!("{}\n{}\n", line(second, "0"), line(first, "15"));
    hand.answer_text(renewal.id, 200, &text);
    assert!(until(&hand, a) > before);
    assert_eq!(hand.state(b), lost("lease_expired"));
    assert_eq!((hand.state(c), until(&hand, c)), (RegistrationState::Registered, before));
    assert!(hand.events().iter().any(|event| matches!(event, ClientEvent::Disconnected { .. })));
    let _ = third;
}

#[test]
fn an_error_between_the_answers_to_renewals_renews_nothing_more() {
    for error in [
        json!({ "error": { "grpc_code": 14, "http_code": 503, "message": "no leader" } }),
        json!({ "error": { "code": 14, "message": "no leader" } }),
        json!({ "error": "no leader" }),
    ] {
        let mut hand = Hand::new();
        let (id, _) = hand.registered("a", 8);
        let until = hand.etcd.registration(id).unwrap().until;
        hand.pass(Duration::from_secs(5));
        let renewal = hand.ask("/lease/keepalive");
        hand.answer_text(renewal.id, 200, &error.to_string());
        assert_eq!(hand.etcd.registration(id).unwrap().until, until);
    }
}

#[test]
fn an_update_writes_what_is_wanted_if_the_key_is_still_ours() {
    let mut hand = Hand::new();
    let (id, lease) = hand.registered("a", 8);
    hand.etcd.update(id, &Patch::new().with_weight(3), hand.now).unwrap();
    let update = hand.written(9);
    assert_eq!(update.body[0]["compare"][0]["mod_revision"], "8");
    assert_eq!(update.body[0]["compare"][1]["lease"], lease.to_string());
    assert!(text(&update.body[0]["success"][0]["request_put"]["value"]).contains(r#""weight":"3""#));
    assert!(hand.etcd.registration(id).unwrap().current);

    hand.etcd.update(id, &Patch::new().with_weight(4), hand.now).unwrap();
    hand.found(12, &[]);
    assert_eq!(hand.state(id), lost("key_removed"));
    hand.grant(12);
    hand.written(13);
    hand.etcd.update(id, &Patch::new().with_weight(5), hand.now).unwrap();
    hand.found(15, &[pair("a", 14, 66)]);
    assert_eq!(hand.state(id), RegistrationState::Superseded);
}

#[test]
fn who_is_to_get_no_calls_has_no_key_and_keeps_its_lease() {
    for status in [Status::Draining, Status::Down] {
        let mut hand = Hand::new();
        let (id, lease) = hand.registered("a", 8);
        hand.etcd.update(id, &Patch::new().with_status(status), hand.now).unwrap();
        let away = hand.written(9);
        assert!(away.body[0]["success"][0].get("request_delete_range").is_some());
        hand.pass(Duration::from_secs(5));
        let stays = hand.asked().into_iter().chain(core::iter::from_fn(|| hand.asked()));
        assert!(stays.into_iter().any(|it| it.body[0] == json!({ "ID": lease.to_string() })), "it is renewed");
        assert_eq!(hand.state(id), RegistrationState::Registered);
        hand.etcd.update(id, &Patch::new().with_status(Status::Up), hand.now).unwrap();
        let back = hand.written(10);
        assert_eq!(back.body[0]["compare"][0]["mod_revision"], "0");
        assert_eq!(back.body[0]["success"][0]["request_put"]["lease"], lease.to_string());
    }
}

#[test]
fn a_deregistration_ends_the_lease() {
    let mut hand = Hand::new();
    let (id, lease) = hand.registered("a", 8);
    hand.etcd.deregister(id, hand.now);
    let revoke = hand.ask("/lease/revoke");
    assert_eq!(revoke.body[0], json!({ "ID": lease.to_string() }));
    hand.answer(revoke.id, 404, &json!({ "code": 5, "message": "etcdserver: requested lease not found" }));
    assert_eq!(hand.state(id), RegistrationState::Deregistered { confirmed: true });
}

#[test]
fn a_registration_that_is_under_way_is_given_up_by_its_lease() {
    let mut hand = Hand::new();
    let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
    let lease = hand.grant(7);
    let write = hand.ask("/kv/txn").id;
    hand.etcd.deregister(id, hand.now);
    let revoke = hand.ask("/lease/revoke");
    assert_eq!((revoke.body[0]["ID"].as_str(), hand.cancelled.as_slice()), (Some(&*lease.to_string()), &[write][..]));
    hand.answer(revoke.id, 200, &json!({ "header": header(8) }));
    assert_eq!(hand.state(id), RegistrationState::Deregistered { confirmed: true });
}

#[test]
fn a_lease_that_ends_before_the_key_is_written_is_asked_for_again() {
    let mut hand = Hand::new();
    let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
    hand.grant(7);
    let write = hand.ask("/kv/txn");
    hand.answer(write.id, 404, &json!({ "error": "etcdserver: requested lease not found", "code": 5 }));
    hand.pass(Duration::from_secs(1));
    hand.grant(8);
    hand.written(9);
    assert_eq!(hand.state(id), RegistrationState::Registered);
}

#[test]
fn rights_and_room_may_come_back_and_what_is_malformed_stays_so() {
    for (code, passing) in [(7, true), (8, true), (3, false), (11, false)] {
        let mut hand = Hand::new();
        let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
        hand.grant(7);
        let write = hand.ask("/kv/txn");
        hand.answer(write.id, 400, &json!({ "code": code, "message": "etcdserver: no" }));
        let refused = matches!(hand.state(id), RegistrationState::Refused(_));
        let deferred = hand.events().iter().any(|event| matches!(event, ClientEvent::Deferred { .. }));
        assert_eq!((refused, deferred), (!passing, passing), "{code}");
    }
}

#[test]
fn a_holder_hears_of_its_own_key() {
    let mut hand = Hand::new();
    let (id, lease) = hand.registered("a", 8);
    hand.pass(Duration::from_millis(300));
    let listed = hand.listed(8, &[&[pair("a", 8, lease)]]);
    assert_eq!(text(&listed.body[0]["success"][0]["request_range"]["key"]), "/microservices/web/a");
    let stream = hand.watched(8);
    assert_eq!(stream.body[0]["create_request"]["start_revision"], "9");
    // An operator removes it: it is written again.
    hand.events_of(stream.id, 0, 9, &[gone("a", 9)]);
    assert_eq!(hand.state(id), lost("key_removed"));
    let lease = hand.grant(9);
    hand.found(9, &[]);
    hand.written(10);
    assert_eq!(hand.state(id), RegistrationState::Registered);
    // Its own write is no news.
    hand.events_of(stream.id, 0, 10, &[json!({ "kv": pair("a", 10, lease) })]);
    assert_eq!(hand.state(id), RegistrationState::Registered);
    // Somebody takes it.
    hand.events_of(stream.id, 0, 11, &[json!({ "kv": pair("a", 11, 66) })]);
    assert_eq!(hand.state(id), RegistrationState::Superseded);
}

#[test]
fn what_is_heard_of_a_key_that_is_being_written_waits_for_that() {
    for (theirs, expected) in [(9, RegistrationState::Registered), (11, RegistrationState::Superseded)] {
        let mut hand = Hand::new();
        let (id, lease) = hand.registered("a", 8);
        hand.pass(Duration::from_millis(300));
        hand.listed(8, &[&[pair("a", 8, lease)]]);
        let stream = hand.watched(8).id;
        hand.etcd.update(id, &Patch::new().with_weight(3), hand.now).unwrap();
        hand.events_of(stream, 0, 11, &[json!({ "kv": pair("a", theirs, 66) })]);
        assert_eq!(hand.state(id), RegistrationState::Registered);
        hand.written(10);
        assert_eq!(hand.state(id), expected);
    }
}

#[test]
fn what_a_kratos_program_would_choke_on_is_refused_and_named() {
    let mut hand = Hand::new();
    let endpoint = crate::endpoint::Endpoint::new("http://10.0.0.5:80/a%zz").unwrap();
    let wrong = Registration::new(instance("a").with_endpoint(endpoint));
    let refused = hand.etcd.register(&wrong, hand.now);
    assert!(matches!(refused, Err(CommandError::Unfit { field, .. }) if field == "endpoints[0]"));
    for namespace in ["a/b", "microservices"] {
        let namespace = Namespace::new(namespace).unwrap();
        let refused = hand.etcd.register(&Registration { namespace: namespace.clone(), ..registration("a") }, hand.now);
        assert!(matches!(refused, Err(CommandError::Unfit { field, .. }) if field == "namespace"));
        assert!(hand.etcd.watch(&Selector::all(namespace), hand.now).is_err());
    }
}

//! The tests prove themselves: each planted bug is caught by the check that is meant for it.

use super::*;
use crate::fault::Fault;
use crate::instance::Patch;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A planted bug, and whether a machine with these bugs does what it should.
type Check = (Fault, fn(Faults) -> bool);

const CHECKS: [Check; 11] = [
    (Fault::EtcdTakesBack, |faults| {
        let mut hand = Hand::faulty(faults);
        let (_, lease) = hand.registered("a", 8);
        hand.pass(Duration::from_secs(5));
        let renewal = hand.ask("/lease/keepalive");
        hand.answer_text(renewal.id, 200, &json!({ "result": { "ID": lease.to_string() } }).to_string());
        hand.grant(12);
        hand.ask_for("/kv/txn", Asked::is_write).body[0]["compare"][0]["result"] == "EQUAL"
    }),
    (Fault::EtcdKeyUnwatched, |faults| {
        let mut hand = Hand::faulty(faults);
        hand.registered("a", 8);
        hand.pass(Duration::from_secs(1));
        hand.asked().is_some()
    }),
    (Fault::EtcdCompactionIgnored, |faults| {
        let mut hand = Hand::faulty(faults);
        let (_, stream) = hand.following(&["a"]);
        hand.say(stream, &json!({ "header": {}, "canceled": true, "compact_revision": "40" }));
        hand.pass(Duration::from_secs(1));
        hand.asked().is_some()
    }),
    (Fault::EtcdResumeOffByOne, |faults| {
        let mut hand = Hand::faulty(faults);
        hand.etcd.watch(&web(), hand.now).unwrap();
        hand.listed(7, &[&[]]);
        hand.ask("/watch").body[0]["create_request"]["start_revision"] == "8"
    }),
    (Fault::EtcdNameIgnored, |faults| {
        let mut hand = Hand::faulty(faults);
        let (id, stream) = hand.following(&[]);
        let other = pair_of("/microservices/web/x/y", r#"{"id":"y","name":"web/x"}"#, 8, 99);
        hand.events_of(stream, 0, 8, &[json!({ "kv": other })]);
        hand.shown(id).is_empty()
    }),
    (Fault::EtcdCoverFromWrite, |faults| {
        let mut hand = Hand::faulty(faults);
        let sent = hand.now;
        let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
        hand.now = hand.now.saturating_add(Duration::from_secs(3));
        hand.grant(7);
        hand.written(8);
        hand.etcd.registration(id).unwrap().until.unwrap() <= sent.saturating_add(Duration::from_secs(15))
    }),
    (Fault::EtcdProgressBelieved, |faults| {
        let mut hand = Hand::faulty(faults);
        let (id, stream) = hand.following(&["a"]);
        hand.say(stream, &json!({ "header": header(9), "watch_id": "-1" }));
        hand.events_of(stream, 0, 9, &[json!({ "kv": pair("b", 9, 99) })]);
        hand.shown(id) == ["a", "b"]
    }),
    (Fault::EtcdRegressUnseen, |faults| {
        let mut hand = Hand::faulty(faults);
        let (id, stream) = hand.following(&["a"]);
        hand.fail(stream);
        hand.pass(Duration::from_secs(30));
        while let Some(asked) = hand.asked() {
            if asked.path == "/watch" {
                hand.etcd.handle_response(asked.id, &Head::new(200), hand.now);
                hand.say(asked.id, &json!({ "header": header(2), "created": true }));
            } else {
                let ranges = asked.body[0]["success"].as_array().unwrap().len();
                let empty: Vec<Value> = (0..ranges).map(|_| json!({ "response_range": {} })).collect();
                hand.answer(asked.id, 200, &json!({ "header": header(2), "responses": empty }));
            }
        }
        hand.provenance(id) == Provenance::Unconfirmed
    }),
    (Fault::EtcdOpenBelieved, |faults| {
        let mut hand = Hand::faulty(faults);
        let (id, stream) = hand.following(&["a"]);
        hand.fail(stream);
        hand.pass(Duration::from_secs(30));
        while let Some(asked) = hand.asked() {
            if asked.path != "/watch" {
                let ranges = asked.body[0]["success"].as_array().unwrap().len();
                let empty: Vec<Value> = (0..ranges).map(|_| json!({ "response_range": {} })).collect();
                hand.answer(asked.id, 200, &json!({ "header": header(2_000), "responses": empty }));
            }
        }
        hand.shown(id) == ["a"]
    }),
    (Fault::EtcdGoneRenewed, |faults| {
        let mut hand = Hand::faulty(faults);
        let (id, lease) = hand.registered("a", 8);
        hand.pass(Duration::from_secs(5));
        let renewal = hand.ask("/lease/keepalive");
        hand.answer_text(renewal.id, 200, &json!({ "result": { "ID": lease.to_string() } }).to_string());
        hand.state(id) != RegistrationState::Registered
    }),
    (Fault::EtcdLeaseLeft, |faults| {
        let mut hand = Hand::faulty(faults);
        let (id, _) = hand.registered("a", 8);
        hand.etcd.update(id, &Patch::new().with_weight(3), hand.now).unwrap();
        hand.ask("/kv/txn");
        hand.etcd.deregister(id, hand.now);
        hand.asked().unwrap().path == "/lease/revoke"
    }),
];

#[test]
fn without_a_planted_bug_every_check_passes() {
    for (fault, check) in CHECKS {
        assert!(check(Faults::default()), "{fault:?}");
    }
}

#[test]
#[cfg(feature = "planted-faults")]
fn every_planted_bug_of_etcd_is_caught() {
    for (fault, check) in CHECKS {
        assert!(!check(Faults::only(fault)), "{fault:?} is not caught");
    }
    let planted = Fault::ALL.iter().filter(|fault| format!("{fault:?}").starts_with("Etcd")).count();
    assert_eq!(planted, CHECKS.len());
}

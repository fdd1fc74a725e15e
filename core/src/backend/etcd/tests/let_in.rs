//! Logins, gateways, and what a stream of errors looks like.

use super::*;
use crate::client::Channel;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn with_user() -> Hand {
    Hand::with(EtcdOptions::default().with_user("root", "secret"), &["http://a:1"], Faults::default())
}

fn token(request: &Request) -> Option<&str> {
    request.headers.iter().find(|(name, _)| name == "authorization").map(|(_, token)| token.as_str())
}

fn log_in(hand: &mut Hand, token: &str) {
    let login = hand.ask("/auth/authenticate");
    assert_eq!(login.body[0], json!({ "name": "root", "password": "secret" }));
    assert_eq!(self::token(&login.request), None);
    hand.answer(login.id, 200, &json!({ "header": header(1), "token": token }));
}

#[test]
fn a_login_goes_before_everything_and_its_token_goes_along_as_it_is() {
    let mut hand = with_user();
    let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
    hand.etcd.watch(&web(), hand.now).unwrap();
    log_in(&mut hand, "qyTF.29");
    let both = [hand.asked().unwrap(), hand.asked().unwrap()];
    for asked in &both {
        assert_eq!(token(&asked.request), Some("qyTF.29"));
    }
    assert!(!format!("{:?}", hand.etcd).contains("qyTF"), "it is a secret");
    assert!(!format!("{:?}", hand.etcd).contains("secret"));
    assert!(matches!(hand.state(id), RegistrationState::Registering));
}

#[test]
fn a_token_that_is_not_taken_any_more_is_asked_for_again_and_the_rest_goes_on() {
    let refusals = [
        (
            401,
            json!({ "error": "etcdserver: invalid auth token", "message": "etcdserver: invalid auth token", "code": 16 }),
        ),
        (400, json!({ "code": 3, "message": "etcdserver: revision of auth store is old" })),
        (400, json!({ "code": 3, "message": "etcdserver: user name is empty" })),
    ];
    for (status, refusal) in refusals {
        let mut hand = with_user();
        let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
        log_in(&mut hand, "first");
        hand.grant(7);
        let write = hand.ask("/kv/txn");
        hand.answer(write.id, status, &refusal);
        log_in(&mut hand, "second");
        hand.grant(7);
        let write = hand.written(8);
        assert_eq!(token(&write.request), Some("second"));
        assert_eq!(hand.state(id), RegistrationState::Registered);
        assert!(!hand.events().iter().any(|event| matches!(event, ClientEvent::Disconnected { .. })));
    }
}

#[test]
fn a_wrong_password_is_told_and_not_tried_without_end() {
    let mut hand = with_user();
    hand.etcd.register(&registration("a"), hand.now).unwrap();
    let mut tries = 0;
    for _ in 0..600 {
        while let Some(asked) = hand.asked() {
            tries += 1;
            let message = "etcdserver: authentication failed, invalid user ID or password";
            hand.answer(asked.id, 400, &json!({ "error": message, "message": message, "code": 3 }));
        }
        hand.pass(Duration::from_millis(100));
    }
    assert!((3..20).contains(&tries), "{tries} in a minute");
    let told = |event: &ClientEvent| matches!(event, ClientEvent::Disconnected { channel: Channel::Calls, reason, .. } if reason.contains("password"));
    assert!(hand.events().iter().any(told));
}

#[test]
fn an_etcd_that_asks_nobody_who_they_are_is_asked_without_a_token() {
    let mut hand = with_user();
    let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
    let login = hand.ask("/auth/authenticate");
    hand.answer(login.id, 400, &json!({ "code": 9, "message": "etcdserver: authentication is not enabled" }));
    hand.grant(7);
    assert_eq!(token(&hand.written(8).request), None);
    assert_eq!(hand.state(id), RegistrationState::Registered);
}

#[test]
fn a_watch_whose_token_has_worn_out_is_opened_with_another_one_and_the_old_stream_goes_on() {
    let mut hand = with_user();
    let id = hand.etcd.watch(&web(), hand.now).unwrap();
    log_in(&mut hand, "first");
    hand.listed(7, &[&[pair("a", 2, 99)]]);
    let stream = hand.watched(7).id;
    hand.pass(Duration::from_secs(31));
    hand.listed(7, &[&[pair("a", 2, 99)]]);
    let again = hand.ask("/watch").id;
    hand.etcd.handle_response(again, &Head::new(200), hand.now);
    let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    hand.say(
        again,
        &json!({ "header": header(7), "created": true, "canceled": true, "watch_id": "-1", "cancel_reason": reason }),
    );
    assert_eq!((hand.provenance(id), hand.cancelled.contains(&stream)), (Provenance::Live, false));
    log_in(&mut hand, "second");
    hand.listed(7, &[&[pair("a", 2, 99)]]);
    assert_eq!(token(&hand.watched(7).request), Some("second"));
    assert_eq!(hand.provenance(id), Provenance::Live);
}

#[test]
fn an_older_gateway_is_found_and_remembered() {
    let mut hand = Hand::new();
    let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
    let first = hand.asked().unwrap();
    assert_eq!(first.request.url, "http://a:1/v3/lease/grant");
    hand.answer_text(first.id, 404, "Not Found\n");
    let second = hand.asked().unwrap();
    assert_eq!(second.request.url, "http://a:1/v3beta/lease/grant");
    let lease = &second.body[0]["ID"];
    hand.answer(second.id, 200, &json!({ "header": header(1), "ID": lease, "TTL": "15" }));
    let write = hand.asked().unwrap();
    assert_eq!(write.request.url, "http://a:1/v3beta/kv/txn");
    hand.answer(write.id, 200, &json!({ "header": header(2), "succeeded": true, "responses": [{}] }));
    hand.etcd.deregister(id, hand.now);
    assert_eq!(hand.asked().unwrap().request.url, "http://a:1/v3beta/kv/lease/revoke");
    assert!(hand.events().iter().all(|event| !matches!(event, ClientEvent::Disconnected { .. })));
}

#[test]
fn where_there_is_no_gateway_at_all_it_is_looked_for_again_after_a_while() {
    let mut hand = Hand::new();
    hand.etcd.register(&registration("a"), hand.now).unwrap();
    let mut urls = Vec::new();
    while let Some(asked) = hand.asked() {
        urls.push(asked.request.url);
        hand.answer_text(asked.id, 404, "Not Found\n");
    }
    assert_eq!(urls.len(), 3);
    assert!(urls[2].starts_with("http://a:1/v3alpha/"));
    assert!(hand.events().iter().any(|event| matches!(event, ClientEvent::Disconnected { .. })));
    hand.pass(Duration::from_secs(1));
    assert!(hand.asked().unwrap().request.url.starts_with("http://a:1/v3/"));
}

#[test]
fn another_member_is_asked_when_one_has_no_leader() {
    let mut hand = Hand::with(EtcdOptions::default(), &["http://a:1", "http://b:1"], Faults::default());
    let id = hand.etcd.register(&registration("a"), hand.now).unwrap();
    let grant = hand.ask("/lease/grant");
    hand.answer(
        grant.id,
        503,
        &json!({ "error": "etcdserver: no leader", "message": "etcdserver: no leader", "code": 14 }),
    );
    assert!(hand.drained_url().starts_with("http://b:1/"));
    hand.grant(7);
    hand.written(8);
    assert_eq!(hand.state(id), RegistrationState::Registered);
}

#[test]
fn an_error_in_a_stream_ends_it_whatever_it_looks_like() {
    for error in [
        json!({ "error": { "grpc_code": 14, "http_code": 503, "message": "no leader", "http_status": "Service Unavailable" } }),
        json!({ "error": { "code": 14, "message": "no leader" } }),
        json!({ "error": "no leader" }),
    ] {
        let mut hand = Hand::new();
        let (id, stream) = hand.following(&["a"]);
        hand.etcd.handle_chunk(stream, (error.to_string() + "\n").as_bytes(), hand.now);
        assert!(matches!(hand.provenance(id), Provenance::Stale { .. }));
        let told =
            |event: &ClientEvent| matches!(event, ClientEvent::Disconnected { reason, .. } if reason == "no leader");
        assert!(hand.events().iter().any(told));
    }
}

impl Hand {
    /// Where the next request goes, which stays to be looked at.
    fn drained_url(&mut self) -> String {
        self.drain();
        self.sent.front().map(|(_, request)| request.url.clone()).unwrap_or_default()
    }
}

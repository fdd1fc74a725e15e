//! How far an answer is believed, and who is asked when it is not.

use super::watching::{by_dc, datacenters};
use super::*;

fn with(index: u64, header: &'static str, value: &str) -> Head {
    let mut head = at(index);
    head.headers.push((header.into(), value.into()));
    head
}

/// The queries that are new, without the part that all have.
fn asked(hand: &mut Hand) -> Vec<(RequestId, String)> {
    let short = |url: &str| url.split_once("/service/").map_or("", |(_, rest)| rest).replace("?passing=1", "");
    hand.drain().into_iter().map(|(id, request)| (id, short(&request.url))).collect()
}

/// Real agents go on to answer those who wait with what they have heard, when they do not hear their servers any more.
#[test]
fn what_has_waited_in_vain_asks_for_all_before_it_waits_again() {
    let mut hand = datacenters(Faults::default());
    let id = hand.watch(&service("web"));
    let east = hand.next().0;
    hand.list(east, 7, &list(&["a"]));
    let (_, west) = by_dc(&mut hand);
    hand.list(west, 9, &list(&["b"]));
    let heard = hand.now;
    let (_, west) = by_dc(&mut hand);
    hand.drain();
    hand.wait(Duration::from_secs(56));
    hand.answer(west, &with(9, "x-consul-query-backend", "streaming"), &list(&["b"]).to_string());
    assert_eq!(hand.provenance(id), Provenance::Live);
    let sent = asked(&mut hand);
    assert_eq!((sent.len(), sent[0].1.as_str()), (1, "web&dc=west"));
    hand.say(sent[0].0, 500, "rpc error getting client: failed to get conn: dial tcp: connection refused");
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("a b".into(), Provenance::Stale { since: heard }));
}

#[test]
fn what_there_is_after_waiting_in_vain_is_followed_from_there_and_servers_are_believed() {
    let mut hand = Hand::new();
    let id = hand.watch(&service("web"));
    let query = hand.next().0;
    hand.list(query, 7, &list(&["a"]));
    let query = hand.next().0;
    hand.wait(Duration::from_secs(56));
    hand.list(query, 7, &list(&["a"]));
    let (query, path, _) = hand.next();
    assert!(!path.contains("index"), "{path}");
    // Another node's; nothing but the agent's view was ever lost.
    hand.list(query, 8, &json!([entry_of("web", "b", "node-2")]));
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("b".into(), Provenance::Live));
    let (query, path, _) = hand.next();
    assert!(path.contains("index=8"), "{path}");
    hand.wait(Duration::from_secs(56));
    hand.answer(query, &with(8, "x-consul-query-backend", "blocking-query"), "[]");
    assert!(hand.next().1.contains("index=8"), "its servers were asked");
}

#[test]
fn those_that_wait_keep_nobody_from_the_first_answer() {
    let options = ConsulOptions { long_polls: 4, ..ConsulOptions::default() };
    let mut hand = Hand::with(&["http://a:8500"], options, Faults::default());
    for n in 0..4 {
        hand.watch(&service(&format!("s{n}")));
        let query = asked(&mut hand)[0].0;
        hand.list(query, 7, &json!([]));
        assert_eq!(asked(&mut hand)[0].1, format!("s{n}&index=7&wait=55s"));
    }
    let id = hand.watch(&service("new"));
    let sent = asked(&mut hand);
    assert_eq!((sent.len(), sent[0].1.as_str()), (1, "new"));
    let other = hand.watch(&service("other"));
    assert!(asked(&mut hand).is_empty(), "one connection is for those that do not wait");
    hand.list(sent[0].0, 7, &json!([entry_of("new", "a", "n")]));
    assert_eq!((hand.ids(id).len(), hand.provenance(id)), (1, Provenance::Live));
    let sent = asked(&mut hand);
    assert_eq!((sent.len(), sent[0].1.as_str()), (1, "other"));
    hand.list(sent[0].0, 7, &json!([]));
    assert_eq!(hand.provenance(other), Provenance::Live);
    // There is no place to wait for a change: a round later it asks whether there was one.
    let before = hand.now;
    while hand.now.saturating_since(before) < Duration::from_secs(14) {
        hand.wait(Duration::from_secs(1));
        assert!(asked(&mut hand).is_empty());
    }
    hand.wait(Duration::from_secs(1));
    let sent = asked(&mut hand);
    assert_eq!((sent.len(), sent[0].1.as_str()), (1, "new"));
    hand.list(sent[0].0, 8, &json!([entry_of("new", "a", "n"), entry_of("new", "b", "n")]));
    assert_eq!((hand.ids(id).len(), asked(&mut hand)[0].1.as_str()), (2, "other"));
}

/// Each query of `web` that is sent within a minute, and what it is answered with.
fn minute(hand: &mut Hand, answer: fn(&str) -> Option<&'static str>) -> Vec<String> {
    let mut urls = Vec::new();
    let start = hand.now;
    while hand.now.saturating_since(start) < Duration::from_secs(60) {
        for (id, request) in hand.drain() {
            match answer(&request.url) {
                Some(error) => hand.say(id, 500, error),
                None if request.streaming => {}
                None => hand.list(id, 7, &list(&["a"])),
            }
            urls.push(request.url);
        }
        hand.wait(Duration::from_millis(500));
    }
    urls
}

#[test]
fn an_agent_without_a_leader_is_left_for_the_next_one_although_there_are_several_datacenters() {
    let options = ConsulOptions { datacenters: alloc::vec!["east".into(), "west".into()], ..ConsulOptions::default() };
    let mut hand = Hand::with(&["http://a:8500", "http://b:8500"], options.clone(), Faults::default());
    let id = hand.watch(&service("web"));
    minute(&mut hand, |url| (url.contains("//a") && url.contains("dc=east")).then_some("No cluster leader"));
    assert_eq!(hand.provenance(id), Provenance::Live);

    // No agent has one: it is the datacenter, and the other one is heard.
    let mut hand = Hand::with(&["http://a:8500", "http://b:8500"], options, Faults::default());
    let id = hand.watch(&service("web"));
    let urls = minute(&mut hand, |url| url.contains("dc=east").then_some("No cluster leader"));
    assert_eq!(hand.ids(id), ["a"]);
    assert!(matches!(hand.provenance(id), Provenance::Stale { .. }));
    assert!(urls.len() < 40, "{urls:?}");
    assert!(urls.iter().filter(|url| url.contains("//b") && url.contains("dc=east")).count() > 1);
}

#[test]
fn an_agent_that_reaches_no_datacenter_is_left_for_the_next_one() {
    let options = ConsulOptions { datacenters: alloc::vec!["east".into(), "west".into()], ..ConsulOptions::default() };
    let mut hand = Hand::with(&["http://a:8500", "http://b:8500"], options, Faults::default());
    let id = hand.watch(&service("web"));
    minute(&mut hand, |url| url.contains("//a").then_some("rpc error getting client: failed to get conn"));
    assert_eq!(hand.provenance(id), Provenance::Live);
}

/// Consul tells those who show no token nothing of what it hides from them; in the name of nobody they are told.
#[test]
fn an_empty_list_is_asked_for_in_the_name_of_nobody_where_rights_may_hide_it() {
    let deny = |index| with(index, "x-consul-default-acl-policy", "deny");
    let token = |hand: &Hand| {
        let headers = &hand.sent.last().unwrap().1.headers;
        headers.iter().find(|(key, _)| key == "x-consul-token").map(|(_, value)| value.to_string())
    };
    let mut hand = Hand::new();
    let id = hand.watch(&service("web"));
    let query = hand.next().0;
    assert_eq!(token(&hand), None, "agents show their own token for those who have none");
    hand.answer(query, &deny(7), "[]");
    assert_eq!(hand.provenance(id), Provenance::Unknown);
    let (query, path, _) = hand.next();
    assert_eq!((path.contains("index"), token(&hand).as_deref()), (false, Some("anonymous")));
    let mut hidden = deny(7);
    hidden.headers.push(("x-consul-results-filtered-by-acls".into(), "true".into()));
    hand.answer(query, &hidden, "[]");
    assert!(matches!(hand.provenance(id), Provenance::Unknown | Provenance::Stale { .. }));
    assert!(hand.events().iter().any(|event| matches!(event, ClientEvent::WatchRefused(_))));

    let mut hand = Hand::new();
    let id = hand.watch(&service("web"));
    let query = hand.next().0;
    hand.answer(query, &deny(7), &list(&["a"]).to_string());
    assert_eq!(hand.provenance(id), Provenance::Live);
    let query = hand.next().0;
    hand.answer(query, &deny(8), "[]");
    assert_eq!(hand.ids(id), ["a"]);
    let query = hand.until_sent().0;
    assert_eq!(token(&hand).as_deref(), Some("anonymous"));
    hand.answer(query, &deny(8), "[]");
    assert_eq!((hand.ids(id).len(), hand.provenance(id)), (0, Provenance::Live));
    assert!(hand.until_sent().1.contains("index=8"));
    assert_eq!(token(&hand), None);
}

#[test]
fn what_had_no_turn_while_time_leapt_is_asked_for_at_once_and_stale_meanwhile() {
    let mut hand = Hand::new();
    let id = hand.watch(&service("web"));
    for index in 7..9 {
        let query = hand.next().0;
        hand.list(query, index, &list(&["a"]));
    }
    assert!(asked(&mut hand).is_empty(), "not more than two at once");
    hand.wait(Duration::from_secs(100));
    assert!(matches!(hand.provenance(id), Provenance::Stale { .. }));
    let sent = asked(&mut hand);
    assert_eq!(sent[0].1, "web");
    hand.list(sent[0].0, 9, &list(&["b"]));
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("b".into(), Provenance::Live));
}

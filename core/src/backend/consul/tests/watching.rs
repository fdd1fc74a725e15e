//! What is followed.

use super::*;

fn hand(faults: Faults) -> Hand {
    Hand::with(&["http://a:8500"], ConsulOptions::default(), faults)
}

#[test]
fn a_service_is_asked_for_at_once_and_then_from_where_it_was() {
    let mut hand = Hand::new();
    let id = hand.watch(&service("web/ä"));
    let (query, path, _) = hand.next();
    assert_eq!(path, "GET /v1/health/service/web%2F%C3%A4?passing=1");
    hand.list(query, 7, &json!([]));
    assert_eq!((hand.ids(id), hand.provenance(id)), (alloc::vec![], Provenance::Live));
    let (query, path, _) = hand.next();
    assert_eq!(path, "GET /v1/health/service/web%2F%C3%A4?passing=1&index=7&wait=55s");
    assert!(hand.sent.last().unwrap().1.streaming);
    // It may take a sixteenth longer.
    hand.wait(Duration::from_secs(60));
    assert!(hand.cancelled.is_empty());
    hand.list(query, 8, &json!([]));
    assert!(hand.next().1.contains("index=8"));
}

#[test]
fn changes_are_told_as_differences_and_what_is_the_same_is_not_told() {
    let mut hand = Hand::new();
    let id = hand.watch(&service("web"));
    let query = hand.next().0;
    hand.list(query, 7, &list(&["a", "b"]));
    let first = hand.consul.poll_update(id).unwrap();
    assert_eq!((first.changes.len(), first.cursor.clone().unwrap().revision.0), (2, 1));
    let query = hand.next().0;
    hand.list(query, 8, &list(&["a", "b"]));
    assert_eq!(hand.consul.poll_update(id), None);
    let query = hand.until_sent().0;
    hand.list(query, 9, &list(&["b", "c"]));
    let update = hand.consul.poll_update(id).unwrap();
    assert_eq!((update.changes.len(), update.provenance), (2, Provenance::Live));
    let (epoch, other) = (first.cursor.unwrap().epoch, update.cursor.unwrap().epoch);
    assert_eq!((epoch.0.starts_with("consul-"), &epoch), (true, &other));
    // The last one leaves: the registry says so.
    let query = hand.until_sent().0;
    hand.list(query, 10, &json!([]));
    assert_eq!((hand.ids(id).len(), hand.provenance(id)), (0, Provenance::Live));
}

#[test]
fn the_loop_is_bounded_to_one_a_second_and_two_at_once() {
    let mut hand = Hand::new();
    hand.watch(&service("web"));
    let start = hand.now;
    for index in 1..30 {
        let query = hand.until_sent().0;
        hand.list(query, index, &list(&["a"]));
    }
    let spent = hand.now.saturating_since(start);
    assert!(spent >= Duration::from_secs(26) && spent <= Duration::from_secs(30), "{spent:?}");
}

#[test]
fn an_index_of_zero_is_taken_for_one() {
    let mut hand = Hand::new();
    hand.watch(&service("web"));
    let query = hand.next().0;
    hand.list(query, 0, &json!([]));
    assert!(hand.next().1.contains("index=1&"));
}

/// An index that falls is not waited from; and what is missing then may be there.
pub(super) fn index_falls(faults: Faults) {
    let mut hand = hand(faults);
    let id = hand.watch(&service("web"));
    let query = hand.next().0;
    hand.list(query, 100, &list(&["a", "b"]));
    let before = hand.consul.view(id).unwrap().cursor.unwrap();
    let query = hand.next().0;
    hand.list(query, 20, &list(&["a"]));
    assert_eq!(hand.until_sent().1, "GET /v1/health/service/web?passing=1");
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("a b".into(), Provenance::Unconfirmed));
    let after = hand.consul.view(id).unwrap().cursor.unwrap();
    assert_eq!(after.epoch.0, format!("{}.1", before.epoch.0));
    // It comes back, and what was confirmed and leaves, leaves at once.
    let query = hand.sent.last().unwrap().0;
    hand.list(query, 21, &list(&["b"]));
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("b".into(), Provenance::Unconfirmed));
}

#[test]
fn an_index_that_falls_is_forgotten_and_opens_a_warm_up() {
    index_falls(Faults::default());
}

/// A Consul that has lost its memory does not say so: its index may be higher than before.
pub(super) fn memory_lost(faults: Faults) {
    let mut hand = hand(faults);
    let id = hand.watch(&service("web"));
    let query = hand.next().0;
    hand.list(query, 30, &list(&["a", "b"]));
    let query = hand.next().0;
    hand.consul.handle_failure(query, &Failure::unknown("reset"), hand.now);
    assert!(matches!(hand.provenance(id), Provenance::Stale { .. }));
    let (query, path, _) = hand.until_sent();
    assert_eq!(path, "GET /v1/health/service/web?passing=1", "at once: what waits shows nothing");
    hand.list(query, 40, &json!([]));
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("a b".into(), Provenance::Unconfirmed));
    let query = hand.until_sent().0;
    hand.list(query, 41, &json!([entry_of("web", "a", "node-new")]));
    assert_eq!(hand.ids(id).join(" "), "a b");
    let query = hand.until_sent().0;
    hand.wait(Duration::from_secs(45));
    hand.list(query, 42, &json!([entry_of("web", "a", "node-new")]));
    hand.until_sent();
    hand.wait(Duration::from_secs(45));
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("a".into(), Provenance::Live));
}

#[test]
fn nobody_is_lost_when_consul_loses_its_memory_and_who_does_not_come_back_goes() {
    memory_lost(Faults::default());
}

#[test]
fn what_left_during_an_outage_leaves_at_once_if_it_is_the_same_consul() {
    let mut hand = Hand::new();
    let id = hand.watch(&service("web"));
    let query = hand.next().0;
    hand.list(query, 30, &list(&["a", "b"]));
    let query = hand.next().0;
    hand.consul.handle_failure(query, &Failure::unknown("reset"), hand.now);
    let query = hand.until_sent().0;
    hand.list(query, 31, &list(&["b"]));
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("b".into(), Provenance::Live));
}

/// Missing rights make a list empty; that is not the registry's word.
pub(super) fn filtered(faults: Faults) {
    let mut hand = hand(faults);
    let id = hand.watch(&service("web"));
    let query = hand.next().0;
    hand.list(query, 7, &list(&["a"]));
    let query = hand.next().0;
    let mut head = at(8);
    head.headers.push(("x-consul-results-filtered-by-acls".into(), "true".into()));
    hand.answer(query, &head, "[]");
    assert_eq!(hand.ids(id), ["a"]);
    assert!(matches!(hand.provenance(id), Provenance::Stale { .. }));
    assert!(hand.events().iter().any(|event| matches!(event, ClientEvent::WatchRefused(_))));
    let query = hand.until_sent().0;
    hand.answer(query, &head, "[]");
    assert!(!hand.events().iter().any(|event| matches!(event, ClientEvent::WatchRefused(_))), "it is told once");
    let query = hand.until_sent().0;
    hand.list(query, 9, &list(&["a", "b"]));
    assert_eq!((hand.ids(id).len(), hand.provenance(id)), (2, Provenance::Live));
}

#[test]
fn a_list_that_is_empty_for_want_of_rights_is_stale() {
    filtered(Faults::default());
}

#[test]
fn what_the_token_may_see_is_shown_and_that_there_is_more_is_told() {
    let mut hand = Hand::new();
    let id = hand.watch(&service("web"));
    let query = hand.next().0;
    let mut head = at(8);
    head.headers.push(("x-consul-results-filtered-by-acls".into(), "true".into()));
    head.headers.push(("x-consul-knownleader".into(), "false".into()));
    hand.answer(query, &head, &list(&["a"]).to_string());
    assert_eq!((hand.ids(id).len(), hand.provenance(id)), (1, Provenance::Live));
    assert!(hand.events().iter().any(|event| matches!(event, ClientEvent::WatchRefused(_))));
}

pub(super) fn datacenters(faults: Faults) -> Hand {
    let options = ConsulOptions { datacenters: alloc::vec!["east".into(), "west".into()], ..ConsulOptions::default() };
    Hand::with(&["http://a:8500"], options, faults)
}

/// The queries that are under way, by datacenter.
pub(super) fn by_dc(hand: &mut Hand) -> (RequestId, RequestId) {
    let mut found = (None, None);
    for _ in 0..20 {
        hand.drain();
        for (id, request) in &hand.sent {
            let slot = if request.url.contains("dc=east") { &mut found.0 } else { &mut found.1 };
            *slot = (*slot).max(Some(*id));
        }
        if let (Some(east), Some(west)) = found {
            return (east, west);
        }
        hand.tick();
    }
    panic!("both are asked");
}

/// One datacenter does not answer: what it had stays, stale, and what changes in the other is told.
pub(super) fn one_datacenter_is_down(faults: Faults) {
    let mut hand = datacenters(faults);
    let id = hand.watch(&service("web"));
    let east = hand.next().0;
    hand.list(east, 7, &list(&["a", "both"]));
    assert_eq!(hand.provenance(id), Provenance::Unknown, "half of it is not known");
    let (_, west) = by_dc(&mut hand);
    hand.list(west, 90, &list(&["b", "both"]));
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("a b both".into(), Provenance::Live));
    let both = hand.consul.view(id).unwrap().instances.iter().find(|it| it.id() == "both").unwrap().decode();
    assert_eq!(both.metadata["dc"], "east");

    let heard = hand.now;
    hand.wait(Duration::from_secs(3));
    let (_, west) = by_dc(&mut hand);
    hand.say(west, 500, "No path to datacenter");
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("a b both".into(), Provenance::Stale { since: heard }));
    let (east, _) = by_dc(&mut hand);
    hand.list(east, 8, &list(&["both", "new"]));
    assert_eq!(hand.ids(id).join(" "), "b both new");
    assert_eq!(hand.provenance(id), Provenance::Stale { since: heard });

    let sent = hand.sent.len();
    while !hand.sent[sent..].iter().any(|(_, request)| request.url.contains("dc=west")) {
        hand.tick();
        hand.drain();
    }
    let (_, west) = by_dc(&mut hand);
    hand.list(west, 91, &list(&["c", "both"]));
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("both c new".into(), Provenance::Live));
}

#[test]
fn one_datacenter_that_is_down_hides_nothing_of_the_others() {
    one_datacenter_is_down(Faults::default());
}

#[test]
fn a_datacenter_that_was_never_heard_does_not_hide_the_others() {
    let mut hand = datacenters(Faults::default());
    let id = hand.watch(&service("web"));
    let east = hand.next().0;
    hand.list(east, 7, &list(&["a"]));
    let (_, west) = by_dc(&mut hand);
    hand.say(west, 500, "No path to datacenter");
    assert_eq!(hand.ids(id), ["a"]);
    assert!(matches!(hand.provenance(id), Provenance::Stale { .. }));
}

#[test]
fn garbage_and_outages_keep_what_is_known() {
    for trial in [
        (|hand: &mut Hand, query| hand.answer(query, &at(9), "<html>")) as fn(&mut Hand, RequestId),
        |hand, query| hand.say(query, 200, "[]"),
        |hand, query| hand.say(query, 500, "No cluster leader"),
        |hand, query| hand.say(query, 404, "page not found"),
        |hand, query| hand.say(query, 403, "ACL not found"),
        |hand, query| hand.consul.handle_failure(query, &Failure::unknown("reset"), hand.now),
        |hand, _| hand.wait(Duration::from_secs(70)),
    ] {
        let mut hand = Hand::new();
        let id = hand.watch(&service("web"));
        let query = hand.next().0;
        hand.list(query, 7, &list(&["a"]));
        let heard = hand.now;
        hand.wait(Duration::from_secs(2));
        let query = hand.next().0;
        trial(&mut hand, query);
        assert_eq!((hand.ids(id).len(), hand.provenance(id)), (1, Provenance::Stale { since: heard }));
        let query = hand.until_sent().0;
        hand.list(query, 8, &list(&["a"]));
        assert_eq!(hand.provenance(id), Provenance::Live);
    }
}

#[test]
fn another_agent_is_asked_if_one_does_not_answer() {
    let mut hand = Hand::with(&["http://a:8500", "http://b:8500"], ConsulOptions::default(), Faults::default());
    hand.watch(&service("web"));
    let query = hand.next().0;
    hand.consul.handle_failure(query, &Failure::not_sent("refused"), hand.now);
    hand.until_sent();
    assert!(hand.sent.last().unwrap().1.url.starts_with("http://b:8500"));
}

#[test]
fn what_begins_alike_is_found_by_name_and_shown_at_once() {
    let mut hand = Hand::new();
    let selector = Selector::Prefix { namespace: Namespace::new("team").unwrap(), prefix: "we".into() };
    let id = hand.watch(&selector);
    let (names, path, _) = hand.next();
    assert_eq!(path, "GET /v1/catalog/services?ns=team");
    hand.list(names, 5, &json!({ "consul": [], "web": [], "webs": ["version=1"] }));
    assert_eq!(hand.provenance(id), Provenance::Unknown);
    let sent = hand.drain();
    let paths: Vec<&str> = sent.iter().map(|(_, request)| request.url.split_once("8500").unwrap().1).collect();
    assert_eq!(
        paths,
        [
            "/v1/catalog/services?index=5&wait=55s&ns=team",
            "/v1/health/service/web?passing=1&ns=team",
            "/v1/health/service/webs?passing=1&ns=team"
        ]
    );
    hand.list(sent[1].0, 5, &list(&["a"]));
    assert_eq!(hand.provenance(id), Provenance::Unknown, "not all of it is known");
    hand.list(sent[2].0, 5, &json!([entry_of("webs", "a", "n")]));
    assert_eq!((hand.ids(id).len(), hand.provenance(id)), (2, Provenance::Live));
    let update = hand.consul.poll_update(id).unwrap();
    assert_eq!(update.changes.len(), 2);

    // A name comes, and one goes: that nothing is there, its own query says.
    hand.wait(Duration::from_secs(5));
    hand.list(sent[0].0, 6, &json!({ "web": [], "well": [] }));
    assert_eq!(hand.ids(id).len(), 2);
    hand.drain();
    let find = |hand: &Hand, part: &str| hand.sent.iter().rfind(|(_, it)| it.url.contains(part)).unwrap().0;
    let webs = find(&hand, "/webs?");
    hand.list(webs, 6, &json!([]));
    assert_eq!(hand.ids(id).len(), 1);
    let well = find(&hand, "/well?");
    hand.list(well, 6, &json!([entry_of("well", "w", "n")]));
    assert_eq!((hand.ids(id).join(" "), hand.provenance(id)), ("a w".into(), Provenance::Live));
    assert!(!hand.consul.wire.watches.polls.keys().any(|query| format!("{query:?}").contains("webs")));
}

#[test]
fn a_service_within_a_prefix_shares_its_query() {
    let mut hand = Hand::new();
    let all = hand.watch(&Selector::all(Namespace::default()));
    let names = hand.next().0;
    hand.list(names, 5, &json!({ "web": [] }));
    let sent = hand.drain();
    hand.list(sent[1].0, 5, &list(&["a"]));
    let one = hand.watch(&service("web"));
    assert_eq!((hand.ids(all), hand.ids(one)), (hand.ids(one), alloc::vec!["a".into()]));
    assert_eq!(hand.provenance(one), Provenance::Live);
    hand.consul.unwatch(all, hand.now);
    hand.wait(Duration::from_secs(31));
    hand.drain();
    let web = hand.sent.iter().rfind(|(_, it)| it.url.contains("/web?")).unwrap().0;
    hand.list(web, 6, &list(&["a", "b"]));
    assert_eq!(hand.ids(one).len(), 2);
    assert_eq!(hand.consul.wire.watches.polls.len(), 1);
}

#[test]
fn when_more_is_followed_than_may_wait_at_once_all_have_their_turn() {
    let options = ConsulOptions { long_polls: 4, ..ConsulOptions::default() };
    let mut hand = Hand::with(&["http://a:8500"], options, Faults::default());
    let watched: Vec<SubscriptionId> = (0..12).map(|n| hand.watch(&service(&format!("s{n}")))).collect();
    let mut asked: Vec<RequestId> = Vec::new();
    let start = hand.now;
    let mut waits: Vec<RequestId> = Vec::new();
    while hand.now.saturating_since(start) < Duration::from_secs(120) {
        for (id, request) in hand.drain() {
            asked.push(id);
            if request.streaming {
                waits.push(id);
            }
            if let Some((_, wait)) = request.url.split_once("wait=") {
                let limit = if wait == "55s" { 55 } else { 5 };
                assert!(wait == "55s" || wait == "5s", "{wait} {limit}");
            }
        }
        let open = |hand: &Hand| asked.iter().filter(|id| !hand.cancelled.contains(id)).count();
        assert!(open(&hand) <= 5 && asked.iter().filter(|id| waits.contains(id)).count() <= 4, "{asked:?}");
        hand.wait(Duration::from_millis(500));
        if let Some(id) = (!asked.is_empty()).then(|| asked.remove(0)) {
            hand.list(id, 7, &json!([]));
        }
    }
    for id in watched {
        assert_eq!(hand.provenance(id), Provenance::Live);
    }
}

#[test]
fn what_nobody_follows_any_more_is_dropped() {
    let mut hand = Hand::new();
    let id = hand.watch(&service("web"));
    let query = hand.next().0;
    hand.list(query, 7, &json!([]));
    let query = hand.next().0;
    hand.consul.unwatch(id, hand.now);
    hand.wait(Duration::from_secs(31));
    hand.drain();
    assert_eq!(hand.cancelled, [query]);
    assert_eq!(hand.consul.poll_timeout(), None);
}

#[test]
fn what_waits_is_asked_at_once_when_the_network_is_back() {
    let mut hand = Hand::new();
    hand.watch(&service("web"));
    let query = hand.next().0;
    hand.list(query, 7, &list(&["a"]));
    let query = hand.next().0;
    hand.wait(Duration::from_secs(20));
    hand.consul.handle_online(hand.now);
    assert_eq!(hand.until_sent().1, "GET /v1/health/service/web?passing=1");
    assert_eq!(hand.cancelled, [query]);
}

#[test]
fn reads_may_be_stale_or_cached() {
    for (reads, expected) in [(super::super::Reads::Stale, "stale="), (super::super::Reads::Cached, "cached=")] {
        let options = ConsulOptions { reads, ..ConsulOptions::default() };
        let mut hand = Hand::with(&["http://a:8500"], options, Faults::default());
        hand.watch(&service("web"));
        assert!(hand.next().1.contains(expected));
    }
}

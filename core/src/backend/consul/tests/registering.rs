//! Registrations, from the wish to the last word.

use super::*;
use crate::client::Loss;
use crate::instance::{Patch, Status};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn a_registration_is_done_when_its_check_is_passed() {
    let mut hand = Hand::new();
    let id = hand.register(instance("a b/c"));
    let (put, path, body) = hand.next();
    assert_eq!(path, "PUT /v1/agent/service/register?replace-existing-checks=true");
    assert_eq!(body["ID"], "a b/c");
    hand.wait(Duration::from_secs(1));
    hand.say(put, 200, "");
    assert_eq!(hand.state(id), RegistrationState::Registering);
    let (pass, path, body) = hand.next();
    assert_eq!(path, "PUT /v1/agent/check/update/service%3Aa%20b%2Fc");
    assert_eq!(body, json!({ "Status": "passing", "Output": "pass" }));
    hand.say(pass, 200, "");
    let view = hand.consul.registration(id).unwrap();
    assert_eq!((view.state, view.ttl), (RegistrationState::Registered, Some(Duration::from_secs(20))));
    // Covered from when the check was passed.
    let covered = view.until.unwrap().saturating_since(hand.now);
    assert!(covered > Duration::from_secs(19), "{covered:?}");
    hand.tick();
    assert_eq!(hand.next().1, "PUT /v1/agent/check/update/service%3Aa%20b%2Fc");
}

#[test]
fn namespace_partition_and_ttl_are_said() {
    let options = ConsulOptions { partition: Some("p".into()), ..ConsulOptions::default() };
    let mut hand = Hand::with(&["http://a:8500"], options, Faults::default());
    let registration = Registration {
        namespace: Namespace::new("team").unwrap(),
        ttl: Some(Duration::from_millis(1_500)),
        ..Registration::new(instance("a"))
    };
    hand.consul.register(&registration, hand.now).unwrap();
    let (put, path, body) = hand.next();
    assert_eq!(path, "PUT /v1/agent/service/register?replace-existing-checks=true&ns=team&partition=p");
    assert_eq!(body["Checks"][1]["TTL"], "1500ms");
    hand.say(put, 200, "");
    assert_eq!(hand.next().1, "PUT /v1/agent/check/update/service%3Aa?ns=team&partition=p");
}

#[test]
fn what_the_agent_has_forgotten_is_registered_again_at_once_and_for_ever() {
    let unknown = [
        (404, "Unknown check ID \"service:a\". Ensure that the check ID is passed, not the check name."),
        (500, "Unknown check \"service:a\""),
        (500, "CheckID \"service:a\" does not have associated TTL"),
    ];
    let mut hand = Hand::new();
    let id = hand.registered(instance("a"));
    for (status, text) in unknown.into_iter().cycle().take(9) {
        hand.tick();
        let renewal = hand.next().0;
        hand.say(renewal, status, text);
        assert_eq!(hand.state(id), RegistrationState::Lost(Loss::Told("unknown".into())));
        assert!(hand.sent.len() < 100);
        hand.done();
        hand.done();
        assert_eq!(hand.state(id), RegistrationState::Registered);
    }
}

#[test]
fn without_a_ttl_check_the_registration_is_looked_for() {
    let options = ConsulOptions {
        checks: super::super::Checks { tcp: true, ttl: false },
        interval: Duration::from_secs(10),
        ..ConsulOptions::default()
    };
    let mut hand = Hand::with(&["http://a:8500"], options, Faults::default());
    let id = hand.register(instance("a"));
    hand.done();
    assert_eq!(hand.state(id), RegistrationState::Registered);
    let before = hand.now;
    hand.tick();
    assert!(hand.now.saturating_since(before) >= Duration::from_secs(9));
    let (look, path, _) = hand.next();
    assert_eq!(path, "GET /v1/agent/service/a");
    hand.say(look, 200, &json!({ "ID": "a", "Service": "web" }).to_string());
    hand.tick();
    let look = hand.next().0;
    hand.say(look, 404, "unknown service ID: a");
    assert_eq!(hand.state(id), RegistrationState::Lost(Loss::Told("unknown".into())));
}

#[test]
fn an_update_is_the_same_registration_again() {
    let mut hand = Hand::new();
    let id = hand.registered(instance("a"));
    hand.consul.update(id, &Patch::new().with_weight(7), hand.now).unwrap();
    let (put, path, body) = hand.next();
    assert!(path.starts_with("PUT /v1/agent/service/register"));
    assert_eq!(body["Meta"]["weight"], "7");
    hand.say(put, 200, "");
    assert!(!hand.consul.registration(id).unwrap().current);
    hand.done();
    assert!(hand.consul.registration(id).unwrap().current);
    let error = hand.consul.update(id, &Patch::new().with_metadata("a.b", Some("1".into())), hand.now).unwrap_err();
    assert!(error.to_string().starts_with("metadata key `a.b`"));
}

#[test]
fn an_instance_that_drains_is_in_maintenance_until_it_is_up() {
    let mut hand = Hand::new();
    let id = hand.registered(instance("a"));
    for (status, path) in [
        (Status::Draining, "PUT /v1/agent/service/maintenance/a?enable=true&reason=draining"),
        (Status::Down, "PUT /v1/agent/service/maintenance/a?enable=true&reason=down"),
        (Status::Up, "PUT /v1/agent/service/maintenance/a?enable=false"),
    ] {
        hand.consul.update(id, &Patch::new().with_status(status), hand.now).unwrap();
        hand.done();
        let (maintain, asked, _) = hand.next();
        assert_eq!(asked, path);
        hand.say(maintain, 200, "");
        hand.done();
        assert!(hand.consul.registration(id).unwrap().current);
    }
    hand.consul.update(id, &Patch::new().with_weight(1), hand.now).unwrap();
    hand.done();
    assert!(hand.next().1.contains("check/update"), "no maintenance: none to end");
}

/// The maintenance check of an instance is one of those that a registration replaces.
#[test]
fn a_change_of_what_drains_does_not_end_its_maintenance_for_a_moment() {
    let mut hand = Hand::new();
    let id = hand.registered(instance("a"));
    for (patch, replaces) in [
        (Patch::new().with_status(Status::Draining), false),
        (Patch::new().with_weight(3), false),
        (Patch::new().with_status(Status::Up), true),
    ] {
        hand.consul.update(id, &patch, hand.now).unwrap();
        let (put, path, _) = hand.next();
        assert!(path.starts_with("PUT /v1/agent/service/register"), "{path}");
        assert_eq!(path.ends_with("replace-existing-checks=true"), replaces, "{path}");
        hand.say(put, 200, "");
        hand.done();
        hand.done();
        assert!(hand.consul.registration(id).unwrap().current);
    }
}

#[test]
fn a_deregistration_is_good_when_there_is_nothing_to_take_out() {
    for (status, text) in
        [(200, ""), (404, "Unknown service ID \"a\". Ensure that …"), (500, "Unknown service ID \"a\"")]
    {
        let mut hand = Hand::new();
        let id = hand.registered(instance("a"));
        hand.consul.deregister(id, hand.now);
        let (remove, path, _) = hand.next();
        assert_eq!(path, "PUT /v1/agent/service/deregister/a");
        hand.say(remove, status, text);
        assert_eq!(hand.state(id), RegistrationState::Deregistered { confirmed: true });
        hand.consul.close(hand.now);
        assert!(hand.consul.is_closed());
    }
}

#[test]
fn a_deregistration_is_repeated_if_a_registration_may_arrive_after_it() {
    let mut hand = Hand::new();
    let id = hand.register(instance("a"));
    hand.next();
    hand.consul.deregister(id, hand.now);
    let remove = hand.next().0;
    hand.say(remove, 200, "");
    assert_eq!(hand.state(id), RegistrationState::Deregistering);
    let before = hand.now;
    let (remove, path, _) = hand.until_sent();
    assert_eq!(path, "PUT /v1/agent/service/deregister/a");
    assert!(hand.now.saturating_since(before) >= hand.consul.config.call_timeout);
    hand.say(remove, 404, "Unknown service ID");
    assert_eq!(hand.state(id), RegistrationState::Deregistered { confirmed: true });
}

#[test]
fn what_may_have_been_replaced_by_what_was_late_is_put_again_once() {
    let mut hand = Hand::new();
    let id = hand.registered(instance("a"));
    hand.consul.update(id, &Patch::new().with_weight(7), hand.now).unwrap();
    hand.done();
    hand.done();
    let start = hand.now;
    let mut puts = Vec::new();
    while hand.now.saturating_since(start) < Duration::from_secs(90) {
        let (call, path, body) = hand.until_sent();
        if path.contains("service/register") {
            assert_eq!(body["Meta"]["weight"], "7");
            puts.push(hand.now.saturating_since(start));
        }
        hand.say(call, 200, "");
    }
    assert_eq!(puts.len(), 1);
    assert!(puts[0] >= hand.consul.config.call_timeout * 2, "{puts:?}");
    assert_eq!(hand.state(id), RegistrationState::Registered);
}

#[test]
fn what_is_refused_for_good_is_told_in_consuls_words_and_what_may_pass_is_tried_again() {
    let mut hand = Hand::new();
    let id = hand.register(instance("a"));
    let put = hand.next().0;
    hand.say(put, 403, "Permission denied: token lacks 'service:write'");
    let told = hand.events().into_iter().any(
        |event| matches!(event, ClientEvent::Deferred { problem, .. } if problem.message.contains("service:write")),
    );
    assert!(told);
    let put = hand.until_sent().0;
    hand.say(put, 500, "No cluster leader");
    let put = hand.until_sent().0;
    hand.say(put, 400, "Invalid check: TTL must be > 0");
    let RegistrationState::Refused(problem) = hand.state(id) else { panic!() };
    assert_eq!((problem.code.as_str(), problem.message.as_str()), ("invalid", "Invalid check: TTL must be > 0"));
}

#[test]
fn a_busy_agent_is_asked_again_when_it_said() {
    for status in [429, 503] {
        let mut hand = Hand::new();
        hand.register(instance("a"));
        let put = hand.next().0;
        let head = Head { headers: alloc::vec![("retry-after".into(), "4".into())], ..Head::new(status) };
        hand.answer(put, &head, "rate limit reached");
        let before = hand.now;
        hand.until_sent();
        assert!(hand.now.saturating_since(before) >= Duration::from_secs(4));
    }
}

#[test]
fn a_check_that_is_unknown_right_after_the_registration_is_no_reason_to_hurry() {
    let mut hand = Hand::new();
    hand.register(instance("a"));
    for _ in 0..5 {
        let put = hand.until_sent().0;
        hand.say(put, 200, "");
        let pass = hand.next().0;
        hand.say(pass, 404, "Unknown check ID");
        assert!(hand.drain().is_empty());
    }
    assert!(hand.events().iter().any(|event| matches!(event, ClientEvent::Deferred { .. })));
}

fn two_agents(faults: Faults) -> (Hand, RegistrationId) {
    let mut hand = Hand::with(&["http://a:8500", "http://b:8500"], ConsulOptions::default(), faults);
    let id = hand.registered(instance("a"));
    hand.tick();
    let renewal = hand.next().0;
    hand.consul.handle_failure(renewal, &Failure::not_sent("refused"), hand.now);
    (hand, id)
}

/// The agent that has the registration is gone: the other one is given it, and not asked to renew it.
pub(super) fn another_agent(faults: Faults) {
    let (mut hand, id) = two_agents(faults);
    let (put, path, _) = hand.until_sent();
    assert!(hand.sent.last().unwrap().1.url.starts_with("http://b:8500"));
    assert!(path.contains("service/register"), "{path}");
    assert_eq!(hand.state(id), RegistrationState::Lost(Loss::Told("agent_changed".into())));
    hand.say(put, 200, "");
    hand.done();
    assert_eq!(hand.state(id), RegistrationState::Registered);
}

#[test]
fn a_registration_is_made_anew_at_another_agent() {
    another_agent(Faults::default());
}

#[test]
fn a_deregistration_is_asked_of_the_agent_that_has_the_registration() {
    let (mut hand, id) = two_agents(Faults::default());
    hand.consul.deregister(id, hand.now);
    let url = |hand: &mut Hand| {
        hand.until_sent();
        let url = hand.sent.last().unwrap().1.url.clone();
        url.split_once("/v1").unwrap().0.to_string()
    };
    assert_eq!(url(&mut hand), "http://a:8500");
    let call = hand.sent.last().unwrap().0;
    hand.consul.handle_failure(call, &Failure::not_sent("refused"), hand.now);
    assert_eq!(url(&mut hand), "http://b:8500");
    let call = hand.sent.last().unwrap().0;
    // What the other one says proves nothing.
    hand.say(call, 404, "Unknown service ID");
    assert_eq!(hand.state(id), RegistrationState::Deregistering);
    assert_eq!(url(&mut hand), "http://a:8500");
    let call = hand.sent.last().unwrap().0;
    hand.say(call, 200, "");
    assert_eq!(hand.state(id), RegistrationState::Deregistered { confirmed: true });
}

/// Agents go by the id alone: a registration that is made again waits until the one before it is taken out.
#[test]
fn what_is_made_again_at_once_is_not_taken_out() {
    let mut hand = Hand::new();
    let old = hand.registered(instance("a"));
    hand.consul.deregister(old, hand.now);
    let new = hand.register(instance("a"));
    let (removal, path, _) = hand.next();
    assert!(path.contains("deregister"), "{path}");
    hand.wait(Duration::from_millis(100));
    assert_eq!(hand.drain(), []);
    hand.say(removal, 200, "");
    assert_eq!(hand.state(old), RegistrationState::Deregistered { confirmed: true });
    let (put, path, _) = hand.until_sent();
    assert!(path.contains("service/register"), "{path}");
    hand.say(put, 200, "");
    hand.done();
    assert_eq!(hand.state(new), RegistrationState::Registered);
}

/// The agent of the old registration is silent, the new one is another's: that one is not asked to take it out.
pub(super) fn made_anew_at_another_agent(faults: Faults) {
    let (mut hand, old) = two_agents(faults);
    hand.consul.deregister(old, hand.now);
    let new = hand.register(instance("a"));
    let mut removals = 0;
    for _ in 0..40 {
        let mut sent = hand.drain();
        while !sent.is_empty() {
            for (id, request) in sent {
                let at_b = request.url.starts_with("http://b:8500");
                if request.url.contains("deregister") {
                    let made = hand.consul.registration(new).unwrap().registered > 0;
                    assert!(!(at_b && made), "the new one is taken out");
                    removals += 1;
                }
                if at_b {
                    hand.say(id, 200, "");
                } else {
                    hand.consul.handle_failure(id, &Failure::not_sent("refused"), hand.now);
                }
            }
            sent = hand.drain();
        }
        hand.tick();
    }
    assert_eq!(hand.state(new), RegistrationState::Registered);
    assert!(removals > 2, "its own agent is asked again");
}

#[test]
fn what_is_made_anew_at_another_agent_stays() {
    made_anew_at_another_agent(Faults::default());
}

#[test]
fn an_answer_that_is_not_consuls_acknowledges_nothing() {
    let mut hand = Hand::new();
    let id = hand.register(instance("a"));
    let put = hand.next().0;
    hand.say(put, 200, "<html>log in</html>");
    assert_eq!(hand.state(id), RegistrationState::Registering);
    assert!(hand.until_sent().1.contains("service/register"));
}

/// A new check is critical until it is passed.
#[cfg(feature = "planted-faults")]
pub(super) fn passed_after_the_registration(faults: Faults) {
    let mut hand = Hand::with(&["http://a:8500"], ConsulOptions::default(), faults);
    hand.register(instance("a"));
    hand.done();
    assert!(hand.next().1.contains("check/update"));
}

/// What the agent does not know is not renewed.
#[cfg(feature = "planted-faults")]
pub(super) fn unknown_is_lost(faults: Faults) {
    let mut hand = Hand::with(&["http://a:8500"], ConsulOptions::default(), faults);
    let id = hand.registered(instance("a"));
    hand.tick();
    let renewal = hand.next().0;
    hand.say(renewal, 404, "Unknown check ID \"service:a\"");
    assert_eq!(hand.state(id), RegistrationState::Lost(Loss::Told("unknown".into())));
}

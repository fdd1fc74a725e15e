//! The table of states and inputs in the docs, made by trying each.

use super::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// What a request is in when an input comes for it, and how a machine gets there.
const STATES: [&str; 6] =
    ["not ours, or over", "a call", "a login", "a listing", "a stream, opening", "a stream, open"];

fn in_state(state: &str) -> (Hand, RequestId) {
    let options = match state {
        "a login" => EtcdOptions::default().with_user("u", "p"),
        _ => EtcdOptions::default(),
    };
    let mut hand = Hand::with(options, &["http://a:1"], Faults::default());
    let id = match state {
        "not ours, or over" => RequestId(99),
        "a call" | "a login" => {
            hand.etcd.register(&registration("a"), hand.now).unwrap();
            hand.asked().unwrap().id
        }
        _ => {
            hand.etcd.watch(&web(), hand.now).unwrap();
            match state {
                "a listing" => hand.ask("/kv/txn").id,
                "a stream, opening" => {
                    hand.listed(7, &[&[]]);
                    hand.ask("/watch").id
                }
                _ => {
                    hand.listed(7, &[&[]]);
                    hand.watched(7).id
                }
            }
        }
    };
    hand.drain();
    hand.sent.clear();
    hand.events();
    (hand, id)
}

type Trial = (&'static str, fn(&mut Hand, RequestId));

const TRIALS: [Trial; 12] = [
    ("head: success", |hand, id| hand.etcd.handle_response(id, &Head::new(200), hand.now)),
    ("head: refusal", |hand, id| hand.etcd.handle_response(id, &Head::new(503), hand.now)),
    ("refused: out of service, complete", |hand, id| {
        hand.answer(id, 503, &json!({ "code": 14, "message": "etcdserver: no leader" }));
    }),
    ("refused: no right, complete", |hand, id| {
        hand.answer(id, 403, &json!({ "code": 7, "message": "etcdserver: permission denied" }));
    }),
    ("not found, complete", |hand, id| hand.answer_text(id, 404, "Not Found\n")),
    ("garbage, complete", |hand, id| hand.answer_text(id, 200, "<html>\n")),
    ("a line: created", |hand, id| {
        hand.etcd.handle_response(id, &Head::new(200), hand.now);
        hand.say(id, &json!({ "header": header(7), "created": true }));
    }),
    ("end", |hand, id| hand.etcd.handle_end(id, hand.now)),
    ("failure: not sent", |hand, id| hand.etcd.handle_failure(id, &Failure::not_sent("refused"), hand.now)),
    ("failure: unknown", |hand, id| hand.fail(id)),
    ("suspend", |hand, _| hand.etcd.suspend(hand.now)),
    ("nothing for a minute", |hand, _| {
        hand.now = hand.now.saturating_add(Duration::from_secs(61));
        hand.etcd.handle_timeout(hand.now);
    }),
];

/// What an input did: to the request, to what is shown, and whether something is sent at once.
fn effect(hand: &mut Hand, id: RequestId) -> String {
    let mut words: Vec<String> = Vec::new();
    hand.drain();
    if hand.cancelled.contains(&id) {
        words.push("dropped".into());
    }
    for event in hand.events() {
        words.push(match event {
            ClientEvent::Connected { .. } => "up".into(),
            ClientEvent::Disconnected { .. } => "down".into(),
            ClientEvent::WatchRefused(_) | ClientEvent::Deferred { .. } => "told".into(),
            ClientEvent::Update(id) => match hand.provenance(id) {
                Provenance::Stale { .. } => "stale".into(),
                Provenance::Unknown | Provenance::Live | Provenance::Unconfirmed => continue,
            },
            other => format!("{other:?}"),
        });
    }
    words.extend(hand.asked().map(|asked| format!("*{}*", asked.path.rsplit('/').next().unwrap())));
    if words.is_empty() { "–".into() } else { words.join(", ") }
}

#[test]
fn the_table_in_the_docs_is_what_each_input_does_in_each_state() {
    let mut table = Vec::new();
    for (name, trial) in TRIALS {
        let mut row = format!("//! | {name} |");
        for state in STATES {
            let (mut hand, id) = in_state(state);
            trial(&mut hand, id);
            row += &format!(" {} |", effect(&mut hand, id));
        }
        table.push(row);
    }
    let docs: Vec<&str> =
        include_str!("../../etcd.rs").lines().filter(|line| line.starts_with("//! | ")).skip(1).collect();
    assert_eq!(docs, table, "the table should be:\n{}", table.join("\n"));
}

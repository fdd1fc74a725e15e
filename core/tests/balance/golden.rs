//! Orders and hashes that are the same for ever.

use periplus_core::Instant;
use periplus_core::balance::{BalanceConfig, PickRequest, Policy, fnv1a_32, hash_key, subset};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::fleet::{balancer, weighed};

fn order(start: Option<u32>, seed: u8, picks: usize) -> String {
    let config = BalanceConfig { start, ..BalanceConfig::new(Policy::WeightedRoundRobin) };
    let mut balancer = periplus_core::Balancer::new(config, [seed; 32]);
    balancer.update([weighed("c", 1), weighed("a", 5), weighed("b", 1)], Instant::default());
    let pick = |_| balancer.picker().pick(&PickRequest::default(), Instant::default()).unwrap().node().id().to_string();
    (0..picks).map(pick).collect()
}

#[test]
fn five_one_one_is_a_a_b_a_c_a_a() {
    assert_eq!(order(Some(0), 0, 14), "aabacaaaabacaa");
    assert_eq!(order(Some(2), 0, 7), "bacaaaa");
}

#[test]
fn the_cursor_of_a_round_robin_wraps_without_a_stop() {
    assert_eq!(order(Some(u32::MAX), 0, 8).len(), 8);
}

#[test]
fn a_fleet_of_clients_does_not_begin_at_one_instance() {
    let beginnings: std::collections::BTreeSet<String> = (0..40).map(|seed| order(None, seed, 7)).collect();
    assert!(beginnings.len() >= 5, "{beginnings:?}");
    assert!(beginnings.iter().all(|order| format!("{order}{order}").contains("aabacaa")));
    assert_eq!(order(None, 3, 7), order(None, 3, 7));
}

#[test]
fn kratos_hashes_are_fnv_1a() {
    for (text, hash) in [
        ("", 2_166_136_261),
        ("a", 3_826_002_220),
        ("0hello-1", 165_683_099),
        ("159hello-1", 802_982_656),
        ("key", 1_746_258_028),
    ] {
        assert_eq!(fnv1a_32(text.as_bytes()), hash, "{text}");
    }
}

fn kratos(key: &str, members: Vec<String>, size: usize) -> Vec<String> {
    subset::kratos(key.as_bytes(), members, size, |member| member)
}

#[test]
fn kratos_subsets_are_those_of_kratos() {
    let six: Vec<String> = (0..6).map(|at| format!("hello-{at}")).collect();
    assert_eq!(kratos("key", six.clone(), 3), ["hello-0", "hello-1", "hello-3"]);
    assert_eq!(kratos("key", six.iter().rev().cloned().collect(), 3), ["hello-0", "hello-1", "hello-3"]);
    assert_eq!(kratos("client-a", six.clone(), 3), ["hello-0", "hello-1", "hello-3"]);
    assert_eq!(kratos("client-b", six.clone(), 2), ["hello-1", "hello-3"]);
    assert_eq!(kratos("key", six.clone(), 6), six);
    assert_eq!(kratos("key", six.clone(), 0), six);

    let thirty = (0..30).map(|at| format!("helloworld-{at:04}")).collect();
    let chosen = kratos("9f1c6f1e-0000-4000-8000-000000000001", thirty, 25);
    let numbers: Vec<u32> = chosen.iter().map(|member| member[11..].parse().unwrap()).collect();
    let wanted = [28, 9, 18, 26, 7, 8, 19, 11, 1, 15, 25, 20, 6, 29, 27, 2, 14, 21, 24, 10, 3, 13, 22, 23, 4];
    assert_eq!(numbers, wanted);

    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(kratos("key", texts(&["a", "a", "b"]), 2), ["a", "b"]);
    assert_eq!(kratos("key", texts(&["a", "a", "a"]), 2), ["a"]);
}

/// Clients of different versions have to agree on these.
#[test]
fn what_clients_must_agree_on_never_changes() {
    assert_eq!(hash_key(b""), 17_665_956_581_633_026_203);
    assert_eq!(hash_key(b"user-1"), 14_166_554_182_431_137_624);
    let thirty = (0..30).map(|at| format!("i{at}")).collect();
    assert_eq!(subset::rendezvous(b"me", thirty, 4, |id: &String| id), ["i13", "i17", "i19", "i27"]);
    let placed = |policy| {
        let balancer = balancer(BalanceConfig::new(policy), &super::fleet::equals(10));
        let place = |user: u32| {
            let request = PickRequest::default().with_key(hash_key(format!("user-{user}").as_bytes()));
            balancer.picker().pick(&request, Instant::default()).unwrap().node().id()[1..].to_owned()
        };
        (0..20).map(place).collect::<String>()
    };
    assert_eq!(placed(Policy::Ring), "53186259040410637763");
    assert_eq!(placed(Policy::Maglev), "64090358453432653951");
}

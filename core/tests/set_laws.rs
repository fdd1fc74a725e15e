//! The laws of sets and of the differences between them, and the texts that stand for leases and cursors.

use periplus_core::set::ApplyError;
use periplus_core::{
    Change, Cursor, Delta, Epoch, Instance, InstanceId, InstanceSet, Lease, Mutation, Revision, ServiceInstance,
    ServiceName, Snapshot,
};
use proptest::collection::vec;
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn instance(id: u8, look: u8) -> Instance {
    let name = ServiceName::new("web").expect("a name");
    let id = InstanceId::new(format!("i{id}")).expect("a name");
    let plain = ServiceInstance::new(name, id);
    Instance::pack(&if look == 0 { plain } else { plain.with_metadata("look", look.to_string()) })
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let one = (0..6u8, 0..4u8, any::<bool>()).prop_map(|(id, look, put)| {
        let instance = instance(id, look);
        if put { Mutation::Put(instance) } else { Mutation::Remove(instance.instance_id()) }
    });
    vec(one, 0..12)
}

fn set(revision: u64) -> impl Strategy<Value = InstanceSet> {
    vec((0..6u8, 0..4u8), 0..6).prop_map(move |entries| {
        let instances =
            entries.into_iter().map(|(id, look)| instance(id, look)).map(|i| (i.instance_id(), i)).collect();
        InstanceSet::from(Snapshot { revision: Revision(revision), instances })
    })
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(target_family = "wasm") { 64 } else { 1_024 },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn applying_the_difference_leads_there((a, b) in (set(1), set(2))) {
        let mut applied = a.clone();
        applied.apply(&a.diff(&b)).unwrap();
        prop_assert_eq!(&applied, &b);
        prop_assert!(a.diff(&a).changes.is_empty());
    }

    #[test]
    fn the_inverted_difference_leads_back((a, b) in (set(1), set(2))) {
        let mut applied = b.clone();
        applied.apply(&a.diff(&b).inverted()).unwrap();
        prop_assert_eq!(applied, a);
    }

    #[test]
    fn differences_compose((a, b, c) in (set(1), set(2), set(3))) {
        prop_assert_eq!(a.diff(&b).compose(&b.diff(&c)).unwrap(), a.diff(&c));
        prop_assert!(a.diff(&b).compose(&a.diff(&c)).is_err());
    }

    #[test]
    fn a_delta_from_elsewhere_changes_nothing((a, b, c) in (set(1), set(2), set(3))) {
        let mut held = a.clone();
        let elsewhere = b.diff(&c);
        prop_assert_eq!(held.apply(&elsewhere), Err(ApplyError::Gap { held: Revision(1), from: Revision(2) }));
        let lies = Delta { from: Revision(1), ..elsewhere };
        if held.apply(&lies).is_err() {
            prop_assert_eq!(held, a);
        }
    }

    #[test]
    fn what_is_received_is_told_as_the_change_it_made((before, news) in (set(1), mutations())) {
        let mut after = before.clone();
        let delta = after.receive(Revision(1), Revision(2), news.clone()).unwrap();
        prop_assert_eq!(&before.diff(&after), &delta);
        for change in &delta.changes {
            match change {
                Change::Insert(instance) => prop_assert!(before.get(instance.id()).is_none()),
                Change::Update { before: old, after: new } => {
                    prop_assert_eq!(before.get(old.id()), Some(old));
                    prop_assert_ne!(old, new);
                }
                Change::Remove(instance) => prop_assert_eq!(before.get(instance.id()), Some(instance)),
            }
        }
        let mut one_by_one = before;
        for (at, mutation) in news.into_iter().enumerate() {
            let from = one_by_one.revision();
            one_by_one.receive(from, Revision(10 + at as u64), [mutation]).unwrap();
        }
        prop_assert_eq!(one_by_one.snapshot().instances, after.snapshot().instances);
    }

    #[test]
    fn a_reset_is_one_difference((a, b) in (set(1), set(2))) {
        let mut held = a.clone();
        let delta = held.reset(b.snapshot());
        prop_assert_eq!(delta, a.diff(&b));
        prop_assert_eq!(held, b);
    }

    #[test]
    fn a_lease_is_its_text(bytes in any::<[u8; 24]>(), junk in vec(any::<u8>(), 0..40)) {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let text: Vec<u8> = bytes.iter().chain(&bytes[..8]).map(|b| ALPHABET[usize::from(b % 64)]).collect();
        let lease = Lease::parse(&text).unwrap();
        prop_assert_eq!(&lease.to_text()[..], &text[..]);
        prop_assert_eq!(serde_json::from_str::<Lease>(&serde_json::to_string(&lease).unwrap()).unwrap(), lease);
        if let Ok(lease) = Lease::parse(&junk) {
            prop_assert_eq!(&lease.to_text()[..], &junk[..]);
        }
        let shown = format!("{:?}", lease);
        prop_assert!(!shown.contains(std::str::from_utf8(&text[12..]).unwrap()), "the secret stays secret");
    }

    #[test]
    fn a_cursor_is_its_text(epoch in "[a-zA-Z0-9.]{1,20}", revision in any::<u64>()) {
        let cursor = Cursor { epoch: Epoch(epoch.into()), revision: Revision(revision) };
        prop_assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
    }
}

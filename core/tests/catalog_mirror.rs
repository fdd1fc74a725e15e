//! A catalog without leases, fed with somebody else's revisions: a mirror, or a client's cache.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use periplus_core::catalog::{CatalogConfig, CommitError, Edit};
use periplus_core::fault::Faults;
use periplus_core::{
    Caller, Catalog, Cursor, Epoch, Instance, InstanceId, Instant, Key, Listed, Namespace, Revision, Selector,
    ServiceInstance, ServiceName, WallTime, WatchStart,
};
use proptest::collection::vec;
use proptest::prelude::*;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn catalog() -> Catalog {
    let config = CatalogConfig {
        log_bytes: 1 << 20,
        log_entries: 12,
        watches: 10,
        selectors_per_watch: 10,
        behind_wait: Duration::from_secs(1),
        hash_seed: 1,
        faults: Faults::default(),
    };
    Catalog::new(&config, Epoch("other".into()), Revision(100))
}

fn key(id: u8) -> Key {
    let service = ["web", "api"][usize::from(id % 2)];
    let id = InstanceId::new(format!("i{id}")).expect("a name");
    Key::new(Namespace::default(), ServiceName::new(service).expect("a name"), id)
}

fn edit(id: u8, look: u8) -> Edit {
    let key = key(id);
    if look == 0 {
        return Edit::Remove(key);
    }
    let instance = ServiceInstance::new(key.service, key.id).with_metadata("look", look.to_string());
    Edit::Put { namespace: key.namespace, listed: Listed { instance: Instance::pack(&instance), ttl_ms: 1_000 } }
}

fn everything() -> WatchStart {
    WatchStart::fresh(Selector::all(Namespace::default()))
}

#[test]
fn revisions_come_from_outside_and_rise() {
    let mut catalog = catalog();
    assert_eq!(catalog.commit(Revision(105), WallTime(0), [edit(1, 1)]), Ok(1));
    let refused = catalog.commit(Revision(105), WallTime(0), [edit(2, 1)]);
    assert_eq!(refused, Err(CommitError { given: Revision(105), held: Revision(105) }));
    assert_eq!(catalog.len(), 1);
    assert_eq!(catalog.commit(Revision(200), WallTime(0), [edit(1, 1)]), Ok(0));
    assert_eq!(catalog.revision(), Revision(200));
}

#[test]
fn who_comes_from_within_what_was_told_as_one_is_told_everything() {
    let mut catalog = catalog();
    let from = |catalog: &mut Catalog, revision: u64| {
        let cursor = Cursor { epoch: Epoch("other".into()), revision: Revision(revision) };
        let start = WatchStart::resumed(Selector::all(Namespace::default()), cursor);
        let watch = catalog.watch(&start, Arc::new(Caller::default()), Instant::default()).unwrap();
        let delivery = catalog.poll_watch(watch).map(|delivery| (delivery.snapshots.len(), delivery.changes.len()));
        (watch, delivery)
    };
    let waits = from(&mut catalog, 107).0;
    let waits_at_an_end = from(&mut catalog, 110).0;
    assert!(catalog.is_awaited());
    catalog.commit_joined(Revision(110), WallTime(0), [edit(1, 1), edit(2, 1)]).unwrap();
    // It may hold what came after 100 and went before 110.
    assert_eq!(catalog.poll_watch(waits).map(|delivery| delivery.snapshots.len()), Some(1));
    assert_eq!(catalog.poll_watch(waits_at_an_end), None);
    assert!(!catalog.is_awaited());
    catalog.commit_joined(Revision(111), WallTime(0), [edit(1, 2)]).unwrap();
    catalog.commit_joined(Revision(120), WallTime(0), [edit(2, 0)]).unwrap();
    assert_eq!(from(&mut catalog, 100).1, Some((0, 1)));
    assert_eq!(from(&mut catalog, 105).1, Some((1, 0)));
    assert_eq!(from(&mut catalog, 110).1, Some((0, 2)));
    assert_eq!(from(&mut catalog, 111).1, Some((0, 1)));
    assert_eq!(from(&mut catalog, 119).1, Some((1, 0)));
    catalog.assert_consistent();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(target_family = "wasm") { 40 } else { 400 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// W4: whoever watches sees a transaction whole or not at all, however seldom it looks.
    #[test]
    fn a_transaction_is_seen_whole_or_not_at_all(
        transactions in vec((vec((0..8u8, 0..3u8), 1..6), 1..4u64, any::<bool>()), 1..30),
    ) {
        let mut catalog = catalog();
        let watch = catalog.watch(&everything(), Arc::new(Caller::default()), Instant::default()).unwrap();
        let mut present: BTreeMap<String, u8> = BTreeMap::new();
        let mut past = BTreeMap::from([(100, present.clone())]);
        let mut held: BTreeMap<String, u8> = BTreeMap::new();
        let mut revision = 100;
        for (edits, step, looks) in transactions {
            revision += step;
            for (id, look) in &edits {
                let id = key(*id).id.to_string();
                if *look == 0 { present.remove(&id); } else { present.insert(id, *look); }
            }
            past.insert(revision, present.clone());
            let edits = edits.iter().map(|(id, look)| edit(*id, *look));
            catalog.commit(Revision(revision), WallTime(0), edits).unwrap();
            catalog.assert_consistent();
            if !looks {
                continue;
            }
            if let Some(delivery) = catalog.poll_watch(watch) {
                if !delivery.snapshots.is_empty() {
                    held.clear();
                }
                let listed = delivery.snapshots.iter().flat_map(|snapshot| &snapshot.instances);
                for told in listed.chain(delivery.changes.iter()) {
                    let id = told.instance.id().to_owned();
                    let look = told.instance.decode().metadata["look"].parse().unwrap();
                    if told.present() { held.insert(id, look); } else { held.remove(&id); }
                }
                let at = past.range(..=delivery.cursor.revision.0).next_back().unwrap().1;
                prop_assert_eq!(&held, at);
            }
            prop_assert_eq!(&held, &present);
        }
    }
}

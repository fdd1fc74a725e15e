//! Every contestant does the work that it is measured at.

use periplus_benches::contestants::{BTree, Contestant, DashSweep, Delay, LazyHeap, Periplus};
use periplus_benches::fleet::{TTL, entry, fleet};
use periplus_benches::rounds::{self, Course};

fn keeps_leases<C: Contestant>() {
    let entries = fleet(4_000);
    let mut registry = C::new();
    let granted: Vec<_> = entries.iter().map(|entry| registry.register(&C::prepare(entry), 0)).collect();
    let leases: Vec<_> = entries.iter().zip(&granted).map(|(entry, granted)| C::lease(entry, granted)).collect();
    let (kept, dropped) = leases.split_at(2_000);

    assert!(kept[..1_000].iter().all(|lease| registry.renew(lease, TTL / 2)));
    assert_eq!(registry.renew_batch(&kept[1_000..], TTL / 2), 1_000);
    registry.expire(TTL - 5_000);
    assert_eq!(registry.list(&entries[0].service), 4, "{}: expired early", C::NAME);
    registry.expire(TTL);
    assert_eq!(registry.list(&entries[0].service), 2, "{}: must hold what was renewed", C::NAME);
    assert!(!registry.renew(&dropped[0], TTL), "{}: an expired lease is not renewed", C::NAME);

    // Registered again, the old secret is worth nothing, and the new deadline is the only one.
    let again = registry.register(&C::prepare(&entries[0]), TTL);
    assert!(!registry.renew(&leases[0], TTL), "{}: an old secret renews", C::NAME);
    assert!(registry.renew(&C::lease(&entries[0], &again), TTL));
    registry.expire(2 * TTL - 5_000);
    assert_eq!(registry.list(&entries[0].service), 1, "{}", C::NAME);
    registry.expire(2 * TTL);
    assert_eq!(registry.list(&entries[0].service), 0, "{}", C::NAME);
}

fn tells_watchers<C: Contestant>() {
    let entries = fleet(2_000);
    let (watched, other) = (&entries[0], &entries[1]);
    let mut registry = C::new();
    let granted = registry.register(&C::prepare(watched), 0);
    registry.watch(&watched.service, 0);
    registry.watch(&watched.service, 0);
    assert_eq!(registry.deliver(), 2, "{}: the service as it is, to each", C::NAME);
    assert_eq!(registry.deliver(), 0, "{}: nothing twice", C::NAME);
    registry.register(&C::prepare(other), 0);
    assert_eq!(registry.deliver(), 0, "{}: another service", C::NAME);
    registry.register(&C::prepare(&entries[1_000]), 0);
    let lease = C::lease(watched, &granted);
    assert!(registry.renew(&lease, 1));
    assert_eq!(registry.deliver(), 2, "{}: a renewal is no change", C::NAME);
    let changed = entry(watched.service.clone(), &watched.id, 77_777);
    assert!(registry.change(&lease, &C::edit(&changed), 2));
    assert_eq!(registry.deliver(), 2, "{}: a change", C::NAME);
    registry.expire(2 * TTL);
    assert_eq!(registry.deliver(), 4, "{}: two removals", C::NAME);
}

fn finishes_a_round<C: Contestant>() {
    let figures = rounds::run::<C>(&Course::new(2_000));
    assert!(figures.register > 0.0 && figures.expire > 0.0 && figures.change > 0.0, "{figures:?}");
}

macro_rules! contestants {
    ($($module:ident: $contestant:ty;)*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn keeps_leases() {
                super::keeps_leases::<$contestant>();
            }

            #[test]
            fn tells_watchers() {
                super::tells_watchers::<$contestant>();
            }

            #[test]
            fn finishes_a_round() {
                super::finishes_a_round::<$contestant>();
            }
        }
    )*};
}

contestants! {
    btree: BTree;
    dash_sweep: DashSweep;
    delay: Delay;
    lazy_heap: LazyHeap;
    periplus: Periplus;
}

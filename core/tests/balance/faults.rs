//! The tests prove themselves: each planted bug of a balancer breaks the law that is meant for it.

use std::panic::{self, AssertUnwindSafe};

use periplus_core::fault::{Fault, Faults};

use super::{ejecting, fairness, filtering, learning, threads};

/// A planted bug, and a law that does not hold with it.
type Check = (Fault, fn(Faults));

const CHECKS: [Check; 9] = [
    (Fault::BalancerForgets, learning::an_update_forgets_nothing),
    (Fault::BalancerIgnoresWeight, fairness::loaded_nodes_are_called_by_weight),
    (Fault::BalancerLeaksCalls, threads::the_books_balance),
    (Fault::BalancerCountsCancels, learning::giving_up_says_nothing_of_the_node),
    (Fault::BalancerMixesViews, filtering::interleaved_views_keep_their_own_turn),
    (Fault::BalancerNeverRetries, learning::a_node_that_was_slow_is_tried_again),
    (Fault::BalancerRushesNewcomers, ejecting::a_newcomer_is_eased_in),
    (Fault::BalancerEjectsEveryone, |faults| ejecting::at_most_a_share_is_ejected(faults, 6, 6)),
    (Fault::BalancerNeverPardons, ejecting::an_outlier_is_ejected_and_returns),
];

#[test]
fn every_planted_bug_of_a_balancer_is_caught() {
    let planted = Fault::ALL.iter().filter(|fault| format!("{fault:?}").starts_with("Balancer")).count();
    assert_eq!(planted, CHECKS.len());
    panic::set_hook(Box::new(|_| {}));
    let caught =
        CHECKS.map(|(fault, law)| (fault, panic::catch_unwind(AssertUnwindSafe(|| law(Faults::only(fault)))).is_err()));
    drop(panic::take_hook());
    for (fault, caught) in caught {
        assert!(caught, "{fault:?} is not caught");
    }
}

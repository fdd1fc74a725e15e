//! Each planted bug of this backend is caught.

use std::panic::{self, AssertUnwindSafe};

use super::*;
use crate::fault::Fault;

fn endpoints_survive(faults: Faults) {
    let instance = instance("a").with_endpoint(Endpoint::new("grpc://10.0.0.5:9001").unwrap());
    assert_eq!(encoding::read_back(&instance, faults), instance);
}

type Story = (Fault, fn(Faults));

const STORIES: [Story; 9] = [
    (Fault::ConsulIndexKept, watching::index_falls),
    (Fault::ConsulNotPassed, registering::passed_after_the_registration),
    (Fault::ConsulFilteredEmpties, watching::filtered),
    (Fault::ConsulDatacenterEmpties, watching::one_datacenter_is_down),
    (Fault::ConsulSchemesCollide, endpoints_survive),
    (Fault::ConsulRenewsElsewhere, registering::another_agent),
    (Fault::ConsulUnknownIgnored, registering::unknown_is_lost),
    (Fault::ConsulSuccessorRemoved, registering::made_anew_at_another_agent),
    (Fault::ConsulLossBelieved, watching::memory_lost),
];

#[test]
fn every_planted_bug_of_consul_is_caught() {
    for (fault, story) in STORIES {
        story(Faults::default());
        let caught = panic::catch_unwind(AssertUnwindSafe(|| story(Faults::only(fault)))).is_err();
        assert!(caught, "{fault:?} is not caught");
    }
}

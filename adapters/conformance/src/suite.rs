//! What every client does on every runtime, whatever happens to its registry.
//!
//! Each scenario is an async function over a [`Stage`], which is a runtime and the address of a harness. It opens an
//! arena of its own, so all of them may run at once; it asserts by panicking, and waits for what must come true and never for
//! a time. [`scenarios!`](crate::scenarios) names them all.
//!
//! | scenarios | where |
//! |---|---|
//! | registry down, lost, killed, frozen, restarted; two addresses | [`outage`] |
//! | registrations: races, duplicates, supersession, drops, the last word | [`holding`] |
//! | watches: empty sets, changes, slow readers, prefixes, foreign entries, memory gone | [`watching`] |
//! | noise, truncated answers, slow and cut connections | [`network`] |
//!
//! What is not here: that a balancer keeps what it learned, does nothing for instances of no weight and stays fair under filters,
//! and that no call arrives after a drain, are about balancing and applications, which a runtime does not touch. That work is
//! proportional to the change is a figure of the core and measured there. Two datacenters are about Consul.

pub mod holding;
pub mod network;
pub mod outage;
pub mod stage;
pub mod watching;

pub use stage::{Arena, Stage};

/// Calls a macro with the path of every scenario, `module name`, one call each.
#[macro_export]
macro_rules! scenarios {
    ($each:ident) => {
        $each!(outage a_client_waits_for_a_registry_that_is_down_at_start);
        $each!(outage what_was_registered_is_registered_again_after_a_kill);
        $each!(outage a_registration_lost_twice_in_a_row_is_made_again);
        $each!(outage a_frozen_registry_makes_the_client_say_so_and_recover);
        $each!(outage a_second_address_takes_over_when_the_first_fails);
        $each!(outage a_restart_without_memory_takes_nobody_who_is_alive);
        $each!(outage what_died_during_a_restart_goes_in_one_difference);
        $each!(outage the_last_known_sets_are_there_at_a_cold_start);
        $each!(holding a_deregistration_that_races_a_registration_wins);
        $each!(holding registering_twice_is_one_registration);
        $each!(holding a_new_life_takes_over_its_old_lease_at_once);
        $each!(holding another_holder_supersedes_and_is_not_fought);
        $each!(holding a_status_is_set_and_survives_the_registry);
        $each!(holding every_registration_has_a_lease_of_its_own);
        $each!(holding an_eviction_is_noticed_and_made_good);
        $each!(holding what_is_dropped_is_taken_out);
        $each!(holding closing_is_the_last_word);
        $each!(holding a_registry_that_is_gone_does_not_keep_a_client_from_closing);
        $each!(holding all_kinds_of_endpoints_come_back_as_they_were);
        $each!(holding what_leads_others_to_themselves_is_refused);
        $each!(watching an_empty_set_is_the_registrys_own_word);
        $each!(watching a_first_listing_that_fails_is_made_up_for);
        $each!(watching nothing_is_lost_between_listing_and_watching);
        $each!(watching a_name_that_begins_alike_is_another_service);
        $each!(watching one_of_two_watchers_ends_and_the_other_goes_on);
        $each!(watching a_slow_reader_gets_the_latest_in_one_step);
        $each!(watching an_overlay_is_seen_and_cleared);
        $each!(watching waiting_may_be_given_up_and_begun_again);
        $each!(watching who_is_suspended_holds_no_watch_and_is_told_the_one_difference_later);
        $each!(network garbage_never_changes_what_is_known);
        $each!(network a_foreign_entry_is_skipped_and_the_others_are_delivered);
        $each!(network a_slow_network_is_no_outage);
        $each!(network connections_cut_in_the_middle_lose_nothing);
        $each!(network a_connection_that_died_silently_is_noticed);
    };
}

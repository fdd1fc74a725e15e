//! What every client does with the real servers of others, whatever happens to those.
//!
//! They are those of [`suite`](crate::suite), as far as they make sense with a server that is not ours, with times scaled
//! down. [`store_scenarios!`](crate::store_scenarios) names those that every server takes part in; those of [`etcd`] and
//! [`consul`] are about what only one of them can do.

pub mod consul;
pub mod etcd;
pub mod every;
pub mod outage;

/// Calls a macro with the path of every scenario that every server takes part in, `module name`, one call each.
#[macro_export]
macro_rules! store_scenarios {
    ($each:ident) => {
        $each!(every what_is_registered_is_found_and_goes);
        $each!(every an_update_is_seen);
        $each!(every what_is_dropped_is_taken_out);
        $each!(every what_kratos_writes_is_found_and_its_going_is_seen);
        $each!(every what_others_take_out_is_registered_again);
        $each!(every garbage_is_skipped_and_the_others_are_delivered);
        $each!(every a_name_that_begins_alike_is_another_service);
        $each!(every all_kinds_of_endpoints_come_back_as_they_were);
        $each!(every nothing_is_lost_between_listing_and_watching);
        $each!(every who_is_suspended_keeps_what_it_knew_and_has_the_present_later);
        $each!(every every_registration_goes_alone);
        $each!(outage a_client_waits_for_a_server_that_is_down_at_start);
        $each!(outage what_was_registered_stays_over_a_kill);
        $each!(outage what_was_registered_comes_back_after_a_loss_of_memory);
        $each!(outage a_server_frozen_past_the_ttl_is_an_outage_and_recovers);
    };
}

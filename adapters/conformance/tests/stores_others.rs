//! Clients on async-std and smol with real servers of others: a choice of the scenarios.
#![cfg(unix)]

use periplus_conformance::stores::Server;
use periplus_conformance::stores::field::Field;
use periplus_conformance::stores::scenarios;

macro_rules! runtime {
    ($runtime:ident, $block_on:path, $new:expr) => {
        mod $runtime {
            use super::*;

            macro_rules! scenario {
                ($module:ident $name:ident) => {
                    #[test]
                    fn $name() {
                        for server in [Server::EtcdCurrent, Server::Consul] {
                            if let Some(field) = Field::new($new, server) {
                                $block_on(scenarios::$module::$name(field));
                            }
                        }
                    }
                };
            }

            scenario!(every what_is_registered_is_found_and_goes);
            scenario!(every what_is_dropped_is_taken_out);
            scenario!(every nothing_is_lost_between_listing_and_watching);
            scenario!(outage a_client_waits_for_a_server_that_is_down_at_start);
            scenario!(outage what_was_registered_stays_over_a_kill);
            scenario!(outage a_server_frozen_past_the_ttl_is_an_outage_and_recovers);
        }
    };
}

runtime!(on_async_std, async_std::task::block_on, periplus_async_std::AsyncStd::new());
runtime!(on_smol, smol::block_on, periplus_async_std::Smol::new());

//! Clients on tokio with real servers of others: all scenarios.
#![cfg(unix)]

use periplus_conformance::stores::Server;
use periplus_conformance::stores::field::Field;
use periplus_conformance::stores::scenarios::{self, consul, etcd};
use periplus_tokio::Tokio;

macro_rules! scenario {
    ($module:ident $name:ident) => {
        mod $name {
            use super::*;

            async fn play(server: Server) {
                if let Some(field) = Field::new(Tokio::new(), server) {
                    scenarios::$module::$name(field).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_etcd() {
                play(Server::Etcd).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_current_etcd() {
                play(Server::EtcdCurrent).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_consul() {
                play(Server::Consul).await;
            }
        }
    };
}

periplus_conformance::store_scenarios!(scenario);

macro_rules! with_etcd {
    ($($name:ident)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_etcd() {
                etcd::$name(Tokio::new(), Server::Etcd).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_current_etcd() {
                etcd::$name(Tokio::new(), Server::EtcdCurrent).await;
            }
        }
    )*};
}

with_etcd! {
    a_compaction_is_one_difference
    another_holder_supersedes_and_is_not_fought
    a_new_life_takes_its_old_place_at_once
    a_key_deleted_by_others_is_written_again
    passwords_let_in_and_tokens_are_got_anew
    a_second_address_stands_in
    a_member_that_is_killed_is_missed_by_nobody
    without_a_quorum_what_is_known_is_kept_and_stale
    a_prefix_of_ones_own_is_kept_to
    certificates_of_ones_own_are_shown_and_believed_by_etcd
}

macro_rules! with_consul {
    ($($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            consul::$name(Tokio::new()).await;
        }
    )*};
}

with_consul! {
    tokens_let_in_and_what_is_hidden_is_not_gone
    one_datacenter_that_is_down_does_not_hide_the_other
    an_agent_that_is_killed_is_made_up_for_at_the_next_one
    what_is_draining_is_in_maintenance
    fewer_endpoints_leave_no_check_behind
    certificates_of_ones_own_are_shown_and_believed_by_consul
}

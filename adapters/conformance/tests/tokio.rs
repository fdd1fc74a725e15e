//! The suite on tokio.
#![cfg(unix)]

use periplus_conformance::harness::Harness;
use periplus_conformance::replay;
use periplus_conformance::suite::{self, Stage};
use periplus_tokio::Tokio;

macro_rules! scenario {
    ($module:ident $name:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let harness = Harness::start().expect("there is a registry to run");
            let storage = concat!(env!("CARGO_TARGET_TMPDIR"), "/tokio-", stringify!($name));
            let _ = std::fs::remove_dir_all(storage);
            let runtime = Tokio::new().with_storage(storage).expect("it can be stored");
            suite::$module::$name(Stage::new(runtime, harness.url())).await;
        }
    };
}

periplus_conformance::scenarios!(scenario);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_log_gives_the_outputs_it_has_always_given() {
    tokio::spawn(async { replay::check_recorded() }).await.expect("it says what it has always said");
}

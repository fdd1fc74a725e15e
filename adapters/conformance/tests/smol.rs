//! The suite on smol.
#![cfg(unix)]

use periplus_async_std::Smol;
use periplus_conformance::harness::Harness;
use periplus_conformance::replay;
use periplus_conformance::suite::{self, Stage};

macro_rules! scenario {
    ($module:ident $name:ident) => {
        #[test]
        fn $name() {
            let harness = Harness::start().expect("there is a registry to run");
            let storage = concat!(env!("CARGO_TARGET_TMPDIR"), "/smol-", stringify!($name));
            let _ = std::fs::remove_dir_all(storage);
            let runtime = Smol::new().with_storage(storage).expect("it can be stored");
            smol::block_on(suite::$module::$name(Stage::new(runtime, harness.url())));
        }
    };
}

periplus_conformance::scenarios!(scenario);

#[test]
fn a_recorded_log_gives_the_outputs_it_has_always_given() {
    smol::block_on(smol::spawn(async { replay::check_recorded() }));
}

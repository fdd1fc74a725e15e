//! The same inputs give the same outputs, byte for byte, on every platform: these hashes are the same natively, in wasm
//! and for ever, unless what the registry says is changed on purpose.

mod model;

use model::ops::{Op, WORD};
use model::run::run;
use periplus_core::fault::Faults;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const GOLDEN: [u64; 6] = [
    0xd8d5_134c_5890_fd20,
    0x7332_c3db_03fc_a9be,
    0x7961_bdd2_1d70_6ee1,
    0x7ba0_08d8_2ede_a309,
    0x5fbf_ee0b_3bff_769e,
    0xd846_4230_c03a_7cbe,
];

fn ops(seed: u32) -> Vec<Op> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..1_000).map(|_| Op::from_word([(); WORD].map(|()| next()))).collect()
}

#[test]
fn the_trace_of_a_run_is_the_same_everywhere() {
    let traces: Vec<u64> = (0..6).map(|variant| run(variant, Faults::default(), &ops(u32::from(variant)))).collect();
    assert_eq!(traces, GOLDEN, "the traces changed: {traces:#018x?}");
}

#[test]
fn the_same_run_twice_leaves_the_same_trace() {
    for variant in 0..6 {
        let ops = ops(100 + u32::from(variant));
        assert_eq!(run(variant, Faults::default(), &ops), run(variant, Faults::default(), &ops));
    }
}

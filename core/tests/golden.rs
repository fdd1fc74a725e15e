//! The same inputs give the same outputs, byte for byte, on every platform: these hashes are the same natively, in wasm
//! and for ever, unless what the registry says is changed on purpose.

mod model;

use model::ops::{Op, WORD};
use model::run::run;
use periplus_core::fault::Faults;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const GOLDEN: [u64; 6] = [
    0xfb25_04a7_a0d3_ed1d,
    0x57cc_137a_911e_5d4a,
    0xed85_7c52_6ab3_8dea,
    0xa817_d45c_a87a_20d3,
    0x4837_cca5_3732_8ba0,
    0xc9c6_09c4_4d2e_5f18,
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

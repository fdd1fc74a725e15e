//! The same inputs give the same outputs, byte for byte, on every platform: these hashes are the same natively, in wasm
//! and for ever, unless what the registry says is changed on purpose.

mod model;

use model::ops::{Op, WORD};
use model::run::run;
use periplus_core::fault::Faults;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const GOLDEN: [u64; 6] = [
    0xf874_d214_c435_2644,
    0xeedd_31cb_5cf8_a90a,
    0x43a2_ad43_2320_8594,
    0x7e6c_88bc_c1f2_5f1b,
    0xa8b9_fcea_35d4_29f1,
    0x68c6_cbc9_21ba_d046,
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

//! The same inputs give the same outputs, byte for byte, on every platform: these hashes are the same natively, in wasm
//! and for ever, unless what the registry says is changed on purpose.

mod model;

use model::ops::{Op, WORD};
use model::run::run;
use periplus_core::fault::Faults;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const GOLDEN: [u64; 6] = [
    0x7c08_f481_96db_158f,
    0x1631_2ebe_7ad3_143f,
    0xf179_1011_27ea_f858,
    0x9355_f490_e0e1_2d0f,
    0xe977_f710_81d6_01a3,
    0xbab9_8bd4_cf73_409a,
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

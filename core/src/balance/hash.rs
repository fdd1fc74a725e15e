//! Hashes that every client computes alike, on every platform and for ever.

/// FNV-1a of 32 bits, as Kratos's subset uses it. O(length).
#[must_use]
pub fn fnv1a_32(bytes: &[u8]) -> u32 {
    fnv1a_32_on(2_166_136_261, bytes)
}

/// FNV-1a of 32 bits, going on from a state.
pub(super) fn fnv1a_32_on(state: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(state, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
}

/// The hash of a key for [`PickRequest::key`](super::PickRequest::key): of a user, a session, a cache entry. O(length).
///
/// It is fixed: clients of any version that hash the same key find the same node.
#[must_use]
pub fn hash_key(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    mix(fnv)
}

/// Spreads a number over all 64 bits: the finalizer of SplitMix64, a bijection.
pub(super) const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The number at a place of the SplitMix64 sequence that starts at `seed`.
pub(super) const fn nth(seed: u64, place: u64) -> u64 {
    mix(seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// A number below `limit`, from 32 random bits.
pub(super) const fn below(random: u32, limit: usize) -> usize {
    ((random as u64 * limit as u64) >> 32) as usize
}

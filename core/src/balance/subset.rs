//! Choosing some of many instances, the same ones as long as they are there.

use alloc::vec::Vec;

use hashbrown::HashSet;

use super::hash::{fnv1a_32, fnv1a_32_on, hash_key, mix};
use crate::ordered::{least, sort};

/// Chooses `size` of the members by rendezvous hashing; zero chooses all. O(n).
///
/// Each member has a score of its own for this key, and the best stay. So a member that joins displaces at most one,
/// and one that leaves is replaced by one. Different keys choose independently. The members keep their order.
#[must_use]
pub fn rendezvous<T>(key: &[u8], members: Vec<T>, size: usize, id: impl Fn(&T) -> &str) -> Vec<T> {
    if size == 0 || members.len() <= size {
        return members;
    }
    let key = hash_key(key);
    let score = |member: &T| mix(key ^ hash_key(id(member).as_bytes()));
    // Two scores may be equal, and so may two ids: the place decides last.
    let mut scored: Vec<(u64, usize)> =
        members.iter().enumerate().map(|(place, member)| (score(member), place)).collect();
    least(&mut scored, size);
    let mut best: Vec<usize> = scored.iter().map(|&(_, place)| place).collect();
    sort(&mut best);
    let mut best = best.into_iter().peekable();
    let chosen = |(place, member)| best.next_if_eq(&place).map(|_| member);
    members.into_iter().enumerate().filter_map(chosen).collect()
}

/// The points that Kratos gives each member.
const REPLICAS: u32 = 160;

/// Chooses as Kratos does: walks a ring of FNV-1a hashes from the key on. O(n · log n), with 160 points a member.
///
/// `display` is what Kratos calls an instance: `name-id`. Zero, and as many as there are members or more, choose all and
/// keep their order; otherwise the members come in the order of the ring, each display once.
#[must_use]
pub fn kratos<T>(key: &[u8], members: Vec<T>, size: usize, display: impl Fn(&T) -> &str) -> Vec<T> {
    if size == 0 || members.len() <= size {
        return members;
    }
    let distinct: Vec<usize> = {
        let mut seen = HashSet::with_hasher(foldhash::fast::FixedState::default());
        (0..members.len()).filter(|&place| seen.insert(display(&members[place]))).collect()
    };
    let mut ring: Vec<(u32, usize)> = Vec::with_capacity(distinct.len() * REPLICAS as usize);
    for &place in &distinct {
        let text = display(&members[place]).as_bytes();
        ring.extend((0..REPLICAS).map(|replica| (fnv1a_32_on(fnv1a_decimal(replica), text), place)));
    }
    sort(&mut ring);
    // Of those that meet in a point, Kratos keeps the one that was added last.
    let last_of_point = ring.chunk_by(|a, b| a.0 == b.0).filter_map(|points| points.last().copied());
    let ring: Vec<(u32, usize)> = last_of_point.collect();
    let start = ring.partition_point(|&(point, _)| point <= fnv1a_32(key));
    let mut taken = HashSet::with_hasher(foldhash::fast::FixedState::default());
    let walk = ring[start..].iter().chain(&ring[..start]).map(|&(_, place)| place);
    let order: Vec<usize> = walk.filter(|&place| taken.insert(place)).take(size.min(distinct.len())).collect();
    let mut members: Vec<Option<T>> = members.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| members[place].take()).collect()
}

/// The hash of a number's decimal digits.
fn fnv1a_decimal(number: u32) -> u32 {
    let mut digits = [0; 10];
    let mut first = digits.len();
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    fnv1a_32(&digits[first..])
}

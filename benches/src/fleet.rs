//! The instances that every contestant is given.

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// Microseconds since the start of a run, by a clock that only the harness moves.
pub type Micros = u64;

/// How long a lease runs without a renewal.
pub const TTL: Micros = 30_000_000;

/// How many services the instances spread over.
pub const SERVICES: usize = 1_000;

/// An instance before anything is made of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name of its service.
    pub service: String,
    /// 36 characters, as most ids are UUIDs.
    pub id: String,
    /// What it says of itself: some 300 bytes of JSON.
    pub json: Vec<u8>,
}

/// The name of a service.
#[must_use]
pub fn service(number: usize) -> String {
    format!("checkout-{:04}", number % SERVICES)
}

/// `size` instances over [`SERVICES`] services, the same at every call.
#[must_use]
pub fn fleet(size: usize) -> Vec<Entry> {
    let mut rng = StdRng::seed_from_u64(1);
    (0..size).map(|number| entry(service(number), &uuid(rng.random()), number)).collect()
}

/// One instance, `number` of which is visible in its JSON.
#[must_use]
pub fn entry(service: String, id: &str, number: usize) -> Entry {
    let (rack, host) = (number / 250 % 250, number % 250);
    let json = format!(
        concat!(
            r#"{{"id":"{id}","name":"{service}","version":"1.14.{patch}","metadata":{{"build":"{number:040x}","#,
            r#""weight":"100","zone":"eu-central-1{zone}"}},"endpoints":["#,
            r#""grpc://10.12.{rack}.{host}:9000?isSecure=false","http://10.12.{rack}.{host}:8000","#,
            r#""http://10.12.{rack}.{host}:9100/metrics"]}}"#
        ),
        id = id,
        service = service,
        patch = number % 10,
        number = number,
        zone = ["a", "b", "c"][number % 3],
        rack = rack,
        host = host,
    );
    Entry { service, id: id.to_owned(), json: json.into_bytes() }
}

fn uuid(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The numbers below `size` in a random order, the same at every call with the same `seed`.
#[must_use]
pub fn shuffled(size: usize, seed: u64) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..size).collect();
    numbers.shuffle(&mut StdRng::seed_from_u64(seed));
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_as_large_as_stated() {
        for entry in fleet(2_000) {
            assert_eq!(entry.id.len(), 36);
            assert!((290..=312).contains(&entry.json.len()), "{}", entry.json.len());
        }
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut numbers = shuffled(100, 1);
        assert_ne!(numbers, (0..100).collect::<Vec<_>>());
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }
}

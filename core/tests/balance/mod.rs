//! The laws of balancing, and the fleet that they are tried on.

mod contract;
mod ejecting;
mod fairness;
#[cfg(all(feature = "planted-faults", not(target_family = "wasm")))]
mod faults;
mod filtering;
mod fleet;
mod golden;
mod hashing;
mod learning;
#[cfg(not(target_family = "wasm"))]
mod threads;

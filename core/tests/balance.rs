//! Balancing: golden orders, fairness by weight, what is learned in virtual time, and who is left out and returns.

#[path = "balance/mod.rs"]
mod laws;

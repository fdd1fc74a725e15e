//! Periplus on async-std.

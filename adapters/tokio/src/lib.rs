//! Periplus on tokio.

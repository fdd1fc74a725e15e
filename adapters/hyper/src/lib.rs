//! HTTP for Periplus on any runtime that hyper can be given.

//! stub
pub use super::lazy_heap::LazyHeap as Periplus;

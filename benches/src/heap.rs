//! A global allocator that counts the bytes in use, and how often it was asked for some.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};

static COUNTING: AtomicBool = AtomicBool::new(false);
static IN_USE: AtomicIsize = AtomicIsize::new(0);
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting while [`growth`] or [`allocations`] runs and costing next to nothing otherwise.
#[derive(Debug)]
pub struct Counting;

fn count(bytes: usize, sign: isize) {
    if COUNTING.load(Ordering::Relaxed) {
        IN_USE.fetch_add(sign * bytes.cast_signed(), Ordering::Relaxed);
        ASKED.fetch_add(usize::from(sign > 0), Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, 1);
        count(layout.size(), -1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Runs `work` and says by how many bytes the heap has grown: what was asked for, without the allocator's own.
/// Always zero where [`Counting`] is not the global allocator.
pub fn growth<T>(work: impl FnOnce() -> T) -> (T, isize) {
    COUNTING.store(true, Ordering::Relaxed);
    let before = IN_USE.load(Ordering::Relaxed);
    let done = work();
    let after = IN_USE.load(Ordering::Relaxed);
    COUNTING.store(false, Ordering::Relaxed);
    (done, after - before)
}

/// Runs `work` and says how often the heap was asked for memory, by all threads.
/// Always zero where [`Counting`] is not the global allocator.
pub fn allocations<T>(work: impl FnOnce() -> T) -> (T, usize) {
    COUNTING.store(true, Ordering::Relaxed);
    let before = ASKED.load(Ordering::Relaxed);
    let done = work();
    let after = ASKED.load(Ordering::Relaxed);
    COUNTING.store(false, Ordering::Relaxed);
    (done, after - before)
}

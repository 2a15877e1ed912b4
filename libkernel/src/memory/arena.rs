//! Page frames on a hosted target: one large allocation of the test process plays the RAM.
//!
//! Started by the first allocation. Never freed; a system that commits lazily pays only for what is touched.

use std::alloc::{Layout, alloc_zeroed};
use std::sync::Once;

use super::address::{PAGE_SIZE, PhysAddr};
use super::buddy::MAX_ORDER;
use super::frames;

extern crate std;

/// Frames of RAM that tests get.
#[cfg(not(miri))]
pub const FRAMES: usize = 128 * 1024;
/// Frames of RAM that tests get: few, for Miri's sake.
#[cfg(miri)]
pub const FRAMES: usize = 2048;

static STARTED: Once = Once::new();

/// Makes sure that there are frames.
pub fn ensure() {
    STARTED.call_once(|| {
        let block = PAGE_SIZE << MAX_ORDER;
        let Ok(layout) = Layout::from_size_align(FRAMES * PAGE_SIZE, block) else { return };
        // SAFETY: the layout's size is not zero.
        let ram = unsafe { alloc_zeroed(layout) };
        let start = PhysAddr(crate::machine::virt_to_phys(ram));
        let end = start.add(layout.size() as u64);
        let Ok(table) = Layout::from_size_align(frames::table_size(start, end), 64) else { return };
        if ram.is_null() {
            return;
        }
        // SAFETY: the table's memory was just allocated for it alone, and so was the RAM.
        unsafe {
            let table = alloc_zeroed(table);
            if !table.is_null() {
                frames::start(table, start, end);
                frames::release(start, end);
            }
        }
    });
}

//! Freeing much memory without keeping the core: in steps, with turns for other tasks in between.
#![forbid(unsafe_code)]

use libkernel::memory::AddressSpace;
use libkernel::task::yield_now;

/// Pages freed or made present at most before other tasks get a turn.
pub const AT_ONCE: u64 = 4096;

/// Frees the pages in `[start, end)`; the mappings stay, to be unmapped next.
pub async fn free(space: &AddressSpace, start: u64, end: u64) {
    let mut next = Some(start);
    while let Some(at) = next {
        next = space.free_some(at, end, AT_ONCE);
        yield_now().await;
    }
}

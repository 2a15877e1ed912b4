//! Page faults and mappings.

use super::{Row, each, ns, pin};
use crate::check::must;
use crate::sys::*;

/// Memory.
pub const ROWS: &[Row] = &[ns("anonymous-fault", anonymous_fault), ns("mmap-64k-touch-munmap", map_touch_unmap)];

/// One first write to a page of a large mapping.
fn anonymous_fault(n: u64) -> f64 {
    pin(0);
    let pages = n + n / 10;
    let at = must(anonymous(pages as usize * PAGE));
    // Small pages only, on kernels that would otherwise map large ones.
    let _ = madvise(at, pages as usize * PAGE, libc::MADV_NOHUGEPAGE);
    let mut page = 0;
    each(n, || {
        poke(at + page * PAGE, 1u8);
        page += 1;
    })
}

/// A mapping of which one page is used.
fn map_touch_unmap(n: u64) -> f64 {
    pin(0);
    each(n, || {
        let at = must(anonymous(16 * PAGE));
        poke(at, 1u8);
        must(munmap(at, 16 * PAGE));
    })
}

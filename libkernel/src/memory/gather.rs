//! [`Gather`]: frames that left a page table, kept alive until no TLB can lead to them any more.
//!
//! Used with the address space's lock held. The order is the architecture's (ARM ARM D8.14): entries are cleared, the
//! writes published, translations invalidated on all cores, and only then frames reused.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::address::{PAGE_SHIFT, PAGE_SIZE, PhysAddr};
use super::frames;
use crate::machine;

const CAPACITY: usize = 64;
/// From this many pages on, forgetting everything under the ASID is cheaper than going page by page.
const WHOLE_ASID_PAGES: u64 = 64;

/// Collects what has to happen after page-table entries changed. Dropping it does the rest.
pub struct Gather<'a> {
    /// The address space's context (generation and ASID); `None`: it runs nowhere, and its ASID is not used again.
    context: Option<&'a AtomicU64>,
    frames: [PhysAddr; CAPACITY],
    count: usize,
    start: u64,
    end: u64,
    whole: bool,
    /// Pages removed so far, and how many of them were anonymous.
    pub(super) removed: Pages,
}

/// Numbers of pages, by kind.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Pages {
    /// All of them.
    pub all: u64,
    /// Those that belong to the address space alone.
    pub anonymous: u64,
}

impl<'a> Gather<'a> {
    /// For an address space whose ASID is in `context` (0 while it never ran).
    pub(super) fn new(context: &'a AtomicU64) -> Self {
        Self { context: Some(context), ..Self::NOWHERE }
    }

    /// For an address space that no core runs, or will run again.
    pub(super) fn dead() -> Self {
        Self::NOWHERE
    }

    const NOWHERE: Self = Self {
        context: None,
        frames: [PhysAddr(0); CAPACITY],
        count: 0,
        start: u64::MAX,
        end: 0,
        whole: false,
        removed: Pages { all: 0, anonymous: 0 },
    };

    /// The translation of the page at `virt` changed.
    #[inline]
    pub(super) fn changed(&mut self, virt: u64) {
        self.start = self.start.min(virt);
        self.end = self.end.max(virt + PAGE_SIZE as u64);
    }

    /// Many translations changed.
    pub(super) fn changed_everywhere(&mut self) {
        self.whole = true;
        self.end = u64::MAX;
    }

    /// The page at `virt`, of this frame, is no longer mapped; takes over the entry's reference.
    #[inline]
    pub(super) fn page(&mut self, virt: u64, frame: PhysAddr, anonymous: bool) {
        self.removed.all += 1;
        self.removed.anonymous += u64::from(anonymous);
        self.push(frame);
        self.changed(virt);
    }

    /// A table is no longer pointed to.
    pub(super) fn table(&mut self, table: PhysAddr) {
        self.push(table);
        // Cached pointers to tables are not found by a range of pages.
        self.changed_everywhere();
    }

    /// Keeps a frame whose entry was cleared. The caller notes the change afterwards, as this may flush what was noted before.
    #[inline]
    fn push(&mut self, frame: PhysAddr) {
        if self.count == CAPACITY {
            self.flush();
        }
        if let Some(slot) = self.frames.get_mut(self.count) {
            *slot = frame;
            self.count += 1;
        }
    }

    /// Invalidates what changed, then frees what was removed.
    pub(super) fn flush(&mut self) {
        if self.end > 0 {
            machine::publish_page_table();
            // Read after the entries are published: whoever activates the address space under a new ASID from here on
            // walks the new entries.
            let asid = self.context.map_or(0, |context| context.load(Relaxed)) as u16;
            if asid != 0 {
                let pages = self.end.saturating_sub(self.start) >> PAGE_SHIFT;
                if self.whole || pages > WHOLE_ASID_PAGES {
                    machine::invalidate_asid(asid);
                } else {
                    machine::invalidate_user_range(asid, self.start as usize, pages as usize);
                }
            }
        }
        if let Some(frames) = self.frames.get(..self.count).filter(|frames| !frames.is_empty()) {
            // SAFETY: each frame's page-table entry gave up its reference to this value, and no TLB leads to it any more.
            unsafe { frames::release_references(frames) };
        }
        (self.count, self.start, self.end, self.whole) = (0, u64::MAX, 0, false);
    }
}

impl Drop for Gather<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

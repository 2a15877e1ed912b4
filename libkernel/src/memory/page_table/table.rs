//! One table of 512 entries.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{LEAF_SPAN, PAGE};
use crate::Result;
use crate::machine;
use crate::memory::address::PhysAddr;
use crate::memory::descriptor::Descriptor;
use crate::memory::frames;
use crate::memory::gather::Gather;
use crate::memory::kernel_map::{TABLE_ENTRIES, entry_index, entry_size};
use crate::memory::page::Page;

/// One table of 512 entries.
///
/// # Invariants
/// The frame is a table reachable from the root of a [`PageTable`](super::PageTable) whose lock is held; its reference count is one
/// more than its number of non-empty entries.
#[derive(Clone, Copy)]
pub(super) struct Table(pub(super) PhysAddr);

impl Table {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(Page::zeroed()?.into_phys()))
    }

    #[inline]
    pub(super) fn entries<'a>(self) -> &'a [AtomicU64; TABLE_ENTRIES] {
        // SAFETY: by the invariant the frame holds a table; entries are only accessed atomically. No reference is kept
        // beyond the operation of the page table that made it, which holds the lock.
        unsafe { &*machine::phys_to_virt(self.0.0).cast() }
    }

    /// Number of non-empty entries.
    #[inline]
    pub(super) fn live(self) -> u32 {
        frames::frame(self.0).count().load(Relaxed).wrapping_sub(1)
    }

    #[inline]
    pub(super) fn change_live(self, by: i32) {
        let count = frames::frame(self.0).count();
        count.store(count.load(Relaxed).wrapping_add_signed(by), Relaxed);
    }

    /// The entries for `[start, end)`, which must lie within this level 3 table, with the address of the first.
    #[inline]
    pub(super) fn slice<'a>(self, start: u64, end: u64) -> &'a [AtomicU64] {
        let first = entry_index(start, 3);
        let count = (end.saturating_sub(start) / PAGE) as usize;
        self.entries().get(first..first + count).unwrap_or(&[])
    }

    /// Clears `[start, end)` below this table of `level`; returns how many tables were freed.
    pub(super) fn clear(self, level: u32, start: u64, end: u64, gather: &mut Gather<'_>) -> usize {
        let mut freed = 0;
        let mut virt = start;
        let before = self.live();
        let mut live = before;
        for slot in self.entries().iter().skip(entry_index(start, level)) {
            if virt >= end || live == 0 {
                break;
            }
            let next = ((virt | (entry_size(level) - 1)) + 1).min(end);
            let entry = Descriptor(slot.load(Relaxed));
            if entry.is_empty() {
                virt = next;
                continue;
            }
            if level == 3 {
                slot.store(0, Relaxed);
                live -= 1;
                gather.page(virt, entry.address(), entry.is_anonymous());
            } else {
                let child = Table(entry.address());
                freed += child.clear(level + 1, virt, next, gather);
                if child.live() == 0 {
                    slot.store(0, Relaxed);
                    live -= 1;
                    gather.table(child.0);
                    freed += 1;
                }
            }
            virt = next;
        }
        self.change_live(-((before - live) as i32));
        freed
    }
}

/// The end of the part of `[start, end)` that the level 3 table of `start` covers.
#[inline]
pub(super) fn leaf_end(start: u64, end: u64) -> u64 {
    ((start | (LEAF_SPAN - 1)) + 1).min(end)
}

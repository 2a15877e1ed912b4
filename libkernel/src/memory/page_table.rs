//! The page tables of a program: four levels of 512 descriptors, pages of 4 KiB.
//!
//! Owned by an address space and changed under its lock. Each table frame counts its live (non-empty) entries in its frame
//! metadata, so that walks stop early and a table is freed with its last entry. An entry at level 3 owns one reference to
//! its page.

use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::Release};

use super::address::{PAGE_SIZE, PhysAddr, USER_LIMIT};
use super::descriptor::{Descriptor, PageAccess};
use super::frames;
use super::gather::{Gather, Pages};
use super::kernel_map::{TABLE_ENTRIES, entry_index, entry_size};
use super::page::Page;
use crate::Result;
use crate::machine;

/// Bytes that one level 3 table covers.
pub const LEAF_SPAN: u64 = entry_size(2);
const PAGE: u64 = PAGE_SIZE as u64;

/// One table of 512 entries.
///
/// # Invariants
/// The frame is a table reachable from the root of a [`PageTable`] whose lock is held; its reference count is one
/// more than its number of non-empty entries.
#[derive(Clone, Copy)]
struct Table(PhysAddr);

impl Table {
    fn new() -> Result<Self> {
        Ok(Self(Page::zeroed()?.into_phys()))
    }

    #[inline]
    fn entries<'a>(self) -> &'a [AtomicU64; TABLE_ENTRIES] {
        // SAFETY: by the invariant the frame holds a table; entries are only accessed atomically. No reference is kept
        // beyond the operation of the page table that made it, which holds the lock.
        unsafe { &*machine::phys_to_virt(self.0.0).cast() }
    }

    /// Number of non-empty entries.
    #[inline]
    fn live(self) -> u32 {
        frames::frame(self.0).count().load(Relaxed).wrapping_sub(1)
    }

    #[inline]
    fn change_live(self, by: i32) {
        let count = frames::frame(self.0).count();
        count.store(count.load(Relaxed).wrapping_add_signed(by), Relaxed);
    }

    /// The entries for `[start, end)`, which must lie within this level 3 table, with the address of the first.
    #[inline]
    fn slice<'a>(self, start: u64, end: u64) -> &'a [AtomicU64] {
        let first = entry_index(start, 3);
        let count = (end.saturating_sub(start) / PAGE) as usize;
        self.entries().get(first..first + count).unwrap_or(&[])
    }
}

/// The end of the part of `[start, end)` that the level 3 table of `start` covers.
#[inline]
fn leaf_end(start: u64, end: u64) -> u64 {
    ((start | (LEAF_SPAN - 1)) + 1).min(end)
}

/// The translation tables of one address space. See the module's comment.
pub struct PageTable {
    root: Table,
    tables: usize,
}

impl PageTable {
    /// Tables that map nothing. `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self { root: Table::new()?, tables: 1 })
    }

    /// The root table, for `TTBR0_EL1`.
    #[must_use]
    pub fn root(&self) -> PhysAddr {
        self.root.0
    }

    /// Frames that the tables take.
    #[must_use]
    pub fn tables(&self) -> usize {
        self.tables
    }

    /// The level 3 table for `virt`, or the first address after the hole that `virt` lies in.
    #[inline]
    fn leaf(&self, virt: u64) -> Result<Table, u64> {
        let mut table = self.root;
        for level in 0..3 {
            let entry = table.entries().get(entry_index(virt, level)).map_or(0, |entry| entry.load(Relaxed));
            if entry == 0 {
                return Err((virt | (entry_size(level) - 1)) + 1);
            }
            table = Table(Descriptor(entry).address());
        }
        Ok(table)
    }

    /// The level 3 table for `virt`, made if need be. `ENOMEM`.
    #[inline]
    fn leaf_or_new(&mut self, virt: u64) -> Result<Table> {
        let mut table = self.root;
        for level in 0..3 {
            let Some(slot) = table.entries().get(entry_index(virt, level)) else { continue };
            let entry = Descriptor(slot.load(Relaxed));
            table = if entry.is_empty() {
                let new = Table::new()?;
                // The zeroed table must be visible before the pointer to it.
                machine::publish_page_table();
                slot.store(Descriptor::table(new.0).0, Relaxed);
                table.change_live(1);
                self.tables += 1;
                new
            } else {
                Table(entry.address())
            };
        }
        Ok(table)
    }

    /// The entry for the page at `virt`.
    #[must_use]
    #[inline]
    pub fn get(&self, virt: u64) -> Descriptor {
        self.leaf(virt)
            .ok()
            .and_then(|table| table.entries().get(entry_index(virt, 3)))
            .map_or(Descriptor::EMPTY, |entry| Descriptor(entry.load(Relaxed)))
    }

    /// Makes sure there is a table for `virt`, so that the following [`map`](Self::map) cannot fail. `ENOMEM`.
    pub fn prepare(&mut self, virt: u64) -> Result<()> {
        self.leaf_or_new(virt).map(drop)
    }

    /// Maps `page` at `virt`, where nothing is mapped and the table exists. Whoever walks to the page finds what was written to it before.
    /// The caller publishes.
    #[inline]
    pub fn map(&mut self, virt: u64, page: Page, access: PageAccess, anonymous: bool) {
        let Ok(table) = self.leaf(virt) else { return };
        let Some(entry) = table.entries().get(entry_index(virt, 3)) else { return };
        debug_assert_eq!(entry.load(Relaxed), 0);
        entry.store(Descriptor::user(page.into_phys(), access, anonymous).0, Release);
        table.change_live(1);
    }

    /// Unmaps the page at `virt`; the caller keeps it until the translation was invalidated everywhere.
    pub fn take(&mut self, virt: u64) -> Option<Page> {
        let table = self.leaf(virt).ok()?;
        let entry = table.entries().get(entry_index(virt, 3))?;
        let old = Descriptor(entry.load(Relaxed));
        if old.is_empty() {
            return None;
        }
        entry.store(0, Relaxed);
        table.change_live(-1);
        // SAFETY: the entry owned this reference, and was just cleared.
        Some(unsafe { Page::from_phys(old.address()) })
    }

    /// The page mapped at `virt`.
    #[must_use]
    pub fn page(&self, virt: u64) -> Option<Page> {
        let entry = self.get(virt);
        if entry.is_empty() {
            return None;
        }
        // SAFETY: the entry owns a reference, which this value only borrows for long enough to be cloned.
        let borrowed = ManuallyDrop::new(unsafe { Page::from_phys(entry.address()) });
        Some(Page::clone(&borrowed))
    }

    /// Gives the page mapped at `virt` other permissions. The caller publishes and invalidates.
    pub fn protect(&mut self, virt: u64, access: PageAccess) {
        let Ok(table) = self.leaf(virt) else { return };
        let Some(entry) = table.entries().get(entry_index(virt, 3)) else { return };
        let old = Descriptor(entry.load(Relaxed));
        if !old.is_empty() {
            entry.store(old.with_access(access).0, Relaxed);
        }
    }

    /// Maps `pages` at consecutive pages from `virt`, all within one level 3 table, where nothing is mapped yet; `entry` makes the
    /// descriptor. Returns how many were mapped; the caller publishes.
    pub fn fill(
        &mut self,
        virt: u64,
        pages: &mut [Option<Page>],
        entry: impl Fn(PhysAddr) -> Descriptor,
    ) -> Result<u64> {
        let table = self.leaf_or_new(virt)?;
        let mut mapped = 0;
        for (slot, page) in table.slice(virt, leaf_end(virt, USER_LIMIT)).iter().zip(pages) {
            if slot.load(Relaxed) == 0
                && let Some(page) = page.take()
            {
                slot.store(entry(page.into_phys()).0, Release);
                mapped += 1;
            }
        }
        table.change_live(mapped);
        Ok(u64::from(mapped.unsigned_abs()))
    }

    /// Calls `visit` for every non-empty entry of `[start, end)`.
    pub fn for_each(&self, start: u64, end: u64, mut visit: impl FnMut(u64, Descriptor)) {
        let mut virt = start;
        while virt < end {
            virt = match self.leaf(virt) {
                Err(next) => next,
                Ok(table) => {
                    let limit = leaf_end(virt, end);
                    for (entry, at) in table.slice(virt, limit).iter().zip((virt..).step_by(PAGE_SIZE)) {
                        let entry = Descriptor(entry.load(Relaxed));
                        if !entry.is_empty() {
                            visit(at, entry);
                        }
                    }
                    limit
                }
            };
        }
    }

    /// Replaces every non-empty entry of `[start, end)` by what `change` makes of it: the same page with other permissions.
    pub fn update(&mut self, start: u64, end: u64, gather: &mut Gather<'_>, change: impl Fn(Descriptor) -> Descriptor) {
        let mut virt = start;
        while virt < end {
            virt = match self.leaf(virt) {
                Err(next) => next,
                Ok(table) => {
                    let limit = leaf_end(virt, end);
                    for (slot, at) in table.slice(virt, limit).iter().zip((virt..).step_by(PAGE_SIZE)) {
                        let old = Descriptor(slot.load(Relaxed));
                        if old.is_empty() {
                            continue;
                        }
                        let new = change(old);
                        if new != old {
                            slot.store(new.0, Relaxed);
                            gather.changed(at);
                        }
                    }
                    limit
                }
            };
        }
    }

    /// Unmaps `[start, end)`; pages and emptied tables go to `gather`.
    pub fn clear(&mut self, start: u64, end: u64, gather: &mut Gather<'_>) {
        if start < end {
            self.tables -= clear_level(self.root, 0, start, end, gather);
        }
    }

    /// As [`clear`](Self::clear), but leaves anonymous pages.
    pub fn clear_shared(&mut self, start: u64, end: u64, gather: &mut Gather<'_>) {
        let mut virt = start;
        while virt < end {
            virt = match self.leaf(virt) {
                Err(next) => next,
                Ok(_) => {
                    let limit = leaf_end(virt, end);
                    for at in (virt..limit).step_by(PAGE_SIZE) {
                        // Asked anew each time: the table may have gone with its last entry.
                        let entry = self.get(at);
                        if !entry.is_empty() && !entry.is_anonymous() {
                            self.clear(at, at + PAGE, gather);
                        }
                    }
                    limit
                }
            };
        }
    }

    /// Unmaps pages of `[start, end)` from the start, about `limit` of them; returns the address reached.
    pub fn clear_some(&mut self, start: u64, end: u64, limit: u64, gather: &mut Gather<'_>) -> u64 {
        let enough = gather.removed.all.saturating_add(limit);
        let mut virt = start;
        while virt < end && gather.removed.all < enough {
            virt = match self.leaf(virt) {
                Err(next) => next.min(end),
                Ok(_) => {
                    let next = leaf_end(virt, end);
                    self.clear(virt, next, gather);
                    next
                }
            };
        }
        virt
    }

    /// Gives `child` the pages of `[start, end)`. With `private`, both sides lose write access, to copy on the next write.
    ///
    /// Returns the number of pages; on `ENOMEM` some were copied, which the child's destruction undoes.
    pub fn copy_range(
        &mut self,
        child: &mut Self,
        start: u64,
        end: u64,
        private: bool,
        gather: &mut Gather<'_>,
    ) -> Result<Pages> {
        let mut copied = Pages::default();
        let mut virt = start;
        while virt < end {
            let table = match self.leaf(virt) {
                Ok(table) => table,
                Err(next) => {
                    virt = next;
                    continue;
                }
            };
            let limit = leaf_end(virt, end);
            let target = child.leaf_or_new(virt)?;
            let mut here = 0;
            let unseen = table.live();
            for (from, to) in table.slice(virt, limit).iter().zip(target.slice(virt, limit)) {
                let mut entry = Descriptor(from.load(Relaxed));
                if entry.is_empty() {
                    continue;
                }
                if private && entry.access().write {
                    entry = entry.read_only();
                    from.store(entry.0, Relaxed);
                    gather.changed_everywhere();
                }
                frames::frame(entry.address()).count().fetch_add(1, Relaxed);
                to.store(entry.0, Relaxed);
                copied.anonymous += u64::from(entry.is_anonymous());
                here += 1;
                if here as u32 == unseen {
                    break;
                }
            }
            target.change_live(here);
            copied.all += u64::from(here.unsigned_abs());
            if here == 0 && target.live() == 0 {
                child.clear_empty(virt);
            }
            virt = limit;
        }
        Ok(copied)
    }

    /// Frees the tables that lead to `virt` as far as they are empty.
    fn clear_empty(&mut self, virt: u64) {
        let mut gather = Gather::dead();
        self.clear(virt, virt + PAGE, &mut gather);
    }

    /// Moves the entries of `[from, from + length)` to `to`; the ranges do not overlap and nothing is mapped at `to`.
    ///
    /// On `ENOMEM` what was moved stays moved: the caller moves it back.
    pub fn move_range(&mut self, from: u64, to: u64, length: u64, gather: &mut Gather<'_>) -> Result<()> {
        let mut done = 0;
        while done < length {
            let (source, virt) = (from + done, to + done);
            let old = match self.leaf(source) {
                Err(next) => {
                    done = next.saturating_sub(from);
                    continue;
                }
                Ok(table) => table,
            };
            done += PAGE;
            let Some(slot) = old.entries().get(entry_index(source, 3)) else { continue };
            let entry = Descriptor(slot.load(Relaxed));
            if entry.is_empty() {
                continue;
            }
            let new = self.leaf_or_new(virt)?;
            let Some(target) = new.entries().get(entry_index(virt, 3)) else { continue };
            slot.store(0, Relaxed);
            old.change_live(-1);
            target.store(entry.0, Relaxed);
            new.change_live(1);
            gather.changed(source);
        }
        self.clear(from, from + length, gather);
        Ok(())
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        let mut gather = Gather::dead();
        if self.root.live() > 0 {
            self.clear(0, USER_LIMIT, &mut gather);
        }
        gather.table(self.root.0);
    }
}

/// Clears `[start, end)` below `table`, a table of `level`; returns how many tables were freed.
fn clear_level(table: Table, level: u32, start: u64, end: u64, gather: &mut Gather<'_>) -> usize {
    let mut freed = 0;
    let mut virt = start;
    let before = table.live();
    let mut live = before;
    for slot in table.entries().iter().skip(entry_index(start, level)) {
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
            freed += clear_level(child, level + 1, virt, next, gather);
            if child.live() == 0 {
                slot.store(0, Relaxed);
                live -= 1;
                gather.table(child.0);
                freed += 1;
            }
        }
        virt = next;
    }
    table.change_live(-((before - live) as i32));
    freed
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: PageAccess = PageAccess { read: true, write: true, execute: false };

    fn map(table: &mut PageTable, virt: u64) -> Page {
        let page = Page::zeroed().unwrap();
        table.prepare(virt).unwrap();
        table.map(virt, page.clone(), ALL, true);
        page
    }

    #[test]
    fn tables_come_with_the_first_entry_and_go_with_the_last() {
        let mut table = PageTable::new().unwrap();
        let far = USER_LIMIT - PAGE;
        let (low, high) = (map(&mut table, 0x40_0000), map(&mut table, far));
        assert_eq!(table.tables(), 7);
        assert_eq!((low.references(), high.references()), (2, 2));
        let mut gather = Gather::dead();
        table.clear(far, USER_LIMIT, &mut gather);
        assert_eq!(gather.removed, Pages { all: 1, anonymous: 1 });
        drop(gather);
        assert_eq!(table.tables(), 4);
        assert_eq!((low.references(), high.references()), (2, 1));
        drop(table);
        assert_eq!(low.references(), 1);
    }

    #[test]
    fn copying_takes_write_access_from_both_sides() {
        let mut parent = PageTable::new().unwrap();
        let mut child = PageTable::new().unwrap();
        let page = map(&mut parent, 0x1f_f000);
        let shared = map(&mut parent, 0x20_0000);
        let mut gather = Gather::dead();
        let copied = parent.copy_range(&mut child, 0x10_0000, 0x20_0000, true, &mut gather).unwrap();
        assert_eq!(copied.all, 1);
        parent.copy_range(&mut child, 0x20_0000, 0x40_0000, false, &mut gather).unwrap();
        assert_eq!((page.references(), shared.references()), (3, 3));
        for table in [&parent, &child] {
            assert!(!table.get(0x1f_f000).access().write);
            assert!(table.get(0x20_0000).access().write);
        }
    }

    #[test]
    fn moving_keeps_pages_and_frees_the_old_tables() {
        let mut table = PageTable::new().unwrap();
        let page = map(&mut table, 0x40_0000);
        let mut gather = Gather::dead();
        table.move_range(0x40_0000, 0x8000_0000, 2 * PAGE, &mut gather).unwrap();
        assert!(table.get(0x40_0000).is_empty());
        assert_eq!(table.get(0x8000_0000).address(), page.phys());
        assert_eq!(page.references(), 2);
        drop(gather);
        assert_eq!(table.tables(), 4);
    }
}

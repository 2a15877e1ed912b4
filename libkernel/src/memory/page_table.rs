//! The page tables of a program: four levels of 512 descriptors, pages of 4 KiB.
//!
//! Owned by an address space and changed under its lock. Each table frame counts its live (non-empty) entries in its frame
//! metadata, so that walks stop early and a table is freed with its last entry. An entry at level 3 owns one reference to
//! its page.

mod ranges;
mod table;

use core::mem::ManuallyDrop;
use core::sync::atomic::{Ordering::Relaxed, Ordering::Release};

use self::table::{Table, leaf_end};
use super::address::{PAGE_SIZE, PhysAddr, USER_LIMIT};
use super::descriptor::{Descriptor, PageAccess};
use super::gather::Gather;
use super::kernel_map::{entry_index, entry_size};
use super::page::Page;
use crate::Result;
use crate::machine;

/// Bytes that one level 3 table covers.
pub const LEAF_SPAN: u64 = entry_size(2);
const PAGE: u64 = PAGE_SIZE as u64;

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
        self.table_or_new(virt, 3)
    }

    /// The table of this level for `virt`, made if need be. `ENOMEM`.
    #[inline]
    fn table_or_new(&mut self, virt: u64, wanted: u32) -> Result<Table> {
        let mut table = self.root;
        for level in 0..wanted {
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

#[cfg(test)]
mod tests;

//! What is done to a range of pages: visiting, changing, clearing, copying and moving them.

use core::sync::atomic::Ordering::Relaxed;

use super::table::leaf_end;
use super::{LEAF_SPAN, PAGE, PageTable};
use crate::Result;
use crate::memory::address::PAGE_SIZE;
use crate::memory::descriptor::Descriptor;
use crate::memory::frames;
use crate::memory::gather::{Gather, Pages};
use crate::memory::kernel_map::entry_index;

impl PageTable {
    /// The address up to which `[start, end)` has about `limit` pages, or `end`.
    #[must_use]
    pub fn reach(&self, start: u64, end: u64, limit: u64) -> u64 {
        let mut pages = 0;
        let mut virt = start;
        while virt < end && pages < limit {
            virt = match self.leaf(virt) {
                Err(next) => next.min(end),
                Ok(table) => {
                    pages += u64::from(table.live());
                    leaf_end(virt, end)
                }
            };
        }
        virt
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
            self.tables -= self.root.clear(0, start, end, gather);
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

    /// Moves the entries of `[from, from + length)` to `to`; the ranges do not overlap and nothing is mapped at `to`. Where both lie alike
    /// within level 3 tables, whole tables are moved.
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
            if (source | virt).is_multiple_of(LEAF_SPAN) && length - done >= LEAF_SPAN {
                self.move_leaf(source, virt, gather)?;
                done += LEAF_SPAN;
                continue;
            }
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

    /// Moves the level 3 table of `from`, which there is, to `to`, where nothing is mapped. `ENOMEM`.
    fn move_leaf(&mut self, from: u64, to: u64, gather: &mut Gather<'_>) -> Result<()> {
        let (old, new) = (self.table_or_new(from, 2)?, self.table_or_new(to, 2)?);
        let (Some(source), Some(target)) =
            (old.entries().get(entry_index(from, 2)), new.entries().get(entry_index(to, 2)))
        else {
            return Ok(());
        };
        let unused = Descriptor(target.load(Relaxed));
        if unused.is_empty() {
            new.change_live(1);
        } else {
            // A table that was made and never filled. Cores may remember where it is: it goes before another takes its place.
            target.store(0, Relaxed);
            gather.table(unused.address());
            gather.flush();
            self.tables -= 1;
        }
        target.store(source.swap(0, Relaxed), Relaxed);
        old.change_live(-1);
        gather.changed_everywhere();
        Ok(())
    }
}

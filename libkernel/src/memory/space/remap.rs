//! Growing, shrinking and moving a mapping: mremap(2).
#![forbid(unsafe_code)]

use super::layout::LOWEST_ADDRESS;
use super::map::Placement;
use super::{AddressSpace, State};
use crate::memory::address::{PAGE_MASK, PAGE_SIZE, USER_LIMIT, VirtAddr, page_ceil, user_page_range};
use crate::memory::gather::Gather;
use crate::memory::page_table::LEAF_SPAN;
use crate::memory::vma::{Vma, VmaFlags};
use crate::{Errno, Result};

/// Where mremap(2) may put the mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    /// It must stay.
    Never,
    /// Somewhere else, if it cannot grow where it is.
    IfNeeded,
    /// Exactly there, replacing what is there.
    To(u64),
    /// Elsewhere, or exactly there, leaving an empty mapping behind (`MREMAP_DONTUNMAP`).
    LeavingEmpty(Option<u64>),
}

impl AddressSpace {
    /// Changes the size or the place of the mapping at `old` and returns its address. Errors as mremap(2).
    pub fn remap(&self, old: u64, old_length: u64, new_length: u64, how: Move) -> Result<VirtAddr> {
        if old & PAGE_MASK != 0 || new_length == 0 {
            return Err(Errno::EINVAL);
        }
        let old_length = page_ceil(old_length).ok_or(Errno::EINVAL)?;
        let new_length = page_ceil(new_length).filter(|&length| length <= USER_LIMIT).ok_or(Errno::ENOMEM)?;
        let (old, old_end) = user_page_range(old, old_length).ok_or(Errno::EFAULT)?;
        let mut state = self.state.lock();
        let mut gather = Gather::new(&self.context);
        let (target, leave) = match how {
            Move::To(to) => (Some(to), false),
            Move::LeavingEmpty(to) => (to, true),
            Move::Never | Move::IfNeeded => (None, false),
        };
        if leave && old_length != new_length {
            return Err(Errno::EINVAL);
        }
        if let Some(to) = target {
            let (to, to_end) = user_page_range(to, new_length).ok_or(Errno::EINVAL)?;
            if to < old_end && old < to_end || to < LOWEST_ADDRESS {
                return Err(Errno::EINVAL);
            }
        }
        let vma = state.vmas.find(old).cloned().ok_or(Errno::EFAULT)?;
        if old_length == 0 {
            // A second mapping of the same shared memory: an old, documented use.
            if vma.is_private() {
                return Err(Errno::EINVAL);
            }
            return state.duplicate(&vma, old, new_length, target, &mut gather);
        }
        if old_end > vma.end {
            return Err(Errno::EFAULT);
        }
        if target.is_none() && !leave {
            if new_length <= old_length {
                state.unmap(old + new_length, old_end, &mut gather)?;
                return Ok(VirtAddr(old));
            }
            if state.grow_in_place(&vma, old, old_end, new_length)? {
                drop(gather);
                drop(state);
                if vma.flags.contains(VmaFlags::LOCKED) {
                    self.populate(old_end, old + new_length);
                }
                return Ok(VirtAddr(old));
            }
            if how == Move::Never {
                return Err(Errno::ENOMEM);
            }
        }
        state.relocate(vma, old, old_end, new_length, target, leave, &mut gather)
    }
}

impl State {
    /// Extends the mapping that ends at `old_end`, if there is room. Whether it did.
    fn grow_in_place(&mut self, vma: &Vma, old: u64, old_end: u64, new_length: u64) -> Result<bool> {
        let Some((_, new_end)) = user_page_range(old, new_length) else { return Ok(false) };
        if vma.end != old_end || self.vmas.overlaps(old_end, new_end) {
            return Ok(false);
        }
        let mut more = vma.clone();
        (more.start, more.end) = (old_end, new_end);
        more.offset = vma.offset_at(old_end);
        self.check_limits(&more)?;
        let counted = more.clone();
        self.vmas.insert(more)?;
        self.counts.add(&counted);
        Ok(true)
    }

    /// A place for a mapping moved from `old`; what is at a fixed place is removed.
    fn make_room(&mut self, old: u64, target: Option<u64>, length: u64, gather: &mut Gather<'_>) -> Result<u64> {
        // What is left of the old one on both sides, and the new one.
        self.check_mappings(2)?;
        let Some(to) = target else { return self.place_alike(old, length) };
        self.unmap(to, to + length, gather)?;
        Ok(to)
    }

    /// A place for `length` bytes; for many one that lies within level 3 tables as `old` does, if there is one: then these move whole.
    fn place_alike(&self, old: u64, length: u64) -> Result<u64> {
        const SLACK: u64 = LEAF_SPAN - PAGE_SIZE as u64;
        if length >= 2 * LEAF_SPAN
            && let Ok(lowest) = self.place(0, length + SLACK, Placement::Anywhere)
        {
            let highest = lowest + SLACK;
            return Ok(highest - highest.wrapping_sub(old) % LEAF_SPAN);
        }
        self.place(0, length, Placement::Anywhere)
    }

    fn duplicate(
        &mut self,
        vma: &Vma,
        old: u64,
        length: u64,
        target: Option<u64>,
        gather: &mut Gather<'_>,
    ) -> Result<VirtAddr> {
        let mut copy = vma.clone();
        let to = self.make_room(old, target, length, gather)?;
        copy.offset = vma.offset_at(old);
        (copy.start, copy.end) = (to, to + length);
        self.check_limits(&copy)?;
        let counted = copy.clone();
        self.vmas.insert(copy)?;
        self.counts.add(&counted);
        Ok(VirtAddr(to))
    }

    /// Moves `[old, old_end)`, a part of `vma`, to where `new_length` bytes fit.
    #[expect(clippy::too_many_arguments, reason = "the arguments of the system call, checked")]
    fn relocate(
        &mut self,
        vma: Vma,
        old: u64,
        old_end: u64,
        new_length: u64,
        target: Option<u64>,
        leave: bool,
        gather: &mut Gather<'_>,
    ) -> Result<VirtAddr> {
        let mut moved = vma.clone();
        let to = self.make_room(old, target, new_length, gather)?;
        moved.offset = vma.offset_at(old);
        (moved.start, moved.end) = (to, to + new_length);
        if !leave {
            // The old place is given up, so only the growth counts.
            let mut growth = moved.clone();
            growth.end = growth.start + new_length.saturating_sub(old_end - old);
            if growth.start < growth.end {
                self.check_limits(&growth)?;
            }
        } else {
            self.check_limits(&moved)?;
        }
        self.split(old, old_end)?;
        let counted = moved.clone();
        self.vmas.insert(moved)?;
        self.counts.add(&counted);
        let length = new_length.min(old_end - old);
        if let Err(error) = self.table.move_range(old, to, length, gather) {
            // Tables for the way back exist unless they were just emptied, in which case a fault finds zeros no less
            // lost than the program, which has no memory left.
            let _ = self.table.move_range(to, old, length, gather);
            gather.flush();
            let counts = &mut self.counts;
            self.vmas.split_at(to)?;
            self.vmas.split_at(to + new_length)?;
            self.vmas.remove_range(to, to + new_length, |vma| counts.remove(&vma));
            self.free_top = self.layout.map_top;
            return Err(error);
        }
        if !leave {
            self.unmap(old, old_end, gather)?;
        }
        Ok(VirtAddr(to))
    }
}

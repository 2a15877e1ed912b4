//! Advice, locking and residency: madvise(2), mlock(2), mlockall(2), mincore(2), msync(2).
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::ops::Range;

use super::{Access, AddressSpace, State, pages};
use crate::memory::address::{PAGE_MASK, PAGE_SHIFT, user_page_range};
use crate::memory::gather::Gather;
use crate::memory::vma::{Protection, Vma, VmaFlags};
use crate::{Errno, Result};

/// What madvise(2) can say that has an effect here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// Nothing that changes anything (`NORMAL`, `RANDOM`, `SEQUENTIAL`, `WILLNEED`, huge pages, ...).
    Hint,
    /// Drop the pages; the next touch finds zeros or the file's contents (`DONTNEED`).
    DontNeed,
    /// The contents may be dropped (`FREE`): private anonymous memory only.
    Free,
    /// Set these flags on the mapping.
    Set(VmaFlags),
    /// Clear these flags.
    Clear(VmaFlags),
    /// Make the pages present for reading or writing (`POPULATE_READ`, `POPULATE_WRITE`).
    Populate(Access),
}

impl AddressSpace {
    /// Follows advice about `[start, start + length)`. `EINVAL`; `ENOMEM` where something is not mapped (the rest is done).
    pub fn advise(&self, start: u64, length: u64, advice: Advice) -> Result<()> {
        let (start, end) = user_page_range(start, length).ok_or(Errno::EINVAL)?;
        if start == end {
            return Ok(());
        }
        if let Advice::Populate(access) = advice {
            return self.populate_for(start, end, access);
        }
        let mut state = self.state.lock();
        let mut gather = Gather::new(&self.context);
        let complete = state.vmas.covers(start, end);
        match advice {
            Advice::Hint | Advice::Populate(_) => {}
            Advice::DontNeed | Advice::Free => state.discard(start, end, advice == Advice::Free, &mut gather)?,
            Advice::Set(flags) => state.change_flags(start, end, |vma| vma.flags.insert(flags))?,
            Advice::Clear(flags) => state.change_flags(start, end, |vma| vma.flags.remove(flags))?,
        }
        if complete { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    fn populate_for(&self, start: u64, end: u64, access: Access) -> Result<()> {
        for at in (start..end).step_by(1 << PAGE_SHIFT) {
            let mut state = self.state.lock();
            if state.vmas.find(at).is_none() {
                return Err(Errno::ENOMEM);
            }
            state.fault(&self.context, at, access).map_err(|_| Errno::EFAULT)?;
        }
        Ok(())
    }

    /// Locks or unlocks `[start, start + length)` (rounded outwards to pages), and returns that range. Nothing is ever paged out here, so
    /// locking only counts the pages; the caller makes them present. `ENOMEM`: not all mapped, or beyond the limit; `EPERM`: the limit
    /// is zero; `EINVAL`: it wraps around.
    ///
    /// `privileged`: no limit.
    pub fn lock_range(&self, start: u64, length: u64, lock: bool, privileged: bool) -> Result<Range<u64>> {
        let first = start & !PAGE_MASK;
        let length = length.checked_add(start & PAGE_MASK).ok_or(Errno::EINVAL)?;
        let (start, end) = user_page_range(first, length).ok_or(Errno::ENOMEM)?;
        let mut state = self.state.lock();
        if lock {
            state.begin_locking(privileged)?;
            if !state.may_lock(pages(end - start)) {
                return Err(Errno::ENOMEM);
            }
        }
        if !state.vmas.covers(start, end) {
            return Err(Errno::ENOMEM);
        }
        state.change_flags(start, end, |vma| vma.flags.set(VmaFlags::LOCKED, lock))?;
        Ok(start..end)
    }

    /// Locks everything that is mapped (`current`), that will be mapped (`future`), or with neither unlocks everything; the caller makes
    /// it present.
    pub fn lock_all(&self, current: bool, future: bool, privileged: bool) -> Result<()> {
        let mut state = self.state.lock();
        if current || future {
            state.begin_locking(privileged)?;
            let unlocked = state.counts.total - state.counts.locked;
            if current && !state.may_lock(unlocked) {
                return Err(Errno::ENOMEM);
            }
        }
        state.future_flags.set(VmaFlags::LOCKED, future);
        if current || !future {
            state.change_flags(0, u64::MAX, |vma| vma.flags.set(VmaFlags::LOCKED, current))?;
        }
        Ok(())
    }

    /// The first mapping that ends after `address`.
    #[must_use]
    pub fn range_from(&self, address: u64) -> Option<Range<u64>> {
        self.state.lock().vmas.iter_from(address).next().map(|vma| vma.start..vma.end)
    }

    /// For each page from `start` on, whether it is present; `ENOMEM` where nothing is mapped.
    pub fn residency(&self, start: u64, present: &mut [bool]) -> Result<()> {
        let (start, end) = user_page_range(start, (present.len() as u64) << PAGE_SHIFT).ok_or(Errno::ENOMEM)?;
        let state = self.state.lock();
        if !state.vmas.covers(start, end) {
            return Err(Errno::ENOMEM);
        }
        present.fill(false);
        state.table.for_each(start, end, |at, _| {
            if let Some(slot) = present.get_mut(pages(at - start) as usize) {
                *slot = true;
            }
        });
        // Pages of an object that are not mapped yet count if the object has them.
        for vma in state.vmas.iter_range(start, end) {
            let Some(backing) = &vma.backing else { continue };
            for at in (vma.start.max(start)..vma.end.min(end)).step_by(1 << PAGE_SHIFT) {
                if let Some(slot) = present.get_mut(pages(at - start) as usize)
                    && !*slot
                {
                    let mut page = [None];
                    backing.source.present_pages(vma.page_index(at), &mut page);
                    *slot = page != [None];
                }
            }
        }
        Ok(())
    }

    /// Writes shared file mappings in `[start, start + length)` back, if `wait`. `ENOMEM` where nothing is mapped.
    pub fn sync(&self, start: u64, length: u64, wait: bool) -> Result<()> {
        let (start, end) = user_page_range(start, length).ok_or(Errno::ENOMEM)?;
        let complete = self.state.lock().vmas.covers(start, end);
        let mut at = start;
        while wait && at < end {
            let next = self.state.lock().vmas.iter_range(at, end).next().cloned();
            let Some(vma) = next else { break };
            at = vma.end;
            if let (Some(backing), false) = (&vma.backing, vma.is_private()) {
                let first = vma.offset_at(vma.start.max(start));
                let source = Arc::clone(&backing.source);
                source.sync(first, vma.offset_at(vma.end.min(end)))?;
            }
        }
        if complete { Ok(()) } else { Err(Errno::ENOMEM) }
    }
}

impl State {
    /// Notes whether the limit binds; `EPERM` for a program that may lock nothing.
    fn begin_locking(&mut self, privileged: bool) -> Result<()> {
        if !privileged && self.limits.locked == 0 {
            return Err(Errno::EPERM);
        }
        self.unlimited_locks = privileged;
        Ok(())
    }

    /// Drops the pages of `[start, end)`.
    fn discard(&mut self, start: u64, end: u64, free: bool, gather: &mut Gather<'_>) -> Result<()> {
        let refused = |vma: &Vma| {
            vma.flags.intersects(VmaFlags::LOCKED | VmaFlags::KERNEL)
                || free && (vma.backing.is_some() || !vma.protection.contains(Protection::WRITE) && !vma.is_private())
        };
        if self.vmas.iter_range(start, end).any(refused) {
            return Err(Errno::EINVAL);
        }
        self.clear(start, end, gather);
        Ok(())
    }

    /// Changes flags of the mappings in `[start, end)`.
    fn change_flags(&mut self, start: u64, end: u64, change: impl Fn(&mut Vma)) -> Result<()> {
        self.split_for_good(start, end)?;
        let counts = &mut self.counts;
        self.vmas.change_range(start, end, |vma| {
            counts.remove(vma);
            change(vma);
            counts.add(vma);
        });
        Ok(())
    }
}

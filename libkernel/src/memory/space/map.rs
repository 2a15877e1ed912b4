//! Mapping, unmapping and protecting: mmap(2), munmap(2), mprotect(2).
#![forbid(unsafe_code)]

use core::ops::Range;

use super::layout::LOWEST_ADDRESS;
use super::{AddressSpace, State, pages};
use crate::memory::address::{PAGE_MASK, PAGE_SHIFT, USER_LIMIT, VirtAddr, page_ceil, page_floor, user_page_range};
use crate::memory::descriptor::PageAccess;
use crate::memory::frames;
use crate::memory::gather::Gather;
use crate::memory::shared::SharedMemory;
use crate::memory::vma::{Backing, Protection, Vma, VmaFlags};
use crate::{Errno, Result};

/// Mappings a program may have, as Linux's `vm.max_map_count`.
const MAX_MAPPINGS: usize = 65_530;

/// Pages made present under one hold of the lock, so that other threads get it.
const AT_A_TIME: u64 = 64;

/// Where a mapping is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// Wherever there is room; the address is a hint.
    Anywhere,
    /// Exactly there, replacing what is there (`MAP_FIXED`).
    Fixed,
    /// Exactly there, if nothing is there (`MAP_FIXED_NOREPLACE`).
    FixedNoReplace,
}

/// A mapping to be made.
pub struct MapRequest {
    /// Address or hint.
    pub address: u64,
    /// Bytes; rounded up to pages.
    pub length: u64,
    /// What the program may do.
    pub protection: Protection,
    /// How to take `address`.
    pub placement: Placement,
    /// Properties. Shared without a backing object makes anonymous shared memory.
    pub flags: VmaFlags,
    /// The object to map.
    pub backing: Option<Backing>,
    /// Where in the object to start, in bytes; page-aligned.
    pub offset: u64,
    /// Make all pages present at once (`MAP_POPULATE`).
    pub populate: bool,
}

impl MapRequest {
    /// Private anonymous memory anywhere.
    #[must_use]
    pub fn anonymous(length: u64, protection: Protection) -> Self {
        Self {
            address: 0,
            length,
            protection,
            placement: Placement::Anywhere,
            flags: VmaFlags::empty(),
            backing: None,
            offset: 0,
            populate: false,
        }
    }

    /// The same at a fixed address, replacing what is there.
    #[must_use]
    pub fn at(self, address: u64) -> Self {
        Self { address, placement: Placement::Fixed, ..self }
    }

    /// The same with a backing object from `offset` on.
    #[must_use]
    pub fn of(self, backing: Backing, offset: u64) -> Self {
        Self { backing: Some(backing), offset, ..self }
    }
}

impl AddressSpace {
    /// Makes a mapping and returns its address. Errors as mmap(2): `EINVAL`, `ENOMEM`, `EEXIST`, `EOVERFLOW`, `EPERM`.
    pub fn map(&self, request: MapRequest) -> Result<VirtAddr> {
        if request.length == 0 || request.offset & PAGE_MASK != 0 {
            return Err(Errno::EINVAL);
        }
        let length = page_ceil(request.length).filter(|&length| length <= USER_LIMIT).ok_or(Errno::ENOMEM)?;
        request.offset.checked_add(length).ok_or(Errno::EOVERFLOW)?;
        let mut backing = request.backing;
        if backing.is_none() && request.flags.contains(VmaFlags::SHARED) {
            check_fits(pages(length), request.flags)?;
            backing = Some(Backing { source: SharedMemory::new(length), name: None, writer: None });
        }
        if let Some(backing) = &backing {
            self.note_mapping(backing)?;
        }
        let mut state = self.state.lock();
        let start = state.place(request.address, length, request.placement)?;
        let end = start + length;
        let offset = if backing.is_some() { request.offset } else { 0 };
        let flags = request.flags | state.future_flags;
        let vma = Vma { start, end, offset, backing, protection: request.protection, flags };
        state.check_limits(&vma)?;
        if request.placement == Placement::Fixed {
            // Before anything goes: a failure is to change nothing.
            state.check_replacement(start, end)?;
            let mut gather = Gather::new(&self.context);
            state.unmap(start, end, &mut gather)?;
        } else {
            state.check_mappings(1)?;
        }
        let locked = flags.contains(VmaFlags::LOCKED);
        let counted = vma.clone();
        state.vmas.insert(vma)?;
        state.counts.add(&counted);
        if end == state.free_top {
            state.free_top = start;
        }
        drop(state);
        if request.populate || locked {
            self.populate(start, end);
        }
        Ok(VirtAddr(start))
    }

    /// Has an object that is about to be mapped note this address space, unless it has already.
    fn note_mapping(&self, backing: &Backing) -> Result<()> {
        let Some(mappings) = backing.source.mappings() else { return Ok(()) };
        let known = |vma: &Vma| vma.backing.as_ref().is_some_and(|known| known.is(backing));
        if self.state.lock().vmas.iter().any(known) { Ok(()) } else { mappings.add(&self.me) }
    }

    /// Removes all mappings in `[start, start + length)`. `EINVAL`; `ENOMEM` when a mapping cannot be split.
    pub fn unmap(&self, start: u64, length: u64) -> Result<()> {
        let (start, end) = user_page_range(start, length).filter(|(start, end)| start < end).ok_or(Errno::EINVAL)?;
        let mut state = self.state.lock();
        let mut gather = Gather::new(&self.context);
        state.unmap(start, end, &mut gather)
    }

    /// Does of [`unmap`](Self::unmap) all that can fail, so that pages freed before it are not freed in vain: the ends of the range become
    /// borders of mappings.
    pub fn prepare_unmap(&self, start: u64, length: u64) -> Result<Range<u64>> {
        let (start, end) = user_page_range(start, length).filter(|(start, end)| start < end).ok_or(Errno::EINVAL)?;
        self.state.lock().split_to_unmap(start, end)?;
        Ok(start..end)
    }

    /// Changes what the program may do with `[start, start + length)`. `EINVAL`; `ENOMEM` where something is not mapped (what
    /// lies before it is changed, as on Linux); `EACCES` for a file that was not opened for writing.
    pub fn protect(&self, start: u64, length: u64, protection: Protection) -> Result<()> {
        let (start, end) = protection_range(start, length)?;
        let mut state = self.state.lock();
        let mut gather = Gather::new(&self.context);
        state.protect(start, end, protection, &mut gather)
    }

    /// As [`protect`](Self::protect), for as much from the start of the range as has about `limit` pages; returns how long that was.
    pub fn protect_some(&self, start: u64, length: u64, protection: Protection, limit: u64) -> Result<u64> {
        let (start, end) = protection_range(start, length)?;
        let mut state = self.state.lock();
        let mut gather = Gather::new(&self.context);
        let reached = state.table.reach(start, end, limit);
        state.protect(start, reached, protection, &mut gather)?;
        Ok(reached - start)
    }

    /// Makes the pages of `[start, end)` present as far as possible; errors do not matter.
    pub(super) fn populate(&self, start: u64, end: u64) {
        let mut next = Some(start);
        while let Some(at) = next {
            next = self.populate_some(at, end);
        }
    }

    /// Makes some pages of `[start, end)` present, for reading or (where that copies) for writing; returns where to go on. `None`: all
    /// are, or the next cannot be.
    #[must_use]
    pub fn populate_some(&self, start: u64, end: u64) -> Option<u64> {
        let mut state = self.state.lock();
        let vma = state.vmas.find(start).filter(|_| start < end)?;
        let access = if vma.is_private() && vma.protection.contains(Protection::WRITE) {
            super::Access::Write
        } else {
            super::Access::Read
        };
        let limit = vma.end.min(end).min(start.saturating_add(AT_A_TIME << PAGE_SHIFT));
        for at in (start..limit).step_by(1 << PAGE_SHIFT) {
            state.fault(&self.context, at, access).ok()?;
        }
        Some(limit)
    }
}

/// The pages of `[start, start + length)` as mprotect(2) takes them. `EINVAL`, `ENOMEM`.
fn protection_range(start: u64, length: u64) -> Result<(u64, u64)> {
    match length {
        _ if start & PAGE_MASK != 0 => Err(Errno::EINVAL),
        0 => Ok((start, start)),
        _ => user_page_range(start, length).ok_or(Errno::ENOMEM),
    }
}

/// Refuses what could never be filled; the rest is found out when it is touched.
fn check_fits(pages: u64, flags: VmaFlags) -> Result<()> {
    let total = frames::total() as u64;
    let fits = flags.contains(VmaFlags::NO_RESERVE) || pages <= total || total == 0;
    if fits { Ok(()) } else { Err(Errno::ENOMEM) }
}

impl State {
    /// The address for a mapping of `length` bytes.
    pub(super) fn place(&self, address: u64, length: u64, placement: Placement) -> Result<u64> {
        if placement != Placement::Anywhere {
            if address & PAGE_MASK != 0 {
                return Err(Errno::EINVAL);
            }
            let (start, end) = user_page_range(address, length).ok_or(Errno::ENOMEM)?;
            if start < LOWEST_ADDRESS {
                return Err(Errno::EPERM);
            }
            if placement == Placement::FixedNoReplace && self.vmas.overlaps(start, end) {
                return Err(Errno::EEXIST);
            }
            return Ok(start);
        }
        let hint = page_floor(address);
        if hint >= LOWEST_ADDRESS
            && let Some((start, end)) = user_page_range(hint, length)
            && !self.vmas.overlaps(start, end)
        {
            return Ok(start);
        }
        let top = self.layout.map_top;
        self.vmas
            .find_hole_below(length, LOWEST_ADDRESS, top.min(self.free_top))
            .or_else(|| self.vmas.find_hole_above(length, top, USER_LIMIT))
            .ok_or(Errno::ENOMEM)
    }

    /// Whether the limits permit another such mapping. `ENOMEM`.
    pub(super) fn check_limits(&self, vma: &Vma) -> Result<()> {
        let total = self.counts.total.saturating_add(vma.pages());
        let data = self.counts.data.saturating_add(vma.pages());
        if total > pages(self.limits.address_space) || vma.is_data() && data > pages(self.limits.data) {
            return Err(Errno::ENOMEM);
        }
        if vma.flags.contains(VmaFlags::LOCKED) && !self.may_lock(vma.pages()) {
            return Err(Errno::EAGAIN);
        }
        if vma.is_data() { check_fits(vma.pages(), vma.flags) } else { Ok(()) }
    }

    /// Whether there may be so many more mappings, and there is memory to describe them. `ENOMEM`.
    pub(super) fn check_mappings(&self, more: usize) -> Result<()> {
        if self.vmas.len() + more > MAX_MAPPINGS || frames::low() { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Whether so many more pages may be locked.
    pub(super) fn may_lock(&self, more: u64) -> bool {
        self.unlimited_locks || self.counts.locked.saturating_add(more) <= pages(self.limits.locked)
    }

    /// Removes the mappings in `[start, end)`, page-aligned.
    pub(super) fn unmap(&mut self, start: u64, end: u64, gather: &mut Gather<'_>) -> Result<()> {
        if start >= end || !self.vmas.overlaps(start, end) {
            return Ok(());
        }
        self.split_to_unmap(start, end)?;
        let counts = &mut self.counts;
        self.vmas.remove_range(start, end, |vma| counts.remove(&vma));
        self.free_top = self.free_top.max(end.min(self.layout.map_top));
        self.clear(start, end, gather);
        Ok(())
    }

    /// As [`split`](Self::split), for a change that takes the parts between away.
    fn split_to_unmap(&mut self, start: u64, end: u64) -> Result<()> {
        if self.surround(start, end) {
            self.check_mappings(1)?;
        }
        self.split(start, end)
    }

    /// Whether one mapping reaches beyond both ends: without what lies between there is one more than there was.
    fn surround(&self, start: u64, end: u64) -> bool {
        self.vmas.find(start).is_some_and(|vma| vma.start < start && end < vma.end)
    }

    /// Whether there may be one mapping in place of all that is in `[start, end)`. `ENOMEM`.
    fn check_replacement(&self, start: u64, end: u64) -> Result<()> {
        let gone = self.vmas.iter_range(start, end).filter(|vma| start <= vma.start && vma.end <= end).count();
        self.check_mappings((1 + usize::from(self.surround(start, end))).saturating_sub(gone))
    }

    /// As [`split`](Self::split), for a change that keeps all the parts.
    pub(super) fn split_for_good(&mut self, start: u64, end: u64) -> Result<()> {
        let inside = |at| self.vmas.find(at).is_some_and(|vma| vma.start < at);
        let more = usize::from(inside(start)) + usize::from(inside(end));
        if more > 0 {
            self.check_mappings(more)?;
        }
        self.split(start, end)
    }

    /// Makes `start` and `end` borders of mappings. `ENOMEM`.
    pub(super) fn split(&mut self, start: u64, end: u64) -> Result<()> {
        self.vmas.split_at(start)?;
        self.vmas.split_at(end).inspect_err(|_| self.vmas.merge_at(start))
    }

    fn protect(&mut self, start: u64, end: u64, protection: Protection, gather: &mut Gather<'_>) -> Result<()> {
        if start >= end {
            return Ok(());
        }
        // Change what is mapped without a hole; complain about the rest afterwards.
        let mut reached = start;
        let mut error = None;
        for vma in self.vmas.iter_range(start, end) {
            if vma.start > reached {
                break;
            }
            if vma.flags.forbid(protection) {
                error = Some(Errno::EACCES);
                break;
            }
            reached = vma.end.min(end);
        }
        if reached < end {
            error = error.or(Some(Errno::ENOMEM));
        }
        let end = reached;
        if start < end {
            self.split_for_good(start, end)?;
            let counts = &mut self.counts;
            self.vmas.change_range(start, end, |vma| {
                counts.remove(vma);
                vma.protection = protection;
                counts.add(vma);
            });
            let access = PageAccess {
                read: !protection.is_empty(),
                write: protection.contains(Protection::WRITE),
                execute: protection.contains(Protection::EXECUTE),
            };
            if access.execute {
                self.sync_instructions(start, end);
            }
            // Write access is granted by the next write fault, which knows whether to copy; what already has it
            // keeps it.
            self.table.update(start, end, gather, |entry| {
                entry.with_access(PageAccess { write: access.write && entry.access().write, ..access })
            });
        }
        error.map_or(Ok(()), Err)
    }

    /// Makes what was written to the present pages of `[start, end)` visible to instruction fetches.
    fn sync_instructions(&self, start: u64, end: u64) {
        self.table.for_each(start, end, |at, entry| {
            if !entry.access().execute
                && let Some(page) = self.table.page(at)
            {
                page.sync_instructions();
            }
        });
    }
}

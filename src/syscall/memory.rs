//! Memory: mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), mincore(2), msync(2), mlock(2) and its kin.
//!
//! Arguments are decoded and checked here as Linux does; what they mean is in `libkernel::memory`.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::fmt;

use libkernel::fs::{Fd, OpenFlags, Path};
use libkernel::memory::address::user_page_range;
use libkernel::memory::space::{Advice, Move};
use libkernel::memory::{
    Access, AddressSpace, Backing, MapRequest, MappingName, PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, Placement, Protection,
    UserPtr, VmaFlags,
};
use libkernel::process::capability::Capability;
use libkernel::{Errno, Result};
use linux_raw_sys::general as linux;

use super::{Context, Outcome};
use crate::memory::steps::{self, AT_ONCE};
use crate::task::cond_resched;

/// Flags that `MAP_SHARED_VALIDATE` knows.
const KNOWN_FLAGS: u32 = linux::MAP_TYPE
    | linux::MAP_FIXED
    | linux::MAP_FIXED_NOREPLACE
    | linux::MAP_ANONYMOUS
    | linux::MAP_GROWSDOWN
    | linux::MAP_DENYWRITE
    | linux::MAP_EXECUTABLE
    | linux::MAP_LOCKED
    | linux::MAP_NORESERVE
    | linux::MAP_POPULATE
    | linux::MAP_NONBLOCK
    | linux::MAP_STACK
    | linux::MAP_HUGETLB;
const PROTECTION_BITS: u32 = linux::PROT_READ | linux::PROT_WRITE | linux::PROT_EXEC;

/// Bytes of address space that a long madvise(2) goes through at a time: to drop what is there, or to make it present.
const DROPPED_AT_ONCE: u64 = 64 << 20;
const MADE_AT_ONCE: u64 = 1 << 20;
/// Bytes that mremap(2) and brk(2) give up without a turn for others.
const GIVEN_UP_AT_ONCE: u64 = AT_ONCE << PAGE_SHIFT;

/// mmap(2).
pub fn mmap(cx: &mut Context, address: u64, length: u64, prot: u32, flags: u32, fd: Fd, offset: u64) -> Outcome {
    let result = request(cx, address, length, prot, flags, fd, offset);
    if result.as_ref().is_ok_and(|request| request.populate && length >> PAGE_SHIFT > AT_ONCE) {
        return Outcome::Block;
    }
    result.and_then(|request| Ok(cx.thread.space().map(request)?.0 as usize)).into()
}

/// The part of mmap(2) that makes many pages present.
pub async fn mmap_blocking(
    cx: &mut Context,
    address: u64,
    length: u64,
    prot: u32,
    flags: u32,
    fd: Fd,
    offset: u64,
) -> Result<usize> {
    let mut request = request(cx, address, length, prot, flags, fd, offset)?;
    request.populate = false;
    let space = cx.thread.space();
    let start = space.map(request)?.0;
    populate(cx, &space, start, start.saturating_add(length)).await;
    Ok(start as usize)
}

/// Makes the pages of `[start, end)` present as far as possible, or until there is a signal: what is left comes when it is touched.
async fn populate(cx: &Context, space: &Arc<AddressSpace>, start: u64, end: u64) {
    let mut next = Some(start);
    while let Some(at) = next.filter(|_| !cx.is_interrupted()) {
        next = space.populate_some(at, end);
        cond_resched().await;
    }
}

fn request(cx: &Context, address: u64, length: u64, prot: u32, flags: u32, fd: Fd, offset: u64) -> Result<MapRequest> {
    if offset & PAGE_MASK != 0 {
        return Err(Errno::EINVAL);
    }
    let kind = flags & linux::MAP_TYPE;
    let shared = match kind {
        linux::MAP_PRIVATE => false,
        linux::MAP_SHARED => true,
        linux::MAP_SHARED_VALIDATE if flags & !KNOWN_FLAGS != 0 => return Err(Errno::EOPNOTSUPP),
        linux::MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL),
    };
    let protection = Protection::from_bits_truncate(prot as u8);
    let mut request = MapRequest::anonymous(length, protection);
    request.address = address;
    request.placement = if flags & linux::MAP_FIXED_NOREPLACE != 0 {
        Placement::FixedNoReplace
    } else if flags & linux::MAP_FIXED != 0 {
        Placement::Fixed
    } else {
        Placement::Anywhere
    };
    request.flags.set(VmaFlags::SHARED, shared);
    request.flags.set(VmaFlags::GROWS_DOWN, flags & linux::MAP_GROWSDOWN != 0);
    request.flags.set(VmaFlags::NO_RESERVE, flags & linux::MAP_NORESERVE != 0);
    request.flags.set(VmaFlags::LOCKED, flags & linux::MAP_LOCKED != 0);
    if flags & linux::MAP_GROWSDOWN != 0 && (shared || flags & linux::MAP_ANONYMOUS == 0) {
        return Err(Errno::EINVAL);
    }
    request.populate = flags & linux::MAP_POPULATE != 0 && flags & linux::MAP_NONBLOCK == 0;
    if flags & linux::MAP_ANONYMOUS == 0 {
        let file = cx.thread.files().get(fd)?;
        let open = file.flags();
        let (readable, writable) = (open.readable(), open.writable());
        if open.contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        if !readable || shared && protection.contains(Protection::WRITE) && !writable {
            return Err(Errno::EACCES);
        }
        let executable = file.path().allows_execution();
        if !executable && protection.contains(Protection::EXECUTE) {
            return Err(Errno::EPERM);
        }
        request.flags.set(VmaFlags::NEVER_EXECUTE, !executable);
        let source = file.page_source()?;
        let writer = if shared && writable { source.writer() } else { Ok(None) };
        // A sealed file can still be mapped to be read.
        let sealed = writer == Err(Errno::EPERM) && !protection.contains(Protection::WRITE);
        request.flags.set(VmaFlags::NEVER_WRITE, shared && (!writable || sealed));
        let writer = if sealed { None } else { writer? };
        let name = FileName { path: file.path().clone(), root: cx.thread.fs().root() };
        request = request.of(Backing { source, name: Some(Arc::new(name)), writer }, offset);
    }
    Ok(request)
}

/// The name of a mapped file in `/proc/PID/maps`.
struct FileName {
    path: Path,
    root: Path,
}

impl MappingName for FileName {
    fn write_name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        match self.path.text(&self.root) {
            Ok(Some(text)) => write!(out, "{}", text.escape_ascii()),
            _ => Ok(()),
        }
    }
}

/// munmap(2).
pub fn munmap(cx: &mut Context, address: u64, length: u64) -> Outcome {
    let space = cx.thread.space();
    if length >> PAGE_SHIFT > AT_ONCE && space.resident() > AT_ONCE {
        return Outcome::Block;
    }
    space.unmap(address, length).map(|()| 0).into()
}

/// munmap(2) of much memory: the pages go in steps, then the mappings at once.
pub async fn munmap_blocking(cx: &mut Context, address: u64, length: u64) -> Result<usize> {
    let space = cx.thread.space();
    let range = space.prepare_unmap(address, length)?;
    steps::free(&space, range.start, range.end).await;
    space.unmap(address, length)?;
    Ok(0)
}

/// What mprotect(2) is to permit.
fn protection(prot: u32) -> Result<Protection> {
    let growing = linux::PROT_GROWSDOWN | linux::PROT_GROWSUP;
    if prot & !(PROTECTION_BITS | growing | linux::PROT_SEM) != 0 || prot & growing == growing {
        return Err(Errno::EINVAL);
    }
    Ok(Protection::from_bits_truncate(prot as u8))
}

/// mprotect(2).
pub fn mprotect(cx: &mut Context, address: u64, length: u64, prot: u32) -> Outcome {
    let protection = match protection(prot) {
        Ok(protection) => protection,
        Err(error) => return Outcome::Done(Err(error)),
    };
    let space = cx.thread.space();
    if length >> PAGE_SHIFT > AT_ONCE && space.resident() > AT_ONCE {
        return Outcome::Block;
    }
    space.protect(address, length, protection).map(|()| 0).into()
}

/// mprotect(2) of much memory, in steps.
///
/// Each step is an mprotect(2) of its part: whoever looks in between finds mappings and pages that agree. Other threads see pages change one
/// after the other anyway, and a hole is found when all before it is changed, as it always is.
pub async fn mprotect_blocking(cx: &mut Context, address: u64, length: u64, prot: u32) -> Result<usize> {
    let protection = protection(prot)?;
    let space = cx.thread.space();
    let (mut at, mut left) = (address, length);
    while left > 0 {
        let done = space.protect_some(at, left, protection, AT_ONCE)?;
        at += done;
        left = left.saturating_sub(done);
        cond_resched().await;
    }
    Ok(0)
}

/// How and where to mremap(2) may put the mapping, by its flags.
fn movement(flags: u32, new: u64) -> Result<Move> {
    const MAY_MOVE: u32 = linux::MREMAP_MAYMOVE;
    const FIXED: u32 = linux::MREMAP_MAYMOVE | linux::MREMAP_FIXED;
    const LEAVE: u32 = linux::MREMAP_MAYMOVE | linux::MREMAP_DONTUNMAP;
    const LEAVE_FIXED: u32 = FIXED | linux::MREMAP_DONTUNMAP;
    Ok(match flags {
        0 => Move::Never,
        MAY_MOVE => Move::IfNeeded,
        FIXED => Move::To(new),
        LEAVE => Move::LeavingEmpty(None),
        LEAVE_FIXED => Move::LeavingEmpty(Some(new)),
        _ => return Err(Errno::EINVAL),
    })
}

/// mremap(2).
pub fn mremap(cx: &mut Context, old: u64, old_length: u64, new_length: u64, flags: u32, new: u64) -> Outcome {
    let how = match movement(flags, new) {
        Ok(how) => how,
        Err(error) => return Outcome::Done(Err(error)),
    };
    let stays = matches!(how, Move::Never | Move::IfNeeded);
    if stays && new_length > 0 && old_length.saturating_sub(new_length) > GIVEN_UP_AT_ONCE {
        return Outcome::Block;
    }
    cx.thread.space().remap(old, old_length, new_length, how).map(|at| at.0 as usize).into()
}

/// mremap(2) that gives up much memory: the pages go in steps, then the end of the mapping at once.
pub async fn mremap_blocking(
    cx: &mut Context,
    old: u64,
    old_length: u64,
    new_length: u64,
    flags: u32,
    new: u64,
) -> Result<usize> {
    let how = movement(flags, new)?;
    let space = cx.thread.space();
    // What is wrong with the old mapping is found before anything is freed.
    space.remap(old, old_length, old_length, how)?;
    let kept = new_length.next_multiple_of(PAGE_SIZE as u64);
    let range = space.prepare_unmap(old + kept, old_length - kept)?;
    steps::free(&space, range.start, range.end).await;
    space.unmap(range.start, range.end - range.start)?;
    Ok(old as usize)
}

/// brk(2): the raw call, which returns the new or unchanged break and no error.
pub fn brk(cx: &mut Context, address: u64) -> Outcome {
    let space = cx.thread.space();
    if space.brk_excess(address) > GIVEN_UP_AT_ONCE {
        return Outcome::Block;
    }
    Outcome::Done(Ok(space.brk(address) as usize))
}

/// brk(2) that gives up much memory: the pages go in steps, then the end of the mapping at once.
pub async fn brk_blocking(cx: &mut Context, address: u64) -> Result<usize> {
    let space = cx.thread.space();
    let excess = space.brk_excess(address);
    let kept = address.next_multiple_of(PAGE_SIZE as u64);
    if let Ok(range) = space.prepare_unmap(kept, (address + excess).saturating_sub(kept)) {
        steps::free(&space, range.start, range.end).await;
    }
    Ok(space.brk(address) as usize)
}

fn advice(number: u32) -> Result<Advice> {
    Ok(match number {
        linux::MADV_DONTNEED | linux::MADV_DONTNEED_LOCKED => Advice::DontNeed,
        linux::MADV_FREE => Advice::Free,
        linux::MADV_DONTFORK => Advice::Set(VmaFlags::DONT_FORK),
        linux::MADV_DOFORK => Advice::Clear(VmaFlags::DONT_FORK),
        linux::MADV_WIPEONFORK => Advice::Set(VmaFlags::WIPE_ON_FORK),
        linux::MADV_KEEPONFORK => Advice::Clear(VmaFlags::WIPE_ON_FORK),
        linux::MADV_DONTDUMP => Advice::Set(VmaFlags::DONT_DUMP),
        linux::MADV_DODUMP => Advice::Clear(VmaFlags::DONT_DUMP),
        linux::MADV_POPULATE_READ => Advice::Populate(Access::Read),
        linux::MADV_POPULATE_WRITE => Advice::Populate(Access::Write),
        linux::MADV_NORMAL
        | linux::MADV_RANDOM
        | linux::MADV_SEQUENTIAL
        | linux::MADV_WILLNEED
        | linux::MADV_MERGEABLE
        | linux::MADV_UNMERGEABLE
        | linux::MADV_HUGEPAGE
        | linux::MADV_NOHUGEPAGE
        | linux::MADV_COLD
        | linux::MADV_PAGEOUT
        | linux::MADV_COLLAPSE => Advice::Hint,
        _ => return Err(Errno::EINVAL),
    })
}

/// How much of the address space advice of this kind goes through at a time; `None`: all of it.
fn piece(advice: Advice) -> Option<u64> {
    match advice {
        Advice::DontNeed | Advice::Free => Some(DROPPED_AT_ONCE),
        Advice::Populate(_) => Some(MADE_AT_ONCE),
        Advice::Hint | Advice::Set(_) | Advice::Clear(_) => None,
    }
}

/// madvise(2): what is done at once.
pub fn madvise(cx: &mut Context, address: u64, length: u64, number: u32) -> Outcome {
    let advice = match advice(number) {
        Ok(advice) => advice,
        Err(error) => return Outcome::Done(Err(error)),
    };
    if piece(advice).is_some_and(|piece| length > piece) {
        return Outcome::Block;
    }
    cx.thread.with_space(|space| space.advise(address, length, advice)).map(|()| 0).into()
}

/// madvise(2) about much memory: piece by piece.
pub async fn madvise_blocking(cx: &mut Context, address: u64, length: u64, number: u32) -> Result<usize> {
    let advice = advice(number)?;
    let piece = piece(advice).unwrap_or(u64::MAX);
    let (mut at, end) = user_page_range(address, length).ok_or(Errno::EINVAL)?;
    let space = cx.thread.space();
    let populates = matches!(advice, Advice::Populate(_));
    let mut result = Ok(0);
    while at < end {
        let next = at.saturating_add(piece).min(end);
        match space.advise(at, next - at, advice) {
            Ok(()) => {}
            // What is not mapped is left out.
            Err(Errno::ENOMEM) if !populates => {
                result = Err(Errno::ENOMEM);
                let Some(mapping) = space.range_from(next) else { break };
                at = next.max(mapping.start);
                continue;
            }
            Err(error) => return Err(error),
        }
        if populates && cx.is_interrupted() {
            return Err(Errno::ERESTARTNOINTR);
        }
        cond_resched().await;
        at = next;
    }
    result
}

/// How many pages `length` bytes are, for mincore(2).
fn page_count(address: u64, length: u64) -> Result<usize> {
    if address & PAGE_MASK != 0 {
        return Err(Errno::EINVAL);
    }
    usize::try_from(length.div_ceil(PAGE_MASK + 1)).map_err(|_| Errno::ENOMEM)
}

/// Tells which of up to a few hundred pages are present; returns how many were looked at.
fn tell_residency(space: &AddressSpace, address: u64, pages: usize, vector: UserPtr<u8>) -> Result<usize> {
    const CHUNK: usize = 256;
    let mut present = [false; CHUNK];
    let count = CHUNK.min(pages);
    let Some(part) = present.get_mut(..count) else { return Ok(0) };
    space.residency(address, part)?;
    let bytes = present.map(u8::from);
    space.write_bytes(vector, bytes.get(..count).unwrap_or(&bytes))?;
    Ok(count)
}

/// mincore(2): what is done at once.
pub fn mincore(cx: &mut Context, address: u64, length: u64, vector: UserPtr<u8>) -> Outcome {
    let pages = match page_count(address, length) {
        Ok(pages) => pages,
        Err(error) => return Outcome::Done(Err(error)),
    };
    let first = if pages == 0 { Ok(0) } else { tell_residency(&cx.thread.space(), address, pages, vector) };
    match first {
        Ok(done) if done < pages => Outcome::Block,
        first => first.map(|_| 0).into(),
    }
}

/// mincore(2) of many pages.
pub async fn mincore_blocking(cx: &mut Context, address: u64, length: u64, vector: UserPtr<u8>) -> Result<usize> {
    let pages = page_count(address, length)?;
    let space = cx.thread.space();
    let mut done = 0;
    while done < pages {
        let at = address.checked_add((done as u64) << PAGE_SHIFT).ok_or(Errno::ENOMEM)?;
        done += tell_residency(&space, at, pages - done, vector.add(done))?;
        cond_resched().await;
    }
    Ok(0)
}

/// msync(2).
pub fn msync(cx: &mut Context, address: u64, length: u64, flags: u32) -> Result<usize> {
    const KNOWN: u32 = linux::MS_ASYNC | linux::MS_INVALIDATE | linux::MS_SYNC;
    let both = linux::MS_ASYNC | linux::MS_SYNC;
    if flags & !KNOWN != 0 || flags & both == both || address & PAGE_MASK != 0 {
        return Err(Errno::EINVAL);
    }
    cx.thread.space().sync(address, length, flags & linux::MS_SYNC != 0)?;
    Ok(0)
}

/// mlock(2): making pages present may take long.
pub fn mlock(_: &mut Context, _address: u64, _length: u64) -> Outcome {
    Outcome::Block
}

/// The work of mlock(2).
pub async fn mlock_blocking(cx: &mut Context, address: u64, length: u64) -> Result<usize> {
    mlock2_blocking(cx, address, length, 0).await
}

/// mlock2(2).
pub fn mlock2(_: &mut Context, _address: u64, _length: u64, _flags: u32) -> Outcome {
    Outcome::Block
}

/// The work of mlock2(2).
pub async fn mlock2_blocking(cx: &mut Context, address: u64, length: u64, flags: u32) -> Result<usize> {
    if flags & !linux::MLOCK_ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    let privileged = cx.thread.credentials().has(Capability::IpcLock);
    let space = cx.thread.space();
    let range = space.lock_range(address, length, true, privileged)?;
    if flags & linux::MLOCK_ONFAULT == 0 {
        populate(cx, &space, range.start, range.end).await;
    }
    Ok(0)
}

/// munlock(2).
pub fn munlock(cx: &mut Context, address: u64, length: u64) -> Result<usize> {
    cx.thread.space().lock_range(address, length, false, true)?;
    Ok(0)
}

/// mlockall(2).
pub fn mlockall(_: &mut Context, _flags: u32) -> Outcome {
    Outcome::Block
}

/// The work of mlockall(2).
pub async fn mlockall_blocking(cx: &mut Context, flags: u32) -> Result<usize> {
    let known = linux::MCL_CURRENT | linux::MCL_FUTURE | linux::MCL_ONFAULT;
    if flags & !known != 0 || flags & (linux::MCL_CURRENT | linux::MCL_FUTURE) == 0 {
        return Err(Errno::EINVAL);
    }
    let privileged = cx.thread.credentials().has(Capability::IpcLock);
    let (current, future) = (flags & linux::MCL_CURRENT != 0, flags & linux::MCL_FUTURE != 0);
    let space = cx.thread.space();
    space.lock_all(current, future, privileged)?;
    let mut next = space.range_from(0).filter(|_| current && flags & linux::MCL_ONFAULT == 0);
    while let Some(range) = next {
        populate(cx, &space, range.start, range.end).await;
        next = space.range_from(range.end);
    }
    Ok(0)
}

/// munlockall(2).
pub fn munlockall(cx: &mut Context) -> Result<usize> {
    cx.thread.space().lock_all(false, false, true)?;
    Ok(0)
}

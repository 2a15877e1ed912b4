//! The page frame allocator: per-core caches of single frames in front of the buddy allocator.
//!
//! Owns the frame table and all free RAM. Taking and returning a single frame touches only this core's
//! cache (interrupts masked for a few instructions); the buddy lock is taken once per [`BATCH`] frames,
//! and for larger blocks. Any context may allocate, interrupts included, though nothing should.
//!
//! A part of RAM is kept back for the kernel ([`Need::Kernel`]), so that programs that exhaust memory
//! get an error while the kernel can still serve them.

use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed,
    Ordering::Release,
};

use super::address::{PAGE_SHIFT, PAGE_SIZE, PhysAddr};
use super::buddy::{Buddy, MAX_ORDER};
use super::frame::{Frame, Kind};
use crate::machine::{self, MAX_CORES};
use crate::per_cpu;
use crate::sync::IrqSpinLock;

/// Frames moved between a core's cache and the buddy allocator at a time.
pub const BATCH: usize = 32;
const CACHE_CAPACITY: usize = 2 * BATCH;
/// The share of RAM that only the kernel may take: one 64th ...
const RESERVE_SHARE: usize = 64;
/// ... but at most 16 MiB.
const RESERVE_LIMIT: usize = 4096;

/// On whose behalf memory is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// A program asked, directly or not: refused when only the kernel's reserve is left.
    User,
    /// The kernel itself; may use up the reserve.
    Kernel,
}

/// A core's cache: a stack of free frames.
struct Cache {
    frames: [u32; CACHE_CAPACITY],
    count: usize,
}

per_cpu! {
    static CACHE: Cache = Cache { frames: [0; CACHE_CAPACITY], count: 0 };
}

/// How many frames each core holds back, published by it for the statistics.
#[repr(align(64))]
struct Published(AtomicU32);
static CACHED: [Published; MAX_CORES] = [const { Published(AtomicU32::new(0)) }; MAX_CORES];

static BUDDY: IrqSpinLock<Buddy> = IrqSpinLock::new(Buddy::empty());
static TABLE: AtomicPtr<Frame> = AtomicPtr::new(core::ptr::null_mut());
static TABLE_LENGTH: AtomicUsize = AtomicUsize::new(0);
/// Physical address of frame index 0.
static BASE: AtomicU64 = AtomicU64::new(0);
static TOTAL: AtomicUsize = AtomicUsize::new(0);
static RESERVE: AtomicUsize = AtomicUsize::new(0);
/// What [`low`] says; changed under the buddy lock.
static LOW: AtomicBool = AtomicBool::new(false);
static OUTSIDE: Frame = Frame::reserved();

/// The number of frame-table bytes that RAM from `start` to `end` (physical) needs.
#[must_use]
pub const fn table_size(start: PhysAddr, end: PhysAddr) -> usize {
    let base = table_base(start);
    (end.0.saturating_sub(base) >> PAGE_SHIFT) as usize * size_of::<Frame>()
}

const fn table_base(start: PhysAddr) -> u64 {
    start.0 & !((PAGE_SIZE as u64) << MAX_ORDER).wrapping_sub(1)
}

/// Starts the allocator with a frame table for `[start, end)` and no free memory; [`release`] adds it.
///
/// To be called once, by the boot core, before any other function of this module.
///
/// # Safety
/// `table` must point to [`table_size`] writable bytes, aligned to 8, which are used for nothing else for ever.
pub unsafe fn start(table: *mut u8, start: PhysAddr, end: PhysAddr) {
    let length = table_size(start, end) / size_of::<Frame>();
    let table = table.cast::<Frame>();
    for index in 0..length {
        // SAFETY: the caller vouches for the table's memory, and `index` is below its length.
        unsafe { table.add(index).write(Frame::reserved()) };
    }
    // SAFETY: all elements were written, and the memory is ours for ever.
    let frames: &'static [Frame] = unsafe { core::slice::from_raw_parts(table, length) };
    BASE.store(table_base(start), Relaxed);
    TABLE.store(table, Relaxed);
    *BUDDY.lock() = Buddy::new(frames);
    TABLE_LENGTH.store(length, Release);
}

/// Gives the whole frames within `[start, end)` to the allocator, and returns how many there were.
///
/// # Safety
/// The memory must be RAM that is mapped in the linear map, and used by nobody.
pub unsafe fn release(start: PhysAddr, end: PhysAddr) -> usize {
    let base = BASE.load(Relaxed);
    let limit = TABLE_LENGTH.load(Relaxed) as u64;
    let first = (start.0.saturating_sub(base).div_ceil(PAGE_SIZE as u64)).min(limit);
    let last = (end.0.saturating_sub(base) >> PAGE_SHIFT).min(limit);
    if first >= last {
        return 0;
    }
    BUDDY.lock().release(first as u32, last as u32);
    let count = (last - first) as usize;
    let total = TOTAL.fetch_add(count, Relaxed) + count;
    RESERVE.store((total / RESERVE_SHARE).min(RESERVE_LIMIT), Relaxed);
    count
}

#[inline]
fn index_of(address: PhysAddr) -> u32 {
    (address.0.wrapping_sub(BASE.load(Relaxed)) >> PAGE_SHIFT) as u32
}

#[inline]
fn address_of(index: u32) -> PhysAddr {
    PhysAddr(BASE.load(Relaxed) + (u64::from(index) << PAGE_SHIFT))
}

/// The metadata of the frame at `address`; of a reserved frame if that is no RAM.
#[inline]
pub fn frame(address: PhysAddr) -> &'static Frame {
    let index = (address.0.wrapping_sub(BASE.load(Relaxed)) >> PAGE_SHIFT) as usize;
    if index >= TABLE_LENGTH.load(Relaxed) {
        return &OUTSIDE;
    }
    // SAFETY: `index` is within the table, which lives for ever.
    unsafe { &*TABLE.load(Relaxed).add(index) }
}

/// Takes one frame, referenced once, with arbitrary contents; `None` when memory is exhausted.
#[inline]
pub fn alloc(need: Need) -> Option<PhysAddr> {
    #[cfg(not(target_os = "none"))]
    super::arena::ensure();
    let index = CACHE.with(|cache| {
        if cache.count == 0 {
            refill(cache, need);
        }
        cache.count = cache.count.checked_sub(1)?;
        CACHED.get(machine::core_id())?.0.store(cache.count as u32, Relaxed);
        cache.frames.get(cache.count).copied()
    })?;
    let address = address_of(index);
    frame(address).become_allocated(0);
    Some(address)
}

#[cold]
fn refill(cache: &mut Cache, need: Need) {
    let mut buddy = BUDDY.lock();
    let mut spare = buddy.free_frames();
    if need == Need::User {
        spare = spare.saturating_sub(RESERVE.load(Relaxed));
    }
    for slot in cache.frames.iter_mut().take(BATCH.min(spare)) {
        let Some(index) = buddy.alloc(0) else { break };
        frame(address_of(index)).become_plain(Kind::Cached);
        *slot = index;
        cache.count += 1;
    }
    note_level(&buddy);
}

/// Takes a block of `2^order` frames, aligned to its size, with arbitrary contents.
pub fn alloc_block(order: u32, need: Need) -> Option<PhysAddr> {
    if order == 0 {
        return alloc(need);
    }
    #[cfg(not(target_os = "none"))]
    super::arena::ensure();
    let mut buddy = BUDDY.lock();
    if need == Need::User && buddy.free_frames() < RESERVE.load(Relaxed) + (1 << order.min(MAX_ORDER)) {
        return None;
    }
    let block = buddy.alloc(order);
    note_level(&buddy);
    block.map(address_of)
}

/// Returns a frame or a block to the allocator.
///
/// # Safety
/// `address` must come from [`alloc`] or [`alloc_block`], and nobody may use the memory any more: no
/// pointer, no translation table, no TLB of any core.
#[inline]
pub unsafe fn free(address: PhysAddr) {
    let frame = frame(address);
    let Some(order) = frame.allocated_order() else {
        debug_assert!(false, "a frame was freed that was not allocated: {address:?}");
        return;
    };
    let index = index_of(address);
    if order > 0 {
        let mut buddy = BUDDY.lock();
        buddy.free(index, order);
        note_level(&buddy);
        return;
    }
    frame.become_plain(Kind::Cached);
    CACHE.with(|cache| {
        if cache.count == CACHE_CAPACITY {
            spill(cache);
        }
        if let Some(slot) = cache.frames.get_mut(cache.count) {
            *slot = index;
            cache.count += 1;
        }
        if let Some(published) = CACHED.get(machine::core_id()) {
            published.0.store(cache.count as u32, Relaxed);
        }
    });
}

/// Gives up one reference to each of these single frames; those without another return to the allocator. Faster than one by one.
///
/// # Safety
/// As for [`free`], for each reference.
pub unsafe fn release_references(frames: &[PhysAddr]) {
    CACHE.with(|cache| {
        for &address in frames {
            let frame = frame(address);
            let count = frame.count();
            // A count of one is the caller's: nobody else can raise it. That spares the atomic read-modify-write.
            if count.load(Acquire) != 1 && count.fetch_sub(1, AcqRel) != 1 {
                continue;
            }
            debug_assert_eq!(frame.allocated_order(), Some(0));
            frame.become_plain(Kind::Cached);
            if cache.count == CACHE_CAPACITY {
                spill(cache);
            }
            if let Some(slot) = cache.frames.get_mut(cache.count) {
                *slot = index_of(address);
                cache.count += 1;
            }
        }
        if let Some(published) = CACHED.get(machine::core_id()) {
            published.0.store(cache.count as u32, Relaxed);
        }
    });
}

/// Returns the colder half of a full cache.
#[cold]
fn spill(cache: &mut Cache) {
    let mut buddy = BUDDY.lock();
    for index in cache.frames.iter().take(BATCH) {
        buddy.free(*index, 0);
    }
    note_level(&buddy);
    cache.frames.copy_within(BATCH.., 0);
    cache.count -= BATCH;
}

/// Frames of RAM that the allocator manages, in use or not.
#[must_use]
pub fn total() -> usize {
    TOTAL.load(Relaxed)
}

/// Free frames, those in the cores' caches included. Exact when nobody allocates meanwhile.
#[must_use]
pub fn free_count() -> usize {
    let cached: usize = CACHED.iter().map(|cached| cached.0.load(Relaxed) as usize).sum();
    BUDDY.lock().free_frames() + cached
}

/// Free frames that programs may still get.
#[must_use]
pub fn available() -> usize {
    free_count().saturating_sub(RESERVE.load(Relaxed))
}

/// Whether so little is left that a program's wish for a process or thread should be refused (`ENOMEM`): programs have used up what is theirs.
#[must_use]
pub fn scarce() -> bool {
    #[cfg(not(target_os = "none"))]
    super::arena::ensure();
    BUDDY.lock().free_frames() <= RESERVE.load(Relaxed)
}

/// Whether half of the kernel's own reserve is gone, so that whatever takes memory of the kernel for a program and lasts (an open file, a
/// name, a mapping) should be refused: the rest is for what cannot fail. A hint, at most one batch of frames old.
#[inline]
#[must_use]
pub fn low() -> bool {
    LOW.load(Relaxed)
}

/// Notes whether little is left, after something was taken or returned.
#[inline]
fn note_level(buddy: &Buddy) {
    let low = buddy.free_frames() < RESERVE.load(Relaxed) / 2;
    if LOW.load(Relaxed) != low {
        LOW.store(low, Relaxed);
    }
}

/// Number of free blocks of each order.
#[must_use]
pub fn free_blocks() -> [usize; MAX_ORDER as usize + 1] {
    BUDDY.lock().free_blocks()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn frames_are_distinct_and_return() {
        let taken: Vec<PhysAddr> = (0..200).map(|_| alloc(Need::User).unwrap()).collect();
        let mut sorted = taken.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), taken.len());
        for address in taken {
            assert_eq!(frame(address).kind(), Kind::Allocated);
            // SAFETY: allocated above, never used.
            unsafe { free(address) };
            assert_eq!(frame(address).allocated_order(), None);
        }
    }

    #[test]
    fn blocks_are_aligned_to_their_size() {
        for order in 0..=4 {
            let block = alloc_block(order, Need::Kernel).unwrap();
            assert_eq!(block.0 % ((PAGE_SIZE as u64) << order), 0);
            // SAFETY: allocated above, never used.
            unsafe { free(block) };
        }
    }

    #[test]
    fn an_address_outside_ram_has_a_reserved_frame() {
        assert_eq!(frame(PhysAddr(0)).kind(), Kind::Reserved);
    }
}

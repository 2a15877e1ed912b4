//! The kernel heap: [`KernelHeap`], the type that stands behind `#[global_allocator]`.
//!
//! Sizes up to [`class::LARGEST`] come from size-class slabs through a magazine of this core: interrupts masked, one pop
//! or push. Larger ones are blocks of frames; those that would waste much of a block, and everything before the frame
//! allocator runs, come from a `linked_list_allocator` heap in the region given to [`KernelHeap::start`].
//!
//! Any context may free. Allocating in an interrupt handler is a bug: counted, and asserted in debug builds. Failure is a null
//! pointer; what a program can drive must use `try_reserve` and its like.

pub mod class;
mod slab;

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use linked_list_allocator::Heap;

use self::class::Class;
use super::address::PAGE_SIZE;
use super::frames::{self, Need};
use crate::machine::{self, MAX_CORES};
use crate::per_cpu;
use crate::sync::IrqSpinLock;

/// Objects a magazine holds at most.
const MAGAZINE_CAPACITY: usize = 32;

/// A core's stock of free objects of one class.
struct Magazine {
    objects: [*mut u8; MAGAZINE_CAPACITY],
    count: usize,
}

impl Magazine {
    const EMPTY: Self = Self { objects: [ptr::null_mut(); MAGAZINE_CAPACITY], count: 0 };
}

per_cpu! {
    static MAGAZINES: [Magazine; class::COUNT] = [Magazine::EMPTY; class::COUNT];
}

/// What a core has done, written by it alone.
#[repr(align(64))]
struct Counters {
    allocations: AtomicU64,
    in_interrupt: AtomicU64,
}
static COUNTERS: [Counters; MAX_CORES] =
    [const { Counters { allocations: AtomicU64::new(0), in_interrupt: AtomicU64::new(0) } }; MAX_CORES];

static REGION: IrqSpinLock<Heap> = IrqSpinLock::new(Heap::empty());
static REGION_START: AtomicUsize = AtomicUsize::new(0);
static REGION_LENGTH: AtomicUsize = AtomicUsize::new(0);
/// Frames in blocks of their own.
static LARGE_FRAMES: AtomicUsize = AtomicUsize::new(0);

/// The kernel's allocator. See the module's comment.
pub struct KernelHeap;

impl KernelHeap {
    /// Gives the heap its boot region. To be called once, before the first allocation.
    ///
    /// # Safety
    /// `[start, start + length)` must be writable memory used for nothing else, for ever.
    pub unsafe fn start(start: *mut u8, length: usize) {
        // SAFETY: as the caller promises.
        unsafe { REGION.lock().init(start, length) };
        REGION_START.store(start.addr(), Relaxed);
        REGION_LENGTH.store(length, Relaxed);
    }

    /// Allocations made so far, on all cores.
    #[must_use]
    pub fn allocations() -> u64 {
        COUNTERS.iter().map(|counters| counters.allocations.load(Relaxed)).sum()
    }

    /// Allocations made by one core so far; exact when asked on that core.
    #[must_use]
    pub fn allocations_of(core: usize) -> u64 {
        COUNTERS.get(core).map_or(0, |counters| counters.allocations.load(Relaxed))
    }

    /// Allocations made in interrupt handlers so far: each is a bug.
    #[must_use]
    pub fn allocations_in_interrupts() -> u64 {
        COUNTERS.iter().map(|counters| counters.in_interrupt.load(Relaxed)).sum()
    }

    /// Those of one core.
    #[must_use]
    pub fn allocations_in_interrupts_of(core: usize) -> u64 {
        COUNTERS.get(core).map_or(0, |counters| counters.in_interrupt.load(Relaxed))
    }

    /// Frames that the heap has taken from the frame allocator.
    #[must_use]
    pub fn frames() -> usize {
        LARGE_FRAMES.load(Relaxed) + slab::frames()
    }

    fn count() {
        let Some(counters) = COUNTERS.get(machine::core_id()) else { return };
        counters.allocations.store(counters.allocations.load(Relaxed).wrapping_add(1), Relaxed);
        if machine::in_interrupt() {
            counters.in_interrupt.store(counters.in_interrupt.load(Relaxed).wrapping_add(1), Relaxed);
            debug_assert!(false, "allocation in an interrupt handler");
        }
    }

    #[inline]
    fn is_in_region(pointer: *const u8) -> bool {
        pointer.addr().wrapping_sub(REGION_START.load(Relaxed)) < REGION_LENGTH.load(Relaxed)
    }

    #[cold]
    fn alloc_in_region(layout: Layout) -> *mut u8 {
        REGION.lock().allocate_first_fit(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    #[cold]
    fn alloc_large(layout: Layout) -> *mut u8 {
        let size = layout.size().max(layout.align());
        let frames = size.div_ceil(PAGE_SIZE);
        let order = frames.next_power_of_two().trailing_zeros();
        let wasted = (1 << order) - frames;
        if frames::total() == 0 || wasted * 4 > 1 << order {
            let pointer = Self::alloc_in_region(layout);
            if !pointer.is_null() {
                return pointer;
            }
        }
        let Some(block) = frames::alloc_block(order, Need::Kernel) else { return ptr::null_mut() };
        LARGE_FRAMES.fetch_add(1 << order, Relaxed);
        machine::phys_to_virt(block.0)
    }

    /// # Safety
    /// As for [`GlobalAlloc::dealloc`]; the pointer came from the region or from [`Self::alloc_large`].
    #[cold]
    unsafe fn free_large(pointer: *mut u8, layout: Layout) {
        if Self::is_in_region(pointer) {
            if let Some(pointer) = NonNull::new(pointer) {
                // SAFETY: it was allocated there with this layout, and the caller gives it up.
                unsafe { REGION.lock().deallocate(pointer, layout) };
            }
            return;
        }
        let frames = layout.size().max(layout.align()).div_ceil(PAGE_SIZE).next_power_of_two();
        LARGE_FRAMES.fetch_sub(frames, Relaxed);
        // SAFETY: the block was allocated for this object alone, and the caller gives it up.
        unsafe { frames::free(super::PhysAddr(machine::virt_to_phys(pointer))) };
    }
}

// SAFETY: each path hands out memory of at least the layout's size and alignment that nobody else owns until it is given back:
// see `class::of` for the slabs, the buddy allocator for blocks, `linked_list_allocator` for the region.
unsafe impl GlobalAlloc for KernelHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        let Some(class) = class::of(layout) else { return Self::alloc_large(layout) };
        MAGAZINES.with(|magazines| {
            let Some(magazine) = magazines.get_mut(class.index()) else { return ptr::null_mut() };
            if magazine.count == 0 {
                magazine.count = refill(class, &mut magazine.objects, layout);
                if magazine.count == 0 {
                    return Self::alloc_in_region(layout);
                }
            }
            magazine.count -= 1;
            magazine.objects.get(magazine.count).copied().unwrap_or(ptr::null_mut())
        })
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let class = class::of(layout);
        let (Some(class), false) = (class, Self::is_in_region(pointer)) else {
            // SAFETY: as the caller promises; objects of a class outside the region never get here.
            return unsafe { Self::free_large(pointer, layout) };
        };
        MAGAZINES.with(|magazines| {
            let Some(magazine) = magazines.get_mut(class.index()) else { return };
            if magazine.count >= class.magazine() {
                spill(class, magazine);
            }
            if let Some(slot) = magazine.objects.get_mut(magazine.count) {
                *slot = pointer;
                magazine.count += 1;
            }
        });
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return ptr::null_mut() };
        if let Some(class) = class::of(layout)
            && class::of(new_layout) == Some(class)
            && !Self::is_in_region(pointer)
        {
            return pointer;
        }
        // SAFETY: the old object is live and has the old layout; the new one is fresh, so they do not overlap.
        unsafe {
            let new = self.alloc(new_layout);
            if !new.is_null() {
                ptr::copy_nonoverlapping(pointer, new, layout.size().min(new_size));
                self.dealloc(pointer, layout);
            }
            new
        }
    }
}

#[cold]
fn refill(class: Class, objects: &mut [*mut u8; MAGAZINE_CAPACITY], layout: Layout) -> usize {
    if frames::total() == 0 && !cfg!(test) {
        // Too early for slabs.
        let pointer = KernelHeap::alloc_in_region(layout);
        return match objects.first_mut() {
            Some(first) if !pointer.is_null() => {
                *first = pointer;
                1
            }
            _ => 0,
        };
    }
    let wanted = class.magazine() / 2;
    objects.get_mut(..wanted).map_or(0, |objects| slab::take(class, objects))
}

#[cold]
fn spill(class: Class, magazine: &mut Magazine) {
    let half = class.magazine() / 2;
    if let Some(oldest) = magazine.objects.get(..half) {
        // SAFETY: a magazine holds objects of its class that were freed, each once.
        unsafe { slab::give_back(class, oldest) };
    }
    magazine.objects.copy_within(half.., 0);
    magazine.count -= half;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn objects_do_not_overlap_and_keep_their_contents() {
        let mut live: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let mut state = 12345u64;
        let rounds = if cfg!(miri) { 300 } else { 20_000 };
        for round in 0..rounds {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let random = (state >> 33) as usize;
            if random % 5 < 2 && !live.is_empty() {
                let (pointer, layout, tag) = live.swap_remove(random % live.len());
                // SAFETY: the object is live, and `size` bytes long.
                unsafe {
                    assert!((0..layout.size()).all(|byte| *pointer.add(byte) == tag));
                    KernelHeap.dealloc(pointer, layout);
                }
            } else {
                let layout = layout(1 + random % 5000, 1 << (random / 7 % 9));
                // SAFETY: the size is not zero.
                let pointer = unsafe { KernelHeap.alloc(layout) };
                assert!(!pointer.is_null());
                assert_eq!(pointer.addr() % layout.align(), 0);
                // SAFETY: freshly allocated with that size.
                unsafe { pointer.write_bytes(round as u8, layout.size()) };
                live.push((pointer, layout, round as u8));
            }
        }
        for (pointer, layout, tag) in live {
            // SAFETY: the object is live.
            unsafe {
                assert!((0..layout.size()).all(|byte| *pointer.add(byte) == tag));
                KernelHeap.dealloc(pointer, layout);
            }
        }
    }

    #[test]
    fn growing_within_a_class_moves_nothing() {
        // SAFETY: sizes are not zero; each pointer is given up once.
        unsafe {
            let pointer = KernelHeap.alloc(layout(33, 1));
            assert_eq!(KernelHeap.realloc(pointer, layout(33, 1), 48), pointer);
            pointer.write_bytes(7, 48);
            let moved = KernelHeap.realloc(pointer, layout(48, 1), 3000);
            assert_ne!(moved, pointer);
            assert!((0..48).all(|byte| *moved.add(byte) == 7));
            KernelHeap.dealloc(moved, layout(3000, 1));
        }
    }

    #[test]
    fn objects_freed_on_another_core_come_back() {
        // A burst on one thread, freed by others: the slabs must balance.
        let pointers: Vec<usize> = (0..500)
            // SAFETY: the size is not zero.
            .map(|_| unsafe { KernelHeap.alloc(layout(200, 8)) }.expose_provenance())
            .collect();
        let threads: Vec<_> = pointers
            .chunks(125)
            .map(|chunk| {
                let chunk = chunk.to_vec();
                std::thread::spawn(move || {
                    for address in chunk {
                        // SAFETY: allocated above with this layout, freed once.
                        unsafe { KernelHeap.dealloc(ptr::with_exposed_provenance_mut(address), layout(200, 8)) };
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

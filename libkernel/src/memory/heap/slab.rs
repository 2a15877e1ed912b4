//! Slabs: blocks of frames cut into objects of one size class.
//!
//! A slab starts with its [`Header`]; objects fill the rest. Objects never handed out yet are counted (`fresh`), freed
//! ones are linked through their first word. Slabs that have a free object are on their class's list; one empty slab a
//! class is kept, further ones return to the frame allocator. Each class has an interrupt-aware lock of its own, taken
//! once per half magazine. Lock order: class, then buddy.

use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::class::{self, Class};
use crate::machine;
use crate::memory::frames::{self, Need};
use crate::sync::IrqSpinLock;

/// # Invariants
/// `used` objects are outside the slab; the list `free` and the `fresh` objects make up the rest. The slab is on its class's
/// list exactly when the rest is not empty.
struct Header {
    next: *mut Header,
    previous: *mut Header,
    free: *mut FreeObject,
    /// Offset of the first object never handed out.
    fresh: u32,
    used: u32,
}

struct FreeObject {
    next: *mut FreeObject,
}

/// The slabs of one class that have a free object.
struct Slabs {
    first: *mut Header,
    empty: usize,
}

// SAFETY: the slabs are reached only through the lock around this list, whichever core holds it.
unsafe impl Send for Slabs {}

static CLASSES: [IrqSpinLock<Slabs>; class::COUNT] =
    [const { IrqSpinLock::new(Slabs { first: ptr::null_mut(), empty: 0 }) }; class::COUNT];
static FRAMES: AtomicUsize = AtomicUsize::new(0);

/// Frames in slabs.
pub(super) fn frames() -> usize {
    FRAMES.load(Relaxed)
}

/// Fills `objects` from the front with free objects of `class`; returns how many there were.
pub(super) fn take(class: Class, objects: &mut [*mut u8]) -> usize {
    let Some(slabs) = CLASSES.get(class.index()) else { return 0 };
    let mut slabs = slabs.lock();
    let mut taken = 0;
    for slot in objects {
        if slabs.first.is_null() && !slabs.grow(class) {
            break;
        }
        // SAFETY: the first slab of the list is live and has a free object; the lock is held.
        *slot = unsafe { slabs.pop(class) };
        taken += 1;
    }
    taken
}

/// Takes freed objects back.
///
/// # Safety
/// Each must have come from [`take`] for the same class, and be used by nobody any more.
pub(super) unsafe fn give_back(class: Class, objects: &[*mut u8]) {
    let Some(slabs) = CLASSES.get(class.index()) else { return };
    let mut slabs = slabs.lock();
    for &object in objects {
        // SAFETY: as the caller promises; the lock is held.
        unsafe { slabs.push(class, object) };
    }
}

impl Slabs {
    /// Adds an empty slab.
    fn grow(&mut self, class: Class) -> bool {
        let Some(block) = frames::alloc_block(class.slab_order(), Need::Kernel) else { return false };
        FRAMES.fetch_add(1 << class.slab_order(), Relaxed);
        let slab = machine::phys_to_virt(block.0).cast::<Header>();
        let fresh = size_of::<Header>().next_multiple_of(class.size()) as u32;
        // SAFETY: the block was just allocated for this slab; it is page-aligned.
        unsafe {
            slab.write(Header {
                next: ptr::null_mut(),
                previous: ptr::null_mut(),
                free: ptr::null_mut(),
                fresh,
                used: 0,
            });
            self.link(slab);
        }
        self.empty += 1;
        true
    }

    /// # Safety
    /// `slab` is live and on no list.
    unsafe fn link(&mut self, slab: *mut Header) {
        // SAFETY: the list's slabs are live, and the lock that guards them is held.
        unsafe {
            (*slab).previous = ptr::null_mut();
            (*slab).next = self.first;
            if !self.first.is_null() {
                (*self.first).previous = slab;
            }
        }
        self.first = slab;
    }

    /// # Safety
    /// `slab` is live and on this list.
    unsafe fn unlink(&mut self, slab: *mut Header) {
        // SAFETY: the list's slabs are live, and the lock that guards them is held.
        unsafe {
            let (previous, next) = ((*slab).previous, (*slab).next);
            if previous.is_null() {
                self.first = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
        }
    }

    /// # Safety
    /// The list is not empty.
    unsafe fn pop(&mut self, class: Class) -> *mut u8 {
        let slab = self.first;
        // SAFETY: slabs on the list are live and have a free object; free objects are memory of the slab that nobody
        // else uses, so their links are intact.
        unsafe {
            if (*slab).used == 0 {
                self.empty -= 1;
            }
            (*slab).used += 1;
            let object = (*slab).free;
            let object = if object.is_null() {
                let fresh = (*slab).fresh;
                (*slab).fresh = fresh + class.size() as u32;
                slab.cast::<u8>().add(fresh as usize)
            } else {
                (*slab).free = (*object).next;
                object.cast::<u8>()
            };
            if (*slab).free.is_null() && (*slab).fresh as usize + class.size() > class.slab_size() {
                self.unlink(slab);
            }
            object
        }
    }

    /// # Safety
    /// As for [`give_back`].
    unsafe fn push(&mut self, class: Class, object: *mut u8) {
        let slab = object.map_addr(|address| address & !(class.slab_size() - 1)).cast::<Header>();
        let object = object.cast::<FreeObject>();
        // SAFETY: slabs are aligned to their size, so this is the object's live slab; the object is free memory, large
        // and aligned enough for a link (the smallest class has 8 bytes).
        unsafe {
            let was_full = (*slab).free.is_null() && (*slab).fresh as usize + class.size() > class.slab_size();
            object.write(FreeObject { next: (*slab).free });
            (*slab).free = object;
            (*slab).used -= 1;
            if was_full {
                self.link(slab);
            }
            if (*slab).used == 0 {
                if self.empty > 0 {
                    self.unlink(slab);
                    FRAMES.fetch_sub(1 << class.slab_order(), Relaxed);
                    frames::free(crate::memory::PhysAddr(machine::virt_to_phys(slab.cast())));
                } else {
                    self.empty = 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::alloc::Layout;
    use std::vec::Vec;

    #[test]
    fn slabs_come_and_go() {
        // The class of 1536 bytes is used by no other test in these numbers.
        let class = class::of(Layout::from_size_align(1500, 8).unwrap()).unwrap();
        let mut objects: Vec<*mut u8> = std::vec![ptr::null_mut(); 100];
        assert_eq!(take(class, &mut objects), 100);
        let mut sorted: Vec<usize> = objects.iter().map(|object| object.addr()).collect();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= class.size()));
        let full = frames();
        // SAFETY: taken above, each once.
        unsafe { give_back(class, &objects) };
        assert!(frames() < full);
    }
}

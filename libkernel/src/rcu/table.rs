//! A hash table that is read without a lock.
//!
//! The slots point at the entries; collisions go to the next slot (linear probing). Writers hold the table's lock. An entry never
//! changes while readers can see it; one that is to change is replaced. A reader that looks while writers work may miss an entry that
//! moves, and never finds one that does not match: whoever finds nothing and has to be sure looks again under the lock.

use alloc::alloc::{alloc, dealloc};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use super::backend;
use super::callback::{Callback, Head};
use super::owned::{Boxed, RcuBox, Retired};
use super::read::ReadGuard;
use crate::sync::{SpinLock, SpinLockGuard};
use crate::{Errno, Result};

/// Slots of the smallest array.
const SMALLEST: usize = 8;

/// What a table holds.
pub trait Hashed: Send + Sync + 'static {
    /// The hash of the key, the same for the entry's whole life. The low bits choose the slot.
    fn hash(&self) -> u64;
}

/// The table. An empty one owns no memory.
pub struct RcuTable<E: Hashed> {
    array: AtomicPtr<Array<E>>,
    writer: SpinLock<Writer>,
    marker: PhantomData<RcuBox<E>>,
}

struct Writer {
    entries: usize,
    /// Slots that are not empty: entries, and slots that entries have left.
    used: usize,
}

type Slot<E> = AtomicPtr<Boxed<E>>;

/// The slots; they follow this header in memory.
#[repr(C)]
struct Array<E> {
    head: Head,
    /// The number of slots, a power of two, less one.
    mask: usize,
    slots: [Slot<E>; 0],
}

/// What a slot holds that an entry has left, so that probing goes on.
fn left<E>() -> *mut Boxed<E> {
    ptr::without_provenance_mut(align_of::<Boxed<E>>())
}

impl<E> Array<E> {
    fn layout(slots: usize) -> Result<Layout> {
        let slots = Layout::array::<Slot<E>>(slots).map_err(|_| Errno::ENOMEM)?;
        Ok(Layout::new::<Self>().extend(slots).map_err(|_| Errno::ENOMEM)?.0)
    }

    /// An array of empty slots.
    fn try_new(slots: usize) -> Result<NonNull<Self>> {
        // SAFETY: the layout is not empty.
        let array = NonNull::new(unsafe { alloc(Self::layout(slots)?) }.cast::<Self>()).ok_or(Errno::ENOMEM)?;
        // SAFETY: the memory was just allocated with room for the header and the slots.
        unsafe {
            array.write(Self { head: Head::new(), mask: slots - 1, slots: [] });
            for index in 0..slots {
                Self::slot_pointer(array, index).write(AtomicPtr::new(ptr::null_mut()));
            }
        }
        Ok(array)
    }

    /// # Safety
    /// The index is below the number of slots that the array was allocated with.
    #[inline]
    unsafe fn slot_pointer(array: NonNull<Self>, index: usize) -> *mut Slot<E> {
        // SAFETY: the caller's contract.
        unsafe { array.as_ptr().byte_add(offset_of!(Self, slots)).cast::<Slot<E>>().add(index) }
    }

    /// The slot with this number, taken round the array.
    ///
    /// # Safety
    /// The array is alive for `'a`.
    #[inline]
    unsafe fn slot<'a>(array: NonNull<Self>, number: usize) -> &'a Slot<E> {
        // SAFETY: masked, the index is in the array, whose slots were initialised.
        unsafe { &*Self::slot_pointer(array, number & array.as_ref().mask) }
    }

    /// Frees the array, not the entries.
    ///
    /// # Safety
    /// The head is that of an array of this type which is given up.
    unsafe fn free(head: NonNull<Head>) {
        let array = head.cast::<Self>();
        // SAFETY: the caller's contract.
        let slots = unsafe { array.as_ref() }.mask + 1;
        if let Ok(layout) = Self::layout(slots) {
            // SAFETY: allocated in `try_new` with this layout; slots and header need no drop.
            unsafe { dealloc(array.as_ptr().cast(), layout) };
        }
    }
}

impl<E: Hashed> RcuTable<E> {
    /// An empty table.
    #[track_caller]
    pub const fn new() -> Self {
        Self {
            array: AtomicPtr::new(ptr::null_mut()),
            writer: SpinLock::new(Writer { entries: 0, used: 0 }),
            marker: PhantomData,
        }
    }

    /// The entry with this hash for which `is` holds.
    #[inline]
    pub fn find<'g>(&'g self, _guard: &'g ReadGuard, hash: u64, is: impl FnMut(&E) -> bool) -> Option<&'g E> {
        // SAFETY: arrays and entries that are taken out of the table are retired; the guard outlives the references.
        unsafe { self.probe(hash, is) }.map(|(_, entry)| entry)
    }

    /// The slot and the entry.
    ///
    /// # Safety
    /// For `'a`, what is taken out of the table is not freed.
    #[inline]
    unsafe fn probe<'a>(&self, hash: u64, mut is: impl FnMut(&E) -> bool) -> Option<(usize, &'a E)>
    where
        E: 'a,
    {
        let array = NonNull::new(self.array.load(Ordering::Acquire))?;
        let mut number = hash as usize;
        // An array always has empty slots, so this ends.
        loop {
            // SAFETY: the caller's contract.
            let pointer = unsafe { Array::slot(array, number) }.load(Ordering::Acquire);
            if pointer != left() {
                // SAFETY: not empty and not left, so it points at an entry; the caller's contract.
                let entry = unsafe { pointer.as_ref() }?.value();
                if entry.hash() == hash && is(entry) {
                    return Some((number, entry));
                }
            }
            number = number.wrapping_add(1);
        }
    }

    /// Excludes other writers.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> TableGuard<'_, E> {
        TableGuard { table: self, writer: self.writer.lock() }
    }

    /// Excludes other writers of two tables, whatever the order in which others name them. There is one guard, the first,
    /// where both are the same table.
    #[track_caller]
    pub fn lock_pair<'t>(first: &'t Self, second: &'t Self) -> (TableGuard<'t, E>, Option<TableGuard<'t, E>>) {
        let (one, other) = SpinLock::lock_pair(&first.writer, &second.writer);
        (TableGuard { table: first, writer: one }, other.map(|writer| TableGuard { table: second, writer }))
    }
}

impl<E: Hashed> Default for RcuTable<E> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Hashed> Drop for RcuTable<E> {
    fn drop(&mut self) {
        let Some(array) = NonNull::new(*self.array.get_mut()) else { return };
        // SAFETY: nobody shares the table any more, and readers of its entries borrowed it.
        unsafe {
            for index in 0..=array.as_ref().mask {
                let pointer = Array::slot(array, index).load(Ordering::Relaxed);
                if let Some(entry) = NonNull::new(pointer)
                    && pointer != left()
                {
                    drop(RcuBox::from_raw(entry));
                }
            }
            Array::<E>::free(array.cast());
        }
    }
}

/// A table whose other writers are excluded.
pub struct TableGuard<'t, E: Hashed> {
    table: &'t RcuTable<E>,
    writer: SpinLockGuard<'t, Writer>,
}

impl<E: Hashed> TableGuard<'_, E> {
    /// The entry with this hash for which `is` holds.
    #[inline]
    pub fn find(&self, hash: u64, is: impl FnMut(&E) -> bool) -> Option<&E> {
        // SAFETY: entries are taken out through an exclusive borrow of the guard alone.
        unsafe { self.table.probe(hash, is) }.map(|(_, entry)| entry)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.writer.entries
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.writer.entries == 0
    }

    /// Whether one entry more means to build a new array.
    pub fn is_full(&self) -> bool {
        // SAFETY: the array is the table's, which nobody else changes.
        let slots = self.array().map_or(0, |array| unsafe { array.as_ref() }.mask + 1);
        (self.writer.used + 1) * 4 > slots * 3
    }

    fn array(&self) -> Option<NonNull<Array<E>>> {
        NonNull::new(self.table.array.load(Ordering::Relaxed))
    }

    /// Adds an entry; that there is no other with its key is the caller's matter.
    ///
    /// # Errors
    /// `ENOMEM`; the entry is dropped then.
    pub fn insert(&mut self, entry: RcuBox<E>) -> Result<()> {
        if self.is_full() {
            self.rebuild()?;
        }
        let array = self.array().ok_or(Errno::ENOMEM)?;
        let hash = entry.hash();
        // SAFETY: the array is the table's; we are the only writer.
        if unsafe { put(array, hash, entry.into_raw()) } {
            self.writer.used += 1;
        }
        self.writer.entries += 1;
        Ok(())
    }

    /// Takes an entry out.
    pub fn remove(&mut self, hash: u64, is: impl FnMut(&E) -> bool) -> Option<Retired<E>> {
        // SAFETY: nobody else takes entries out while we look.
        let (number, _) = unsafe { self.table.probe(hash, is) }?;
        self.take_at(number)
    }

    /// Takes out the entries for which `keep` does not hold.
    pub fn retain(&mut self, mut keep: impl FnMut(&E) -> bool) {
        let Some(array) = self.array() else { return };
        // SAFETY: the array is the table's, and we are the only writer.
        for index in 0..=unsafe { array.as_ref() }.mask {
            // SAFETY: as above.
            let pointer = unsafe { Array::slot(array, index) }.load(Ordering::Relaxed);
            if pointer == left() {
                continue;
            }
            // SAFETY: it points at an entry of the table, or is null.
            if unsafe { pointer.as_ref() }.is_some_and(|entry| !keep(entry.value())) {
                drop(self.take_at(index));
            }
        }
    }

    /// Takes all entries out, and shows `each` of them.
    pub fn clear(&mut self, mut each: impl FnMut(&E)) {
        self.retain(|entry| {
            each(entry);
            false
        });
    }

    /// Empties the slot with this number.
    fn take_at(&mut self, number: usize) -> Option<Retired<E>> {
        let array = self.array()?;
        // SAFETY: the array is the table's, and we are the only writer.
        let (slot, next) = unsafe { (Array::slot(array, number), Array::slot(array, number.wrapping_add(1))) };
        let next_is_empty = next.load(Ordering::Relaxed).is_null();
        let instead = if next_is_empty { ptr::null_mut() } else { left() };
        let entry = NonNull::new(slot.swap(instead, Ordering::AcqRel))?;
        self.writer.entries -= 1;
        if next_is_empty {
            self.writer.used -= 1;
        }
        // SAFETY: the pointer left the table, so the box is ours.
        Some(Retired::new(unsafe { RcuBox::from_raw(entry) }))
    }

    /// Moves to a new array, at most half full. Readers go on in the old one, which is retired.
    #[cold]
    fn rebuild(&mut self) -> Result<()> {
        let slots = ((self.writer.entries + 1) * 2).next_power_of_two().max(SMALLEST);
        let new = Array::try_new(slots)?;
        let old = self.array();
        if let Some(old) = old {
            // SAFETY: the old array is the table's, and we are the only writer; nobody knows the new one, which has room for all.
            unsafe {
                for index in 0..=old.as_ref().mask {
                    let pointer = Array::slot(old, index).load(Ordering::Relaxed);
                    if pointer != left()
                        && let Some(entry) = pointer.as_ref()
                    {
                        put(new, entry.value().hash(), pointer);
                    }
                }
            }
        }
        self.writer.used = self.writer.entries;
        self.table.array.store(new.as_ptr(), Ordering::Release);
        if let Some(old) = old {
            // SAFETY: the old array has left the table; `free` belongs to its type.
            backend::defer(unsafe { Callback::new(old.cast(), Array::<E>::free) });
        }
        Ok(())
    }
}

/// Puts an entry into the first slot that is free for it. `true`: the slot was empty before.
///
/// # Safety
/// The array is alive, has a free slot, and has no other writer.
unsafe fn put<E>(array: NonNull<Array<E>>, hash: u64, entry: *mut Boxed<E>) -> bool {
    let mut number = hash as usize;
    loop {
        // SAFETY: the caller's contract.
        let slot = unsafe { Array::slot(array, number) };
        let there = slot.load(Ordering::Relaxed);
        if there.is_null() || there == left() {
            slot.store(entry, Ordering::Release);
            return there.is_null();
        }
        number = number.wrapping_add(1);
    }
}

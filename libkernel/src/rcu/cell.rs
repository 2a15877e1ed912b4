//! A shared place for one value, read under a guard and replaced as a whole.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use super::owned::{Boxed, RcuBox, Retired};
use super::read::ReadGuard;

/// A value, or none, that readers reach by one load.
pub struct RcuCell<T: Send + Sync + 'static> {
    pointer: AtomicPtr<Boxed<T>>,
    marker: PhantomData<RcuBox<T>>,
}

impl<T: Send + Sync + 'static> RcuCell<T> {
    /// An empty cell.
    pub const fn new() -> Self {
        Self { pointer: AtomicPtr::new(ptr::null_mut()), marker: PhantomData }
    }

    /// A cell with a value.
    pub fn holding(value: RcuBox<T>) -> Self {
        Self { pointer: AtomicPtr::new(value.into_raw()), marker: PhantomData }
    }

    /// The value of this moment; it stays whole while the guard lives.
    #[inline]
    pub fn load<'g>(&'g self, _guard: &'g ReadGuard) -> Option<&'g T> {
        // SAFETY: a pointer in the cell is a published box's. Once replaced it is retired, and the grace period waits for the guard.
        unsafe { self.pointer.load(Ordering::Acquire).as_ref() }.map(Boxed::value)
    }

    /// Whether there is no value.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pointer.load(Ordering::Relaxed).is_null()
    }

    /// Publishes `new` and returns what was there: dropped, it is retired.
    #[inline]
    pub fn replace(&self, new: Option<RcuBox<T>>) -> Option<Retired<T>> {
        let new = new.map_or(ptr::null_mut(), RcuBox::into_raw);
        let old = NonNull::new(self.pointer.swap(new, Ordering::AcqRel))?;
        // SAFETY: the swap took the pointer out of the cell; nobody else gets it.
        Some(Retired::new(unsafe { RcuBox::from_raw(old) }))
    }
}

impl<T: Send + Sync + 'static> Default for RcuCell<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + Sync + 'static> Drop for RcuCell<T> {
    fn drop(&mut self) {
        if let Some(value) = NonNull::new(*self.pointer.get_mut()) {
            // SAFETY: nobody shares the cell any more; readers of its value borrowed the cell too.
            drop(unsafe { RcuBox::from_raw(value) });
        }
    }
}

//! Values that readers may see until a grace period after they were taken out.

use alloc::boxed::Box;
use core::alloc::Layout;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::NonNull;

use super::backend;
use super::callback::{Callback, Head};
use super::cell::RcuCell;
use crate::{Errno, Result};

/// A value with what it needs to be retired.
#[repr(C)]
pub(super) struct Boxed<T> {
    head: Head,
    value: T,
}

impl<T> Boxed<T> {
    #[inline]
    pub(super) fn value(&self) -> &T {
        &self.value
    }
}

/// A value on the heap that is to be published to readers. Dropped unpublished, it is freed at once.
pub struct RcuBox<T: Send + Sync + 'static> {
    pointer: NonNull<Boxed<T>>,
}

// SAFETY: a box owns its value.
unsafe impl<T: Send + Sync + 'static> Send for RcuBox<T> {}
// SAFETY: a shared box gives out shared references only.
unsafe impl<T: Send + Sync + 'static> Sync for RcuBox<T> {}

impl<T: Send + Sync + 'static> RcuBox<T> {
    /// Moves `value` to the heap.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn try_new(value: T) -> Result<Self> {
        // SAFETY: the layout is not empty: it has a head.
        let memory = unsafe { alloc::alloc::alloc(Layout::new::<Boxed<T>>()) };
        let pointer = NonNull::new(memory.cast::<Boxed<T>>()).ok_or(Errno::ENOMEM)?;
        // SAFETY: the memory was just allocated for this.
        unsafe { pointer.write(Boxed { head: Head::new(), value }) };
        Ok(Self { pointer })
    }

    /// Drops the value after a grace period: for one that readers may have seen. Any context; allocates nothing.
    pub fn retire(self) {
        backend::defer(self.into_callback());
    }

    fn into_callback(self) -> Callback {
        let head = ManuallyDrop::new(self).pointer.cast();
        // SAFETY: the box is given up; the value is `Send`, and `drop_boxed` belongs to its type.
        unsafe { Callback::new(head, drop_boxed::<T>) }
    }

    #[inline]
    pub(super) fn into_raw(self) -> *mut Boxed<T> {
        ManuallyDrop::new(self).pointer.as_ptr()
    }

    /// # Safety
    /// The pointer comes from [`into_raw`](Self::into_raw), whose ownership it carries.
    #[inline]
    pub(super) unsafe fn from_raw(pointer: NonNull<Boxed<T>>) -> Self {
        Self { pointer }
    }
}

impl<T: Send + Sync + 'static> Deref for RcuBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the box owns the value.
        &unsafe { self.pointer.as_ref() }.value
    }
}

impl<T: Send + Sync + 'static> Drop for RcuBox<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the allocator that `Box` uses, with the layout of its type, and is given up.
        drop(unsafe { Box::from_raw(self.pointer.as_ptr()) });
    }
}

/// # Safety
/// The head is that of a `Boxed<T>` that is given up.
unsafe fn drop_boxed<T>(head: NonNull<Head>) {
    // SAFETY: the caller's contract; the head is the first field.
    drop(unsafe { Box::from_raw(head.cast::<Boxed<T>>().as_ptr()) });
}

/// A value that was taken out and that readers may still see: to be looked at; dropped, it is retired.
pub struct Retired<T: Send + Sync + 'static>(ManuallyDrop<RcuBox<T>>);

impl<T: Send + Sync + 'static> Retired<T> {
    #[inline]
    pub(super) fn new(value: RcuBox<T>) -> Self {
        Self(ManuallyDrop::new(value))
    }

    /// Puts it into another place instead of retiring it, and returns what was there. It is retired when it leaves that, and so late enough
    /// for readers who found it where it was.
    pub fn republish(self, place: &RcuCell<T>) -> Option<Retired<T>> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped or used again.
        place.replace(Some(unsafe { ManuallyDrop::take(&mut this.0) }))
    }
}

impl<T: Send + Sync + 'static> Deref for Retired<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> Drop for Retired<T> {
    fn drop(&mut self) {
        // SAFETY: the box is not touched again.
        unsafe { ManuallyDrop::take(&mut self.0) }.retire();
    }
}

/// Runs `function` after a grace period, in a kernel task of this core: it may take locks, and may not sleep.
///
/// # Errors
/// `ENOMEM`.
pub fn defer(function: impl FnOnce() + Send + 'static) -> Result<()> {
    backend::defer(callback(function)?);
    Ok(())
}

/// A callback that calls `function`.
pub(super) fn callback<F: FnOnce() + Send + 'static>(function: F) -> Result<Callback> {
    let call = RcuBox::try_new(Once(function))?;
    let head = ManuallyDrop::new(call).pointer.cast();
    // SAFETY: the box is given up, nobody else has it, and the function is `Send`.
    Ok(unsafe { Callback::new(head, call_boxed::<F>) })
}

struct Once<F>(F);

// SAFETY: there is no way to a shared reference to the function.
unsafe impl<F> Sync for Once<F> {}

/// # Safety
/// The head is that of a `Boxed<Once<F>>` that is given up.
unsafe fn call_boxed<F: FnOnce()>(head: NonNull<Head>) {
    // SAFETY: the caller's contract; the head is the first field.
    let boxed = unsafe { Box::from_raw(head.cast::<Boxed<Once<F>>>().as_ptr()) };
    (boxed.value.0)();
}

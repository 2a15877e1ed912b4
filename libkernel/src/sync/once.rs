//! A place that is filled once and then read without a lock.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU8, Ordering};

const EMPTY: u8 = 0;
const FILLING: u8 = 1;
const FULL: u8 = 2;

/// A value that is set at most once. Reading costs one load. Never waits; any context.
pub struct SetOnce<T> {
    state: AtomicU8,
    /// Initialised exactly when the state is `FULL`.
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written by one thread before the state says `FULL`, and only shared afterwards.
unsafe impl<T: Send + Sync> Sync for SetOnce<T> {}
// SAFETY: as for the value itself.
unsafe impl<T: Send> Send for SetOnce<T> {}

impl<T> SetOnce<T> {
    /// An empty place.
    pub const fn new() -> Self {
        Self { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Fills the place.
    ///
    /// # Errors
    /// Gives the value back when the place is filled already, or is being filled.
    pub fn set(&self, value: T) -> Result<(), T> {
        if self.state.compare_exchange(EMPTY, FILLING, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Err(value);
        }
        // SAFETY: only one caller ever moves the state from `EMPTY`, and nobody reads before `FULL`.
        unsafe { (*self.value.get()).write(value) };
        self.state.store(FULL, Ordering::Release);
        Ok(())
    }

    /// The value, once it is there.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != FULL {
            return None;
        }
        // SAFETY: `FULL` means the value is written and will only be shared from now on.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
    }
}

impl<T> Default for SetOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for SetOnce<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == FULL {
            // SAFETY: `FULL` means the value is initialised; it is dropped here once.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;

    #[test]
    fn the_first_value_stays_and_is_dropped_once() {
        let value = Arc::new(5);
        let place = SetOnce::new();
        assert!(place.get().is_none());
        assert!(place.set(value.clone()).is_ok());
        assert!(place.set(Arc::new(6)).is_err());
        assert_eq!(place.get().map(|value| **value), Some(5));
        drop(place);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}

//! The two spin locks, both on `spinning_top`'s raw lock.
//!
//! Waiting executes the machine's relax instruction: under a single-threaded emulator nothing else lets the
//! holder's core run.

use core::cell::UnsafeCell;
use core::cmp::Ordering;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use lock_api::RawMutex;
use spinning_top::relax::Relax;

use super::lockdep::Class;
use super::preemption;
use crate::machine;

struct MachineRelax;

impl Default for MachineRelax {
    #[inline]
    fn default() -> Self {
        Self
    }
}

impl Relax for MachineRelax {
    #[inline]
    fn relax(&mut self) {
        machine::relax();
    }
}

type Raw = spinning_top::RawSpinlock<MachineRelax>;

/// A guard with this marker stays on the core, and in the poll, that took it.
type NotSend = PhantomData<*const ()>;

/// A lock that no interrupt handler may take. Taking it does not mask interrupts; its holder is not preempted.
pub struct SpinLock<T: ?Sized> {
    raw: Raw,
    class: Class,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives one core at a time access to the value.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}

/// Access to what a [`SpinLock`] protects.
///
/// It cannot be held across an await of a task:
///
/// ```compile_fail,E0277
/// fn spawn(_task: impl Future<Output = ()> + Send) {}
///
/// spawn(async {
///     static LOCK: libkernel::sync::SpinLock<u32> = libkernel::sync::SpinLock::new(0);
///     let guard = LOCK.lock();
///     core::future::ready(()).await;
///     drop(guard);
/// });
/// ```
#[must_use]
pub struct SpinLockGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    marker: NotSend,
}

impl<T> SpinLock<T> {
    /// An unlocked lock around `value`.
    #[track_caller]
    pub const fn new(value: T) -> Self {
        Self { raw: Raw::INIT, class: Class::new(true), value: UnsafeCell::new(value) }
    }

    /// The value, when nobody can share the lock any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Waits for the lock, spinning. Not for interrupt handlers, and not while another lock of the same class is held: the
    /// checked build reports that.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        self.take(false)
    }

    /// As [`Self::lock`], while other locks of the same class are held. The caller has to know, and to say, what orders them,
    /// so that nobody who holds this one waits for one of those.
    #[inline]
    #[track_caller]
    pub fn lock_nested(&self) -> SpinLockGuard<'_, T> {
        self.take(true)
    }

    /// Both locks. They are taken in the order of their addresses, so that two cores that name them in opposite orders do not
    /// wait for each other. There is one guard, the first, where both are the same lock.
    #[inline]
    #[track_caller]
    pub fn lock_pair<'a>(first: &'a Self, second: &'a Self) -> (SpinLockGuard<'a, T>, Option<SpinLockGuard<'a, T>>) {
        match first.address().cmp(&second.address()) {
            Ordering::Equal => (first.lock(), None),
            Ordering::Less => {
                let first = first.lock();
                (first, Some(second.lock_nested()))
            }
            Ordering::Greater => {
                let second = second.lock();
                (first.lock_nested(), Some(second))
            }
        }
    }

    #[inline]
    #[track_caller]
    fn take(&self, nested: bool) -> SpinLockGuard<'_, T> {
        preemption::hold();
        debug_assert!(!machine::in_interrupt(), "a plain spin lock was taken in an interrupt handler");
        self.class.about_to_wait(self.address(), nested);
        self.raw.lock();
        self.class.acquired(self.address(), false);
        SpinLockGuard { lock: self, marker: PhantomData }
    }

    /// The lock if nobody holds it.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T>> {
        preemption::hold();
        if !self.raw.try_lock() {
            preemption::release();
            return None;
        }
        self.class.acquired(self.address(), true);
        Some(SpinLockGuard { lock: self, marker: PhantomData })
    }

    #[inline]
    fn address(&self) -> *const () {
        (&raw const self.raw).cast()
    }

    /// The value, which nobody else can reach.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: ?Sized> Drop for SpinLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.class.released(self.lock.address());
        // SAFETY: a guard exists only while its lock is held.
        unsafe { self.lock.raw.unlock() };
        preemption::release();
    }
}

impl<T: ?Sized> Deref for SpinLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinLockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock, and is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

/// A lock that interrupt handlers may take too: interrupts are masked on the core that holds it.
pub struct IrqSpinLock<T: ?Sized> {
    raw: Raw,
    class: Class,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives one core at a time access to the value, and masks the interrupts of that core.
unsafe impl<T: ?Sized + Send> Send for IrqSpinLock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for IrqSpinLock<T> {}

/// Access to what an [`IrqSpinLock`] protects; interrupts are masked while it lives.
///
/// It cannot be held across an await of a task:
///
/// ```compile_fail,E0277
/// fn spawn(_task: impl Future<Output = ()> + Send) {}
///
/// spawn(async {
///     static LOCK: libkernel::sync::IrqSpinLock<u32> = libkernel::sync::IrqSpinLock::new(0);
///     let guard = LOCK.lock();
///     core::future::ready(()).await;
///     drop(guard);
/// });
/// ```
#[must_use]
pub struct IrqSpinLockGuard<'a, T: ?Sized> {
    lock: &'a IrqSpinLock<T>,
    interrupts: u64,
    marker: NotSend,
}

impl<T> IrqSpinLock<T> {
    /// An unlocked lock around `value`.
    #[track_caller]
    pub const fn new(value: T) -> Self {
        Self { raw: Raw::INIT, class: Class::new(false), value: UnsafeCell::new(value) }
    }
}

impl<T: ?Sized> IrqSpinLock<T> {
    /// Masks interrupts and waits for the lock; while it waits, interrupts are as they were before. Not while another lock of
    /// the same class is held: the checked build reports that.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> IrqSpinLockGuard<'_, T> {
        self.class.about_to_wait(self.address(), false);
        loop {
            if let Some(guard) = self.take() {
                self.class.acquired(self.address(), false);
                return guard;
            }
            while self.raw.is_locked() {
                machine::relax();
            }
        }
    }

    /// The lock, with interrupts masked, if nobody holds it.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Option<IrqSpinLockGuard<'_, T>> {
        let guard = self.take()?;
        self.class.acquired(self.address(), true);
        Some(guard)
    }

    #[inline]
    fn take(&self) -> Option<IrqSpinLockGuard<'_, T>> {
        let interrupts = machine::mask_interrupts();
        if self.raw.try_lock() {
            return Some(IrqSpinLockGuard { lock: self, interrupts, marker: PhantomData });
        }
        machine::restore_interrupts(interrupts);
        None
    }

    #[inline]
    fn address(&self) -> *const () {
        (&raw const self.raw).cast()
    }

    /// The value, which nobody else can reach.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// The value, without taking the lock.
    ///
    /// # Safety
    /// For a panicking kernel alone: every other core must have been stopped, for good.
    pub unsafe fn get_unchecked(&self) -> *mut T {
        self.value.get()
    }
}

impl<T: ?Sized> Drop for IrqSpinLockGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.class.released(self.lock.address());
        // SAFETY: a guard exists only while its lock is held.
        unsafe { self.lock.raw.unlock() };
        machine::restore_interrupts(self.interrupts);
    }
}

impl<T: ?Sized> Deref for IrqSpinLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for IrqSpinLockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard holds the lock, and is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: Default> Default for SpinLock<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Default> Default for IrqSpinLock<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(value) => value.fmt(f),
            None => f.write_str("<locked>"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn cores_take_turns() {
        let lock = Arc::new(SpinLock::new(0u64));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let lock = lock.clone();
                thread::spawn(move || (0..10_000).for_each(|_| *lock.lock() += 1))
            })
            .collect();
        threads.into_iter().for_each(|thread| assert!(thread.join().is_ok()));
        assert_eq!(*lock.lock(), 40_000);
    }

    #[test]
    fn an_irq_lock_masks_interrupts_only_while_it_is_held() {
        let lock = IrqSpinLock::new(());
        assert!(!machine::interrupts_masked());
        let outer = lock.lock();
        assert!(machine::interrupts_masked());
        assert!(lock.try_lock().is_none());
        assert!(machine::interrupts_masked(), "a failed attempt leaves the mask as it was");
        drop(outer);
        assert!(!machine::interrupts_masked());
    }
}

//! Per-core storage: one value for each core, reachable from that core alone.
//!
//! There is no way to name another core's value. A value is borrowed with interrupts masked, so an interrupt
//! handler never meets it half changed; a nested borrow of the same value is a bug and panics.

use core::cell::UnsafeCell;

use crate::machine::{self, MAX_CORES};

/// One core's slot, on cache lines of its own (64 bytes each; two, for the prefetcher).
#[repr(align(128))]
struct Slot<T> {
    value: UnsafeCell<T>,
    borrowed: Borrow,
}

/// Whether a slot is borrowed. The core is the only one that asks.
#[cfg(target_os = "none")]
struct Borrow(core::cell::Cell<bool>);

#[cfg(target_os = "none")]
impl Borrow {
    #[expect(clippy::declare_interior_mutable_const, reason = "each slot starts with a copy of its own")]
    const NONE: Self = Self(core::cell::Cell::new(false));

    #[inline]
    fn begin(&self) -> bool {
        !self.0.replace(true)
    }

    #[inline]
    fn end(&self) {
        self.0.set(false);
    }
}

/// Which thread borrows a slot: on a hosted target several threads may play one core, and then take turns.
#[cfg(not(target_os = "none"))]
struct Borrow(core::sync::atomic::AtomicUsize);

#[cfg(not(target_os = "none"))]
impl Borrow {
    #[expect(clippy::declare_interior_mutable_const, reason = "each slot starts with a copy of its own")]
    const NONE: Self = Self(core::sync::atomic::AtomicUsize::new(0));

    fn begin(&self) -> bool {
        use core::sync::atomic::Ordering::{Acquire, Relaxed};
        std::thread_local!(static SELF: u8 = const { 0 });
        let me = SELF.with(|own| core::ptr::from_ref(own).addr());
        loop {
            match self.0.compare_exchange_weak(0, me, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(holder) if holder == me => return false,
                Err(_) => std::thread::yield_now(),
            }
        }
    }

    fn end(&self) {
        self.0.store(0, core::sync::atomic::Ordering::Release);
    }
}

/// A value for each core. Declare one with [`per_cpu!`](crate::per_cpu).
pub struct PerCpu<T> {
    slots: [Slot<T>; MAX_CORES],
}

// SAFETY: each slot is reached only from its own core, with interrupts masked and by one borrower at a time. The value is
// never handed to another core, so it need not be `Send`.
unsafe impl<T> Sync for PerCpu<T> {}

impl<T> PerCpu<T> {
    /// Storage from one initial value a core; for [`per_cpu!`](crate::per_cpu).
    #[doc(hidden)]
    pub const fn new(values: [T; MAX_CORES]) -> Self {
        const { assert!(size_of::<[Slot<T>; MAX_CORES]>() == size_of::<Slot<T>>() * MAX_CORES) };
        let values = core::mem::ManuallyDrop::new(values);
        let mut slots = [const { core::mem::MaybeUninit::<Slot<T>>::uninit() }; MAX_CORES];
        let mut core = 0;
        while core < MAX_CORES {
            // SAFETY: both pointers stay within their arrays; each value is moved out once, and `values` is not dropped.
            unsafe {
                let value = (&raw const values).cast::<T>().add(core).read();
                (&raw mut slots)
                    .cast::<Slot<T>>()
                    .add(core)
                    .write(Slot { value: UnsafeCell::new(value), borrowed: Borrow::NONE });
            }
            core += 1;
        }
        // SAFETY: all slots were written above.
        Self { slots: unsafe { (&raw const slots).cast::<[Slot<T>; MAX_CORES]>().read() } }
    }

    /// Runs `action` on this core's value, with interrupts masked.
    ///
    /// # Panics
    /// In debug builds, if this core already borrows the value.
    #[inline]
    #[track_caller]
    pub fn with<R>(&self, action: impl FnOnce(&mut T) -> R) -> R {
        let interrupts = machine::mask_interrupts();
        let core = machine::core_id();
        debug_assert!(core < MAX_CORES);
        // SAFETY: the machine's core identifiers are below `MAX_CORES`.
        let slot = unsafe { self.slots.get_unchecked(core) };
        assert!(slot.borrowed.begin(), "nested borrow of a per-core value");
        // SAFETY: only this core reaches the slot, interrupts are masked, and `borrowed` excludes a nested borrow.
        let result = action(unsafe { &mut *slot.value.get() });
        slot.borrowed.end();
        machine::restore_interrupts(interrupts);
        result
    }
}

/// Declares per-core statics: `per_cpu! { static COUNT: u64 = 0; }`. The initial value is a constant expression.
#[macro_export]
macro_rules! per_cpu {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty = $initial:expr;)*) => {
        $(
            $(#[$attribute])*
            $visibility static $name: $crate::sync::PerCpu<$type> =
                $crate::sync::PerCpu::new([const { $initial }; $crate::machine::MAX_CORES]);
        )*
    };
}

#[cfg(test)]
mod tests {
    use crate::machine::host;

    per_cpu! {
        static COUNT: u64 = 0;
        static NESTED: u64 = 0;
    }

    #[test]
    fn each_core_has_its_own_value() {
        host::become_core(3);
        COUNT.with(|count| *count += 1);
        std::thread::spawn(|| {
            host::become_core(4);
            COUNT.with(|count| assert_eq!(*count, 0));
        })
        .join()
        .unwrap_or_else(|_| panic!("the other core saw this core's value"));
        COUNT.with(|count| assert_eq!(*count, 1));
    }

    #[test]
    #[should_panic(expected = "nested borrow")]
    fn a_nested_borrow_panics() {
        host::become_core(5);
        NESTED.with(|_| NESTED.with(|_| ()));
    }

    #[test]
    fn cores_share_no_cache_line() {
        assert_eq!(size_of::<super::Slot<u8>>() % 128, 0);
        assert_eq!(align_of::<super::Slot<u8>>(), 128);
    }
}

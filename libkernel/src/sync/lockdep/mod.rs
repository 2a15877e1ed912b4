//! Checks of the order, of the nesting and of the interrupt-safety of locks, in debug builds. Release builds pay nothing.
//!
//! A lock's class is the place in the source that creates it. Whenever a lock is taken while others are held, the order of
//! their classes is noted, once, with both places. Four things are reported, by a panic that names all places concerned:
//!
//! - a core takes a lock that it holds;
//! - a core takes a lock while it holds another of the same class, and does not say that something orders the two
//!   ([`SpinLock::lock_pair`](super::SpinLock::lock_pair), [`SpinLock::lock_nested`](super::SpinLock::lock_nested)): one day
//!   another core takes them the other way round;
//! - two classes are taken in opposite orders, directly or through others, at whatever times: one day two cores do it at once;
//! - a plain lock is taken under an interrupt-aware one that handlers take: a handler that interrupts the plain lock's holder
//!   waits for the other, whose holder waits for the plain one.
//!
//! The first two are reported before the core waits, for it might wait for good. What was only tried for is noted as held, but
//! nothing waits for it, so it adds no order.
//!
//! Callable in any context; nothing here sleeps, allocates, or takes a lock of the checked kinds.

#[cfg(debug_assertions)]
mod checker;
#[cfg(all(test, debug_assertions))]
mod tests;

#[cfg(debug_assertions)]
use core::panic::Location;

/// The class of a lock.
#[derive(Clone, Copy)]
pub(super) struct Class {
    #[cfg(debug_assertions)]
    created: &'static Location<'static>,
    #[cfg(debug_assertions)]
    plain: bool,
}

impl Class {
    /// The class of the locks that the caller's caller creates.
    #[track_caller]
    pub(super) const fn new(plain: bool) -> Self {
        #[cfg(not(debug_assertions))]
        let _ = plain;
        Self {
            #[cfg(debug_assertions)]
            created: Location::caller(),
            #[cfg(debug_assertions)]
            plain,
        }
    }

    /// Before waiting for the lock at `address`; `nested` where something orders it after those of its class that are held.
    #[inline]
    #[track_caller]
    pub(super) fn about_to_wait(&self, address: *const (), nested: bool) {
        #[cfg(debug_assertions)]
        checker::about_to_wait(self, address, nested, Location::caller());
        #[cfg(not(debug_assertions))]
        let _ = (address, nested);
    }

    /// The lock was taken, after waiting or (`tried`) at once.
    #[inline]
    #[track_caller]
    pub(super) fn acquired(&self, address: *const (), tried: bool) {
        #[cfg(debug_assertions)]
        checker::acquired(self, address, tried, Location::caller());
        #[cfg(not(debug_assertions))]
        let _ = (address, tried);
    }

    /// The lock is about to be released.
    #[inline]
    pub(super) fn released(&self, address: *const ()) {
        #[cfg(debug_assertions)]
        checker::released(address);
        #[cfg(not(debug_assertions))]
        let _ = address;
    }
}

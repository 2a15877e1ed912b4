//! [`Listener`]: one who waits.

use alloc::sync::Arc;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};
use core::task::Waker;

use super::list::{IDLE, LINKED, WOKEN, Waiter};
use super::{QueueRef, WaitMode, WaitQueue};

/// One waiter: pinned where it waits, taken off the queue when dropped.
///
/// An exclusive listener that was woken and leaves, or is dropped, without an [`answer`](Listener::answer) passes the wake on.
#[must_use]
pub struct Listener<Q: QueueRef = Arc<WaitQueue>> {
    queue: Q,
    mode: WaitMode,
    waiter: Waiter,
    _pinned: PhantomPinned,
}

// SAFETY: the waiter is reached under the queue's lock, or while it is not linked and so belongs to the listener alone.
unsafe impl<Q: QueueRef + Send> Send for Listener<Q> {}
// SAFETY: as above; shared references give only the atomic state.
unsafe impl<Q: QueueRef + Sync> Sync for Listener<Q> {}

impl<Q: QueueRef> Listener<Q> {
    /// A shared listener of `queue`, not registered yet.
    pub fn new(queue: Q) -> Self {
        Self { queue, mode: WaitMode::Shared, waiter: Waiter::new(), _pinned: PhantomPinned }
    }

    /// The same listener with another mode; before it is registered.
    pub fn with_mode(mut self, mode: WaitMode) -> Self {
        self.mode = mode;
        self
    }

    /// The queue it listens to.
    pub fn queue(&self) -> &Q {
        &self.queue
    }

    /// Whether it was woken since it was last registered.
    pub fn is_woken(&self) -> bool {
        self.waiter.state.load(Ordering::Acquire) == WOKEN
    }

    /// Puts the listener on the queue, unless it is there. Look at the condition after this, not only before.
    pub fn register(self: Pin<&mut Self>, waker: &Waker) {
        // SAFETY: nothing is moved out of the listener.
        let this = unsafe { self.get_unchecked_mut() };
        let waiter = NonNull::from(&this.waiter);
        let queue = this.queue.queue();
        let stale = {
            let mut list = queue.waiters.lock();
            // SAFETY: under the lock the links are ours, linked or not.
            let links = unsafe { &mut *waiter.as_ref().links.get() };
            let stale = match &links.waker {
                Some(old) if old.will_wake(waker) => None,
                _ => links.waker.replace(waker.clone()),
            };
            if this.waiter.state.load(Ordering::Relaxed) != LINKED {
                links.mode = this.mode;
                list.link(waiter);
                queue.count(1);
                this.waiter.state.store(LINKED, Ordering::Relaxed);
            }
            stale
        };
        // Dropped without the lock: it may be the last reference to something with a listener of this queue.
        drop(stale);
        // Orders the registration before the caller's look at the condition.
        fence(Ordering::SeqCst);
    }

    /// The wake that has come, if one has, is answered by what the caller does next: it is not passed on. One that comes from here on
    /// is, unless it is answered too.
    pub fn answer(&self) {
        if self.is_woken() {
            self.waiter.state.store(IDLE, Ordering::Relaxed);
        }
    }

    /// Takes the listener off the queue. A wake that was not answered was for something else than what ends the wait.
    #[inline]
    pub fn leave(self: Pin<&mut Self>) {
        // SAFETY: nothing is moved out of the listener.
        unsafe { self.get_unchecked_mut() }.unlink_and_pass_on();
    }

    #[inline]
    fn unlink_and_pass_on(&mut self) {
        match self.waiter.state.load(Ordering::Acquire) {
            IDLE => {}
            // Off the queue, and with nobody to pass it on to.
            WOKEN if self.mode == WaitMode::Shared => self.waiter.state.store(IDLE, Ordering::Relaxed),
            _ => self.unlink_and_pass_on_in_full(),
        }
    }

    #[inline(never)]
    fn unlink_and_pass_on_in_full(&mut self) {
        if self.unlink() {
            self.waiter.state.store(IDLE, Ordering::Relaxed);
            if self.mode == WaitMode::Exclusive {
                self.queue.queue().wake_one();
            }
        }
    }

    /// Takes the waiter off the queue; afterwards it belongs to the listener alone. Returns whether it was woken.
    fn unlink(&mut self) -> bool {
        match self.waiter.state.load(Ordering::Acquire) {
            LINKED => {}
            other => return other == WOKEN,
        }
        let queue = self.queue.queue();
        let mut list = queue.waiters.lock();
        let woken = self.waiter.state.load(Ordering::Relaxed) == WOKEN;
        if !woken {
            list.unlink(NonNull::from(&self.waiter));
            queue.count(-1);
            self.waiter.state.store(IDLE, Ordering::Relaxed);
        }
        drop(list);
        woken
    }
}

impl<Q: QueueRef> Drop for Listener<Q> {
    #[inline]
    fn drop(&mut self) {
        self.unlink_and_pass_on();
    }
}

//! Wait queues: where tasks (and epoll items) wait for an object to change.
//!
//! A queue is a list of waiters that live inside the futures that wait, so that neither waiting nor waking
//! allocates. A waiter holds a [`Waker`]; waking takes it out under the queue's lock and calls it after the lock is
//! released, so a waker may take any lock, this queue's too.
//!
//! May be woken from interrupt handlers. Registering never sleeps.
//!
//! # Why no wake-up is lost
//! The waiter registers first and looks at the condition afterwards; the waker changes the condition first and looks
//! for waiters afterwards. Sequentially consistent fences stand between each pair, so at least one of the two sees
//! what the other did. That lets a wake of an empty queue cost one fence and one load.

mod list;
mod listener;
mod wait;

use alloc::sync::Arc;
use core::panic::Location;
use core::sync::atomic::{AtomicUsize, Ordering, fence};
use core::task::Waker;

pub use self::listener::Listener;
pub use self::wait::{Retry, WaitUntil};

use self::list::{BATCH, List};
use super::IrqSpinLock;

/// What a wake does to a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitMode {
    /// Every wake reaches it, and takes it off the queue. For waiters that only look.
    Shared,
    /// [`WaitQueue::wake_one`] reaches one of these, the longest waiting. For waiters that consume what they wait for.
    Exclusive,
    /// Every wake reaches it, and it stays on the queue. For epoll items.
    Persistent,
}

/// A queue of waiters, embedded in the object they wait for.
pub struct WaitQueue {
    /// How many there are; changed under the lock.
    waiting: AtomicUsize,
    waiters: IrqSpinLock<List>,
}

impl WaitQueue {
    /// A queue with no waiters.
    #[track_caller]
    pub const fn new() -> Self {
        Self { waiting: AtomicUsize::new(0), waiters: IrqSpinLock::new(List::new()) }
    }

    /// Whether nobody waits, as a hint.
    pub fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Wakes the longest waiting exclusive waiter and all others; returns whether there was any.
    ///
    /// Call it after the condition has changed, for instance when one datum has arrived.
    #[inline]
    pub fn wake_one(&self) -> bool {
        self.wake(1) > 0
    }

    /// Wakes everybody; returns how many were woken.
    #[inline]
    pub fn wake_all(&self) -> usize {
        self.wake(usize::MAX)
    }

    #[inline]
    fn wake(&self, exclusive: usize) -> usize {
        // Orders the caller's change of the condition before the look at the queue.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 { 0 } else { self.wake_waiters(exclusive) }
    }

    fn wake_waiters(&self, exclusive: usize) -> usize {
        let mut list = self.waiters.lock();
        if let Some(waker) = list.take_only_waker(exclusive) {
            self.count(-1);
            drop(list);
            waker.wake();
            return 1;
        }
        drop(list);
        self.wake_batches(exclusive)
    }

    #[inline(never)]
    fn wake_batches(&self, mut exclusive: usize) -> usize {
        let mut woken = 0;
        let mut limit = None;
        loop {
            let mut batch: [Option<Waker>; BATCH] = [const { None }; BATCH];
            let complete = {
                let mut list = self.waiters.lock();
                let limit = *limit.get_or_insert(list.arrivals);
                let complete = list.take_wakers(limit, &mut exclusive, &mut batch, || self.count(-1));
                drop(list);
                complete
            };
            for waker in batch.into_iter().map_while(|waker| waker) {
                woken += 1;
                waker.wake();
            }
            if complete {
                return woken;
            }
        }
    }

    /// Counts waiters that come or go. The lock is held.
    #[inline]
    fn count(&self, difference: isize) {
        let waiting = self.waiting.load(Ordering::Relaxed).wrapping_add_signed(difference);
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Sleeps until `condition` gives a value, as an exclusive waiter.
    ///
    /// The condition is looked at before sleeping and after each wake. It must not sleep.
    #[track_caller]
    pub fn wait_until<T, F: FnMut() -> Option<T>>(&self, condition: F) -> WaitUntil<'_, F> {
        WaitUntil::new(self, condition, Location::caller())
    }

    /// Sleeps, as an exclusive waiter, until `attempt`, which the caller made just before in vain, gives a value; every wake makes it try
    /// again.
    ///
    /// It is tried once more before each sleep, with the waiter on the queue. Its argument says whether there was a wake since
    /// it was tried last; if not, a look that tells it would be in vain is enough. `left` says whether there is more of what was waited
    /// for: then the wake that brought the value goes on to the next waiter. Neither may sleep.
    #[track_caller]
    pub fn retry<T, F: FnMut(bool) -> Option<T>, L: Fn() -> bool>(&self, attempt: F, left: L) -> Retry<'_, F, L> {
        Retry::new(self, attempt, left, Location::caller())
    }
}

/// A queue as a waker: what wakes it, a timer for instance, wakes everybody who waits.
impl alloc::task::Wake for WaitQueue {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

impl Default for WaitQueue {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

/// A reference to a queue that stays with the same queue for its whole life: `&WaitQueue` or `Arc<WaitQueue>`.
///
/// # Safety
/// [`queue`](QueueRef::queue) must return the same queue each time.
pub unsafe trait QueueRef {
    /// The queue.
    fn queue(&self) -> &WaitQueue;
}

// SAFETY: a shared reference always leads to the same queue.
unsafe impl QueueRef for &WaitQueue {
    #[inline]
    fn queue(&self) -> &WaitQueue {
        self
    }
}

// SAFETY: an `Arc` always leads to the same queue.
unsafe impl QueueRef for Arc<WaitQueue> {
    #[inline]
    fn queue(&self) -> &WaitQueue {
        self
    }
}

#[cfg(test)]
mod tests;

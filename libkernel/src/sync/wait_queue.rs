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

use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::future::Future;
use core::marker::PhantomPinned;
use core::panic::Location;
use core::pin::Pin;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering, fence};
use core::task::{Context, Poll, Waker};

use super::IrqSpinLock;
use crate::task::WaitLocation;

/// How many wakers are taken out under one holding of the lock.
const BATCH: usize = 8;

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

/// Waiters in order of arrival.
///
/// # Invariants
/// Each linked waiter is pinned, alive, belongs to this queue and has the state [`LINKED`]; nothing but the holder of the
/// queue's lock touches the `links` of a linked waiter.
struct List {
    first: Option<NonNull<Waiter>>,
    last: Option<NonNull<Waiter>>,
    arrivals: u64,
}

// SAFETY: the waiters behind the pointers are reached only under the queue's lock.
unsafe impl Send for List {}

const IDLE: u8 = 0;
const LINKED: u8 = 1;
const WOKEN: u8 = 2;

struct Waiter {
    /// `IDLE` and `WOKEN` belong to the listener, `LINKED` to the queue. Storing `WOKEN` is a waker's last access.
    state: AtomicU8,
    links: UnsafeCell<Links>,
}

struct Links {
    previous: Option<NonNull<Waiter>>,
    next: Option<NonNull<Waiter>>,
    waker: Option<Waker>,
    arrival: u64,
    mode: WaitMode,
}

impl WaitQueue {
    /// A queue with no waiters.
    #[track_caller]
    pub const fn new() -> Self {
        Self { waiting: AtomicUsize::new(0), waiters: IrqSpinLock::new(List { first: None, last: None, arrivals: 0 }) }
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
        WaitUntil {
            listener: Listener::new(self).with_mode(WaitMode::Exclusive),
            condition,
            location: Location::caller(),
        }
    }

    /// Sleeps until `attempt`, which the caller made just before in vain, gives a value; every wake makes it try again.
    ///
    /// It is tried once more before each sleep, with the waiter on the queue. Its argument says whether there was a wake since
    /// it was tried last; if not, a look that tells it would be in vain is enough. It must not sleep.
    #[track_caller]
    pub fn retry<T, F: FnMut(bool) -> Option<T>>(&self, attempt: F) -> Retry<'_, F> {
        Retry { listener: Listener::new(self), attempt, location: Location::caller() }
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

impl List {
    /// The waker of the one waiter there is, taken off the list; `None` if there are more, or if this wake does not take it off.
    fn take_only_waker(&mut self, exclusive: usize) -> Option<Waker> {
        let waiter = self.first.filter(|first| self.last == Some(*first))?;
        // SAFETY: by the list's invariant the waiter is alive and its links are ours while we hold the lock.
        let links = unsafe { &mut *waiter.as_ref().links.get() };
        match links.mode {
            WaitMode::Shared => {}
            WaitMode::Exclusive if exclusive > 0 => {}
            WaitMode::Exclusive | WaitMode::Persistent => return None,
        }
        let waker = links.waker.take()?;
        (self.first, self.last) = (None, None);
        // SAFETY: alive as above; after this store the listener may free it, and we do not touch it again.
        unsafe { waiter.as_ref() }.state.store(WOKEN, Ordering::Release);
        Some(waker)
    }

    /// Moves the wakers of waiters that arrived up to `limit` into `batch`, and tells `left` of those that leave the list;
    /// returns whether those were all.
    fn take_wakers(
        &mut self,
        limit: u64,
        exclusive: &mut usize,
        batch: &mut [Option<Waker>; BATCH],
        left: impl Fn(),
    ) -> bool {
        let mut free = batch.iter_mut();
        let mut cursor = self.first;
        while let Some(waiter) = cursor {
            // SAFETY: by the list's invariant the waiter is alive and its links are ours while we hold the lock.
            let links = unsafe { &mut *waiter.as_ref().links.get() };
            if links.arrival > limit {
                break;
            }
            cursor = links.next;
            if links.mode == WaitMode::Exclusive && *exclusive == 0 {
                continue;
            }
            let Some(slot) = free.next() else { return false };
            if links.mode == WaitMode::Persistent {
                *slot = links.waker.clone();
                // To the back, with a new arrival, so that this wake does not meet it again.
                self.unlink(waiter);
                self.link(waiter);
                continue;
            }
            if links.mode == WaitMode::Exclusive {
                *exclusive -= 1;
            }
            *slot = links.waker.take();
            self.unlink(waiter);
            left();
            // SAFETY: alive as above; after this store the listener may free it, and we do not touch it again.
            unsafe { waiter.as_ref() }.state.store(WOKEN, Ordering::Release);
        }
        true
    }

    fn link(&mut self, waiter: NonNull<Waiter>) {
        self.arrivals += 1;
        // SAFETY: the caller holds the lock and gives us a pinned, living waiter that is not linked.
        let links = unsafe { &mut *waiter.as_ref().links.get() };
        links.arrival = self.arrivals;
        links.previous = self.last;
        links.next = None;
        match self.last {
            // SAFETY: linked waiters are alive and ours under the lock; this one is another than `waiter`.
            Some(last) => unsafe { (*last.as_ref().links.get()).next = Some(waiter) },
            None => self.first = Some(waiter),
        }
        self.last = Some(waiter);
    }

    fn unlink(&mut self, waiter: NonNull<Waiter>) {
        // SAFETY: the caller holds the lock and gives us a linked waiter; its neighbours are linked too.
        unsafe {
            let (previous, next) = {
                let links = &mut *waiter.as_ref().links.get();
                (links.previous.take(), links.next.take())
            };
            match previous {
                Some(previous) => (*previous.as_ref().links.get()).next = next,
                None => self.first = next,
            }
            match next {
                Some(next) => (*next.as_ref().links.get()).previous = previous,
                None => self.last = previous,
            }
        }
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
        let links = Links { previous: None, next: None, waker: None, arrival: 0, mode: WaitMode::Shared };
        Self {
            queue,
            mode: WaitMode::Shared,
            waiter: Waiter { state: AtomicU8::new(IDLE), links: UnsafeCell::new(links) },
            _pinned: PhantomPinned,
        }
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

/// The future of [`WaitQueue::wait_until`].
#[must_use]
pub struct WaitUntil<'a, F> {
    listener: Listener<&'a WaitQueue>,
    condition: F,
    location: &'static Location<'static>,
}

impl<T, F: FnMut() -> Option<T>> Future for WaitUntil<'_, F> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // SAFETY: the listener stays pinned, the other fields are not pinned structurally.
        let (mut listener, condition, location) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.listener), &mut this.condition, this.location)
        };
        listener.answer();
        if let Some(value) = condition() {
            listener.leave();
            return Poll::Ready(value);
        }
        listener.as_mut().register(context.waker());
        if let Some(value) = condition() {
            listener.leave();
            return Poll::Ready(value);
        }
        WaitLocation::record(context.waker(), location);
        Poll::Pending
    }
}

/// The future of [`WaitQueue::retry`].
#[must_use]
pub struct Retry<'a, F> {
    listener: Listener<&'a WaitQueue>,
    attempt: F,
    location: &'static Location<'static>,
}

impl<T, F: FnMut(bool) -> Option<T>> Future for Retry<'_, F> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // SAFETY: the listener stays pinned, the other fields are not pinned structurally.
        let (mut listener, attempt, location) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.listener), &mut this.attempt, this.location)
        };
        if listener.is_woken()
            && let Some(value) = attempt(true)
        {
            listener.leave();
            return Poll::Ready(value);
        }
        listener.as_mut().register(context.waker());
        if let Some(value) = attempt(false) {
            listener.leave();
            return Poll::Ready(value);
        }
        WaitLocation::record(context.waker(), location);
        Poll::Pending
    }
}

#[cfg(test)]
#[path = "wait_queue_tests.rs"]
mod tests;

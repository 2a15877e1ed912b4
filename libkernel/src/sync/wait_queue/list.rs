//! The waiters of a queue, in the order in which wakes reach them.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};
use core::task::Waker;

use super::WaitMode;

/// How many wakers are taken out under one holding of the lock.
pub(super) const BATCH: usize = 8;

pub(super) const IDLE: u8 = 0;
pub(super) const LINKED: u8 = 1;
pub(super) const WOKEN: u8 = 2;

/// What stands on the list for a listener.
pub(super) struct Waiter {
    /// `IDLE` and `WOKEN` belong to the listener, `LINKED` to the queue. Storing `WOKEN` is a waker's last access.
    pub(super) state: AtomicU8,
    pub(super) links: UnsafeCell<Links>,
}

/// What the lock of the queue guards while the waiter is linked; the neighbours are `None` while it is not.
pub(super) struct Links {
    previous: Option<NonNull<Waiter>>,
    next: Option<NonNull<Waiter>>,
    pub(super) waker: Option<Waker>,
    arrival: u64,
    pub(super) mode: WaitMode,
}

impl Waiter {
    /// A waiter that is not linked.
    pub(super) const fn new() -> Self {
        let links = Links { previous: None, next: None, waker: None, arrival: 0, mode: WaitMode::Shared };
        Self { state: AtomicU8::new(IDLE), links: UnsafeCell::new(links) }
    }
}

/// First those whom every wake reaches, then the exclusive ones, both in order of arrival: so a wake of one looks at nobody that it does
/// not wake, however many wait.
///
/// # Invariants
/// Each linked waiter is pinned, alive, belongs to this queue and has the state [`LINKED`]; nothing but the holder of the
/// queue's lock touches the `links` of a linked waiter.
pub(super) struct List {
    first: Option<NonNull<Waiter>>,
    last: Option<NonNull<Waiter>>,
    /// The last that is not exclusive.
    last_common: Option<NonNull<Waiter>>,
    /// How many have come so far.
    pub(super) arrivals: u64,
}

// SAFETY: the waiters behind the pointers are reached only under the queue's lock.
unsafe impl Send for List {}

impl List {
    /// No waiters.
    pub(super) const fn new() -> Self {
        Self { first: None, last: None, last_common: None, arrivals: 0 }
    }

    /// The waker of the one waiter there is, taken off the list; `None` if there are more, or if this wake does not take it off.
    pub(super) fn take_only_waker(&mut self, exclusive: usize) -> Option<Waker> {
        let waiter = self.first.filter(|first| self.last == Some(*first))?;
        // SAFETY: by the list's invariant the waiter is alive and its links are ours while we hold the lock.
        let links = unsafe { &mut *waiter.as_ref().links.get() };
        match links.mode {
            WaitMode::Shared => {}
            WaitMode::Exclusive if exclusive > 0 => {}
            WaitMode::Exclusive | WaitMode::Persistent => return None,
        }
        let waker = links.waker.take()?;
        (self.first, self.last, self.last_common) = (None, None, None);
        // SAFETY: alive as above; after this store the listener may free it, and we do not touch it again.
        unsafe { waiter.as_ref() }.state.store(WOKEN, Ordering::Release);
        Some(waker)
    }

    /// Moves the wakers of waiters that arrived up to `limit` into `batch`, and tells `left` of those that leave the list;
    /// returns whether those were all.
    pub(super) fn take_wakers(
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
            let is_exclusive = links.mode == WaitMode::Exclusive;
            if is_exclusive && *exclusive == 0 {
                break;
            }
            if links.arrival > limit {
                if is_exclusive {
                    break;
                }
                // Those behind it came later still, up to the exclusive ones.
                cursor = self.first_exclusive();
                continue;
            }
            cursor = links.next;
            let Some(slot) = free.next() else { return false };
            if links.mode == WaitMode::Persistent {
                *slot = links.waker.clone();
                // To the back, with a new arrival, so that this wake does not meet it again.
                self.unlink(waiter);
                self.link(waiter);
                continue;
            }
            *exclusive -= usize::from(is_exclusive);
            *slot = links.waker.take();
            self.unlink(waiter);
            left();
            // SAFETY: alive as above; after this store the listener may free it, and we do not touch it again.
            unsafe { waiter.as_ref() }.state.store(WOKEN, Ordering::Release);
        }
        true
    }

    /// The longest waiting exclusive waiter.
    fn first_exclusive(&self) -> Option<NonNull<Waiter>> {
        match self.last_common {
            // SAFETY: linked waiters are alive and ours under the lock.
            Some(common) => unsafe { (*common.as_ref().links.get()).next },
            None => self.first,
        }
    }

    /// Puts a waiter behind all others of its kind.
    pub(super) fn link(&mut self, waiter: NonNull<Waiter>) {
        self.arrivals += 1;
        // SAFETY: the caller holds the lock and gives us a pinned, living waiter that is not linked.
        let links = unsafe { &mut *waiter.as_ref().links.get() };
        links.arrival = self.arrivals;
        let (previous, next) = if links.mode == WaitMode::Exclusive {
            (self.last, None)
        } else {
            let next = self.first_exclusive();
            (self.last_common.replace(waiter), next)
        };
        (links.previous, links.next) = (previous, next);
        match previous {
            // SAFETY: linked waiters are alive and ours under the lock; this one is another than `waiter`.
            Some(previous) => unsafe { (*previous.as_ref().links.get()).next = Some(waiter) },
            None => self.first = Some(waiter),
        }
        match next {
            // SAFETY: as above.
            Some(next) => unsafe { (*next.as_ref().links.get()).previous = Some(waiter) },
            None => self.last = Some(waiter),
        }
    }

    /// Takes a linked waiter off the list.
    pub(super) fn unlink(&mut self, waiter: NonNull<Waiter>) {
        // SAFETY: the caller holds the lock and gives us a linked waiter; its neighbours are linked too.
        unsafe {
            let (previous, next) = {
                let links = &mut *waiter.as_ref().links.get();
                (links.previous.take(), links.next.take())
            };
            if self.last_common == Some(waiter) {
                self.last_common = previous;
            }
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

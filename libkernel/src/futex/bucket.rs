//! The buckets and the waiters in them.
//!
//! A waiter is linked into exactly one bucket, or none. Only the holder of that bucket's lock touches its links; which bucket
//! that is changes only under both locks, and stands in the waiter.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use core::task::Waker;

use super::key::Key;
use crate::sync::{SpinLock, SpinLockGuard};
use crate::{Errno, Result};

const BITS: u32 = 8;
/// How many wakers are taken out under one holding of a lock.
const BATCH: usize = 16;

static BUCKETS: [SpinLock<Bucket>; 1 << BITS] =
    [const { SpinLock::new(Bucket { first: None, last: None }) }; 1 << BITS];

/// Waiters in order of arrival.
///
/// # Invariants
/// Each linked waiter is pinned and alive, has the state [`QUEUED`] and names this bucket.
pub(super) struct Bucket {
    first: Option<NonNull<Waiter>>,
    last: Option<NonNull<Waiter>>,
}

// SAFETY: the waiters behind the pointers are reached only under the bucket's lock.
unsafe impl Send for Bucket {}

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const WOKEN: u8 = 2;

/// One waiting task's place, inside its future.
pub(super) struct Waiter {
    /// `IDLE` and `WOKEN` belong to the waiter, `QUEUED` to its bucket. Storing `WOKEN` is a waker's last access.
    state: AtomicU8,
    bucket: AtomicUsize,
    links: UnsafeCell<Links>,
}

struct Links {
    previous: Option<NonNull<Waiter>>,
    next: Option<NonNull<Waiter>>,
    key: Key,
    bits: u32,
    waker: Option<Waker>,
}

// SAFETY: the links are reached only under a bucket's lock, or by the owner while the waiter is in no bucket.
unsafe impl Send for Waiter {}
// SAFETY: as above.
unsafe impl Sync for Waiter {}

impl Waiter {
    pub(super) const fn new(key: Key, bits: u32) -> Self {
        Self {
            state: AtomicU8::new(IDLE),
            bucket: AtomicUsize::new(0),
            links: UnsafeCell::new(Links { previous: None, next: None, key, bits, waker: None }),
        }
    }

    /// Whether a waker has taken it out.
    pub(super) fn is_woken(&self) -> bool {
        self.state.load(Ordering::Acquire) == WOKEN
    }

    /// Whether it stands in a bucket, or did until it was woken.
    pub(super) fn is_idle(&self) -> bool {
        self.state.load(Ordering::Relaxed) == IDLE
    }

    /// Queues an idle waiter if `matches`, asked under the bucket's lock, says so.
    ///
    /// # Safety
    /// The waiter is pinned, and [`Self::leave`] is called before it goes away.
    pub(super) unsafe fn enter(&self, waker: &Waker, matches: impl FnOnce() -> bool) -> bool {
        // SAFETY: an idle waiter is its owner's, who calls this.
        let key = unsafe { (*self.links.get()).key };
        let mut bucket = lock(key.hash(BITS));
        if !matches() {
            return false;
        }
        // SAFETY: as above; from here on the bucket's lock, which we hold, guards it.
        unsafe { (*self.links.get()).waker = Some(waker.clone()) };
        self.bucket.store(key.hash(BITS), Ordering::Relaxed);
        self.state.store(QUEUED, Ordering::Relaxed);
        bucket.append(NonNull::from(self));
        true
    }

    /// Changes who is woken. False if it is too late: the waiter was woken.
    pub(super) fn set_waker(&self, waker: &Waker) -> bool {
        let Some(_bucket) = self.lock_bucket() else { return false };
        // SAFETY: the waiter is queued and we hold its bucket's lock.
        let links = unsafe { &mut *self.links.get() };
        if links.waker.as_ref().is_none_or(|old| !old.will_wake(waker)) {
            links.waker = Some(waker.clone());
        }
        true
    }

    /// Takes the waiter out of its bucket. True if it had been woken before.
    pub(super) fn leave(&self) -> bool {
        if self.is_idle() {
            return false;
        }
        let Some(mut bucket) = self.lock_bucket() else { return true };
        bucket.unlink(NonNull::from(self));
        self.state.store(IDLE, Ordering::Relaxed);
        false
    }

    /// Locks the bucket that the waiter stands in; `None` if it was woken. For a waiter that is not idle.
    fn lock_bucket(&self) -> Option<SpinLockGuard<'static, Bucket>> {
        loop {
            if self.is_woken() {
                return None;
            }
            let index = self.bucket.load(Ordering::Relaxed);
            let guard = lock(index);
            if self.is_woken() {
                return None;
            }
            if self.bucket.load(Ordering::Relaxed) == index {
                return Some(guard);
            }
            // It was requeued between the two looks.
        }
    }
}

impl Bucket {
    fn append(&mut self, waiter: NonNull<Waiter>) {
        // SAFETY: the caller holds the lock and gives us a pinned, living waiter that is in no list.
        let links = unsafe { &mut *waiter.as_ref().links.get() };
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
        // SAFETY: the caller holds the lock and gives us a waiter of this bucket; its neighbours are alive too.
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

    /// The first waiter from `from` on that waits for this key and one of these bits.
    fn find(&self, from: Option<NonNull<Waiter>>, key: Key, bits: u32) -> Option<NonNull<Waiter>> {
        let mut cursor = from;
        while let Some(waiter) = cursor {
            // SAFETY: linked waiters are alive and ours under the lock.
            let links = unsafe { &*waiter.as_ref().links.get() };
            if links.key == key && links.bits & bits != 0 {
                return Some(waiter);
            }
            cursor = links.next;
        }
        None
    }

    /// The waiter behind a linked one.
    fn after(&self, waiter: NonNull<Waiter>) -> Option<NonNull<Waiter>> {
        // SAFETY: linked waiters are alive and ours under the lock.
        unsafe { (*waiter.as_ref().links.get()).next }
    }

    /// Takes up to `limit` matching waiters out into `batch`; returns how many.
    pub(super) fn take(&mut self, key: Key, bits: u32, limit: usize, batch: &mut Batch) -> usize {
        let mut taken = 0;
        let mut from = self.first;
        for slot in batch.0.iter_mut().filter(|slot| slot.is_none()) {
            if taken == limit {
                break;
            }
            let Some(waiter) = self.find(from, key, bits) else { break };
            from = self.after(waiter);
            *slot = self.take_waker(waiter);
            taken += 1;
        }
        taken
    }

    /// Takes a waiter of this bucket out; gives its waker.
    fn take_waker(&mut self, waiter: NonNull<Waiter>) -> Option<Waker> {
        self.unlink(waiter);
        // SAFETY: alive and ours under the lock until the store below, after which we do not touch it again.
        let waiter = unsafe { waiter.as_ref() };
        // SAFETY: as above.
        let waker = unsafe { (*waiter.links.get()).waker.take() };
        waiter.state.store(WOKEN, Ordering::Release);
        waker
    }
}

/// Wakers taken out under a lock, to be called after it.
#[derive(Default)]
pub(super) struct Batch([Option<Waker>; BATCH]);

impl Batch {
    pub(super) fn wake(self) {
        self.0.into_iter().flatten().for_each(Waker::wake);
    }
}

fn lock(index: usize) -> SpinLockGuard<'static, Bucket> {
    bucket(index).lock()
}

fn bucket(index: usize) -> &'static SpinLock<Bucket> {
    let [first, ..] = &BUCKETS;
    BUCKETS.get(index).unwrap_or(first)
}

/// The buckets of two keys, locked; one lock if they are the same.
pub(super) struct Pair {
    first: SpinLockGuard<'static, Bucket>,
    second: Option<SpinLockGuard<'static, Bucket>>,
}

impl Pair {
    pub(super) fn lock(first: Key, second: Key) -> Self {
        let (first, second) = SpinLock::lock_pair(bucket(first.hash(BITS)), bucket(second.hash(BITS)));
        Self { first, second }
    }

    pub(super) fn first(&mut self) -> &mut Bucket {
        &mut self.first
    }

    pub(super) fn second(&mut self) -> &mut Bucket {
        self.second.as_mut().unwrap_or(&mut self.first)
    }
}

impl Pair {
    /// Lets up to `limit` waiters of the first key wait for the second one. Returns how many.
    fn shift(&mut self, from: Key, to: Key, limit: usize) -> usize {
        let mut moved = 0;
        let mut cursor = self.first().first;
        while moved < limit && from != to {
            let Some(waiter) = self.first().find(cursor, from, super::ANY) else { break };
            cursor = self.first().after(waiter);
            self.first().unlink(waiter);
            // SAFETY: the waiter is alive: its owner needs one of the locks that we hold to take it away.
            let moving = unsafe { waiter.as_ref() };
            // SAFETY: as above.
            unsafe { (*moving.links.get()).key = to };
            moving.bucket.store(to.hash(BITS), Ordering::Relaxed);
            self.second().append(waiter);
            moved += 1;
        }
        moved
    }
}

/// Wakes at most `count` waiters of a futex that wait for one of `bits`, the longest waiting first. Returns how many.
pub fn wake(key: Key, bits: u32, count: usize) -> usize {
    if count == 1 { usize::from(wake_one(key, bits)) } else { wake_many(key, bits, count) }
}

fn wake_one(key: Key, bits: u32) -> bool {
    let mut bucket = lock(key.hash(BITS));
    let Some(waiter) = bucket.find(bucket.first, key, bits) else { return false };
    let waker = bucket.take_waker(waiter);
    drop(bucket);
    if let Some(waker) = waker {
        waker.wake();
    }
    true
}

fn wake_many(key: Key, bits: u32, count: usize) -> usize {
    let mut woken = 0;
    while woken < count {
        let mut batch = Batch::default();
        let taken = lock(key.hash(BITS)).take(key, bits, count - woken, &mut batch);
        batch.wake();
        woken += taken;
        if taken < BATCH {
            break;
        }
    }
    woken
}

/// Wakes at most `wake_count` waiters of one futex and lets at most `move_count` of the others wait for another one,
/// provided that `check`, made under the locks, has no objection. Returns how many were woken and how many moved.
///
/// # Errors
/// What `check` says.
pub fn requeue(
    from: Key,
    to: Key,
    wake_count: usize,
    move_count: usize,
    check: impl FnOnce() -> Result<()>,
) -> Result<(usize, usize)> {
    let mut pair = Pair::lock(from, to);
    check()?;
    let mut batch = Batch::default();
    let mut woken = pair.first().take(from, super::ANY, wake_count, &mut batch);
    if woken == BATCH {
        // More than are woken under one holding of the locks. That somebody comes or goes meanwhile harms nobody: the word
        // was looked at already.
        drop(pair);
        woken += wake(from, super::ANY, wake_count - woken);
        pair = Pair::lock(from, to);
    }
    let moved = pair.shift(from, to, move_count);
    drop(pair);
    batch.wake();
    Ok((woken, moved))
}

/// Changes a word under both buckets' locks with `change`, then wakes waiters of the first futex, and of the second if
/// `change` said so. Returns how many were woken.
///
/// # Errors
/// What `change` says.
pub(super) fn wake_two(
    keys: [Key; 2],
    counts: [usize; 2],
    change: impl FnOnce() -> Result<bool, Errno>,
) -> Result<usize> {
    let [first, second] = keys;
    let mut pair = Pair::lock(first, second);
    let both = change()?;
    let mut batch = Batch::default();
    let [count, second_count] = counts;
    let mut woken = pair.first().take(first, super::ANY, count, &mut batch);
    let complete = woken < BATCH;
    let mut second_woken = 0;
    let mut second_batch = Batch::default();
    if both {
        second_woken = pair.second().take(second, super::ANY, second_count, &mut second_batch);
    }
    drop(pair);
    batch.wake();
    second_batch.wake();
    if !complete {
        woken += wake(first, super::ANY, count - woken);
    }
    if second_woken == BATCH {
        second_woken += wake(second, super::ANY, second_count - second_woken);
    }
    Ok(woken + second_woken)
}

//! The waiters of one poll, on however many queues.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::marker::PhantomPinned;
use core::pin::Pin;
use core::task::Waker;

use crate::sync::{Listener, WaitMode, WaitQueue};

/// How many listeners need no heap: enough to wait for one file, or for a file and a timer.
const INLINE: usize = 2;
/// The capacity of the first chunk on the heap; each next one is twice as large.
const FIRST_CHUNK: usize = 8;

/// Listeners on any number of queues; two need no heap. Dropping it unregisters them all.
///
/// # Invariants
/// A chunk never grows beyond the capacity it was made with, and `used` never leads past it, so a listener does not move.
#[derive(Default)]
pub struct Listeners {
    inline: [Option<Listener>; INLINE],
    chunks: Vec<Vec<Option<Listener>>>,
    used: usize,
    _pinned: PhantomPinned,
}

impl Listeners {
    /// No listeners.
    pub const fn new() -> Self {
        Self { inline: [const { None }; INLINE], chunks: Vec::new(), used: 0, _pinned: PhantomPinned }
    }

    /// Whether nothing is registered.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Starts a round: the listeners of the last one are kept for reuse.
    pub(super) fn begin(self: Pin<&mut Self>) {
        // SAFETY: nothing pinned is moved.
        unsafe { self.get_unchecked_mut() }.used = 0;
    }

    /// Unregisters from everywhere.
    pub(super) fn clear(mut self: Pin<&mut Self>) {
        self.as_mut().begin();
        self.end();
    }

    /// Ends a round: drops the listeners that it did not register.
    pub(super) fn end(self: Pin<&mut Self>) {
        // SAFETY: listeners are dropped in place, not moved.
        let this = unsafe { self.get_unchecked_mut() };
        let used = this.used;
        let all = this.inline.iter_mut().chain(this.chunks.iter_mut().flatten());
        all.skip(used).for_each(|slot| *slot = None);
    }

    /// Registers with one more queue; `false` if there is no memory for it.
    pub(super) fn register(self: Pin<&mut Self>, queue: &Arc<WaitQueue>, waker: &Waker, mode: WaitMode) -> bool {
        // SAFETY: listeners are replaced in place, not moved.
        let this = unsafe { self.get_unchecked_mut() };
        let index = this.used;
        let Some(slot) = this.slot(index) else { return false };
        if !slot.as_ref().is_some_and(|listener| Arc::ptr_eq(listener.queue(), queue)) {
            *slot = Some(Listener::new(queue.clone()).with_mode(mode));
        }
        if let Some(listener) = slot {
            // SAFETY: listeners never move, see the invariants.
            unsafe { Pin::new_unchecked(listener) }.register(waker);
        }
        this.used = index + 1;
        true
    }

    fn slot(&mut self, index: usize) -> Option<&mut Option<Listener>> {
        let Some(mut index) = index.checked_sub(INLINE) else { return self.inline.get_mut(index) };
        let mut capacity = FIRST_CHUNK;
        let mut chunk = 0;
        while index >= capacity {
            index -= capacity;
            capacity *= 2;
            chunk += 1;
        }
        if chunk == self.chunks.len() {
            self.chunks.try_reserve(1).ok()?;
            let mut fresh = Vec::new();
            fresh.try_reserve_exact(capacity).ok()?;
            // The chunk's buffer stays where it is when the outer vector grows.
            fresh.resize_with(capacity, || None);
            self.chunks.push(fresh);
        }
        self.chunks.get_mut(chunk)?.get_mut(index)
    }
}

//! The right to schedule a task.

use alloc::sync::Arc;
use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use super::Task;
use super::task::Scheduling;
use crate::sched::{Entity, FoldedCores, Position, Request, Schedulable};

/// The one owner of a task's scheduling state: its entity and its links. It derefs to them.
///
/// # Invariants
/// For each task there is at most one `Runnable`: [`TaskState::wake`](super::TaskState::wake) answered `true` for it, and no
/// [`park`](Runnable::park) has given it up since.
pub struct Runnable(Arc<Task>);

impl Runnable {
    /// For the waker alone, after the state said that this caller owns the task.
    #[inline]
    pub(super) fn claimed(task: Arc<Task>) -> Self {
        Self(task)
    }

    /// The task.
    #[inline]
    pub fn task(&self) -> &Arc<Task> {
        &self.0
    }

    /// Puts the task to sleep after a poll that ended with [`Decision::Sleep`](super::Decision::Sleep). `Some`: it was woken
    /// meanwhile and has to be enqueued.
    #[inline]
    #[must_use = "a runnable that comes back has to be enqueued"]
    pub fn park(self) -> Option<Self> {
        // Kept apart from the token: once parked, another core may hold the token, and this core the last reference.
        if self.0.state().park() { None } else { Some(self) }
    }

    /// The token as a pointer, for intrusive lists of messages.
    #[inline]
    pub fn into_raw(self) -> NonNull<Task> {
        let task = ManuallyDrop::new(self);
        // SAFETY: `task` is never dropped, so the `Arc` is moved out exactly once.
        let pointer = Arc::into_raw(unsafe { core::ptr::read(&raw const task.0) });
        // SAFETY: `Arc::into_raw` never returns null.
        unsafe { NonNull::new_unchecked(pointer.cast_mut()) }
    }

    /// The token back from its pointer.
    ///
    /// # Safety
    /// The pointer comes from [`into_raw`](Runnable::into_raw) and is given back once.
    #[inline]
    pub unsafe fn from_raw(pointer: NonNull<Task>) -> Self {
        // SAFETY: the caller's contract.
        Self(unsafe { Arc::from_raw(pointer.as_ptr()) })
    }
}

impl Schedulable for Runnable {
    #[inline]
    fn entity(&self) -> &Entity<Self> {
        &self.deref().entity
    }

    #[inline]
    fn entity_mut(&mut self) -> &mut Entity<Self> {
        &mut self.deref_mut().entity
    }

    #[inline]
    fn request(&self) -> Request {
        self.0.parameters().request()
    }

    #[inline]
    fn may_run_on(&self, core: usize) -> bool {
        self.0.parameters().affinity().contains(core)
    }

    #[inline]
    fn cores(&self) -> FoldedCores {
        self.0.parameters().affinity().into()
    }

    #[inline]
    fn note_position(&self, position: Position) {
        self.0.noted_position().set(position);
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Deref for Runnable {
    type Target = Scheduling;

    #[inline]
    fn deref(&self) -> &Scheduling {
        // SAFETY: by the invariant nobody else has access to the task's scheduling state.
        unsafe { &*self.0.scheduling() }
    }
}

impl DerefMut for Runnable {
    #[inline]
    fn deref_mut(&mut self) -> &mut Scheduling {
        // SAFETY: by the invariant nobody else has access, and this borrow of the only token is exclusive.
        unsafe { &mut *self.0.scheduling() }
    }
}

//! What is known about a stack of a task's own, at the top of that stack.
//!
//! Code on such a stack may be preempted anywhere and go on at another core, so what it needs to know about itself cannot be looked
//! up by core. The stack pointer moves with the code: it leads to the head, which only the code on this stack, and the interrupt
//! handlers that run on top of it, touch; a core that is about to run the stack sets it up. Neither sleeps nor allocates.

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::Task;
use crate::machine;

/// The head of a task's own stack.
#[derive(Debug)]
#[repr(C, align(16))]
pub struct StackHead {
    task: AtomicPtr<Task>,
    /// How many reasons there are not to preempt.
    holds: AtomicU32,
}

impl StackHead {
    /// The head of a stack that nobody uses yet.
    pub const fn new() -> Self {
        Self { task: AtomicPtr::new(ptr::null_mut()), holds: AtomicU32::new(0) }
    }

    /// Runs `look` on the head of the stack that executes this, unless that is a core's.
    #[inline]
    pub fn with_own<R>(look: impl FnOnce(&Self) -> R) -> Option<R> {
        if !machine::has_own_stack() {
            return None;
        }
        // SAFETY: the machine says where the head of this stack is, and the stack lives while it is run on.
        Some(look(unsafe { &*machine::own_stack().cast::<Self>() }))
    }

    /// Says on whose behalf the stack is about to run. The task has to stay alive until the stack is left.
    pub fn attach(&self, task: Option<&Task>) {
        self.task.store(task.map_or(ptr::null_mut(), |task| ptr::from_ref(task).cast_mut()), Ordering::Relaxed);
    }

    /// The task that runs here, or null.
    #[inline]
    pub(super) fn task(&self) -> *mut Task {
        self.task.load(Ordering::Relaxed)
    }

    /// Whether the code on this stack may be preempted, as far as it is up to that code.
    #[inline]
    pub fn is_preemptible(&self) -> bool {
        self.holds.load(Ordering::Relaxed) == 0
    }

    /// One more reason not to preempt. A handler that interrupts this leaves the count as it found it.
    pub(crate) fn hold(&self) {
        self.holds.store(self.holds.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// One reason fewer; returns whether it was the last.
    pub(crate) fn release(&self) -> bool {
        let left = self.holds.load(Ordering::Relaxed).saturating_sub(1);
        self.holds.store(left, Ordering::Relaxed);
        left == 0
    }
}

impl Default for StackHead {
    fn default() -> Self {
        Self::new()
    }
}

//! Holding off preemption.
//!
//! Only code on a stack of a task's own (`stackful`) is ever preempted; all other code runs to its next await. So on a core's stack a
//! hold costs two instructions, which find that out; on a task's own stack it is a counter in the [`StackHead`]. Whoever must not
//! be preempted, because others on this core would spin for what it holds, or because it works with its core's number while
//! interrupts are enabled, holds. Sections that mask interrupts need no hold.

use core::marker::PhantomData;

use crate::machine;
use crate::task::StackHead;

/// While it lives, the code that made it stays on its core and keeps it. Nests.
#[must_use]
pub struct Hold(PhantomData<*const ()>);

impl Hold {
    /// Begins to hold.
    #[inline]
    #[expect(clippy::new_without_default, reason = "a hold is something that one does, not a value")]
    pub fn new() -> Self {
        hold();
        Self(PhantomData)
    }
}

impl Drop for Hold {
    #[inline]
    fn drop(&mut self) {
        release();
    }
}

/// Begins to hold, without a guard.
#[inline]
pub(super) fn hold() {
    if machine::has_own_stack() {
        hold_own();
    }
}

/// Ends what [`hold`] began. Where the last hold ends the preemption that it held off takes place.
#[inline]
pub(super) fn release() {
    if machine::has_own_stack() {
        release_own();
    }
}

#[cold]
fn hold_own() {
    StackHead::with_own(StackHead::hold);
}

#[cold]
fn release_own() {
    if StackHead::with_own(StackHead::release) == Some(true) {
        machine::preemption_point();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::host;
    use crate::sync::{IrqSpinLock, SpinLock};

    fn on_a_stack_of_its_own(action: impl FnOnce(&dyn Fn() -> bool)) {
        let head = StackHead::new();
        host::set_own_stack(Some(&head));
        action(&|| head.is_preemptible());
        host::set_own_stack(None);
    }

    #[test]
    fn holds_nest_and_the_last_one_lets_a_preemption_in() {
        on_a_stack_of_its_own(|preemptible| {
            let before = host::preemption_points();
            assert!(preemptible());
            let outer = Hold::new();
            let inner = Hold::new();
            drop(outer);
            assert!(!preemptible());
            assert_eq!(host::preemption_points(), before);
            drop(inner);
            assert!(preemptible());
            assert_eq!(host::preemption_points(), before + 1);
        });
    }

    #[test]
    fn the_holder_of_a_plain_lock_is_not_preempted() {
        on_a_stack_of_its_own(|preemptible| {
            let lock = SpinLock::new(());
            let held = lock.lock();
            assert!(!preemptible());
            assert!(lock.try_lock().is_none());
            assert!(!preemptible(), "a failed attempt leaves the count as it was");
            drop(held);
            assert!(preemptible());
        });
    }

    #[test]
    fn an_interrupt_aware_lock_masks_interrupts_and_needs_no_hold() {
        on_a_stack_of_its_own(|preemptible| {
            let lock = IrqSpinLock::new(());
            let _held = lock.lock();
            assert!(preemptible() && machine::interrupts_masked());
        });
    }

    #[test]
    fn on_a_cores_stack_nothing_is_counted() {
        let before = host::preemption_points();
        drop(Hold::new());
        assert_eq!(host::preemption_points(), before);
    }
}

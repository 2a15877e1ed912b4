//! The task that each core polls now.
//!
//! Each core writes its own slot, and only reads its own: code inside a poll cannot leave its core before it returns.

use alloc::sync::Arc;
use core::mem::ManuallyDrop;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use super::Task;
use crate::machine::{self, MAX_CORES};

#[repr(align(128))]
struct Slot(AtomicPtr<Task>);

static CURRENT: [Slot; MAX_CORES] = [const { Slot(AtomicPtr::new(ptr::null_mut())) }; MAX_CORES];

fn slot() -> Option<&'static AtomicPtr<Task>> {
    CURRENT.get(machine::core_id()).map(|slot| &slot.0)
}

/// Marks a task as current while it lives; afterwards the one before is.
pub(super) struct Entered {
    slot: Option<&'static AtomicPtr<Task>>,
    before: *mut Task,
}

impl Entered {
    #[inline]
    pub(super) fn new(task: &Arc<Task>) -> Self {
        let slot = slot();
        let before = slot.map_or(ptr::null_mut(), |slot| slot.load(Ordering::Relaxed));
        if let Some(slot) = slot {
            slot.store(Arc::as_ptr(task).cast_mut(), Ordering::Relaxed);
        }
        Self { slot, before }
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            slot.store(self.before, Ordering::Relaxed);
        }
    }
}

/// Runs `action` on the task that this core polls now, if it polls one (an interrupt handler sees the interrupted task).
#[inline]
pub fn with_current<R>(action: impl FnOnce(&Arc<Task>) -> R) -> Option<R> {
    let task = slot()?.load(Ordering::Relaxed);
    if task.is_null() {
        return None;
    }
    // SAFETY: the pointer is set only while `Task::poll` runs further up this core's stack, which holds a reference;
    // `ManuallyDrop` leaves the count alone.
    let task = ManuallyDrop::new(unsafe { Arc::from_raw(task.cast_const()) });
    Some(action(&task))
}

/// The task that this core polls now, if it polls one.
pub fn current() -> Option<Arc<Task>> {
    with_current(Arc::clone)
}

//! The task that each core polls now.
//!
//! Each core writes its own slot, and only reads its own: code on a core's stack cannot leave its core before it returns. Code on a stack of
//! its task's own may, and finds its task by its stack.

use alloc::sync::Arc;
use core::mem::ManuallyDrop;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering, fence};

use super::{StackHead, Task};
use crate::machine::{self, MAX_CORES};
use crate::sync::IrqSpinLock;

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
    let task = match StackHead::with_own(StackHead::task) {
        Some(task) => task,
        None => slot()?.load(Ordering::Relaxed),
    };
    if task.is_null() {
        return None;
    }
    // SAFETY: the pointer is set only while `Task::poll` runs further up this core's stack, or waits for the stack that runs now; it holds a reference;
    // `ManuallyDrop` leaves the count alone.
    let task = ManuallyDrop::new(unsafe { Arc::from_raw(task.cast_const()) });
    Some(action(&task))
}

/// The task that some core is looking at with [`with_current_of`]; it is not freed meanwhile.
static OBSERVED: AtomicPtr<Task> = AtomicPtr::new(ptr::null_mut());
static OBSERVER: IrqSpinLock<()> = IrqSpinLock::new(());

/// Runs `look` on the task that another core polls now, if it polls one: for reports about cores that do not answer. `look` is short and
/// runs with interrupts masked. `None` also while another core observes, so that a panicking kernel may ask. Any context.
///
/// # Why the task lives
/// ```text
/// observer                          polling core                 last owner of the task
/// ────────                          ────────────                 ──────────────────────
/// observed = task; fence            poll ends: slot = null  ──▶  drop: fence
/// slot == task still?                                            observed == task: wait
/// ```
/// One of the two fences is first: either the observer sees that the poll has ended and looks no further, or the last owner sees the
/// observer and waits for it.
pub fn with_current_of<R>(core: usize, look: impl FnOnce(&Task) -> R) -> Option<R> {
    let slot = &CURRENT.get(core)?.0;
    let _guard = OBSERVER.try_lock()?;
    let task = slot.load(Ordering::Relaxed);
    OBSERVED.store(task, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    let seen = if slot.load(Ordering::Relaxed) == task {
        // SAFETY: the slot still holds the task, so it is being polled after the fence, and is not freed as long as it is observed.
        unsafe { task.as_ref() }.map(look)
    } else {
        None
    };
    OBSERVED.store(ptr::null_mut(), Ordering::Release);
    seen
}

/// Before a task is freed: waits for whoever observes it.
#[inline]
pub(super) fn wait_for_observer(task: &Task) {
    fence(Ordering::SeqCst);
    while ptr::eq(OBSERVED.load(Ordering::Acquire), task) {
        machine::relax();
    }
}

/// The task that this core polls now, if it polls one.
pub fn current() -> Option<Arc<Task>> {
    with_current(Arc::clone)
}

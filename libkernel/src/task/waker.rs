//! Wakers of tasks: an `Arc<Task>` behind the standard waker, without a second allocation.

use alloc::sync::Arc;
use core::mem::ManuallyDrop;
use core::task::{RawWaker, RawWakerVTable, Waker};

use super::Task;

// A static, not a constant: its address tells wakers of tasks from others.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// A waker that owns a reference to the task.
pub(super) fn from_arc(task: Arc<Task>) -> Waker {
    // SAFETY: the reference that `into_raw` leaves is the waker's.
    unsafe { from_raw(Arc::into_raw(task)) }
}

/// A waker from a task's pointer.
///
/// # Safety
/// The pointer comes from an `Arc<Task>`, and the waker takes over one reference, or is never dropped and used only while
/// another reference exists.
pub(super) unsafe fn from_raw(task: *const Task) -> Waker {
    // SAFETY: the functions of the table expect the pointer of an `Arc<Task>` with a reference of its own.
    unsafe { Waker::from_raw(RawWaker::new(task.cast(), &VTABLE)) }
}

/// The task behind a waker of ours.
pub(super) fn task_of(waker: &Waker) -> Option<&Task> {
    if !core::ptr::eq(waker.vtable(), &VTABLE) {
        return None;
    }
    // SAFETY: wakers with our table hold the pointer of a living `Arc<Task>`.
    Some(unsafe { &*waker.data().cast::<Task>() })
}

unsafe fn clone(task: *const ()) -> RawWaker {
    // SAFETY: the table's functions are called with the pointer of an `Arc<Task>`.
    unsafe { Arc::increment_strong_count(task.cast::<Task>()) };
    RawWaker::new(task, &VTABLE)
}

unsafe fn wake(task: *const ()) {
    // SAFETY: as above; waking by value gives the reference up.
    unsafe { Arc::from_raw(task.cast::<Task>()) }.wake_owned();
}

unsafe fn wake_by_ref(task: *const ()) {
    // SAFETY: as above; the reference stays with the waker.
    ManuallyDrop::new(unsafe { Arc::from_raw(task.cast::<Task>()) }).wake();
}

unsafe fn drop_waker(task: *const ()) {
    // SAFETY: as above; the waker's reference ends here.
    drop(unsafe { Arc::from_raw(task.cast::<Task>()) });
}

//! Where a task sleeps: what `/proc/PID/wchan` and the debugger show in place of a kernel stack.

use core::fmt;
use core::panic::Location;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use core::task::Waker;

use super::Task;

/// The source location of a task's last wait. It means something while the task is asleep.
#[derive(Debug, Default)]
pub struct WaitLocation {
    location: AtomicPtr<Location<'static>>,
}

impl WaitLocation {
    /// Notes, for the task behind `waker`, that it is about to sleep at `location`. For futures that return `Pending` themselves.
    #[inline]
    pub fn record(waker: &Waker, location: &'static Location<'static>) {
        if let Some(task) = Task::from_waker(waker) {
            task.waiting().location.store(ptr::from_ref(location).cast_mut(), Ordering::Relaxed);
        }
    }

    /// The location of the last wait.
    pub fn get(&self) -> Option<&'static Location<'static>> {
        // SAFETY: the pointer is null or was a `&'static Location`.
        unsafe { self.location.load(Ordering::Relaxed).as_ref() }
    }
}

impl fmt::Display for WaitLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(location) => write!(f, "{}:{}", location.file(), location.line()),
            None => f.write_str("0"),
        }
    }
}

//! vfork: a creator that waits until the child has its own memory (clone(2), `CLONE_VFORK`).
#![forbid(unsafe_code)]

use super::process::Process;
use super::thread::Thread;
use crate::task::killable;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

impl Process {
    /// The process borrows its creator's memory; for a process that has not begun.
    pub fn borrow_memory(&self) {
        self.borrows_memory.store(true, Ordering::Relaxed);
    }

    /// It has memory of its own now, or has ended: the creator goes on.
    pub fn return_memory(&self) {
        if self.borrows_memory.swap(false, Ordering::AcqRel) {
            self.events().wake_all();
        }
    }

    fn borrows_memory(&self) -> bool {
        self.borrows_memory.load(Ordering::Acquire)
    }
}

/// Waits until `child` returns the memory that it borrowed from `creator`, or `creator` has to end.
pub async fn wait_for_return(creator: &Arc<Thread>, child: &Arc<Process>) {
    let returned = crate::poll::wait_for(|table| {
        table.register(child.events());
        (!child.borrows_memory() || creator.signals().is_doomed()).then_some(())
    });
    killable(returned).await;
}

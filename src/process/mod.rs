//! Processes at the edge of the machine: how a thread ends.

mod exec;
mod init;
pub mod vdso;

pub use init::start_init;

use libkernel::process::exit::finish_thread;
use libkernel::process::{ExitStatus, Thread};

use crate::task::Context;

/// The end of a thread: what it held is given up, and its process and parent are told.
pub fn end_thread(cx: &mut Context) {
    let thread: &alloc::sync::Arc<Thread> = &cx.thread;
    let status = thread.process().ending().unwrap_or(ExitStatus::Exited(0));
    libkernel::futex::end_thread(thread, &thread.space());
    thread.give_up_resources();
    libkernel::memory::deactivate();
    finish_thread(thread, status);
}

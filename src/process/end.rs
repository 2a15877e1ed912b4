//! The end of a thread: what it promised to do, what it gives back, and who is told.
#![forbid(unsafe_code)]

use crate::panic;
use crate::task::Context;
use libkernel::process::Pid;
use libkernel::process::exit::finish_thread;
use libkernel::{futex, memory};

/// Ends the calling thread; its loop returns afterwards and must not touch user memory any more.
pub fn end_thread(cx: &mut Context) {
    let thread = cx.thread.clone();
    futex::end_thread(&thread, &thread.space());
    thread.give_up_resources();
    memory::deactivate();
    let process = thread.process();
    process.return_memory();
    finish_thread(&thread, thread.exit_status());
    if process.pid() == Pid::INIT && process.is_zombie() {
        let status = process.ending().map_or(0, |status| status.to_wait_status());
        panic::give_up(format_args!("init has ended, wait status {status:#x}"));
    }
}

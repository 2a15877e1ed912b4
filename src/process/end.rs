//! The end of a thread: what it promised to do, what it gives back, and who is told.
#![forbid(unsafe_code)]

use crate::memory::steps;
use crate::panic;
use crate::task::Context;
use libkernel::memory::USER_LIMIT;
use libkernel::process::Pid;
use libkernel::process::exit::finish_thread;
use libkernel::{futex, memory};

/// Ends the calling thread; its loop returns afterwards and must not touch user memory any more.
pub async fn end_thread(cx: &mut Context) {
    let thread = cx.thread.clone();
    let space = thread.space();
    if !space.is_shared() {
        // As on Linux, nobody is told through memory that nobody else has.
        thread.set_clear_child_tid(0);
    }
    futex::end_thread(&thread, &space);
    if !space.is_shared() && space.resident() > steps::AT_ONCE {
        steps::free(&space, 0, USER_LIMIT).await;
    }
    drop(space);
    memory::deactivate();
    thread.give_up_resources();
    let process = thread.process();
    process.return_memory();
    finish_thread(&thread, thread.exit_status());
    if process.pid() == Pid::INIT && process.is_zombie() {
        let status = process.ending().map_or(0, |status| status.to_wait_status());
        panic::give_up(format_args!("init has ended, wait status {status:#x}"));
    }
}

//! What happens on the way to user mode, and what becomes of a program's faults.

use alloc::sync::Arc;
use core::ops::ControlFlow;

use libkernel::process::Thread;
use libkernel::task::{with_current, yield_now};

use super::context::Context;
use crate::arch::core_local;
use crate::arch::user::Trap;

/// Makes this core ready to run the thread: its address space becomes the active one.
pub fn activate(_thread: &Arc<Thread>) {}

/// Whether the thread has something to do before it may run: a signal, a stop, its end. Interrupts are masked.
#[inline]
pub fn is_due(_cx: &Context) -> bool {
    with_current(|task| task.interrupted()).unwrap_or(false)
}

/// Does what is due. `Break`: the thread is over.
pub async fn before_user(_cx: &mut Context) -> ControlFlow<()> {
    if core_local::this().need_resched() {
        yield_now().await;
    }
    ControlFlow::Continue(())
}

/// Serves a fault of the program: memory that has to be made present, or a signal.
pub fn fault(_cx: &mut Context, trap: Trap) {
    log::warn!("unserved trap {trap:?}");
}

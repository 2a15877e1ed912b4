//! From a trapped `svc` to the handler and back.
#![forbid(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};

use libkernel::{Errno, Result};

use super::{Context, Outcome, table};

static REPORTED: [AtomicBool; table::CALLS] = [const { AtomicBool::new(false) }; table::CALLS];

/// Serves the call that trapped. Interrupts are enabled. The result is in the registers afterwards, unless the call has to wait:
/// then [`wait`] has to be awaited.
#[inline]
#[must_use]
pub fn serve(cx: &mut Context) -> bool {
    let number = number(cx);
    cx.begin_call();
    let outcome = match table::HANDLERS.get(number) {
        Some(Some(handler)) => handler(cx),
        _ => unknown(number),
    };
    match outcome {
        Outcome::Done(result) => {
            cx.end_call(result);
            false
        }
        Outcome::Block => true,
    }
}

/// Serves the waiting part of the call.
pub async fn wait(cx: &mut Context) {
    let number = number(cx);
    let result = table::wait(number, cx).await;
    cx.end_call(result);
}

/// The number of the call: the low half of `x8`.
#[inline]
fn number(cx: &Context) -> usize {
    cx.registers.x[8] as u32 as usize
}

#[cold]
fn unknown(number: usize) -> Outcome {
    let first = REPORTED.get(number).is_some_and(|reported| !reported.swap(true, Ordering::Relaxed));
    if first {
        log::warn!("system call {number} is not implemented");
    }
    Outcome::Done(Result::Err(Errno::ENOSYS))
}

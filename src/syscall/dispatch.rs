//! From a trapped `svc` to the handler and back.
#![forbid(unsafe_code)]

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{self, Poll};

use libkernel::Errno;

use super::{Context, Served, futex, read_write, table};

static REPORTED: [AtomicBool; table::CALLS] = [const { AtomicBool::new(false) }; table::CALLS];

/// Serves the call that trapped. Interrupts are enabled.
#[inline]
pub fn serve(cx: &mut Context) -> Served {
    match table::HANDLERS.get(number(cx)) {
        Some(handler) => handler(cx),
        None => unknown(cx),
    }
}

/// Serves the waiting part of the call.
pub async fn wait(cx: &mut Context) -> Served {
    if let Some(transfer) = &mut cx.transfer {
        let result = read_write::resume(&cx.thread, transfer).await;
        cx.transfer = None;
        return cx.end_call(result);
    }
    if let Some(wait) = &cx.futex {
        let result = futex::wait(&cx.thread, wait).await;
        cx.futex = None;
        return cx.end_call(result);
    }
    let result = {
        let mut call = pin!(table::wait(number(cx), cx));
        poll_fn(|context| poll_seldom(call.as_mut(), context)).await
    };
    cx.progress = 0;
    cx.end_call(result)
}

/// Polls `future` with a call, so that it is not compiled into what polls it: the two above are polled often, and this one, which needs many
/// registers, seldom.
#[inline(never)]
fn poll_seldom<F: Future>(future: Pin<&mut F>, context: &mut task::Context<'_>) -> Poll<F::Output> {
    future.poll(context)
}

/// The number of the call: the low half of `x8`.
#[inline]
fn number(cx: &Context) -> usize {
    cx.registers.x[8] as u32 as usize
}

/// The handler of numbers that have none.
#[cold]
pub(super) fn unknown(cx: &mut Context) -> Served {
    let number = number(cx);
    let first = REPORTED.get(number).is_some_and(|reported| !reported.swap(true, Ordering::Relaxed));
    if first {
        log::warn!("system call {number} is not implemented");
    }
    cx.end_call(Err(Errno::ENOSYS))
}

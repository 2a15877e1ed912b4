//! Waits that a signal can end.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::Task;

/// The wait was ended by [`Task::set_interrupt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// Waits for `future`, or until the task is asked to interrupt its waits. A future that is ready wins.
///
/// No request is missed: the flag is set before the wake, and looked at after the future has registered.
pub fn interruptible<F: Future>(future: F) -> Interruptible<F> {
    Interruptible { future }
}

/// The future of [`interruptible`].
#[must_use]
pub struct Interruptible<F> {
    future: F,
}

impl<F: Future> Future for Interruptible<F> {
    type Output = Result<F::Output, Interrupted>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the only field is pinned structurally: never moved, and `Interruptible` has no `Drop` of its own.
        let future = unsafe { self.map_unchecked_mut(|this| &mut this.future) };
        match future.poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if Task::from_waker(context.waker()).is_some_and(Task::interrupted) => {
                Poll::Ready(Err(Interrupted))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

//! What an item does: a function that makes a future, and the place in which that future runs.
//!
//! The place is part of the item, so that a run needs no memory: it is there before the item is first queued.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// A function and its future, without their types.
pub(super) trait Body: Send {
    /// Begins a run. The one before is over.
    fn start(self: Pin<&mut Self>);
    /// Polls the run; when it is over its future has been dropped.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()>;
}

/// The function, and the future of the run that goes on.
///
/// # Invariants
/// The future is pinned structurally: set and dropped in place. The function is not pinned.
pub(super) struct Function<F, R> {
    function: F,
    run: Option<R>,
}

impl<F, R> Function<F, R> {
    pub(super) fn new(function: F) -> Self {
        Self { function, run: None }
    }
}

impl<F: FnMut() -> R + Send, R: Future<Output = ()> + Send> Body for Function<F, R> {
    fn start(self: Pin<&mut Self>) {
        // SAFETY: the function is not pinned, and the future is only ever replaced in place, which drops the old one there.
        unsafe {
            let this = self.get_unchecked_mut();
            let run = (this.function)();
            Pin::new_unchecked(&mut this.run).set(Some(run));
        }
    }

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the future is pinned with the whole.
        let mut run = unsafe { self.map_unchecked_mut(|this| &mut this.run) };
        match run.as_mut().as_pin_mut().map(|future| future.poll(context)) {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(())) | None => {
                run.set(None);
                Poll::Ready(())
            }
        }
    }
}

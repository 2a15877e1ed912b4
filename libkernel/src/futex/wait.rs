//! Waiting for a futex.

use core::future::Future;
use core::marker::PhantomPinned;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::bucket::Waiter;
use super::key::Key;
use crate::task::WaitLocation;
use crate::{Errno, Result};

/// What a look at the word found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The value that the caller expects: wait.
    Expected,
    /// Another value: it has changed already.
    Changed,
    /// The word is not there now.
    Absent,
}

/// Waits to be woken through the futex `key` by somebody who names one of `bits`, unless `look`, which is asked once
/// under the bucket's lock and may not sleep, finds that there is no need.
///
/// The future gives `EAGAIN` when the word had changed, and `EFAULT` when it was absent: then it has to be made present, and
/// the wait tried again. Dropped, it waits no longer; a wake that it had received and not reported is lost with it, so check
/// [`Wait::is_woken`] first when giving up.
#[track_caller]
pub fn wait<F: FnMut() -> Word>(key: Key, bits: u32, look: F) -> Wait<F> {
    Wait { waiter: Waiter::new(key, bits), look, location: Location::caller(), _pinned: PhantomPinned }
}

/// The future of [`wait`].
#[must_use]
pub struct Wait<F> {
    waiter: Waiter,
    look: F,
    location: &'static Location<'static>,
    _pinned: PhantomPinned,
}

impl<F> Wait<F> {
    /// Gives up. True if the wake had come already.
    pub fn give_up(self: Pin<&mut Self>) -> bool {
        self.waiter.leave()
    }
}

impl<F: FnMut() -> Word> Future for Wait<F> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        // SAFETY: the waiter stays where it is; the other fields are not pinned structurally.
        let this = unsafe { self.get_unchecked_mut() };
        let waker = context.waker();
        if this.waiter.is_idle() {
            let mut found = Word::Expected;
            let look = &mut this.look;
            // SAFETY: we are pinned, and our `Drop` makes the waiter leave.
            let queued = unsafe {
                this.waiter.enter(waker, || {
                    found = look();
                    found == Word::Expected
                })
            };
            match found {
                _ if queued => {}
                Word::Absent => return Poll::Ready(Err(Errno::EFAULT)),
                _ => return Poll::Ready(Err(Errno::EAGAIN)),
            }
        } else if this.waiter.is_woken() || !this.waiter.set_waker(waker) {
            return Poll::Ready(Ok(()));
        }
        WaitLocation::record(waker, this.location);
        Poll::Pending
    }
}

impl<F> Drop for Wait<F> {
    fn drop(&mut self) {
        self.waiter.leave();
    }
}

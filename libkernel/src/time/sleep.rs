//! Waiting for a time, and waiting for something no longer than until a time.

use core::future::Future;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::Alarm;
use crate::machine;
use crate::task::WaitLocation;

/// Sleeps until the monotonic clock reads `deadline` nanoseconds or more.
#[track_caller]
pub fn sleep_until(deadline: u64) -> Sleep {
    Sleep { deadline, alarm: None, location: Location::caller() }
}

/// The future of [`sleep_until`].
#[must_use]
#[derive(Debug)]
pub struct Sleep {
    deadline: u64,
    alarm: Option<Alarm>,
    location: &'static Location<'static>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        match &self.alarm {
            Some(alarm) => alarm.set_waker(context.waker()),
            None if machine::monotonic_ns() < deadline => {
                let mut alarm = Alarm::new();
                alarm.set(deadline, context.waker());
                self.alarm = Some(alarm);
            }
            None => {}
        }
        if machine::monotonic_ns() >= deadline {
            self.alarm = None;
            return Poll::Ready(());
        }
        WaitLocation::record(context.waker(), self.location);
        Poll::Pending
    }
}

/// The deadline came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Waits for `future`, but not beyond `deadline` (monotonic nanoseconds) if there is one. A future that is ready wins.
#[track_caller]
pub fn with_timeout<F: Future>(deadline: Option<u64>, future: F) -> Timeout<F> {
    Timeout { sleep: deadline.map(sleep_until), future }
}

/// The future of [`with_timeout`].
#[must_use]
pub struct Timeout<F> {
    sleep: Option<Sleep>,
    future: F,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the future is pinned structurally and never moved; `Sleep` is `Unpin`.
        let (sleep, future) = unsafe {
            let this = self.get_unchecked_mut();
            (&mut this.sleep, Pin::new_unchecked(&mut this.future))
        };
        // The deadline first, so that the inner wait's location is the one that is recorded last.
        let elapsed = sleep.as_mut().is_some_and(|sleep| Pin::new(sleep).poll(context).is_ready());
        match future.poll(context) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if elapsed => Poll::Ready(Err(Elapsed)),
            Poll::Pending => Poll::Pending,
        }
    }
}

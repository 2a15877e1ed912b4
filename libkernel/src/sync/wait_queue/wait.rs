//! The futures that wait on a queue.

use core::future::Future;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::{Listener, WaitMode, WaitQueue};
use crate::task::WaitLocation;

/// The future of [`WaitQueue::wait_until`].
#[must_use]
pub struct WaitUntil<'a, F> {
    listener: Listener<&'a WaitQueue>,
    condition: F,
    location: &'static Location<'static>,
}

impl<'a, F> WaitUntil<'a, F> {
    pub(super) fn new(queue: &'a WaitQueue, condition: F, location: &'static Location<'static>) -> Self {
        Self { listener: Listener::new(queue).with_mode(WaitMode::Exclusive), condition, location }
    }
}

impl<T, F: FnMut() -> Option<T>> Future for WaitUntil<'_, F> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // SAFETY: the listener stays pinned, the other fields are not pinned structurally.
        let (mut listener, condition, location) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.listener), &mut this.condition, this.location)
        };
        listener.answer();
        if let Some(value) = condition() {
            listener.leave();
            return Poll::Ready(value);
        }
        listener.as_mut().register(context.waker());
        if let Some(value) = condition() {
            listener.leave();
            return Poll::Ready(value);
        }
        WaitLocation::record(context.waker(), location);
        Poll::Pending
    }
}

/// The future of [`WaitQueue::retry`].
#[must_use]
pub struct Retry<'a, F, L> {
    listener: Listener<&'a WaitQueue>,
    attempt: F,
    left: L,
    location: &'static Location<'static>,
}

impl<'a, F, L> Retry<'a, F, L> {
    pub(super) fn new(queue: &'a WaitQueue, attempt: F, left: L, location: &'static Location<'static>) -> Self {
        Self { listener: Listener::new(queue).with_mode(WaitMode::Exclusive), attempt, left, location }
    }
}

impl<T, F: FnMut(bool) -> Option<T>, L: Fn() -> bool> Future for Retry<'_, F, L> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // SAFETY: the listener stays pinned, the other fields are not pinned structurally.
        let (mut listener, attempt, left, location) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.listener), &mut this.attempt, &this.left, this.location)
        };
        if listener.is_woken()
            && let Some(value) = attempt(true)
        {
            // Not answered, the wake goes on to the next. Whoever waited when it came is seen here.
            if listener.queue().is_empty() || !left() {
                listener.answer();
            } else {
                listener.leave();
            }
            return Poll::Ready(value);
        }
        listener.as_mut().register(context.waker());
        if let Some(value) = attempt(false) {
            listener.leave();
            return Poll::Ready(value);
        }
        WaitLocation::record(context.waker(), location);
        Poll::Pending
    }
}

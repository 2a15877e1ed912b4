//! Sleeping until an object can do something.

use core::future::Future;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::{Listeners, PollTable};
use crate::sync::WaitMode;
use crate::task::WaitLocation;

/// Sleeps until `attempt` gives a value. Every wake of a queue it registered makes it try again.
///
/// `attempt` registers with the queues of what it tries (by the objects' [`poll`](super::Pollable::poll)), then tries; it must not sleep.
/// The first attempt only asks, so a wait that is over at once registers nowhere.
#[track_caller]
pub fn wait_for<T, F: FnMut(&mut PollTable<'_>) -> Option<T>>(attempt: F) -> WaitFor<F> {
    WaitFor { listeners: Listeners::new(), attempt, location: Location::caller() }
}

/// The future of [`wait_for`].
#[must_use]
pub struct WaitFor<F> {
    listeners: Listeners,
    attempt: F,
    location: &'static Location<'static>,
}

impl<T, F: FnMut(&mut PollTable<'_>) -> Option<T>> Future for WaitFor<F> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // SAFETY: the listeners stay pinned, the other fields are not pinned structurally.
        let (mut listeners, attempt, location) = unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.listeners), &mut this.attempt, this.location)
        };
        if let Some(value) = attempt(&mut PollTable::query()) {
            listeners.clear();
            return Poll::Ready(value);
        }
        let mut table = PollTable::registering(listeners.as_mut(), context.waker(), WaitMode::Shared);
        let value = attempt(&mut table);
        let exhausted = table.is_exhausted();
        drop(table);
        if let Some(value) = value {
            listeners.clear();
            return Poll::Ready(value);
        }
        if exhausted {
            // No memory to wait everywhere: try again in our next turn instead.
            context.waker().wake_by_ref();
        }
        WaitLocation::record(context.waker(), location);
        Poll::Pending
    }
}

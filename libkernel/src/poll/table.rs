//! What a poll hands to the objects it asks.

use alloc::sync::Arc;
use core::pin::Pin;
use core::task::Waker;

use super::Listeners;
use crate::sync::{WaitMode, WaitQueue};

/// Collects the wait queues of the objects asked, or only asks.
pub struct PollTable<'a> {
    registration: Option<Registration<'a>>,
    exhausted: bool,
}

struct Registration<'a> {
    listeners: Pin<&'a mut Listeners>,
    waker: &'a Waker,
    mode: WaitMode,
}

impl<'a> PollTable<'a> {
    /// A table that registers nothing: the objects only say what they are ready for.
    pub const fn query() -> PollTable<'static> {
        PollTable { registration: None, exhausted: false }
    }

    /// A table that registers `waker`; a first round forgets what `listeners` held before.
    ///
    /// epoll keeps the listeners of each item and registers with [`WaitMode::Persistent`].
    pub fn registering(mut listeners: Pin<&'a mut Listeners>, waker: &'a Waker, mode: WaitMode) -> Self {
        listeners.as_mut().begin();
        Self { registration: Some(Registration { listeners, waker, mode }), exhausted: false }
    }

    /// Registers with a queue, unless the table only asks.
    #[inline]
    pub fn register(&mut self, queue: &Arc<WaitQueue>) {
        if let Some(Registration { listeners, waker, mode }) = &mut self.registration {
            self.exhausted |= !listeners.as_mut().register(queue, waker, *mode);
        }
    }

    /// Stops registering: the answer is known to be given without sleeping. What is registered stays until the end.
    pub fn stop_registering(&mut self) {
        if let Some(registration) = self.registration.take() {
            registration.listeners.end();
        }
    }

    /// Whether some registration failed for want of memory; who waits has to try again by itself then.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }
}

impl Drop for PollTable<'_> {
    fn drop(&mut self) {
        self.stop_registering();
    }
}

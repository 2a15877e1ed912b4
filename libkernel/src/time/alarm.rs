//! A deadline that wakes somebody, set and cleared by one user.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::task::Waker;

use super::{Timer, core_timer};

/// A timer with one owner. Expiry wakes the given waker in interrupt context, on the core on which the deadline was set.
///
/// The first use allocates; a later one only if the timer was cancelled from another core and that has not heard of it.
#[derive(Debug, Default)]
pub struct Alarm {
    timer: Option<Arc<Timer>>,
}

impl Alarm {
    /// An alarm that is not set.
    pub const fn new() -> Self {
        Self { timer: None }
    }

    /// Wakes `waker` at `deadline` (monotonic nanoseconds), instead of what was set before.
    pub fn set(&mut self, deadline: u64, waker: &Waker) {
        self.clear();
        if let Some(timer) = self.timer.as_ref().filter(|timer| timer.state().is_idle()) {
            timer.set_waker(waker);
            if core_timer::start(timer, deadline) {
                return;
            }
        }
        let timer = Timer::new();
        timer.set_waker(waker);
        core_timer::start(&timer, deadline);
        self.timer = Some(timer);
    }

    /// Wakes nobody any more, unless the time has come already.
    pub fn clear(&mut self) {
        if let Some(timer) = &self.timer {
            core_timer::cancel(timer);
        }
    }

    /// Changes whom a set alarm wakes. Look at the clock afterwards: it may have gone off before.
    pub fn set_waker(&self, waker: &Waker) {
        if let Some(timer) = &self.timer {
            timer.set_waker(waker);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}

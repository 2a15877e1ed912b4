//! The timer queue of one core: a tree ordered by deadline, then by start.
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use super::timer::{Armed, Timer};
use crate::tree::{Element, Tree};

/// Armed timers in order of their deadlines. O(log n) to insert, cancel and expire; no allocation.
#[derive(Debug)]
pub struct TimerQueue {
    timers: Tree<Armed>,
    sequence: u64,
}

impl TimerQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { timers: Tree::new(), sequence: 0 }
    }

    /// The earliest deadline.
    #[inline]
    pub fn first_deadline(&self) -> Option<u64> {
        self.timers.first().map(|timer| timer.key().0)
    }

    /// The number of timers.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether there is no timer.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Starts an idle timer on core `home`, whose queue this is. `false` if the timer is not idle.
    pub(super) fn start(&mut self, timer: &Arc<Timer>, home: u32, deadline: u64) -> bool {
        let Some(armed) = timer.arm(home, deadline, self.sequence) else { return false };
        self.sequence += 1;
        self.timers.insert(armed);
        true
    }

    /// Takes a cancelled timer of this core out, if it is still here, and makes it idle.
    pub(super) fn remove_cancelled(&mut self, timer: &Timer) {
        drop(self.timers.remove(&timer.key()));
        timer.state().retire();
    }

    /// Takes out the first timer that is due at `now`. It has to be told to [`expire`](Timer::expire), without this queue borrowed.
    #[must_use]
    pub(super) fn pop_due(&mut self, now: u64) -> Option<Arc<Timer>> {
        self.timers.first().filter(|timer| timer.key().0 <= now)?;
        Some(self.timers.pop_first()?.into_timer())
    }
}

impl Default for TimerQueue {
    fn default() -> Self {
        Self::new()
    }
}

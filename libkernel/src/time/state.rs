//! The state of a timer: who may take it where.
//!
//! | state | meaning | who may change it |
//! |---|---|---|
//! | idle | in no queue; never started, expired, or retired | its user: `arm` |
//! | armed | in the queue of its home core | the home core: `expire`. Its user, on any core: `cancel` |
//! | cancelled | will not wake; the home core has it in its queue still, or a message about it under way | the home core: `retire` |
//!
//! A cancelled timer stays alive, because the queue and the message hold references, and it cannot be armed before its home core has
//! retired it, so a late message never takes away a new deadline.

use crate::sync::atomic::{AtomicU32, Ordering};

const IDLE: u32 = 0;
const ARMED: u32 = 1;
const CANCELLED: u32 = 2;

/// The state; see the table above.
#[derive(Debug)]
pub struct TimerState(AtomicU32);

impl TimerState {
    /// Idle.
    pub fn new() -> Self {
        Self(AtomicU32::new(IDLE))
    }

    /// Whether the timer can be armed.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.0.load(Ordering::Acquire) == IDLE
    }

    /// Whether the timer is in a queue and has not been cancelled.
    #[inline]
    pub fn is_armed(&self) -> bool {
        self.0.load(Ordering::Acquire) == ARMED
    }

    /// From idle to armed; `true` if it was idle, and the caller puts it into its core's queue.
    #[inline]
    #[must_use]
    pub fn arm(&self) -> bool {
        self.0.compare_exchange(IDLE, ARMED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// From armed to cancelled; `true`: the caller has to see to it that the home core retires it.
    #[inline]
    #[must_use]
    pub fn cancel(&self) -> bool {
        self.0.compare_exchange(ARMED, CANCELLED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// From armed to idle, when the timer has left its queue; `true` if it was not cancelled and is to wake.
    #[inline]
    #[must_use]
    pub fn expire(&self) -> bool {
        self.0.compare_exchange(ARMED, IDLE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// From cancelled to idle, on the home core, when the timer is in no queue.
    #[inline]
    pub fn retire(&self) {
        let before = self.0.swap(IDLE, Ordering::AcqRel);
        debug_assert_eq!(before, CANCELLED, "only a cancelled timer is retired");
    }
}

impl Default for TimerState {
    fn default() -> Self {
        Self::new()
    }
}

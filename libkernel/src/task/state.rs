//! The run state of a task: one atomic word, and the only code that changes it.
//!
//! `READY` and `RUNNING` are independent bits: a wake during a poll sets `READY` and nothing else, and the task is
//! requeued after the poll.
//!
//! | state | meaning | who holds the [`Runnable`](super::Runnable) |
//! |---|---|---|
//! | (none) | asleep | nobody: the word itself keeps it |
//! | `READY` | queued, or on its way to a core | the run queue or the message |
//! | `RUNNING` | polled, or between a pending poll and `park` | the core |
//! | `RUNNING, READY` | as above, and woken meanwhile | the core |
//! | `FINISHED` | will never run again | nobody |
//!
//! | event | from | to | what follows |
//! |---|---|---|---|
//! | `wake` | asleep | `READY` | the caller gets the runnable and enqueues it |
//! | `claim` | asleep | `RUNNING` | the caller gets the runnable, looks at it, and parks it |
//! | `wake` | `RUNNING` | `RUNNING, READY` | nothing: the core requeues it after the poll |
//! | `wake` | `READY`, `RUNNING, READY` | the same | nothing (the write still orders the waker before the next poll) |
//! | `wake` | `FINISHED` | the same | nothing |
//! | `begin_poll` | `READY` | `RUNNING` | the future is polled |
//! | `end_poll` | `RUNNING, READY` | `READY` | the task stays in the run queue |
//! | `end_poll` | `RUNNING` | the same | the core takes it off its run queue, then parks it |
//! | `park` | `RUNNING` | asleep | the runnable is given up |
//! | `park` | `RUNNING, READY` | `READY` | the core enqueues it again |
//! | `finish` | `RUNNING`, `RUNNING, READY` | `FINISHED` | the future has been dropped |
//!
//! Every other transition is a bug, asserted in debug builds. The successful compare-and-swap decides who enqueues, so a wake is
//! neither lost nor delivered twice.

use crate::sync::atomic::{AtomicU32, Ordering};

const READY: u32 = 1;
const RUNNING: u32 = 2;
const FINISHED: u32 = 4;

/// The run state; see the table above.
#[derive(Debug)]
pub struct TaskState(AtomicU32);

/// A look at the state, which may be stale at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Waiting for something.
    Asleep,
    /// Waiting for a core.
    Ready,
    /// On a core.
    Running,
    /// Done for good.
    Finished,
}

impl TaskState {
    /// Asleep.
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Wakes the task. `true`: the caller now owns the runnable and has to enqueue it.
    #[inline]
    #[must_use]
    pub fn wake(&self) -> bool {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            if state & FINISHED != 0 {
                return false;
            }
            // Written even if `READY` is set already: the poll that clears it must see what happened before this wake.
            match self.0.compare_exchange_weak(state, state | READY, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return state == 0,
                Err(current) => state = current,
            }
        }
    }

    /// Takes hold of a sleeping task, as if it was polled: a wake that comes meanwhile is seen by `park`. `false`, changing nothing, if
    /// it does not sleep.
    #[must_use]
    pub fn claim(&self) -> bool {
        self.0.compare_exchange(0, RUNNING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Takes the task from ready to running. `false`, changing nothing, if it was not ready.
    #[inline]
    #[must_use]
    pub fn begin_poll(&self) -> bool {
        self.0.compare_exchange(READY, RUNNING, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// After a pending poll. `true`: it was woken meanwhile and is ready again; `false`: it is still running and must be parked.
    #[inline]
    #[must_use]
    pub fn end_poll(&self) -> bool {
        // A wake that comes after this look is met by `park`.
        self.0.load(Ordering::Relaxed) != RUNNING
            && self.0.compare_exchange(RUNNING | READY, READY, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Puts a running task to sleep. `true`: it sleeps and the runnable is given up; `false`: it was woken and is ready.
    #[inline]
    #[must_use]
    pub fn park(&self) -> bool {
        match self.0.compare_exchange(RUNNING, 0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(state) => {
                debug_assert_eq!(state, RUNNING | READY, "only a running task can be parked");
                // A swap, not a store: a further wake may have come since, and the next poll must see what came before it.
                self.0.swap(READY, Ordering::AcqRel);
                false
            }
        }
    }

    /// Ends a running task.
    #[inline]
    pub fn finish(&self) {
        let before = self.0.swap(FINISHED, Ordering::AcqRel);
        debug_assert_ne!(before & RUNNING, 0, "only a running task finishes");
    }

    /// What the task is doing, as a hint.
    #[inline]
    pub fn activity(&self) -> Activity {
        let state = self.0.load(Ordering::Acquire);
        if state & FINISHED != 0 {
            Activity::Finished
        } else if state & RUNNING != 0 {
            Activity::Running
        } else if state & READY != 0 {
            Activity::Ready
        } else {
            Activity::Asleep
        }
    }
}

impl Default for TaskState {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_a_sleeper_can_be_claimed_and_wakes_meanwhile_count() {
        let state = TaskState::new();
        assert!(state.claim() && !state.claim());
        assert!(state.park());
        assert!(state.claim() && !state.wake());
        assert!(!state.park(), "woken meanwhile: the claimer enqueues it");
        assert!(!state.claim() && state.begin_poll());
    }

    #[test]
    fn only_the_first_wake_of_a_sleeper_enqueues() {
        let state = TaskState::new();
        assert!(state.wake());
        assert!(!state.wake());
        assert_eq!(state.activity(), Activity::Ready);
    }

    #[test]
    fn a_wake_during_a_poll_requeues_after_it() {
        let state = TaskState::new();
        assert!(state.wake());
        assert!(state.begin_poll());
        assert!(!state.wake());
        assert_eq!(state.activity(), Activity::Running);
        assert!(state.end_poll());
        assert_eq!(state.activity(), Activity::Ready);
    }

    #[test]
    fn a_wake_between_poll_and_park_is_not_lost() {
        let state = TaskState::new();
        assert!(state.wake());
        assert!(state.begin_poll());
        assert!(!state.end_poll());
        assert!(!state.wake());
        assert!(!state.park());
        assert_eq!(state.activity(), Activity::Ready);
    }

    #[test]
    fn a_parked_task_is_woken_by_enqueueing() {
        let state = TaskState::new();
        assert!(state.wake());
        assert!(state.begin_poll());
        assert!(!state.end_poll());
        assert!(state.park());
        assert_eq!(state.activity(), Activity::Asleep);
        assert!(state.wake());
    }

    #[test]
    fn waking_a_finished_task_does_nothing() {
        let state = TaskState::new();
        assert!(state.wake());
        assert!(state.begin_poll());
        assert!(!state.wake());
        state.finish();
        assert!(!state.wake());
        assert_eq!(state.activity(), Activity::Finished);
    }

    #[test]
    fn only_a_ready_task_can_be_polled() {
        let state = TaskState::new();
        assert!(!state.begin_poll());
        assert!(state.wake());
        assert!(state.begin_poll());
        assert!(!state.begin_poll());
    }
}

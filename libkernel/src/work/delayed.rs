//! Items that are queued when a time has come.
//!
//! Everything but waiting works in any context and allocates nothing.
#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::fmt;

use super::{Refused, Work};
use crate::machine;
use crate::time::{Appointment, Due};

/// A [`Work`] with a timer. The timer runs on the core that set it, and queues the item there.
///
/// As with `Work`, dropping the handle cancels nothing.
#[derive(Clone)]
pub struct DelayedWork(Arc<Appointment<Work>>);

impl Due for Work {
    fn due(&self) {
        // Refused: it is queued already, is being cancelled, or its queue is gone; each time there is nothing to do.
        let _ = self.queue();
    }
}

impl DelayedWork {
    pub(super) fn new(work: Work) -> Self {
        Self(Appointment::new(work))
    }

    /// Queues the item in `delay` nanoseconds. `Ok(false)`: it waits for its time, or is queued, already, and stays as it is.
    ///
    /// # Errors
    /// As for [`Work::queue`] where that can be seen now. What happens to the queue before the time comes makes the time pass unnoticed.
    pub fn queue_delayed(&self, delay: u64) -> Result<bool, Refused> {
        if self.work().is_queued() {
            return Ok(false);
        }
        if delay == 0 {
            return if self.0.deadline().is_some() { Ok(false) } else { self.work().queue() };
        }
        self.check()?;
        Ok(self.0.set_if_unset(machine::monotonic_ns().saturating_add(delay)))
    }

    /// Queues the item in `delay` nanoseconds, whatever time was set before. `true`: a time was set, or the item was queued.
    ///
    /// # Errors
    /// As for [`queue_delayed`](Self::queue_delayed).
    pub fn modify_delayed(&self, delay: u64) -> Result<bool, Refused> {
        self.check()?;
        let was_queued = self.work().cancel();
        let was_set = self.0.set(machine::monotonic_ns().saturating_add(delay));
        Ok(was_queued || was_set)
    }

    fn check(&self) -> Result<(), Refused> {
        if self.work().work_queue().is_destroyed() { Err(Refused::Destroyed) } else { Ok(()) }
    }

    /// Forgets the time, and takes a request back that has led to no run yet. `true`: there was either.
    pub fn cancel(&self) -> bool {
        let was_set = self.0.clear();
        self.work().cancel() || was_set
    }

    /// As [`cancel`](Self::cancel), and sleeps until no run goes on. A time that a run sets for itself meanwhile is forgotten too.
    pub async fn cancel_and_wait(&self) -> bool {
        let mut was_set = self.0.clear();
        let was_queued = self.work().quiesce(|| was_set |= self.0.clear()).await;
        was_set || was_queued
    }

    /// Queues the item at once if its time has not come, and sleeps until the run is over.
    pub async fn flush(&self) {
        if self.0.clear() {
            self.work().due();
        }
        self.work().flush().await;
    }

    /// When the item will be queued, in monotonic nanoseconds, if a time is set.
    pub fn deadline(&self) -> Option<u64> {
        self.0.deadline()
    }

    /// The item, to be queued at once.
    pub fn work(&self) -> &Work {
        self.0.about()
    }
}

impl fmt::Debug for DelayedWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, at {:?}", self.work(), self.deadline())
    }
}

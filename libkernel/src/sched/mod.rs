//! The run queue of a core: which task runs next, and for how long.
//!
//! Everything here is a pure function of the events it is told and of the time that comes with them: no clock, no locks, no
//! allocation, no unsafe code. The kernel and the simulator drive the very same code.
//!
//! A [`RunQueue`] holds the runnable tasks of one core in classes, the higher always first: the real-time class (`SCHED_FIFO`,
//! `SCHED_RR`, [`realtime`]), then the fair class (`SCHED_OTHER`, `SCHED_BATCH`, `SCHED_IDLE`, [`fair`]), which is EEVDF: Stoica and
//! Abdel-Wahab, "Earliest Eligible Virtual Deadline First", TR-95-22, 1995.
//!
//! Events in, decisions out:
//!
//! ```text
//! a task becomes runnable        enqueue(task, arrival, now)  -> Preemption
//! the timer fired                update(now)                  -> Preemption
//! time to choose                 pick(now)                    -> the task that is current from now on
//! the current task waits, goes   remove_current(why, now)     -> the task
//! sched_yield                    yield_current(now)
//! nice, policy, slice changed    refresh(task, now)           -> Preemption
//! picked or updated              relief_is_due(now)           -> whether to call relieve
//! after each of these            slice_end()                  -> when to call update next, if ever
//! ```
#![forbid(unsafe_code)]

mod arrival;
mod average;
mod entity;
mod fair;
mod hints;
pub mod load;
pub mod placement;
mod position;
mod realtime;
mod relief;
pub mod replay;
mod run_queue;
pub mod steal;
mod weight;

#[cfg(test)]
mod tests;

pub use average::Average;
pub use entity::{Entity, Request, Schedulable};
pub use fair::FairQueue;
pub use hints::{Alone, CoreSet, Cores, Hints};
pub use position::{FoldedCores, NotedPosition, Position};
pub use realtime::RealtimeQueue;
pub use run_queue::{Class, RunQueue};
pub use weight::{IDLE_WEIGHT, NICE_0_WEIGHT, weight_of_nice};

/// Whether the core should choose again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a request to reschedule must not be swallowed"]
pub enum Preemption {
    /// The current task goes on.
    Continue,
    /// Call [`RunQueue::pick`] at the next safe point.
    Reschedule,
}

impl Preemption {
    /// `Reschedule` if either says so.
    pub const fn or(self, other: Self) -> Self {
        match self {
            Self::Reschedule => self,
            Self::Continue => other,
        }
    }

    /// `Reschedule` if `wanted`.
    pub const fn when(wanted: bool) -> Self {
        if wanted { Self::Reschedule } else { Self::Continue }
    }
}

/// How a task comes to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It has never run.
    Born,
    /// It slept.
    Woken,
    /// It was queued before, here or on another core, and has gone on being runnable.
    Moved,
}

/// Why a task leaves a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It waits for something.
    Sleep,
    /// It goes to another queue, or comes back to this one at once.
    Move,
    /// It ends.
    Exit,
}

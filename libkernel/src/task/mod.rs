//! Tasks: whatever runs is a future, polled by a core's executor and woken through one kind of waker.
//!
//! A [`Task`] is shared by [`Arc`](alloc::sync::Arc) and may be looked at from everywhere. The right to queue it and to change its
//! scheduling entity is a [`Runnable`]: there is at most one for each task, made by the wake that found the task asleep,
//! handed from queue to core to message, and given up when the task is parked.
//!
//! One turn of an executor:
//!
//! ```text
//! pick the next runnable from the run queue; it stays there as the current one
//! match task.poll() {
//!     Decision::Requeue  => put it back among the waiting
//!     Decision::Sleep    => take it off the run queue (its lag is kept); runnable.park():
//!                               None: asleep.  Some(runnable): woken meanwhile, enqueue it again
//!     Decision::Finished => take it off the run queue and drop it
//! }
//! ```
//!
//! A poll runs with interrupts enabled and no scheduler state borrowed; a future that is done is dropped inside the poll.

mod accounting;
mod changed;
mod current;
mod inspect;
mod interrupt;
pub mod kernel_thread;
mod news;
mod parameters;
mod ready;
#[cfg(debug_assertions)]
mod registry;
mod runnable;
mod stack_head;
mod state;
#[expect(clippy::module_inception, reason = "the room is named after its one noun")]
mod task;
pub mod uninterruptible;
mod wait_location;
mod waker;
mod yielding;

#[cfg(test)]
mod tests;

pub use accounting::{Accounting, Clock, Times};
pub use changed::Changed;
pub use current::{current, with_current, with_current_of};
pub use inspect::SchedulingFacts;
pub use interrupt::{Interrupted, Interruptible, interruptible};
pub use parameters::{AffinityMask, Parameters, Policy};
#[cfg(not(target_os = "none"))]
pub use ready::host;
pub use ready::{Scheduler, enqueue, inspect, preempt};
pub use runnable::Runnable;
pub use stack_head::StackHead;
pub use state::{Activity, TaskState};
pub use task::{Decision, Task, TaskId};
pub use uninterruptible::{killable, uninterruptible};
pub use wait_location::WaitLocation;
pub use yielding::{YieldNow, yield_now};

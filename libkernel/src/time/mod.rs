//! Timers: per-core queues ordered by deadline, and waiting for a time.
//!
//! Each core has one queue and one one-shot hardware timer, armed for the earliest of its first timer and the end of the running task's
//! slice. A timer started on a core expires there, wherever its task has gone meanwhile. Times are nanoseconds of
//! [`machine::monotonic_ns`](crate::machine::monotonic_ns).

mod alarm;
mod appointment;
mod core_timer;
mod queue;
mod sleep;
mod state;
mod timer;

#[cfg(test)]
mod tests;

pub use alarm::Alarm;
pub use appointment::{Appointment, Due};
pub use core_timer::{arm_by, cancelled, expire, next_event, rearm};
pub use queue::TimerQueue;
pub use sleep::{Elapsed, Sleep, Timeout, sleep_until, with_timeout};
pub use timer::Timer;

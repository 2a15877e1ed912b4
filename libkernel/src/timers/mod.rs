//! The timers that programs set: interval timers (setitimer(2)), POSIX timers (timer_create(2)), and timers that are files
//! (timerfd_create(2)).
//!
//! All stand on [`Alarm`](crate::time::Alarm). An expiry only sends a signal or wakes a queue; a periodic timer is set again when
//! its signal is delivered or its file read, so that no interval, however short, keeps a core busy with interrupts.
#![forbid(unsafe_code)]

mod descriptor;
mod process_timers;
mod schedule;
mod signal_timer;

#[cfg(test)]
mod tests;

pub use descriptor::TimerFile;
pub use process_timers::{ProcessTimers, TimerId};
pub use schedule::{Schedule, Setting};
pub use signal_timer::{Notice, SignalTimer};

//! The timers that programs set: interval timers (setitimer(2)), POSIX timers (timer_create(2)), and timers that are files
//! (timerfd_create(2)).
//!
//! All stand on [`Alarm`](crate::time::Alarm). An expiry only sends a signal or wakes a queue; a periodic timer is set again when
//! its signal is delivered or its file read, so that no interval, however short, keeps a core busy with interrupts. Timers on CPU
//! time stand on [`ProcessorAlarm`] instead, and are set again as they expire.
#![forbid(unsafe_code)]

mod descriptor;
mod process_timers;
mod processor;
mod schedule;
mod signal_timer;

#[cfg(test)]
mod tests;

pub use descriptor::TimerFile;
pub use process_timers::{IntervalTimer, ProcessTimers, TimerId};
pub use processor::{ProcessorAlarm, ProcessorAlarms, begin_turn, end_turn, sleep_until};
pub use schedule::{Schedule, Setting};
pub use signal_timer::{Notice, SignalTimer};

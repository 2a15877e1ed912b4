//! The clocks of clock_gettime(2), those that count a thread's or a process's CPU time among them
//! (clock_getcpuclockid(3)).
#![forbid(unsafe_code)]

use super::id::Pid;
use super::process::Process;
use super::processor_clock::ProcessorClock;
use super::table;
use super::thread::Thread;
use crate::{Errno, Result, machine};
use alloc::sync::Arc;

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;
/// What clock_getres(2) says of the coarse clocks: they could be a tick old.
const TICK: u64 = SECOND / 250;

/// A clock.
#[derive(Clone, Debug)]
pub enum Clock {
    /// Time since 1970; can be set.
    Realtime,
    /// Time since 1970, as precise as the last tick on Linux.
    RealtimeCoarse,
    /// Time since boot.
    Monotonic,
    /// Time since boot, as precise as the last tick on Linux.
    MonotonicCoarse,
    /// CPU time of the caller's process.
    OwnProcess,
    /// CPU time of the calling thread.
    OwnThread,
    /// CPU time of a process.
    Process {
        /// Which.
        process: Arc<Process>,
        /// User time only.
        user_only: bool,
    },
    /// CPU time of a thread.
    Thread {
        /// Which.
        thread: Arc<Thread>,
        /// User time only.
        user_only: bool,
    },
}

impl Clock {
    /// The clock with this number, as the caller names it.
    ///
    /// # Errors
    /// `EINVAL` for a number that names none.
    pub fn from_id(id: i32, caller: &Thread) -> Result<Clock> {
        match id {
            0 | 11 => Ok(Clock::Realtime),
            1 | 4 | 7 => Ok(Clock::Monotonic),
            2 => Ok(Clock::OwnProcess),
            3 => Ok(Clock::OwnThread),
            5 => Ok(Clock::RealtimeCoarse),
            6 => Ok(Clock::MonotonicCoarse),
            8 => Ok(Clock::Realtime),
            9 => Ok(Clock::Monotonic),
            id if id < 0 => Clock::of_others(id, caller).ok_or(Errno::EINVAL),
            _ => Err(Errno::EINVAL),
        }
    }

    /// A negative number: the complement of a process or thread number, three bits of kind below.
    fn of_others(id: i32, caller: &Thread) -> Option<Clock> {
        let raw = !(id >> 3);
        let user_only = match id & 3 {
            0 | 2 => false,
            1 => true,
            _ => return None,
        };
        if id & 4 != 0 {
            let tid = if raw == 0 { caller.tid() } else { Pid::new(raw)? };
            let thread = table::thread(tid).filter(|thread| Arc::ptr_eq(thread.process(), caller.process()))?;
            return Some(Clock::Thread { thread, user_only });
        }
        let process = if raw == 0 { caller.process().clone() } else { table::process(Pid::new(raw)?)? };
        Some(Clock::Process { process, user_only })
    }

    /// What the clock shows, in nanoseconds.
    #[must_use]
    pub fn read(&self, caller: &Thread) -> u64 {
        match self {
            Clock::Realtime | Clock::RealtimeCoarse => {
                machine::monotonic_ns().wrapping_add(machine::realtime_offset_ns())
            }
            Clock::Monotonic | Clock::MonotonicCoarse => machine::monotonic_ns(),
            Clock::OwnProcess => caller.process().processor_time().total,
            Clock::OwnThread => caller.processor_time().total,
            Clock::Process { process, user_only } => process.processor_time().of(*user_only),
            Clock::Thread { thread, user_only } => thread.processor_time().of(*user_only),
        }
    }

    /// The clock of CPU time that timers can stand on; `None` for the others.
    #[must_use]
    pub fn processor_clock(&self, caller: &Arc<Thread>) -> Option<ProcessorClock> {
        match self {
            Clock::OwnProcess => Some(ProcessorClock::of_process(caller.process(), false)),
            Clock::OwnThread => Some(ProcessorClock::of_thread(caller, false)),
            Clock::Process { process, user_only } => Some(ProcessorClock::of_process(process, *user_only)),
            Clock::Thread { thread, user_only } => Some(ProcessorClock::of_thread(thread, *user_only)),
            _ => None,
        }
    }

    /// Its resolution in nanoseconds.
    #[must_use]
    pub fn resolution(&self) -> u64 {
        match self {
            Clock::RealtimeCoarse | Clock::MonotonicCoarse => TICK,
            _ => 1,
        }
    }

    /// When the clock will show `time`, on the monotonic clock; `None` for clocks that count CPU time.
    #[must_use]
    pub fn to_monotonic(&self, time: u64) -> Option<u64> {
        match self {
            Clock::Realtime | Clock::RealtimeCoarse => Some(time.saturating_sub(machine::realtime_offset_ns())),
            Clock::Monotonic | Clock::MonotonicCoarse => Some(time),
            _ => None,
        }
    }
}

/// `struct timespec` as nanoseconds; times beyond what 64 bits hold count as the largest.
///
/// # Errors
/// `EINVAL` for negative seconds, and nanoseconds that are not below a second.
pub fn from_timespec([seconds, nanoseconds]: [i64; 2]) -> Result<u64> {
    let seconds = u64::try_from(seconds).map_err(|_| Errno::EINVAL)?;
    let nanoseconds = u64::try_from(nanoseconds).ok().filter(|ns| *ns < SECOND).ok_or(Errno::EINVAL)?;
    Ok(seconds.saturating_mul(SECOND).saturating_add(nanoseconds).min(i64::MAX as u64))
}

/// Nanoseconds as `struct timespec`.
#[must_use]
pub const fn to_timespec(ns: u64) -> [i64; 2] {
    [(ns / SECOND) as i64, (ns % SECOND) as i64]
}

/// Nanoseconds as `struct timeval`.
#[must_use]
pub const fn to_timeval(ns: u64) -> [i64; 2] {
    [(ns / SECOND) as i64, (ns % SECOND / 1000) as i64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timespecs_are_checked() {
        assert_eq!(from_timespec([1, 5]), Ok(SECOND + 5));
        assert_eq!(from_timespec([-1, 0]), Err(Errno::EINVAL));
        assert_eq!(from_timespec([0, 1_000_000_000]), Err(Errno::EINVAL));
        assert_eq!(from_timespec([0, -1]), Err(Errno::EINVAL));
        assert_eq!(from_timespec([i64::MAX, 0]), Ok(i64::MAX as u64));
        assert_eq!(to_timespec(SECOND + 5), [1, 5]);
        assert_eq!(to_timeval(SECOND + 5999), [1, 5]);
    }
}

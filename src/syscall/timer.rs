//! The calls about timers that programs set: setitimer(2), timer_create(2), timerfd_create(2); and signalfd(2).
#![forbid(unsafe_code)]

use alloc::sync::Arc;

use libkernel::fs::{Fd, FileObject, OpenFlags, anonymous};
use libkernel::memory::UserPtr;
use libkernel::process::capability::Capability;
use libkernel::process::clock::{Clock, from_timespec, to_timespec};
use libkernel::process::{Pid, table};
use libkernel::signal::{Signal, SignalFile};
use libkernel::timers::{IntervalTimer, ProcessTimers, Schedule, Setting, TimerFile};
use libkernel::{Errno, Result, machine};
use linux_raw_sys::general as abi;

use super::Context;
use super::files::descriptor_limit;

/// `struct itimerspec` and `struct itimerval`: interval, then value.
type TimerSpec = [i64; 4];

fn decode([seconds, nanoseconds, value_seconds, value_nanoseconds]: TimerSpec) -> Result<Setting> {
    let interval = from_timespec([seconds, nanoseconds])?;
    Ok(Setting { value: from_timespec([value_seconds, value_nanoseconds])?, interval })
}

fn encode(setting: Setting) -> TimerSpec {
    let [a, b] = to_timespec(setting.interval);
    let [c, d] = to_timespec(setting.value);
    [a, b, c, d]
}

/// Microseconds to nanoseconds and back, in the odd places of a `struct itimerval`.
fn scale([a, b, c, d]: TimerSpec, by: impl Fn(i64) -> Option<i64>) -> Result<TimerSpec> {
    Ok([a, by(b).ok_or(Errno::EINVAL)?, c, by(d).ok_or(Errno::EINVAL)?])
}

/// The schedule for a setting that was made now, or, with `absolute`, for points of `clock`.
fn schedule(setting: Setting, absolute: bool, clock: &Clock) -> Schedule {
    let Setting { value, interval } = setting;
    match value {
        0 => Schedule::OFF,
        _ if absolute => Schedule::at(clock.to_monotonic(value).unwrap_or(value), interval),
        _ => Schedule::at(machine::monotonic_ns().saturating_add(value), interval),
    }
}

fn timers(cx: &Context) -> Arc<ProcessTimers> {
    cx.thread.process().signals().timers()
}

/// getitimer(2).
pub fn getitimer(cx: &mut Context, which: u32, to: UserPtr<TimerSpec>) -> Result<usize> {
    let timers = timers(cx);
    let left = match interval_timer(which)? {
        None => timers.real().remaining(),
        Some(which) => timers.interval(which).map_or(Setting::default(), |timer| timer.remaining()),
    };
    let left = round_up(left);
    cx.thread.space().write_value(to, scale(encode(left), |ns| Some(ns / 1000))?)?;
    Ok(0)
}

/// setitimer(2).
pub fn setitimer(cx: &mut Context, which: u32, new: UserPtr<TimerSpec>, old: UserPtr<TimerSpec>) -> Result<usize> {
    let space = cx.thread.space();
    let setting = match new.non_null() {
        Some(new) => decode(scale(space.read_value(new)?, |us| us.checked_mul(1000))?)?,
        // As on Linux, no new setting switches the timer off.
        None => Setting::default(),
    };
    let timers = timers(cx);
    let before = match interval_timer(which)? {
        None => timers.real().set_in(setting),
        Some(which) => timers.make_interval(which, cx.thread.process())?.set_in(setting),
    };
    if let Some(old) = old.non_null() {
        space.write_value(old, scale(encode(round_up(before)), |ns| Some(ns / 1000))?)?;
    }
    Ok(0)
}

/// A running timer never shows zero, in microseconds neither.
fn round_up(setting: Setting) -> Setting {
    Setting { value: setting.value.next_multiple_of(1000), ..setting }
}

/// Which timer on CPU time the number names; `None`: the one in real time.
fn interval_timer(which: u32) -> Result<Option<IntervalTimer>> {
    match which {
        abi::ITIMER_REAL => Ok(None),
        abi::ITIMER_VIRTUAL => Ok(Some(IntervalTimer::Virtual)),
        abi::ITIMER_PROF => Ok(Some(IntervalTimer::Profiling)),
        _ => Err(Errno::EINVAL),
    }
}

/// The clock of a timer. `EINVAL` for one that does not exist, `EOPNOTSUPP` for one that no timer can use.
fn timer_clock(cx: &Context, id: i32) -> Result<Clock> {
    let clock = Clock::from_id(id, &cx.thread)?;
    match clock {
        Clock::RealtimeCoarse | Clock::MonotonicCoarse => Err(Errno::EOPNOTSUPP),
        _ => Ok(clock),
    }
}

/// The part of `struct sigevent` that the kernel looks at.
fn read_event(cx: &Context, event: UserPtr<u8>) -> Result<(u64, i32, u32, i32)> {
    let space = cx.thread.space();
    let value: u64 = space.read_value(event.cast())?;
    let [signal, notify, tid]: [i32; 3] = space.read_value(event.byte_add(8).cast())?;
    Ok((value, signal, notify as u32, tid))
}

/// timer_create(2).
pub fn timer_create(cx: &mut Context, clock: i32, event: UserPtr<u8>, id: UserPtr<i32>) -> Result<usize> {
    let processor = timer_clock(cx, clock)?.processor_clock(&cx.thread);
    let timers = timers(cx);
    let allowance = cx.thread.signal_allowance();
    let number = match event.non_null() {
        None => timers.create(clock, processor, Some((Signal::ALRM, None, None)), &allowance)?,
        Some(event) => {
            let (value, signal, notify, tid) = read_event(cx, event)?;
            if notify == abi::SIGEV_NONE {
                timers.create(clock, processor, None, &allowance)?
            } else {
                if !matches!(notify, abi::SIGEV_SIGNAL | abi::SIGEV_THREAD | abi::SIGEV_THREAD_ID) {
                    return Err(Errno::EINVAL);
                }
                let signal = Signal::new(signal)?;
                let thread = if notify == abi::SIGEV_THREAD_ID {
                    let thread = Pid::new(tid).and_then(table::thread).ok_or(Errno::EINVAL)?;
                    if !Arc::ptr_eq(thread.process(), cx.thread.process()) {
                        return Err(Errno::EINVAL);
                    }
                    Some(thread)
                } else {
                    None
                };
                let thread = thread.as_ref().map(|thread| thread.signals());
                timers.create(clock, processor, Some((signal, Some(value), thread)), &allowance)?
            }
        }
    };
    if let Err(error) = cx.thread.space().write_value(id, number as i32) {
        timers.delete(number)?;
        return Err(error);
    }
    Ok(0)
}

/// timer_settime(2). Points in time are those of the real-time clock only as far as that is not set meanwhile.
pub fn timer_settime(
    cx: &mut Context,
    id: u32,
    flags: u32,
    new: UserPtr<TimerSpec>,
    old: UserPtr<TimerSpec>,
) -> Result<usize> {
    let new = new.non_null().ok_or(Errno::EINVAL)?;
    let space = cx.thread.space();
    let setting = decode(space.read_value(new)?)?;
    let (timer, clock) = timers(cx).get(id)?;
    let before = if flags & abi::TIMER_ABSTIME != 0 {
        // A clock of CPU time that is gone since shows nothing any more; its points stay what they are.
        let clock = Clock::from_id(clock, &cx.thread).unwrap_or(Clock::OwnProcess);
        timer.set(schedule(setting, true, &clock))
    } else {
        timer.set_in(setting)
    };
    if let Some(old) = old.non_null() {
        space.write_value(old, encode(before))?;
    }
    Ok(0)
}

/// timer_gettime(2).
pub fn timer_gettime(cx: &mut Context, id: u32, to: UserPtr<TimerSpec>) -> Result<usize> {
    let (timer, _) = timers(cx).get(id)?;
    cx.thread.space().write_value(to, encode(timer.remaining()))?;
    Ok(0)
}

/// timer_getoverrun(2).
pub fn timer_getoverrun(cx: &mut Context, id: u32) -> Result<usize> {
    Ok(timers(cx).get(id)?.0.overrun() as usize)
}

/// timer_delete(2).
pub fn timer_delete(cx: &mut Context, id: u32) -> Result<usize> {
    timers(cx).delete(id)?;
    Ok(0)
}

/// Opens an object of this file as a new descriptor. The flags are those of `O_CLOEXEC` and `O_NONBLOCK`.
fn open(cx: &Context, object: Arc<dyn FileObject>, name: &'static str, flags: u32) -> Result<usize> {
    let mut open_flags = OpenFlags::READ_WRITE;
    open_flags.set(OpenFlags::NON_BLOCKING, flags & abi::O_NONBLOCK != 0);
    let file = anonymous::open(object, name, open_flags)?;
    Ok(cx.thread.files().insert(file, flags & abi::O_CLOEXEC != 0, 0, descriptor_limit(cx))?.0 as usize)
}

/// timerfd_create(2).
pub fn timerfd_create(cx: &mut Context, clock: i32, flags: u32) -> Result<usize> {
    const REALTIME_ALARM: i32 = abi::CLOCK_REALTIME_ALARM as i32;
    const BOOTTIME_ALARM: i32 = abi::CLOCK_BOOTTIME_ALARM as i32;
    if flags & !(abi::TFD_CLOEXEC | abi::TFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    match clock {
        0 | 1 | 7 => {}
        REALTIME_ALARM | BOOTTIME_ALARM => {
            if !cx.thread.with_credentials(|credentials| credentials.has(Capability::WakeAlarm)) {
                return Err(Errno::EPERM);
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    open(cx, TimerFile::new(clock), "anon_inode:[timerfd]", flags)
}

/// timerfd_settime(2). As with timer_settime(2), setting the clock does not move what is set.
pub fn timerfd_settime(
    cx: &mut Context,
    fd: Fd,
    flags: u32,
    new: UserPtr<TimerSpec>,
    old: UserPtr<TimerSpec>,
) -> Result<usize> {
    if flags & !(abi::TFD_TIMER_ABSTIME | abi::TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let space = cx.thread.space();
    let setting = decode(space.read_value(new)?)?;
    let timer: Arc<TimerFile> = cx.thread.files().get(fd)?.object_as().ok_or(Errno::EINVAL)?;
    let clock = Clock::from_id(timer.clock(), &cx.thread)?;
    let before = timer.set(schedule(setting, flags & abi::TFD_TIMER_ABSTIME != 0, &clock));
    if let Some(old) = old.non_null() {
        space.write_value(old, encode(before))?;
    }
    Ok(0)
}

/// timerfd_gettime(2).
pub fn timerfd_gettime(cx: &mut Context, fd: Fd, to: UserPtr<TimerSpec>) -> Result<usize> {
    let timer: Arc<TimerFile> = cx.thread.files().get(fd)?.object_as().ok_or(Errno::EINVAL)?;
    cx.thread.space().write_value(to, encode(timer.remaining()))?;
    Ok(0)
}

/// signalfd4(2).
pub fn signalfd4(cx: &mut Context, fd: i32, set: UserPtr<u64>, size: usize, flags: u32) -> Result<usize> {
    if flags & !(abi::O_CLOEXEC | abi::O_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    let set = super::signal::read_set(cx, set, size)?;
    if fd == -1 {
        return open(cx, SignalFile::new(set), "anon_inode:[signalfd]", flags);
    }
    cx.thread.files().get(Fd(fd))?.object_as::<SignalFile>().ok_or(Errno::EINVAL)?.change(set);
    Ok(fd as usize)
}

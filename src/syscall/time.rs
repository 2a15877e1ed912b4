//! Clocks and sleeping: clock_gettime(2) and its kin, nanosleep(2).
#![forbid(unsafe_code)]

use super::{Context, Outcome};
use alloc::sync::Arc;
use libkernel::memory::UserPtr;
use libkernel::process::capability::Capability;
use libkernel::process::clock::{Clock, from_timespec, to_timespec, to_timeval};
use libkernel::signal::RestartBlock;
use libkernel::task::interruptible;
use libkernel::time::sleep_until;
use libkernel::{Errno, Result, machine, timers};

/// `struct timespec`, `struct timeval`: two 64-bit words.
pub type TimeSpec = [i64; 2];

/// Flag of clock_nanosleep: the time is a point of the clock, not a distance.
const TIMER_ABSTIME: u32 = 1;

/// clock_gettime(2).
pub fn clock_gettime(cx: &mut Context, clock: i32, time: UserPtr<TimeSpec>) -> Result<usize> {
    let now = Clock::from_id(clock, &cx.thread)?.read(&cx.thread);
    cx.space().write_value(time, to_timespec(now))?;
    Ok(0)
}

/// clock_getres(2).
pub fn clock_getres(cx: &mut Context, clock: i32, resolution: UserPtr<TimeSpec>) -> Result<usize> {
    let clock = Clock::from_id(clock, &cx.thread)?;
    if !resolution.is_null() {
        cx.space().write_value(resolution, to_timespec(clock.resolution()))?;
    }
    Ok(0)
}

fn set_realtime(cx: &Context, time: u64) -> Result<usize> {
    if !cx.thread.with_credentials(|credentials| credentials.has(Capability::SysTime)) {
        return Err(Errno::EPERM);
    }
    let offset = time.checked_sub(machine::monotonic_ns()).ok_or(Errno::EINVAL)?;
    machine::set_realtime_offset_ns(offset);
    Ok(0)
}

/// clock_settime(2): the real-time clock alone can be set.
pub fn clock_settime(cx: &mut Context, clock: i32, time: UserPtr<TimeSpec>) -> Result<usize> {
    if !matches!(Clock::from_id(clock, &cx.thread)?, Clock::Realtime) || clock != 0 {
        return Err(Errno::EINVAL);
    }
    let time = from_timespec(cx.space().read_value(time)?)?;
    set_realtime(cx, time)
}

/// gettimeofday(2).
pub fn gettimeofday(cx: &mut Context, time: UserPtr<TimeSpec>, zone: UserPtr<[i32; 2]>) -> Result<usize> {
    if !time.is_null() {
        cx.space().write_value(time, to_timeval(Clock::Realtime.read(&cx.thread)))?;
    }
    if !zone.is_null() {
        cx.space().write_value(zone, [0; 2])?;
    }
    Ok(0)
}

/// settimeofday(2); time zones are not kept.
pub fn settimeofday(cx: &mut Context, time: UserPtr<TimeSpec>, _zone: UserPtr<[i32; 2]>) -> Result<usize> {
    if time.is_null() {
        return Ok(0);
    }
    let [seconds, microseconds] = cx.space().read_value(time)?;
    let time = from_timespec([seconds, microseconds.checked_mul(1000).ok_or(Errno::EINVAL)?])?;
    set_realtime(cx, time)
}

/// nanosleep(2).
pub fn nanosleep(cx: &mut Context, time: UserPtr<TimeSpec>, _remaining: UserPtr<TimeSpec>) -> Outcome {
    match cx.space().read_value(time).and_then(from_timespec) {
        Ok(0) => Outcome::Done(Ok(0)),
        Ok(_) => Outcome::Block,
        Err(error) => Outcome::Done(Err(error)),
    }
}

/// The waiting part of nanosleep(2).
pub async fn nanosleep_blocking(
    cx: &mut Context,
    time: UserPtr<TimeSpec>,
    remaining: UserPtr<TimeSpec>,
) -> Result<usize> {
    let distance = from_timespec(cx.space().read_value(time)?)?;
    sleep(cx, machine::monotonic_ns().saturating_add(distance), remaining).await
}

/// clock_nanosleep(2).
pub fn clock_nanosleep(
    cx: &mut Context,
    clock: i32,
    _flags: u32,
    time: UserPtr<TimeSpec>,
    _remaining: UserPtr<TimeSpec>,
) -> Outcome {
    match nap_clock(cx, clock).and_then(|_| cx.space().read_value(time)).and_then(from_timespec) {
        Ok(_) => Outcome::Block,
        Err(error) => Outcome::Done(Err(error)),
    }
}

/// A clock that one can sleep by. One's own CPU time stands still meanwhile.
fn nap_clock(cx: &Context, clock: i32) -> Result<Clock> {
    let clock = Clock::from_id(clock, &cx.thread)?;
    match clock {
        Clock::OwnThread => Err(Errno::EOPNOTSUPP),
        Clock::Thread { thread, .. } if Arc::ptr_eq(&thread, &cx.thread) => Err(Errno::EINVAL),
        Clock::RealtimeCoarse | Clock::MonotonicCoarse => Err(Errno::EOPNOTSUPP),
        clock => Ok(clock),
    }
}

/// The waiting part of clock_nanosleep(2).
pub async fn clock_nanosleep_blocking(
    cx: &mut Context,
    clock: i32,
    flags: u32,
    time: UserPtr<TimeSpec>,
    remaining: UserPtr<TimeSpec>,
) -> Result<usize> {
    let id = clock;
    let clock = nap_clock(cx, id)?;
    let time = from_timespec(cx.space().read_value(time)?)?;
    if let Some(processor) = clock.processor_clock(&cx.thread) {
        let absolute = flags & TIMER_ABSTIME != 0;
        let deadline = if absolute { time } else { processor.read().saturating_add(time) };
        return match interruptible(timers::sleep_until(processor, deadline)).await {
            Ok(woken) => woken.map(|()| 0),
            Err(_) if absolute => Err(Errno::ERESTARTNOHAND),
            Err(_) => interrupted_nap(cx, id, deadline, remaining),
        };
    }
    if flags & TIMER_ABSTIME == 0 {
        return sleep(cx, machine::monotonic_ns().saturating_add(time), remaining).await;
    }
    let deadline = clock.to_monotonic(time).ok_or(Errno::EOPNOTSUPP)?;
    interruptible(sleep_until(deadline)).await.map_err(|_| Errno::ERESTARTNOHAND)?;
    Ok(0)
}

/// A sleep by CPU time until `deadline` was interrupted: stores what is left, and notes how to go on.
fn interrupted_nap(cx: &Context, clock: i32, deadline: u64, remaining: UserPtr<TimeSpec>) -> Result<usize> {
    if !remaining.is_null() {
        let now = Clock::from_id(clock, &cx.thread)?.read(&cx.thread);
        cx.space().write_value(remaining, to_timespec(deadline.saturating_sub(now)))?;
    }
    cx.thread.signals().set_restart(RestartBlock::ProcessorSleep { clock, deadline, remaining: remaining.addr() });
    Err(Errno::ERESTART_RESTARTBLOCK)
}

/// Goes on with a sleep by CPU time until `deadline`.
pub(super) async fn resume_nap(cx: &Context, clock: i32, deadline: u64, remaining: UserPtr<TimeSpec>) -> Result<usize> {
    let processor = nap_clock(cx, clock)?.processor_clock(&cx.thread).ok_or(Errno::EINVAL)?;
    match interruptible(timers::sleep_until(processor, deadline)).await {
        Ok(woken) => woken.map(|()| 0),
        Err(_) => interrupted_nap(cx, clock, deadline, remaining),
    }
}

/// Sleeps until `deadline` on the monotonic clock. When a signal comes first, the rest of the time is stored and the sleep can be
/// taken up again (restart_syscall(2)).
pub(super) async fn sleep(cx: &mut Context, deadline: u64, remaining: UserPtr<TimeSpec>) -> Result<usize> {
    if interruptible(sleep_until(deadline)).await.is_ok() {
        return Ok(0);
    }
    let left = deadline.saturating_sub(machine::monotonic_ns());
    if left == 0 {
        return Ok(0);
    }
    if !remaining.is_null() {
        cx.space().write_value(remaining, to_timespec(left))?;
    }
    cx.thread.signals().set_restart(RestartBlock::Sleep { deadline, remaining: remaining.addr() });
    Err(Errno::ERESTART_RESTARTBLOCK)
}

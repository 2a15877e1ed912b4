//! Clocks and sleeping. All spans are nanoseconds.

use super::{Result, zeroed};
use crate::call;

/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// Splits a span into seconds and nanoseconds.
pub fn timespec_of_ns(ns: u64) -> libc::timespec {
    let mut time = zeroed::<libc::timespec>();
    time.tv_sec = (ns / SECOND) as i64;
    time.tv_nsec = (ns % SECOND) as i64;
    time
}

/// The span of a `timespec`; negative ones count as zero.
pub fn ns_of_timespec(time: &libc::timespec) -> u64 {
    (time.tv_sec.max(0) as u64) * SECOND + time.tv_nsec.max(0) as u64
}

/// `clock_gettime` by system call, not through the vDSO.
pub fn clock(id: i32) -> Result<u64> {
    let mut time = zeroed::<libc::timespec>();
    call!(SYS_clock_gettime, id, &mut time)?;
    Ok(ns_of_timespec(&time))
}

/// `CLOCK_MONOTONIC` by system call.
pub fn now() -> u64 {
    clock(libc::CLOCK_MONOTONIC).unwrap_or(0)
}

/// Sleeps for at least `ms` milliseconds, through interruptions.
pub fn sleep_ms(ms: u64) {
    let end = now() + ms * MS;
    while now() < end {
        let time = timespec_of_ns(end);
        let _ = call!(SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time, 0);
    }
}

/// Keeps the core busy in user mode for about two thousand instructions.
///
/// An emulator translates `nop` to nothing: tests that keep cores busy for seconds take little of the host's time in the
/// deterministic mode, where the guest's time is counted in instructions.
pub fn spin() {
    // SAFETY: eight rounds of no operation; the counter is the block's own register.
    unsafe {
        core::arch::asm!(
            "2:",
            ".rept 254",
            "nop",
            ".endr",
            "subs {rounds}, {rounds}, #1",
            "b.ne 2b",
            rounds = inout(reg) 8u64 => _,
            options(nomem, nostack),
        );
    }
}

/// Works until `CLOCK_MONOTONIC` is `ms` milliseconds further.
pub fn work_ms(ms: u64) {
    let end = now() + ms * MS;
    while now() < end {
        spin();
    }
}

/// `nanosleep`: the time that remains when it was interrupted.
pub fn nanosleep(ns: u64) -> core::result::Result<(), (super::Errno, u64)> {
    let time = timespec_of_ns(ns);
    let mut rest = zeroed::<libc::timespec>();
    match call!(SYS_nanosleep, &time, &mut rest) {
        Ok(_) => Ok(()),
        Err(errno) => Err((errno, ns_of_timespec(&rest))),
    }
}

/// Repeats `condition` every two milliseconds until it holds or `ms` milliseconds have passed.
pub fn eventually(ms: u64, mut condition: impl FnMut() -> bool) -> bool {
    let end = now() + ms * MS;
    loop {
        if condition() {
            return true;
        }
        if now() > end {
            return false;
        }
        sleep_ms(2);
    }
}

/// Asks for one SIGALRM after `ms` milliseconds.
#[track_caller]
pub fn alarm_in(ms: u64) {
    let timer = [0u64, 0, ms / 1000, ms % 1000 * 1000];
    crate::check::must(call!(SYS_setitimer, libc::ITIMER_REAL, &timer, 0));
}

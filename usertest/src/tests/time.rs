//! Clocks, sleeping and timers (time(7)).

use super::tests;
use crate::call;
use crate::check::{fails, in_child, must, some, within};
use crate::sys::*;

tests!("time":
    monotonic_never_goes_back,
    monotonic_agrees_across_cores,
    realtime_is_after_2020_and_advances_with_monotonic,
    boottime_is_not_behind_monotonic,
    coarse_clocks_follow,
    vdso_and_system_call_agree,
    unknown_clock_is_einval,
    resolution_is_fine,
    process_time_counts_work_not_sleep,
    thread_time_is_its_own,
    nanosleep_sleeps_at_least_as_long,
    nanosleep_bad_arguments_fail,
    absolute_sleep_in_the_past_returns_at_once,
    absolute_sleep_on_realtime,
    zero_sleep_returns,
    many_sleepers_end_in_order,
    gettimeofday_agrees,
    setting_the_clock_needs_rights,
    setting_realtime_leaves_monotonic,
    posix_timer_signals_and_overruns,
    posix_timer_can_be_read_and_stopped,
    posix_timer_set_again_has_one_signal_on_its_way,
    posix_timer_with_an_unknown_notice_is_einval,
    posix_timers_are_limited_as_queued_signals_are,
    virtual_timer_counts_processor_time,
    sleep_survives_stop_and_continue,
);

fn monotonic_never_goes_back() {
    let mut last = now();
    for _ in 0..20_000 {
        let next = now();
        assert!(next >= last, "{next} after {last}");
        last = next;
    }
}

fn monotonic_agrees_across_cores() {
    let cores = must(affinity());
    let mut last = 0;
    for _ in 0..50 {
        for core in &cores {
            must(set_affinity(0, &[*core]));
            let next = now();
            assert!(next >= last, "core {core} is {} ns behind", last - next);
            last = next;
        }
    }
}

fn realtime_is_after_2020_and_advances_with_monotonic() {
    let (real, mono) = (must(clock(libc::CLOCK_REALTIME)), now());
    assert!(real > 1_577_836_800 * SECOND);
    sleep_ms(50);
    let (real, mono) = (must(clock(libc::CLOCK_REALTIME)) - real, now() - mono);
    within(real.abs_diff(mono), 0, 20 * MS, "difference of the two clocks' progress");
}

fn boottime_is_not_behind_monotonic() {
    let mono = now();
    assert!(must(clock(libc::CLOCK_BOOTTIME)) >= mono);
    assert!(must(clock(libc::CLOCK_MONOTONIC_RAW)) > 0);
}

fn coarse_clocks_follow() {
    let fine = now();
    sleep_ms(30);
    let coarse = must(clock(libc::CLOCK_MONOTONIC_COARSE));
    within(coarse, fine, now(), "coarse clock");
    assert!(must(clock(libc::CLOCK_REALTIME_COARSE)) > 1_577_836_800 * SECOND);
}

fn vdso_and_system_call_agree() {
    let quick = some(vdso_clock_gettime(), "the vDSO's clock_gettime");
    let mut time = zeroed::<libc::timespec>();
    for id in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME, libc::CLOCK_BOOTTIME] {
        for _ in 0..1000 {
            let before = must(clock(id));
            assert_eq!(quick(id, &raw mut time), 0);
            within(ns_of_timespec(&time), before, must(clock(id)), "the vDSO's clock");
        }
    }
    assert_eq!(quick(77, &raw mut time), -libc::EINVAL);
}

fn unknown_clock_is_einval() {
    fails(clock(77), libc::EINVAL);
    fails(call!(SYS_clock_gettime, 0, 8), libc::EFAULT);
    fails(call!(SYS_clock_getres, 77, 0), libc::EINVAL);
}

fn resolution_is_fine() {
    let mut time = zeroed::<libc::timespec>();
    must(call!(SYS_clock_getres, libc::CLOCK_MONOTONIC, &mut time));
    assert_eq!(ns_of_timespec(&time), 1);
    must(call!(SYS_clock_getres, libc::CLOCK_MONOTONIC, 0));
}

fn process_time_counts_work_not_sleep() {
    let before = must(clock(libc::CLOCK_PROCESS_CPUTIME_ID));
    sleep_ms(100);
    let slept = must(clock(libc::CLOCK_PROCESS_CPUTIME_ID)) - before;
    assert!(slept < 60 * MS, "sleeping cost {slept} ns");
    work_ms(60);
    let worked = must(clock(libc::CLOCK_PROCESS_CPUTIME_ID)) - before - slept;
    within(worked, 5 * MS, 70 * MS, "processor time of 60 ms of work");
}

fn thread_time_is_its_own() {
    let thread = std::thread::spawn(|| {
        work_ms(50);
        must(clock(libc::CLOCK_THREAD_CPUTIME_ID))
    });
    let other = thread.join().unwrap_or(0);
    assert!(other > 5 * MS);
    let process = must(clock(libc::CLOCK_PROCESS_CPUTIME_ID));
    assert!(process >= other, "the process's time includes the ended thread's: {process} {other}");
}

fn nanosleep_sleeps_at_least_as_long() {
    for ns in [1, 1000, 100_000, 1_000_000, 20_000_000] {
        let start = now();
        assert_eq!(nanosleep(ns), Ok(()));
        within(now() - start, ns, ns + 2 * SECOND, "slept");
    }
}

fn nanosleep_bad_arguments_fail() {
    fails(call!(SYS_nanosleep, &[0i64, 1_000_000_000], 0), libc::EINVAL);
    fails(call!(SYS_nanosleep, &[0i64, -1], 0), libc::EINVAL);
    fails(call!(SYS_nanosleep, &[-1i64, 0], 0), libc::EINVAL);
    fails(call!(SYS_nanosleep, 8, 0), libc::EFAULT);
    fails(call!(SYS_clock_nanosleep, 77, 0, &[0i64, 0], 0), libc::EINVAL);
}

fn absolute_sleep_in_the_past_returns_at_once() {
    let start = now();
    must(call!(SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &[0u64, 1], 0));
    assert!(now() - start < SECOND);
}

fn absolute_sleep_on_realtime() {
    let until = must(clock(libc::CLOCK_REALTIME)) + 40 * MS;
    let time = timespec_of_ns(until);
    must(call!(SYS_clock_nanosleep, libc::CLOCK_REALTIME, libc::TIMER_ABSTIME, &time, 0));
    within(must(clock(libc::CLOCK_REALTIME)), until, until + 2 * SECOND, "woke");
}

fn zero_sleep_returns() {
    assert_eq!(nanosleep(0), Ok(()));
}

fn many_sleepers_end_in_order() {
    let (reader, writer) = must(pipe());
    let start = now() + 300 * MS;
    let children: Vec<Pid> = (0..20u8)
        .map(|id| {
            spawn(|| {
                let time = timespec_of_ns(start + u64::from(id) * 30 * MS);
                must(call!(SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &time, 0));
                must(write(writer, &[id]));
                0
            })
        })
        .collect();
    must(close(writer));
    let order = must(read_to_end(reader));
    assert!(order.iter().copied().eq(0..20), "{order:?}");
    children.into_iter().for_each(|child| crate::check::exits(child, 0));
}

fn gettimeofday_agrees() {
    let mut time = [0u64; 2];
    let before = must(clock(libc::CLOCK_REALTIME));
    must(call!(SYS_gettimeofday, &mut time, 0));
    let ns = time[0] * SECOND + time[1] * 1000;
    within(ns, before - 1000, must(clock(libc::CLOCK_REALTIME)), "gettimeofday");
}

fn setting_the_clock_needs_rights() {
    in_child(|| {
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        fails(call!(SYS_clock_settime, libc::CLOCK_REALTIME, &[1_700_000_000u64, 0]), libc::EPERM);
    });
    fails(call!(SYS_clock_settime, libc::CLOCK_MONOTONIC, &[1u64, 0]), libc::EINVAL);
    fails(call!(SYS_clock_settime, libc::CLOCK_REALTIME, &[1u64, 1_000_000_000]), libc::EINVAL);
}

fn setting_realtime_leaves_monotonic() {
    let (real, mono) = (must(clock(libc::CLOCK_REALTIME)), now());
    let ahead = timespec_of_ns(real + 1000 * SECOND);
    must(call!(SYS_clock_settime, libc::CLOCK_REALTIME, &ahead));
    let moved = must(clock(libc::CLOCK_REALTIME)) - real;
    let progress = now() - mono;
    let back = timespec_of_ns(real + progress);
    must(call!(SYS_clock_settime, libc::CLOCK_REALTIME, &back));
    within(moved, 1000 * SECOND, 1010 * SECOND, "the real clock moved by");
    assert!(progress < 10 * SECOND);
}

/// `timer_create` with SIGRTMIN+2 and value 99.
fn timer() -> i32 {
    let mut id = -1i32;
    let event = [99u64, 36, 0, 0, 0, 0, 0, 0];
    must(call!(SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut id));
    id
}

fn posix_timer_signals_and_overruns() {
    must(block(bit(36)));
    let id = timer();
    let every = [0u64, 2 * MS, 0, 2 * MS];
    must(call!(SYS_timer_settime, id, 0, &every, 0));
    sleep_ms(60);
    let info = must(sigtimedwait(bit(36), Some(SECOND)));
    assert_eq!((info.code, info.value), (-2, 99), "SI_TIMER and the value");
    let overrun = must(call!(SYS_timer_getoverrun, id));
    within(overrun, 5, 2000, "overruns");
    must(call!(SYS_timer_delete, id));
    fails(call!(SYS_timer_delete, id), libc::EINVAL);
}

fn posix_timer_can_be_read_and_stopped() {
    must(block(bit(36)));
    let id = timer();
    must(call!(SYS_timer_settime, id, 0, &[0u64, 0, 100, 0], 0));
    let mut left = [0u64; 4];
    must(call!(SYS_timer_gettime, id, &mut left));
    within(left[2], 90, 100, "seconds left");
    let mut old = [0u64; 4];
    must(call!(SYS_timer_settime, id, 0, &[0u64; 4], &mut old));
    within(old[2], 90, 100, "seconds that were left");
    must(call!(SYS_timer_gettime, id, &mut left));
    assert_eq!(left, [0; 4]);
    must(call!(SYS_timer_settime, id, libc::TIMER_ABSTIME, &[0u64, 0, 0, 1], 0));
    must(sigtimedwait(bit(36), Some(SECOND)));
}

fn posix_timer_set_again_has_one_signal_on_its_way() {
    must(block(bit(36)));
    let id = timer();
    for _ in 0..3 {
        must(call!(SYS_timer_settime, id, 0, &[0u64, 0, 0, MS], 0));
        sleep_ms(20);
    }
    must(sigtimedwait(bit(36), Some(SECOND)));
    fails(sigtimedwait(bit(36), Some(0)), libc::EAGAIN);
}

fn posix_timer_with_an_unknown_notice_is_einval() {
    for notify in [3, 5, 6, 7, 8] {
        let event = [99u64, 36 | notify << 32, gettid() as u64, 0, 0, 0, 0, 0];
        fails(call!(SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut 0i32), libc::EINVAL);
    }
}

fn posix_timers_are_limited_as_queued_signals_are() {
    let limit = [40u64, 40];
    must(call!(SYS_prlimit64, 0, libc::RLIMIT_SIGPENDING, &limit, 0));
    // What the user's other processes have queued counts too.
    // `SIGEV_SIGNAL`, `SIGEV_NONE`.
    for notify in [0, 1] {
        let event = [99u64, 36 | notify << 32, 0, 0, 0, 0, 0, 0];
        let mut made = Vec::new();
        let refused = loop {
            let mut id = -1i32;
            match call!(SYS_timer_create, libc::CLOCK_MONOTONIC, &event, &mut id) {
                Ok(_) if made.len() < 100 => made.push(id),
                other => break other,
            }
        };
        fails(refused, libc::EAGAIN);
        within(made.len(), 20, 40, "timers");
        for id in made {
            must(call!(SYS_timer_delete, id));
        }
    }
}

fn virtual_timer_counts_processor_time() {
    must(on_signal(libc::SIGVTALRM, record, 0));
    let timer = [0u64, 0, 0, 30_000];
    must(call!(SYS_setitimer, libc::ITIMER_VIRTUAL, &timer, 0));
    sleep_ms(60);
    assert_eq!(seen(), 0, "it ran during sleep");
    let end = now() + 5 * SECOND;
    let mut number = 1u64;
    while seen() == 0 && now() < end {
        for _ in 0..10_000 {
            number = core::hint::black_box(number.wrapping_mul(3));
        }
    }
    assert_eq!((seen(), last_info().signal), (1, libc::SIGVTALRM));
}

fn sleep_survives_stop_and_continue() {
    let child = spawn(|| {
        let start = now();
        match nanosleep(200 * MS) {
            Ok(()) => i32::from(now() - start < 200 * MS),
            Err(_) => 2,
        }
    });
    sleep_ms(30);
    must(kill(child, libc::SIGSTOP));
    must(wait4(child, libc::WUNTRACED));
    sleep_ms(30);
    must(kill(child, libc::SIGCONT));
    crate::check::exits(child, 0);
}

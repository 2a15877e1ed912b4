//! Timers, sleeps and limits that count the CPU time of a process or thread (setitimer(2), timer_create(2),
//! clock_getcpuclockid(3), getrlimit(2)).

use super::tests;
use crate::call;
use crate::check::{fails, in_child, killed, must, within};
use crate::sys::*;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

tests!("processor_time":
    profiling_timer_counts_the_kernels_work_too,
    profiling_signals_go_to_the_thread_that_works,
    interval_timers_repeat,
    interval_timers_can_be_read_and_stopped,
    interval_timers_are_not_inherited_and_survive_exec,
    posix_timer_on_process_time_counts_all_threads,
    posix_timer_on_thread_time_counts_its_thread_alone,
    posix_timer_counts_overruns,
    absolute_timer_in_the_past_expires_at_once,
    another_process_can_be_timed,
    sleep_by_process_time_ends_with_the_work_of_others,
    sleep_by_ones_own_thread_time_fails,
    interrupted_sleep_tells_what_is_left,
    a_deleted_timer_stays_silent,
    limit_warns_every_second_and_kills_at_its_hard_end [30],
    limit_counts_all_threads [30],
);

/// Uses the processor, mostly in user mode, until `done` or for five seconds.
fn work_until(mut done: impl FnMut() -> bool) -> bool {
    let end = now() + 5 * SECOND;
    while now() < end {
        if done() {
            return true;
        }
        (0..15).for_each(|_| spin());
    }
    done()
}

fn process_time() -> u64 {
    must(clock(libc::CLOCK_PROCESS_CPUTIME_ID))
}

fn thread_time() -> u64 {
    must(clock(libc::CLOCK_THREAD_CPUTIME_ID))
}

/// The number of the clock that counts a process's CPU time (clock_getcpuclockid(3)).
fn clock_of(pid: Pid) -> i32 {
    (!pid << 3) | 2
}

/// A POSIX timer on a clock, which sends signal 36.
fn timer_on(clock: i32) -> i32 {
    let mut id = -1i32;
    let event = [99u64, 36, 0, 0, 0, 0, 0, 0];
    must(call!(SYS_timer_create, clock, &event, &mut id));
    id
}

fn set(id: i32, flags: i32, value: u64, interval: u64) {
    let spec = [interval / SECOND, interval % SECOND, value / SECOND, value % SECOND];
    must(call!(SYS_timer_settime, id, flags, &spec, 0));
}

fn is_pending(signal: i32) -> bool {
    must(pending()) & bit(signal) != 0
}

fn profiling_timer_counts_the_kernels_work_too() {
    must(on_signal(libc::SIGPROF, record, 0));
    must(call!(SYS_setitimer, libc::ITIMER_PROF, &[0u64, 0, 0, 30_000], 0));
    sleep_ms(60);
    assert_eq!(seen(), 0, "it ran during sleep");
    let before = process_time();
    let end = now() + 5 * SECOND;
    let buffer = [0u8; 4096];
    let null = must(open(c"/dev/null", libc::O_WRONLY, 0));
    while seen() == 0 && now() < end {
        must(write(null, &buffer));
    }
    assert_eq!((seen(), last_info().signal), (1, libc::SIGPROF));
    within(process_time() - before, 25 * MS, SECOND, "CPU time to the signal");
}

/// Signals that [`note_thread`] saw in the thread that works, and in others.
static AT_WORK: AtomicU64 = AtomicU64::new(0);
static ELSEWHERE: AtomicU64 = AtomicU64::new(0);
static WORKER: AtomicI32 = AtomicI32::new(0);

extern "C" fn note_thread(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let count = if gettid() == WORKER.load(Ordering::SeqCst) { &AT_WORK } else { &ELSEWHERE };
    count.fetch_add(1, Ordering::SeqCst);
}

fn profiling_signals_go_to_the_thread_that_works() {
    must(on_signal(libc::SIGPROF, note_thread, 0));
    let worker = std::thread::spawn(|| {
        WORKER.store(gettid(), Ordering::SeqCst);
        must(call!(SYS_setitimer, libc::ITIMER_PROF, &[0u64, 10_000, 0, 10_000], 0));
        work_until(|| AT_WORK.load(Ordering::SeqCst) + ELSEWHERE.load(Ordering::SeqCst) >= 10)
    });
    assert!(worker.join().is_ok_and(|done| done), "no ten signals");
    let elsewhere = ELSEWHERE.load(Ordering::SeqCst);
    // The first thread may have been on its way to sleep.
    assert!(elsewhere <= 1, "{elsewhere} of ten came to a thread that sleeps");
}

fn interval_timers_repeat() {
    for (which, signal) in [(libc::ITIMER_VIRTUAL, libc::SIGVTALRM), (libc::ITIMER_PROF, libc::SIGPROF)] {
        let before = seen();
        must(on_signal(signal, record, 0));
        let start = process_time();
        must(call!(SYS_setitimer, which, &[0u64, 10_000, 0, 10_000], 0));
        assert!(work_until(|| seen() >= before + 5), "{} signals", seen() - before);
        within(process_time() - start, 45 * MS, 2 * SECOND, "CPU time of five intervals");
        must(call!(SYS_setitimer, which, &[0u64; 4], 0));
    }
}

fn interval_timers_can_be_read_and_stopped() {
    let mut left = [0u64; 4];
    must(call!(SYS_getitimer, libc::ITIMER_VIRTUAL, &mut left));
    assert_eq!(left, [0; 4]);
    must(call!(SYS_setitimer, libc::ITIMER_VIRTUAL, &[7u64, 0, 100, 0], 0));
    must(call!(SYS_getitimer, libc::ITIMER_VIRTUAL, &mut left));
    assert_eq!(left[0], 7);
    within(left[2], 99, 100, "seconds left");
    let mut old = [0u64; 4];
    must(call!(SYS_setitimer, libc::ITIMER_VIRTUAL, &[0u64; 4], &mut old));
    within(old[2], 99, 100, "seconds that were left");
    must(call!(SYS_getitimer, libc::ITIMER_VIRTUAL, &mut left));
    assert_eq!(left[2..], [0, 0]);
    fails(call!(SYS_getitimer, 3, &mut left), libc::EINVAL);
    fails(call!(SYS_setitimer, libc::ITIMER_PROF, &[0u64, 0, 0, 1_000_000], 0), libc::EINVAL);
}

fn interval_timers_are_not_inherited_and_survive_exec() {
    must(call!(SYS_setitimer, libc::ITIMER_PROF, &[0u64, 0, 0, 50_000], 0));
    in_child(|| {
        let mut left = [0u64; 4];
        must(call!(SYS_getitimer, libc::ITIMER_PROF, &mut left));
        assert_eq!(left, [0; 4]);
    });
    must(call!(SYS_setitimer, libc::ITIMER_PROF, &[0u64; 4], 0));
    let child = spawn(|| {
        must(call!(SYS_setitimer, libc::ITIMER_PROF, &[0u64, 0, 0, 100_000], 0));
        crate::helper::exec(c"/bin/busybox", &["busybox", "sh", "-c", "while :; do :; done"], &[]);
        1
    });
    killed(child, libc::SIGPROF);
}

fn posix_timer_on_process_time_counts_all_threads() {
    must(block(bit(36)));
    let id = timer_on(libc::CLOCK_PROCESS_CPUTIME_ID);
    let start = process_time();
    set(id, 0, 60 * MS, 0);
    sleep_ms(100);
    assert!(!is_pending(36), "it ran during sleep");
    let workers: Vec<_> = (0..2).map(|_| std::thread::spawn(|| work_until(|| is_pending(36)))).collect();
    let seen = workers.into_iter().all(|worker| worker.join().unwrap_or(false));
    assert!(seen, "no signal");
    within(process_time() - start, 60 * MS, 2 * SECOND, "CPU time of both threads");
    let info = must(sigtimedwait(bit(36), Some(SECOND)));
    assert_eq!((info.code, info.value), (-2, 99), "SI_TIMER and the value");
}

fn posix_timer_on_thread_time_counts_its_thread_alone() {
    must(block(bit(36)));
    let id = timer_on(libc::CLOCK_THREAD_CPUTIME_ID);
    let start = thread_time();
    set(id, 0, 40 * MS, 0);
    let other = std::thread::spawn(|| {
        let start = thread_time();
        work_until(|| thread_time() - start > 80 * MS)
    });
    assert!(other.join().unwrap_or(false));
    assert!(!is_pending(36), "another thread's work counted");
    assert!(work_until(|| is_pending(36)), "no signal");
    within(thread_time() - start, 40 * MS, 2 * SECOND, "CPU time of the thread");
}

fn posix_timer_counts_overruns() {
    must(block(bit(36)));
    let id = timer_on(libc::CLOCK_PROCESS_CPUTIME_ID);
    let start = process_time();
    set(id, 0, 5 * MS, 5 * MS);
    work_until(|| process_time() - start > 120 * MS);
    must(sigtimedwait(bit(36), Some(SECOND)));
    within(must(call!(SYS_timer_getoverrun, id)), 5, 2000, "overruns");
}

fn absolute_timer_in_the_past_expires_at_once() {
    must(block(bit(36)));
    work_until(|| process_time() > 2 * MS);
    let id = timer_on(libc::CLOCK_PROCESS_CPUTIME_ID);
    set(id, libc::TIMER_ABSTIME, MS, 0);
    must(sigtimedwait(bit(36), Some(SECOND)));
    let mut left = [0u64; 4];
    must(call!(SYS_timer_gettime, id, &mut left));
    assert_eq!(left, [0; 4]);
}

fn another_process_can_be_timed() {
    must(block(bit(36)));
    let go = must(pipe());
    let child = spawn(|| {
        must(read(go.0, &mut [0]));
        i32::from(!work_until(|| process_time() > 500 * MS))
    });
    let clock_id = clock_of(child);
    let id = timer_on(clock_id);
    set(id, libc::TIMER_ABSTIME, 40 * MS, 0);
    sleep_ms(30);
    assert!(!is_pending(36), "it ran though the child did not");
    must(write(go.1, b"x"));
    must(sigtimedwait(bit(36), Some(5 * SECOND)));
    within(must(clock(clock_id)), 40 * MS, 500 * MS, "the child's CPU time");
    crate::check::exits(child, 0);
    fails(clock(clock_id), libc::EINVAL);
}

fn sleep_by_process_time_ends_with_the_work_of_others() {
    static DONE: AtomicBool = AtomicBool::new(false);
    let start = process_time();
    let worker = std::thread::spawn(|| work_until(|| DONE.load(Ordering::Relaxed)));
    must(call!(SYS_clock_nanosleep, libc::CLOCK_PROCESS_CPUTIME_ID, 0, &[0u64, 50 * MS], 0));
    within(process_time() - start, 50 * MS, 2 * SECOND, "CPU time slept");
    let until = timespec_of_ns(process_time() + 20 * MS);
    must(call!(SYS_clock_nanosleep, libc::CLOCK_PROCESS_CPUTIME_ID, libc::TIMER_ABSTIME, &until, 0));
    assert!(process_time() >= ns_of_timespec(&until));
    DONE.store(true, Ordering::Relaxed);
    assert!(worker.join().unwrap_or(false));
}

fn sleep_by_ones_own_thread_time_fails() {
    let time = [0u64, 1];
    fails(call!(SYS_clock_nanosleep, libc::CLOCK_THREAD_CPUTIME_ID, 0, &time, 0), libc::EOPNOTSUPP);
    let own = (!gettid() << 3) | 6;
    fails(call!(SYS_clock_nanosleep, own, 0, &time, 0), libc::EINVAL);
    must(clock(own));
    fails(clock(clock_of(4_000_001)), libc::EINVAL);
}

fn interrupted_sleep_tells_what_is_left() {
    must(on_signal(libc::SIGALRM, record, 0));
    alarm_in(30);
    let mut left = [0u64; 2];
    let result = call!(SYS_clock_nanosleep, libc::CLOCK_PROCESS_CPUTIME_ID, 0, &[10u64, 0], &mut left);
    fails(result, libc::EINTR);
    within(left[0] * SECOND + left[1], 9 * SECOND, 10 * SECOND, "what is left");
}

fn a_deleted_timer_stays_silent() {
    must(block(bit(36)));
    let id = timer_on(libc::CLOCK_PROCESS_CPUTIME_ID);
    set(id, 0, 10 * MS, 10 * MS);
    must(call!(SYS_timer_delete, id));
    let start = process_time();
    work_until(|| process_time() - start > 60 * MS);
    assert!(!is_pending(36));
}

/// Works until the end comes from outside.
fn work_for_ever() -> i32 {
    loop {
        spin();
    }
}

fn limit_warns_every_second_and_kills_at_its_hard_end() {
    let (reader, writer) = must(pipe());
    let child = spawn(|| {
        must(setrlimit(libc::RLIMIT_CPU, 1, 2));
        must(on_signal(libc::SIGXCPU, record, 0));
        while seen() == 0 {
            spin();
        }
        within(process_time(), SECOND - 10 * MS, SECOND + 500 * MS, "the warning");
        assert_eq!(must(getrlimit(libc::RLIMIT_CPU)), (2, 2), "the soft limit moves on");
        must(write(writer, b"x"));
        work_for_ever()
    });
    killed(child, libc::SIGKILL);
    must(close(writer));
    assert_eq!(must(read_to_end(reader)), b"x");
}

fn limit_counts_all_threads() {
    let child = spawn(|| {
        std::thread::spawn(work_for_ever);
        must(setrlimit(libc::RLIMIT_CPU, 1, 4));
        std::thread::spawn(work_for_ever);
        sleep_ms(100_000);
        0
    });
    killed(child, libc::SIGXCPU);
    let mut usage = crate::sys::zeroed::<libc::rusage>();
    must(call!(SYS_getrusage, libc::RUSAGE_CHILDREN, &mut usage));
    let used = usage.ru_utime.tv_sec as u64 * 1_000_000 + usage.ru_utime.tv_usec as u64;
    within(used, 900_000, 1_500_000, "microseconds used");
}

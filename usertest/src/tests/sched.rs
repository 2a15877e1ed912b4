//! Scheduling as programs see it: affinity, priorities, progress, latency (sched(7)).

use super::tests;
use crate::call;
use crate::check::{fails, in_child, killed, must, within};
use crate::sys::*;
use core::sync::atomic::{AtomicU32, Ordering};

tests!("sched":
    affinity_reports_the_cores_there_are,
    affinity_is_obeyed_at_once,
    affinity_moves_another_running_process,
    affinity_is_inherited_and_survives_exec,
    affinity_errors,
    every_core_can_be_reached,
    hogs_on_all_cores_each_make_progress,
    equal_hogs_on_one_core_share_it [20],
    nice_changes_the_share [20],
    nice_is_bounded_and_needs_rights,
    priority_is_of_process_group_or_user,
    policy_defaults_to_other_and_can_be_batch_or_idle,
    realtime_preempts_ordinary,
    realtime_parameters_are_checked,
    sched_attr_round_trips,
    yield_lets_the_other_run,
    sleeper_wakes_on_time_among_hogs,
    sleeper_that_migrated_wakes_on_time,
    ping_pong_among_hogs_stays_quick [20],
    round_robin_interval_is_positive,
    born_hogs_spread_over_the_cores [20],
    fork_storm_survives [30],
    reading_proc_during_a_fork_storm_is_safe [30],
    hogs_leave_the_shell_usable [30],
);

fn affinity_reports_the_cores_there_are() {
    let cores = must(affinity());
    assert!(!cores.is_empty());
    let online = must(read_text(c"/proc/cpuinfo")).lines().filter(|line| line.starts_with("processor")).count();
    assert_eq!(cores.len(), online);
    assert!(cores.contains(&must(current_core())));
}

fn affinity_is_obeyed_at_once() {
    for core in must(affinity()) {
        must(set_affinity(0, &[core]));
        for _ in 0..20 {
            assert_eq!(must(current_core()), core);
            let _ = call!(SYS_sched_yield);
        }
    }
}

/// A child that counts in shared memory at `at` and stores its core after the count.
fn counting_child(at: usize) -> Pid {
    spawn(|| {
        loop {
            atomic_at(at).fetch_add(1, Ordering::Relaxed);
            atomic_at(at + 4).store(current_core().unwrap_or(99) as u32, Ordering::Relaxed);
            spin();
        }
    })
}

fn end(children: Vec<Pid>) {
    for child in children {
        must(kill(child, libc::SIGKILL));
        killed(child, libc::SIGKILL);
    }
}

fn affinity_moves_another_running_process() {
    let at = must(shared(PAGE));
    let child = counting_child(at);
    for core in must(affinity()) {
        must(set_affinity(child, &[core]));
        let seen = || atomic_at(at + 4).load(Ordering::Relaxed) as usize;
        assert!(eventually(3000, || seen() == core), "it runs on {} instead of {core}", seen());
        sleep_ms(5);
        assert_eq!(seen(), core);
    }
    end(vec![child]);
}

fn affinity_is_inherited_and_survives_exec() {
    let last = must(affinity()).pop().unwrap_or(0);
    must(set_affinity(0, &[last]));
    in_child(|| assert_eq!(must(affinity()), [last]));
    let thread = std::thread::spawn(affinity);
    assert_eq!(thread.join().ok(), Some(Ok(vec![last])));
    let text = crate::helper::output(c"/proc/self/exe", &["usertest", "--helper", "affinity"], &[]);
    assert_eq!(text.trim(), format!("[{last}]"));
}

fn affinity_errors() {
    fails(set_affinity(0, &[]), libc::EINVAL);
    fails(set_affinity(0, &[1000]), libc::EINVAL);
    fails(set_affinity(1 << 22, &[0]), libc::ESRCH);
    fails(set_affinity(-1, &[0]), libc::ESRCH);
    fails(call!(SYS_sched_getaffinity, -1, 8, &mut 0u64), libc::ESRCH);
    fails(call!(SYS_sched_setaffinity, 0, 8, 8), libc::EFAULT);
    fails(call!(SYS_sched_getaffinity, 0, 3, &mut [0u64; 4]), libc::EINVAL);
    let cores = must(affinity());
    must(set_affinity(0, &[cores[0], 900]));
    assert_eq!(must(affinity()), [cores[0]], "cores that are not there are left out");
}

fn every_core_can_be_reached() {
    for core in must(affinity()) {
        in_child(|| {
            must(set_affinity(0, &[core]));
            work_ms(5);
            assert_eq!(must(current_core()), core);
        });
    }
}

fn hogs(count: usize, at: usize) -> Vec<Pid> {
    (0..count).map(|i| counting_child(at + 64 * i)).collect()
}

fn counts(at: usize, count: usize) -> Vec<u32> {
    (0..count).map(|i| atomic_at(at + 64 * i).load(Ordering::Relaxed)).collect()
}

fn hogs_on_all_cores_each_make_progress() {
    let count = 3 * must(affinity()).len();
    let at = must(shared(8 * PAGE));
    let children = hogs(count, at);
    for _ in 0..3 {
        let before = counts(at, count);
        let moved = || counts(at, count).iter().zip(&before).all(|(now, then)| now > then);
        assert!(eventually(3000, moved), "a hog starves: {before:?} {:?}", counts(at, count));
    }
    end(children);
}

/// Processor time of `pid` in nanoseconds, from the clock that clock_getcpuclockid(3) names.
fn cpu_ns(pid: Pid) -> u64 {
    clock((!pid << 3) | 2).unwrap_or(0)
}

fn equal_hogs_on_one_core_share_it() {
    must(set_affinity(0, &[must(affinity())[0]]));
    let at = must(shared(PAGE));
    let children = hogs(4, at);
    sleep_ms(2000);
    let times: Vec<u64> = children.iter().map(|child| cpu_ns(*child)).collect();
    let (low, high) = (times.iter().min().copied().unwrap_or(0), times.iter().max().copied().unwrap_or(0));
    assert!(low * 100 >= high * 95, "processor time differs too much: {times:?}");
    end(children);
}

fn nice_changes_the_share() {
    must(set_affinity(0, &[must(affinity())[0]]));
    let at = must(shared(PAGE));
    let children = hogs(2, at);
    must(call!(SYS_setpriority, libc::PRIO_PROCESS, children[1], 5));
    sleep_ms(100);
    let before: Vec<u64> = children.iter().map(|child| cpu_ns(*child)).collect();
    sleep_ms(2500);
    let spent: Vec<u64> = children.iter().zip(before).map(|(child, before)| cpu_ns(*child) - before).collect();
    let share = spent[0] * 100 / (spent[0] + spent[1]).max(1);
    within(share, 73, 77, "per cent for nice 0 against nice 5");
    end(children);
}

fn nice_is_bounded_and_needs_rights() {
    in_child(|| {
        must(call!(SYS_setpriority, libc::PRIO_PROCESS, 0, 100));
        assert_eq!(must(call!(SYS_getpriority, libc::PRIO_PROCESS, 0)), 1);
        must(call!(SYS_setpriority, libc::PRIO_PROCESS, 0, -100));
        assert_eq!(must(call!(SYS_getpriority, libc::PRIO_PROCESS, 0)), 40);
        must(call!(SYS_setpriority, libc::PRIO_PROCESS, 0, 3));
        assert_eq!(proc_stat(getpid(), 19).as_deref(), Some("3"));
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        must(call!(SYS_setpriority, libc::PRIO_PROCESS, 0, 5));
        fails(call!(SYS_setpriority, libc::PRIO_PROCESS, 0, 4), libc::EACCES);
        fails(call!(SYS_setpriority, libc::PRIO_PROCESS, getppid(), 5), libc::EPERM);
    });
    fails(call!(SYS_setpriority, libc::PRIO_PROCESS, 1 << 22, 5), libc::ESRCH);
    fails(call!(SYS_setpriority, 7, 0, 5), libc::EINVAL);
}

fn priority_is_of_process_group_or_user() {
    let child = spawn(|| {
        loop {
            sigsuspend(0);
        }
    });
    must(call!(SYS_setpgid, child, child));
    must(call!(SYS_setpriority, libc::PRIO_PGRP, child, 7));
    assert_eq!(must(call!(SYS_getpriority, libc::PRIO_PROCESS, child)), 13);
    assert_eq!(must(call!(SYS_getpriority, libc::PRIO_PROCESS, 0)), 20);
    end(vec![child]);
}

fn policy_defaults_to_other_and_can_be_batch_or_idle() {
    assert_eq!(must(call!(SYS_sched_getscheduler, 0)), libc::SCHED_OTHER as usize);
    in_child(|| {
        for policy in [libc::SCHED_BATCH, libc::SCHED_IDLE, libc::SCHED_OTHER] {
            must(call!(SYS_sched_setscheduler, 0, policy, &0u32));
            assert_eq!(must(call!(SYS_sched_getscheduler, 0)), policy as usize);
        }
    });
    fails(call!(SYS_sched_setscheduler, 0, 99, &0u32), libc::EINVAL);
    fails(call!(SYS_sched_setscheduler, 0, libc::SCHED_OTHER, &5u32), libc::EINVAL);
}

fn realtime_preempts_ordinary() {
    must(set_affinity(0, &[must(affinity())[0]]));
    let at = must(shared(PAGE));
    let children = hogs(2, at);
    in_child(|| {
        must(call!(SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &10u32));
        sleep_ms(5);
        let before = counts(at, 2);
        work_ms(100);
        assert_eq!(counts(at, 2), before, "an ordinary process ran");
    });
    end(children);
}

fn realtime_parameters_are_checked() {
    fails(call!(SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &0u32), libc::EINVAL);
    fails(call!(SYS_sched_setscheduler, 0, libc::SCHED_RR, &100u32), libc::EINVAL);
    assert_eq!(must(call!(SYS_sched_get_priority_max, libc::SCHED_FIFO)), 99);
    assert_eq!(must(call!(SYS_sched_get_priority_min, libc::SCHED_RR)), 1);
    assert_eq!(must(call!(SYS_sched_get_priority_max, libc::SCHED_OTHER)), 0);
    fails(call!(SYS_sched_get_priority_max, 99), libc::EINVAL);
    in_child(|| {
        must(call!(SYS_setresuid, 1000, 1000, 1000));
        fails(call!(SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &1u32), libc::EPERM);
    });
}

fn sched_attr_round_trips() {
    in_child(|| {
        // size and policy; flags; nice and priority; runtime (the slice), deadline, period.
        let wanted = [48u64 | (libc::SCHED_BATCH as u64) << 32, 0, 4, 0, 0, 0];
        must(call!(SYS_sched_setattr, 0, &wanted, 0));
        let mut found = [0u64; 7];
        must(call!(SYS_sched_getattr, 0, &mut found, 56, 0));
        assert_eq!((found[0] >> 32, found[2]), (libc::SCHED_BATCH as u64, 4));
        fails(call!(SYS_sched_setattr, 0, 8, 0), libc::EFAULT);
        for keep_policy in [0, 8] {
            let without_policy = [48u64 | (u32::MAX as u64) << 32, keep_policy, 4, 0, 0, 0];
            fails(call!(SYS_sched_setattr, 0, &without_policy, 0), libc::EINVAL);
        }
    });
}

fn yield_lets_the_other_run() {
    must(set_affinity(0, &[must(affinity())[0]]));
    let at = must(shared(PAGE));
    let turn = atomic_at(at);
    let child = spawn(|| {
        for round in 0..200 {
            while turn.load(Ordering::SeqCst) != 2 * round + 1 {
                let _ = call!(SYS_sched_yield);
            }
            turn.store(2 * round + 2, Ordering::SeqCst);
        }
        0
    });
    for round in 0..200 {
        turn.store(2 * round + 1, Ordering::SeqCst);
        while turn.load(Ordering::SeqCst) != 2 * round + 2 {
            let _ = call!(SYS_sched_yield);
        }
    }
    crate::check::exits(child, 0);
}

/// The median of `samples`.
fn median(mut samples: Vec<u64>) -> u64 {
    samples.sort();
    samples.get(samples.len() / 2).copied().unwrap_or(0)
}

fn sleeper_wakes_on_time_among_hogs() {
    let count = 2 * must(affinity()).len();
    let at = must(shared(8 * PAGE));
    let children = hogs(count, at);
    let late: Vec<u64> = (0..50)
        .map(|_| {
            let start = now();
            let _ = nanosleep(5 * MS);
            now() - start - 5 * MS
        })
        .collect();
    let late = median(late);
    assert!(late < 50 * MS, "median lateness {late} ns");
    end(children);
}

fn sleeper_that_migrated_wakes_on_time() {
    let cores = must(affinity());
    let child = spawn(|| {
        let start = now();
        let _ = nanosleep(200 * MS);
        i32::from(now() - start > 2 * SECOND)
    });
    for core in cores.iter().cycle().take(20) {
        // On a slow machine it may have ended by now.
        let _ = set_affinity(child, &[*core]);
        sleep_ms(5);
    }
    crate::check::exits(child, 0);
}

fn ping_pong_among_hogs_stays_quick() {
    let count = must(affinity()).len();
    let at = must(shared(8 * PAGE));
    let children = hogs(count, at);
    let (there, back) = (must(pipe()), must(pipe()));
    let echo = spawn(|| {
        let mut byte = [0u8; 1];
        must(close(there.1));
        while must(read(there.0, &mut byte)) == 1 {
            must(write(back.1, &byte));
        }
        0
    });
    let trips: Vec<u64> = (0..100)
        .map(|_| {
            let start = now();
            must(write(there.1, b"x"));
            must(read(back.0, &mut [0u8; 1]));
            now() - start
        })
        .collect();
    let trip = median(trips);
    assert!(trip < 40 * MS, "median round trip {trip} ns");
    must(close(there.1));
    crate::check::exits(echo, 0);
    end(children);
}

fn round_robin_interval_is_positive() {
    let mut time = zeroed::<libc::timespec>();
    must(call!(SYS_sched_rr_get_interval, 0, &mut time));
    assert!(ns_of_timespec(&time) < SECOND);
}

fn born_hogs_spread_over_the_cores() {
    let cores = must(affinity());
    let at = must(shared(8 * PAGE));
    let children = hogs(cores.len(), at);
    let spread = || {
        let mut on: Vec<u32> = (0..cores.len()).map(|i| atomic_at(at + 64 * i + 4).load(Ordering::Relaxed)).collect();
        on.sort();
        on.dedup();
        on.len() == cores.len()
    };
    assert!(eventually(5000, spread), "some cores stay without a hog");
    end(children);
}

fn fork_storm_survives() {
    let children: Vec<Pid> = (0..4)
        .map(|_| {
            spawn(|| {
                for i in 0..100 {
                    crate::check::exits(spawn(|| i), i);
                }
                0
            })
        })
        .collect();
    children.into_iter().for_each(|child| crate::check::exits(child, 0));
}

fn reading_proc_during_a_fork_storm_is_safe() {
    let storm = spawn(|| {
        for i in 0..150 {
            crate::check::exits(spawn(|| i), i);
        }
        0
    });
    let looked = AtomicU32::new(0);
    while must(wait4(storm, libc::WNOHANG)).is_none() {
        for name in must(list(c"/proc")) {
            if let Ok(pid) = name.parse::<Pid>() {
                let _ = proc_stat(pid, 3);
                looked.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    assert!(looked.load(Ordering::Relaxed) > 0);
}

fn hogs_leave_the_shell_usable() {
    let at = must(shared(8 * PAGE));
    let children = hogs(32, at);
    let rounds: Vec<u64> = (0..10)
        .map(|_| {
            // What a shell does for a command: sleep at the prompt, fork, wait.
            sleep_ms(20);
            let start = now();
            crate::check::exits(spawn(|| 0), 0);
            now() - start
        })
        .collect();
    let round = median(rounds);
    assert!(round < 400 * MS, "median of fork and wait {round} ns");
    end(children);
}
